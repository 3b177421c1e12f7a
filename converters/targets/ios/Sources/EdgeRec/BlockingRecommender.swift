import Foundation

/// A loaded retrieval bundle that answers on the calling thread: for background work and tests. Apps use `Recommender`,
/// which never blocks the main thread.
///
/// Several threads may share it; their calls to the model wait for each other. "Rows" are row numbers of the item table:
/// 1 to N for the items by descending popularity, the values of user features behind them, and 0 for padding.
public final class BlockingRecommender: ServedModel, @unchecked Sendable {
    private static let sample = 64

    public let bundle: ModelBundle
    private let contract: Retrieval
    private let runtime: Runtime
    private let lock = NSLock()
    // What `similar` compares with: the mean scores after each of up to 64 items. It never changes.
    private var typical: [Float]?

    /// How the model is run for a list: with excluded rows, for the outputs that are wanted.
    private typealias Run = ([Int32], [String]) throws -> [String: Tensor]

    /// Loads the model and runs it once to see that it fits its vocabulary.
    ///
    /// - Parameter threads: threads of the interpreter; one is fastest at usual catalogue sizes.
    /// - Throws: `EdgeRecError` it is not a retrieval bundle, does not fit its own vocabulary, or the runtime refuses it.
    public init(_ bundle: ModelBundle, threads: Int = 1) throws {
        self.bundle = bundle
        contract = try bundle.retrieval()
        runtime = try Runtime(bundle, threads: threads)
        try checkModel()
    }

    /// The same as `Recommender.recommend`.
    public func recommend(
        _ history: [String], k: Int = 10, exclude: [String] = [], excludeHistory: Bool? = nil,
        user: [String: Value] = [:],
        explain: Bool = false, allow: [String]? = nil, atMost: [String: Int] = [:]
    ) throws -> Recommendations {
        let known = rows(history)
        let seen = excludeHistory ?? bundle.excludeHistory
        let selection = try selection(k, rows(exclude) + (seen ? known : []), allow, atMost)
        let read = try inputRows(known, user)
        let unknown = history.count - known.count
        if read.isEmpty { return popular(k, selection, unknown) }
        let (ids, scores) = try best(after(read), k, selection)
        var because = [Int32](repeating: 0, count: ids.count)
        if explain {
            let links = contract.neighbours > 0 ? { try self.links(read) } : nil
            because = try Reasons(read: read, items: contract.items, links: links, itemScores: itemScores).of(
                ids, scores)
        }
        return listed(ids, scores, because, unknown)
    }

    /// The same as `Recommender.score`.
    public func score(_ history: [String], _ candidates: [String], user: [String: Value] = [:]) throws -> [Float] {
        let read = try inputRows(rows(history), user)
        let scores = read.isEmpty ? nil : try itemScores(read)
        return candidates.map { id in
            let row = bundle.items.row(of: id)
            return row == 0 ? .nan : scores?[row] ?? 0
        }
    }

    /// The same as `Recommender.similar`.
    public func similar(
        to item: String, k: Int = 10, exclude: [String] = [], allow: [String]? = nil, atMost: [String: Int] = [:]
    ) throws -> Recommendations {
        let row = Int32(bundle.items.row(of: item))
        try require(row > 0, .argument, "the item \(item) is not in the catalogue")
        let selection = try selection(k, rows(exclude) + [row], allow, atMost)
        let scores = zip(try itemScores([row]), try typicalScores()).map { $0 - $1 }
        let ids = selection.best(scores, k)
        return listed(ids, ids.map { scores[Int($0)] }, [Int32](repeating: 0, count: ids.count), 0)
    }

    /// The same as `Recommender.newState`.
    public func newState(user: [String: Value] = [:]) throws -> RecurrentState {
        try requireState()
        let values = [Float](repeating: 0, count: contract.state)
        let empty = try RecurrentState(values: values, fingerprint: bundle.fingerprint, recent: [])
        return try inputRows([], user).reduce(empty, advanceRow)
    }

    /// The same as `Recommender.advance`.
    public func advance(_ state: RecurrentState, _ item: String) throws -> RecurrentState {
        try check(state)
        let row = bundle.items.row(of: item)
        return row == 0 ? state : try advanceRow(state, Int32(row))
    }

    /// The same as `Recommender.recommendFromState`.
    public func recommendFromState(
        _ state: RecurrentState, k: Int = 10, exclude: [String] = [], allow: [String]? = nil,
        atMost: [String: Int] = [:]
    ) throws -> Recommendations {
        try check(state)
        let selection = try selection(k, rows(exclude), allow, atMost)
        if state.isEmpty { return popular(k, selection, 0) }
        var given: [String: Tensor] = ["state": .floats(state.values)]
        if contract.recent > 0 { given["recent"] = .integers(state.recent.leftPadded(to: contract.recent)) }
        let (ids, scores) = try best(
            { [runtime, contract, given] excluded, wanted in
                let exclude = ["exclude": Tensor.integers(excluded.padded(to: contract.maxExclude))]
                return try runtime.run("recommend_from_state", given.merging(exclude) { $1 }, wanted)
            }, k, selection)
        return listed(ids, scores, [Int32](repeating: 0, count: ids.count), 0)
    }

    /// The self-test: runs the golden vectors of the bundle.
    ///
    /// - Throws: `EdgeRecError` they are malformed.
    public func golden() throws -> GoldenResult {
        try GoldenResult(bundle.golden()) { golden in
            let (history, exclude, ids) = (
                try goldenRows(golden, "history"), try goldenRows(golden, "exclude"), try goldenRows(golden, "ids")
            )
            let expected = try Golden.scores(golden)
            if expected.count != ids.count { throw Golden.malformed }
            if ids.isEmpty { return nil }
            let selection = Selection(banned: Set(exclude), allowed: nil, limits: nil)
            let (found, scores) = try best(after(history), ids.count, selection)
            let within = Golden.within(golden, expected)
            if Golden.near(expected, scores, within), Golden.sameOrder(ids, expected, found, within) { return nil }
            return "expected the rows \(ids) with the scores \(expected), got \(found) with \(scores)"
        }
    }

    private func goldenRows(_ golden: Value, _ name: Exact) throws -> [Int32] {
        guard let list = golden[name]?.list else { throw Golden.malformed }
        let rows = list.compactMap(\.count)
        guard rows.count == list.count, rows.allSatisfy((1...lastRow).contains) else { throw Golden.malformed }
        return rows.map(Int32.init)
    }

    private var lastRow: Int { contract.items + bundle.userFeatures.map(\.rows).reduce(0, +) }

    private func rows(_ ids: [String]) -> [Int32] {
        ids.compactMap { id in
            let row = bundle.items.row(of: id)
            return row > 0 ? Int32(row) : nil
        }
    }

    private func selection(_ k: Int, _ banned: [Int32], _ allow: [String]?, _ atMost: [String: Int]) throws -> Selection
    {
        try require(k >= 1, .argument, "k is \(k); ask for at least one item")
        let limits = try atMost.map { name, most -> (Attribute, Int) in
            guard let attribute = bundle.attributes[Exact(name)] else {
                throw EdgeRecError(
                    .argument, "the bundle has no attribute \(name); it has: \(EdgeRec.listed(bundle.attributeNames))")
            }
            try require(most >= 1, .argument, "at most \(most) items of each \(name); allow at least one")
            return (attribute, most)
        }
        return Selection(
            banned: Set(banned), allowed: allow.map { Set(rows($0)) }, limits: limits.isEmpty ? nil : Limits(limits))
    }

    /// The rows that the model reads: the user's known values, then the last events.
    private func inputRows(_ history: [Int32], _ user: [String: Value]) throws -> [Int32] {
        let known = try UserFeature.rows(of: bundle.userFeatures, user)
        return known + history.suffix(contract.maxHistory - known.count)
    }

    private func after(_ read: [Int32]) -> Run {
        let history = Tensor.integers(read.leftPadded(to: contract.maxHistory))
        return { [runtime, contract] excluded, wanted in
            let exclude = Tensor.integers(excluded.padded(to: contract.maxExclude))
            return try runtime.run("recommend", ["history": history, "exclude": exclude], wanted)
        }
    }

    private func itemScores(_ read: [Int32]) throws -> [Float] {
        try after(read)([], ["item_scores"]).floats("item_scores")
    }

    private func links(_ read: [Int32]) throws -> Reasons.Links {
        let history = Tensor.integers(read.leftPadded(to: contract.maxHistory))
        let found = try runtime.run("links", ["history": history], ["items", "weights"])
        return Reasons.Links(
            neighbours: contract.neighbours, items: try found.integers("items"), weights: try found.floats("weights"))
    }

    private func typicalScores() throws -> [Float] {
        lock.lock()
        defer { lock.unlock() }
        if let typical { return typical }
        let places = (0..<Self.sample).map { place -> Int in 1 + place * (contract.items - 1) / (Self.sample - 1) }
        let rows = Set(places.map { Int32($0) }).sorted()
        var sums = [Double](repeating: 0, count: contract.items + 1)
        for row in rows {
            for (other, score) in try itemScores([row]).enumerated() { sums[other] += Double(score) }
        }
        let means = sums.map { Float($0 / Double(rows.count)) }
        typical = means
        return means
    }

    private func advanceRow(_ state: RecurrentState, _ row: Int32) throws -> RecurrentState {
        let inputs: [String: Tensor] = ["state": .floats(state.values), "item": .integers([row])]
        let values = try runtime.run("advance", inputs, ["state"]).floats("state")
        try require(values.allSatisfy(\.isFinite), .bundle, "the model fails on row \(row): its state is not finite")
        let recent = row <= contract.items ? Array((state.recent + [row]).suffix(contract.recent)) : state.recent
        return try RecurrentState(values: values, fingerprint: state.fingerprint, recent: recent)
    }

    /// Rows and scores of the best items, best first; neither `k` nor the banned rows are limited by the model's own sizes.
    private func best(_ run: Run, _ k: Int, _ selection: Selection) throws -> ([Int32], [Float]) {
        let banned = selection.banned.filter { $0 <= contract.items }
        if k <= contract.topK, banned.count <= contract.maxExclude, selection.allowed == nil, selection.limits == nil {
            let found = try run(Array(banned), ["ids", "scores"])
            let ids = try found.integers("ids").prefix(k).prefix { $0 != 0 }
            guard ids.allSatisfy({ (1...Int32(contract.items)).contains($0) }) else {
                throw EdgeRecError(.bundle, "the model gives rows that no item has; convert it again")
            }
            return (Array(ids), Array(try found.floats("scores").prefix(ids.count)))
        }
        let scores = try run([], ["item_scores"]).floats("item_scores")
        let ids = selection.best(scores, k)
        return (ids, ids.map { scores[Int($0)] })
    }

    private func popular(_ k: Int, _ selection: Selection, _ unknown: Int) -> Recommendations {
        let rows = selection.first(k, of: (1...Int32(contract.items)).lazy.filter(selection.permits))
        return Recommendations(rows.map { entry($0, 0, 0) }, unknown: unknown, source: .popularity)
    }

    private func listed(_ ids: [Int32], _ scores: [Float], _ because: [Int32], _ unknown: Int) -> Recommendations {
        Recommendations(ids.indices.map { entry(ids[$0], scores[$0], because[$0]) }, unknown: unknown, source: .model)
    }

    private func entry(_ row: Int32, _ score: Float, _ because: Int32) -> Recommendation {
        Recommendation(
            item: bundle.items[Int(row)], score: score, title: bundle.titles?[Int(row)] ?? "",
            because: because > 0 ? bundle.items[Int(because)] : nil)
    }

    private func requireState() throws {
        try require(contract.state > 0, .bundle, "not a recurrent model, so it has no state; use recommend()")
    }

    private func check(_ state: RecurrentState) throws {
        try requireState()
        try require(
            state.fingerprint == bundle.fingerprint, .argument,
            "the state belongs to another bundle; begin again with newState() and the history")
        try require(
            state.values.count == contract.state, .argument,
            "the state has \(state.values.count) values, this model's has \(contract.state)")
        try require(
            state.recent.count <= contract.recent && state.recent.allSatisfy { $0 <= contract.items }, .argument,
            "the state has recent rows that this model does not have")
    }

    /// Checks the signatures' shapes, and runs the model once on the last row.
    private func checkModel() throws {
        let sizes = contract
        let history = ["history": [1, sizes.maxHistory]], exclude = ["exclude": [1, sizes.maxExclude]]
        try runtime.requireInputs("recommend", history.merging(exclude) { $1 })
        try requireLists("recommend")
        if sizes.state > 0 {
            let state = ["state": [1, sizes.state]]
            try runtime.requireInputs("advance", state.merging(["item": [1]]) { $1 })
            try runtime.requireOutput("advance", "state", [1, sizes.state])
            let recent = sizes.recent > 0 ? ["recent": [1, sizes.recent]] : [:]
            try runtime.requireInputs("recommend_from_state", state.merging(exclude) { $1 }.merging(recent) { $1 })
            try requireLists("recommend_from_state")
        }
        if sizes.neighbours > 0 {
            try runtime.requireInputs("links", history)
            let shape = try runtime.outputShape("links", "items")
            guard shape.count == 3, (1...sizes.maxHistory).contains(shape[1]), shape == [1, shape[1], sizes.neighbours]
            else {
                throw EdgeRecError(
                    .bundle, "output items of links is \(shape), the model reads up to \(sizes.maxHistory) events")
            }
            try runtime.requireOutput("links", "weights", shape)
        }
        let last = [Int32(lastRow)]
        _ = try after(last)([], ["ids", "scores", "item_scores"])
        if sizes.neighbours > 0 { _ = try links(last) }
    }

    private func requireLists(_ signature: String) throws {
        try runtime.requireOutput(signature, "ids", [1, contract.topK])
        try runtime.requireOutput(signature, "scores", [1, contract.topK])
        try runtime.requireOutput(signature, "item_scores", [1, contract.items + 1])
    }
}
