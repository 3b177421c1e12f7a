import Foundation

/// Recommendations from the model in the app and the user's own history, computed on the device.
///
/// Every function may be called from the main thread: the work is done on a background thread, one call at a time.
///
/// ```swift
/// let recommender = try await Recommender.open()
/// let list = try await recommender.recommend(["1029743", "995242"], k: 3)
/// ```
public final class Recommender: Sendable {
    private let served: Served<BlockingRecommender>

    private init(_ served: Served<BlockingRecommender>) { self.served = served }

    /// Opens the model in this package, another file, or what replaced it.
    ///
    /// - Parameters:
    ///   - threads: threads of the interpreter; one is fastest at usual catalogue sizes.
    ///   - updates: `nil`: the model cannot be replaced at run time.
    /// - Throws: `EdgeRecError` the model cannot be used: the message says why.
    public static func open(
        _ model: URL = Packaged.model, threads: Int = 1, updates: Updates? = nil
    ) async throws -> Recommender {
        try await open(threads: threads, updates: updates) { try ModelBundle(file: model) }
    }

    static func open(
        threads: Int = 1, updates: Updates?, shipped: @escaping @Sendable () throws -> ModelBundle
    ) async throws -> Recommender {
        Recommender(try await Served(updates, threads, shipped: shipped))
    }

    /// The checked bundle of the model in service: its items, titles, user features and attributes.
    public var bundle: ModelBundle { get async { await served.call { $0.bundle } } }

    /// The `k` best items after `history`.
    ///
    /// - Parameters:
    ///   - history: raw item ids, oldest first. The model reads the last known ones; ids that are not in the catalogue are
    ///     skipped and counted.
    ///   - k: how many items; the list is shorter only when fewer remain.
    ///   - exclude: raw ids never to return.
    ///   - excludeHistory: never return an item of the history; by default (`nil`) as the model was measured.
    ///   - user: values of the model's user features by name, such as `["gender": "F", "age": 31]`. All are optional;
    ///     unknown values are skipped.
    ///   - explain: also say which event contributed most to each item; this takes up to 21 more calls of the model.
    ///   - allow: only these ids may be returned, of any number; `nil`: all.
    ///   - atMost: at most so many items of each value of an attribute, such as `["category": 3]`.
    /// - Returns: the items, best first. Without any known event or user feature, the most popular items, with score 0.
    /// - Throws: `EdgeRecError` `k` is below 1, or a name of `user` or `atMost` is not the model's.
    public func recommend(
        _ history: [String], k: Int = 10, exclude: [String] = [], excludeHistory: Bool? = nil,
        user: [String: Value] = [:],
        explain: Bool = false, allow: [String]? = nil, atMost: [String: Int] = [:]
    ) async throws -> Recommendations {
        try await served.call {
            try $0.recommend(
                history, k: k, exclude: exclude, excludeHistory: excludeHistory, user: user, explain: explain,
                allow: allow,
                atMost: atMost)
        }
    }

    /// Scores of `candidates` after `history`, in their order; NaN for ids that are not in the catalogue.
    public func score(_ history: [String], _ candidates: [String], user: [String: Value] = [:]) async throws -> [Float]
    {
        try await served.call { try $0.score(history, candidates, user: user) }
    }

    /// The `k` items that `item` raises most: their scores after a history of this item alone, less their mean scores after
    /// other items. It is what a shop shows as "goes with this". The first call runs the model 65 times, later ones once.
    ///
    /// - Throws: `EdgeRecError` the item is not in the catalogue.
    public func similar(
        to item: String, k: Int = 10, exclude: [String] = [], allow: [String]? = nil, atMost: [String: Int] = [:]
    ) async throws -> Recommendations {
        try await served.call { try $0.similar(to: item, k: k, exclude: exclude, allow: allow, atMost: atMost) }
    }

    /// The state before any event, for `advance` and `recommendFromState`. With a stored state, a new event costs one step
    /// of a recurrent model instead of the whole history.
    ///
    /// - Throws: `EdgeRecError` the model is not recurrent, so it has no state.
    public func newState(user: [String: Value] = [:]) async throws -> RecurrentState {
        try await served.call { try $0.newState(user: user) }
    }

    /// The state after one more event; an id that is not in the catalogue changes nothing.
    public func advance(_ state: RecurrentState, _ item: String) async throws -> RecurrentState {
        try await served.call { try $0.advance(state, item) }
    }

    /// The `k` best items after a stored state, the most popular ones after an empty one.
    ///
    /// - Parameter exclude: raw ids never to return: the state cannot name the items of the history.
    /// - Throws: `EdgeRecError` the state belongs to another model: begin again with `newState` and the history.
    public func recommendFromState(
        _ state: RecurrentState, k: Int = 10, exclude: [String] = [], allow: [String]? = nil,
        atMost: [String: Int] = [:]
    ) async throws -> Recommendations {
        try await served.call { try $0.recommendFromState(state, k: k, exclude: exclude, allow: allow, atMost: atMost) }
    }

    /// The self-test: whether the model computes on this device what it computes in Python.
    public func golden() async throws -> GoldenResult { try await served.call { try $0.golden() } }

    /// Puts another model in service, without a restart: its signature, its hashes and its golden vectors are checked, and
    /// an older release is refused. On any failure the current model goes on answering.
    ///
    /// - Parameters:
    ///   - model: the bytes of the bundle, such as a download.
    ///   - signature: the text of the bundle's signature file.
    /// - Returns: the bundle that is now in service.
    /// - Throws: `EdgeRecError` it is refused: the message says why.
    @discardableResult
    public func replaceModel(
        with model: Data, signature: String?, allowDowngrade: Bool = false, allowOtherCatalogue: Bool = false
    ) async throws -> ModelBundle {
        try await served.exchange {
            try $0.replace(model, signature, allowDowngrade: allowDowngrade, allowOtherCatalogue: allowOtherCatalogue)
        }
    }

    /// Puts the model before the current one in service again.
    @discardableResult
    public func rollback() async throws -> ModelBundle { try await served.exchange { try $0.rollback() } }
}

/// The models inside this package.
public enum Packaged {
    public static let model = folder.appendingPathComponent("model.tflite")
    public static let ranker = folder.appendingPathComponent("ranker.tflite")

    private static let folder = (Bundle.module.resourceURL ?? Bundle.module.bundleURL).appendingPathComponent("Model")
}
