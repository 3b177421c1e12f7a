import Foundation

/// Orders candidates by a ranking model, from what is known of the user, the items and the moment, on the device.
///
/// Every function may be called from the main thread: the work is done on a background thread, one call at a time.
public final class Ranker: Sendable {
    private let served: Served<BlockingRanker>

    private init(_ served: Served<BlockingRanker>) { self.served = served }

    /// Opens the ranking model in this package, another file, or what replaced it: as `Recommender.open`.
    public static func open(_ model: URL = Packaged.ranker, threads: Int = 1, updates: Updates? = nil) async throws
        -> Ranker
    {
        try await open(threads: threads, updates: updates) { try ModelBundle(file: model) }
    }

    static func open(
        threads: Int = 1, updates: Updates?, shipped: @escaping @Sendable () throws -> ModelBundle
    ) async throws -> Ranker {
        Ranker(try await Served(updates, threads, shipped: shipped))
    }

    /// The checked bundle of the model in service; `features` names what the model reads.
    public var bundle: ModelBundle { get async { await served.call { $0.bundle } } }

    /// Scores of the candidates, in their order.
    ///
    /// - Parameters:
    ///   - user: values of features of the user by name. In this and all others, what is absent, `nil`, NaN or an unseen
    ///     category counts as missing.
    ///   - candidates: any number of items; their features come from the bundle unless a candidate has its own.
    ///   - context: values of features of the moment by name.
    ///   - history: raw item ids, oldest first, if the model reads a history.
    ///   - historyValues: a value for each event, such as a rating.
    ///   - retrievalScores: the score that a retrieval model gave each candidate, if the model reads it.
    /// - Throws: `EdgeRecError` a name is not the model's, or a value has the wrong type or is infinite.
    public func score(
        user: [String: Value], _ candidates: [Candidate], context: [String: Value] = [:], history: [String] = [],
        historyValues: [Float?]? = nil, retrievalScores: [Float?]? = nil
    ) async throws -> [Float] {
        try await served.call {
            try $0.score(
                user: user, candidates, context: context, history: history, historyValues: historyValues,
                retrievalScores: retrievalScores)
        }
    }

    /// The self-test: whether the model computes on this device what it computes in Python.
    public func golden() async throws -> GoldenResult { try await served.call { try $0.golden() } }

    /// As `Recommender.replaceModel`.
    @discardableResult
    public func replaceModel(with model: Data, signature: String?, allowDowngrade: Bool = false) async throws
        -> ModelBundle
    {
        try await served.exchange { try $0.replace(model, signature, allowDowngrade: allowDowngrade) }
    }

    /// Puts the model before the current one in service again.
    @discardableResult
    public func rollback() async throws -> ModelBundle { try await served.exchange { try $0.rollback() } }
}
