import Foundation

/// A loaded model that an app calls and can exchange.
public protocol ServedModel: Sendable {
    var bundle: ModelBundle { get }

    init(_ bundle: ModelBundle, threads: Int) throws

    func golden() throws -> GoldenResult
}

/// The model in service, which is called on one background thread at a time and can be exchanged between two calls.
actor Served<Model: ServedModel> {
    private var model: Model
    // `nil`: the model cannot be replaced.
    private let store: ModelStore?
    private let threads: Int
    private var lastUpdate: Task<ModelBundle, any Error>?

    /// Opens the model in service; a replacement that cannot be loaded gives way to the shipped one.
    init(_ updates: Updates?, _ threads: Int, shipped: @escaping @Sendable () throws -> ModelBundle) async throws {
        let store = updates.map { ModelStore($0, shipped: shipped) { try Model($0, threads: threads).golden() } }
        self.store = store
        self.threads = threads
        model = try await Task.detached {
            guard let store else { return try Model(shipped(), threads: threads) }
            do {
                return try Model(store.current(), threads: threads)
            } catch is EdgeRecError {
                return try Model(shipped(), threads: threads)
            }
        }.value
    }

    func call<T: Sendable>(_ answer: @Sendable (Model) throws -> T) rethrows -> T { try answer(model) }

    /// Changes what is stored, one change after the other, and serves it. The old model answers until then.
    func exchange(_ change: @escaping @Sendable (ModelStore) throws -> ModelBundle) async throws -> ModelBundle {
        guard let store else {
            throw EdgeRecError(.update, "this model was opened without a folder for its replacements")
        }
        let (before, threads) = (lastUpdate, threads)
        // Not cancelled with its caller: what has been decided on disk must become what answers.
        let update = Task.detached {
            _ = await before?.result
            let bundle = try change(store)
            await self.serve(try Model(bundle, threads: threads))
            return bundle
        }
        lastUpdate = update
        return try await update.value
    }

    private func serve(_ new: Model) { model = new }
}
