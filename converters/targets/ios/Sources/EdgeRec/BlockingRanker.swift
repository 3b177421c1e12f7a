import Foundation

/// A candidate for a ranking model.
public struct Candidate: Sendable, ExpressibleByStringLiteral {
    /// Its raw id; values of its features are taken from the bundle. `nil`, or an unknown id: nothing is known of it but
    /// `values`.
    public let item: String?
    /// Values by name of a feature that replace the bundle's, such as today's price, and `retrieval_score` if the model
    /// reads it. A value that is `nil` is missing, also where the bundle has one.
    public let values: [String: Value]

    public init(_ item: String?, _ values: [String: Value] = [:]) {
        self.item = item
        self.values = values
    }

    public init(stringLiteral item: String) { self.init(item) }
}

/// A loaded ranking bundle that answers on the calling thread; apps use `Ranker`.
public final class BlockingRanker: ServedModel, Sendable {
    public let bundle: ModelBundle
    private let contract: Ranking
    private let runtime: Runtime

    /// Loads the model and runs it once to see that it fits.
    ///
    /// - Throws: `EdgeRecError` it is not a ranking bundle, does not fit its own features, or the runtime refuses it.
    public init(_ bundle: ModelBundle, threads: Int = 1) throws {
        self.bundle = bundle
        contract = try bundle.ranking()
        try require(!bundle.features.isEmpty, .bundle, "a ranking model without features.json; convert it again")
        runtime = try Runtime(bundle, threads: threads)
        try checkModel()
    }

    /// The same as `Ranker.score`.
    public func score(
        user: [String: Value], _ candidates: [Candidate], context: [String: Value] = [:], history: [String] = [],
        historyValues: [Float?]? = nil, retrievalScores: [Float?]? = nil
    ) throws -> [Float] {
        var shared = try values("user", user).merging(values("context", context)) { $1 }
        shared.merge(try self.history(history, historyValues)) { $1 }
        try candidates.forEach { try requireKnown($0.values.keys, isOfCandidate: true, "item") }
        try require(
            retrievalScores == nil || retrievalScores?.count == candidates.count, .argument,
            "\(retrievalScores?.count ?? 0) retrieval scores for \(candidates.count) candidates")
        var scores: [Float] = []
        for first in stride(from: 0, to: candidates.count, by: contract.candidates) {
            let places = first..<min(candidates.count, first + contract.candidates)
            let inputs = try items(Array(candidates[places]), retrievalScores.map { Array($0[places]) })
            let found = try runtime.run("score", shared.merging(inputs) { $1 }, ["scores"]).floats("scores")
            scores += found.prefix(places.count)
        }
        return scores
    }

    /// The self-test: runs the golden vectors of the bundle.
    public func golden() throws -> GoldenResult {
        try GoldenResult(bundle.golden()) { golden in
            let expected = try Golden.scores(golden)
            guard let candidates = golden["candidates"]?.list, let history = (golden["history"] ?? []).texts else {
                throw Golden.malformed
            }
            let found: [Float]
            do {
                found = try score(
                    user: Self.named(golden["user"]), candidates.map(Candidate.init(json:)),
                    context: Self.named(golden["context"]), history: history,
                    historyValues: golden["history_values"]?.list?.map { $0.double.map(Float.init) })
            } catch let error as EdgeRecError where error.kind == .argument {
                throw Golden.malformed
            }
            if Golden.near(expected, found, Golden.within(golden, expected)) { return nil }
            return "expected the scores \(expected), got \(found)"
        }
    }

    /// Values by name, of an object in JSON.
    static func named(_ value: Value?) -> [String: Value] {
        Dictionary((value?.object ?? [:]).map { ($0.text, $1) }, uniquingKeysWith: { $1 })
    }

    private func requireKnown(_ names: some Sequence<String>, isOfCandidate: Bool = false, _ of: String) throws {
        let known = bundle.features.filter {
            isOfCandidate ? $0.isOfCandidates && $0.input != "item" : $0.of == of
        }.map(\.name)
        let strange = Set(names.exact).subtracting(known.exact).map(\.text).sorted()
        try require(
            strange.isEmpty, .argument,
            "the model knows no \(of) feature \(listed(strange)); it has: \(listed(known))")
    }

    /// Inputs for the features of the user or the context.
    private func values(_ of: String, _ given: [String: Value]) throws -> [String: Tensor] {
        try requireKnown(given.keys, of)
        var inputs: [String: Tensor] = [:]
        for feature in bundle.features where feature.of == of {
            let value = given[feature.name]
            inputs[feature.input] =
                feature.kind == .number
                ? .floats([try feature.number(value)]) : .integers(try feature.categories(value))
        }
        return inputs
    }

    private func history(_ history: [String], _ values: [Float?]?) throws -> [String: Tensor] {
        try require(
            values == nil || values?.count == history.count, .argument,
            "\(values?.count ?? 0) history values for \(history.count) events")
        let length = bundle.features.first { $0.input == "history" }?.size ?? 0
        let events = history.indices.filter { bundle.items.row(of: history[$0]) > 0 }.suffix(length)
        var inputs: [String: Tensor] = [:]
        for feature in bundle.features where feature.of == "history" {
            if feature.input == "history" {
                inputs["history"] = .integers(
                    events.map { Int32(bundle.items.row(of: history[$0])) }.leftPadded(to: length))
            } else {
                let own = try events.map { try feature.number(values?[$0].map { .number(Double($0)) }) }
                inputs[feature.input] = .floats([Float](repeating: .nan, count: length - own.count) + own)
            }
        }
        return inputs
    }

    /// Inputs of a chunk of candidates, padded with unknown items.
    private func items(_ chunk: [Candidate], _ retrievalScores: [Float?]?) throws -> [String: Tensor] {
        let rows = chunk.map { Int32($0.item.map(bundle.items.row) ?? 0) }.padded(to: contract.candidates)
        var inputs: [String: Tensor] = [:]
        for feature in bundle.features where feature.isOfCandidates {
            let stored = feature.of == "item" ? bundle.itemValues[Exact(feature.name)] : nil
            if feature.input == "item" {
                inputs["item"] = .integers(rows)
            } else if feature.kind == .number {
                inputs[feature.input] = .floats(
                    try rows.enumerated().map { place, row in
                        if place < chunk.count, let own = chunk[place].values[feature.name] {
                            return try feature.number(own)
                        }
                        if feature.of == "retrieval", place < chunk.count, let score = retrievalScores?[place] {
                            return try feature.number(.number(Double(score)))
                        }
                        if case .numbers(let numbers)? = stored { return numbers[Int(row)] }
                        return .nan
                    })
            } else {
                inputs[feature.input] = .integers(
                    try rows.enumerated().flatMap { place, row -> [Int32] in
                        if place < chunk.count, let own = chunk[place].values[feature.name] {
                            return try feature.categories(own)
                        }
                        if case .categories(let codes)? = stored { return codes[Int(row)].padded(to: feature.width) }
                        return [Int32](repeating: 0, count: feature.width)
                    })
            }
        }
        return inputs
    }

    /// Checks the signature's shapes, and runs it once on the last item and the last categories.
    private func checkModel() throws {
        let lines = { (feature: Feature) in feature.isOfCandidates ? self.contract.candidates : 1 }
        let shapes = bundle.features.map { ($0.input, $0.shape(lines($0))) }
        try runtime.requireInputs("score", Dictionary(shapes, uniquingKeysWith: { $1 }))
        try runtime.requireOutput("score", "scores", [contract.candidates])
        let last = bundle.features.map { feature -> (String, Tensor) in
            let count = lines(feature) * feature.width
            if feature.kind == .number { return (feature.input, .floats([Float](repeating: .nan, count: count))) }
            let isRow = feature.input == "item" || feature.input == "history"
            let code = Int32(isRow ? bundle.items.count - 1 : feature.values.count)
            return (feature.input, .integers([Int32](repeating: code, count: count)))
        }
        _ = try runtime.run("score", Dictionary(last, uniquingKeysWith: { $1 }), ["scores"])
    }
}

extension Candidate {
    /// A candidate in JSON: a raw id, or an object with the id as `item` and values.
    init(json: Value) throws {
        if let item = json.text {
            self.init(item)
        } else {
            guard let entries = json.object, let item = Optional(entries["item"] ?? .missing),
                item.isMissing || item.text != nil
            else {
                throw EdgeRecError(.argument, "a candidate is neither an id nor an object with an id")
            }
            self.init(item.text, BlockingRanker.named(.object(entries.filter { $0.key != "item" })))
        }
    }
}
