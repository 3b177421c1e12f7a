/// The signatures of a bundle, with the sizes of their inputs and outputs.
public enum Contract: Sendable, Equatable {
    case retrieval(Retrieval)
    case ranking(Ranking)

    public var kind: String {
        switch self {
        case .retrieval: return "retrieval"
        case .ranking: return "ranking"
        }
    }

    init(_ entry: Value?) throws {
        guard let entry, entry.object != nil else { throw EdgeRecError(.bundle, "has no contract") }
        let kind = entry["kind"] ?? "retrieval"
        switch kind.text {
        case "retrieval": self = .retrieval(try Retrieval(entry))
        case "ranking": self = .ranking(try Ranking(entry))
        default: throw EdgeRecError(.bundle, "is of the unknown kind \(kind); this version knows retrieval, ranking")
        }
    }
}

/// Scores the whole catalogue.
public struct Retrieval: Sendable, Equatable {
    /// How many rows the model reads.
    public let maxHistory: Int
    /// How many rows the model itself leaves out.
    public let maxExclude: Int
    /// How many items the model itself lists.
    public let topK: Int
    /// The number of items N.
    public let items: Int
    /// Floats of the state; 0: there is none.
    public let state: Int
    /// Newest item rows that are read beside the state.
    public let recent: Int
    /// Transitions of each item; 0: there are none.
    public let neighbours: Int

    init(_ entry: Value) throws {
        func size(_ name: Exact) throws -> Int {
            guard let size = entry[name]?.count, size > 0 else {
                throw EdgeRecError(.bundle, "lacks the sizes of the signature (max_history, max_exclude, top_k, items)")
            }
            return size
        }
        func optional(_ name: Exact) throws -> Int {
            guard let size = (entry[name] ?? 0).count else { throw EdgeRecError(.bundle, "gives \(name.text) no size") }
            return size
        }
        maxHistory = try size("max_history")
        maxExclude = try size("max_exclude")
        topK = try size("top_k")
        items = try size("items")
        state = try optional("state")
        recent = try optional("recent")
        neighbours = try optional("neighbours")
        try require(
            neighbours == 0 || recent > 0, .bundle,
            "gives each item \(neighbours) neighbours, but no recent rows to read them for")
    }
}

/// Scores given candidates.
public struct Ranking: Sendable, Equatable {
    /// How many one call of the model takes; longer lists are split.
    public let candidates: Int
    /// Type (`float32` or `int32`) of each input by name.
    let inputs: [Exact: String]

    init(_ entry: Value) throws {
        let inputs = entry["inputs"]?.object?.compactMapValues(\.text) ?? [:]
        guard let candidates = entry["candidates"]?.count, candidates > 0, !inputs.isEmpty,
            inputs.count == entry["inputs"]?.object?.count
        else { throw EdgeRecError(.bundle, "lacks the number of candidates or the inputs of the signature score") }
        self.candidates = candidates
        self.inputs = inputs
    }
}
