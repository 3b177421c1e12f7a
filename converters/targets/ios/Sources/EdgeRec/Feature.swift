/// An input of a ranking model.
public struct Feature: Sendable {
    public enum Kind: String, Sendable {
        case number, category, categories
        /// Rows of items: of the candidates, or of the history.
        case items
    }

    /// Its name in the signature.
    let input: String
    /// Its name for the app, in `user`, `context` or a candidate.
    public let name: String
    /// Whose it is: `user`, `item`, `context`, `history` or `retrieval`.
    public let of: String
    public let kind: Kind
    /// Of categories, the texts that are known; their codes count from 1, and 0 is missing or unseen.
    public let values: [String]
    /// Places for several categories, or for the events of a history; 0: one value.
    let size: Int
    private let codes: [Exact: Int32]

    /// Inputs that are no features of the user, the moment or an item: whose they are, and of which kinds.
    private static let reserved: [Exact: (of: String, kinds: [Kind])] = [
        "item": ("item", [.category, .items]), "history": ("history", [.items, .categories]),
        "history_values": ("history", [.number]), "retrieval_score": ("retrieval", [.number]),
    ]

    /// How many numbers one line has.
    var width: Int { max(size, 1) }

    /// Whether it has a line for each candidate.
    var isOfCandidates: Bool { of == "item" || of == "retrieval" }

    func shape(_ lines: Int) -> [Int] { size > 0 ? [lines, size] : [lines] }

    /// All inputs of a ranking model, from `features.json`.
    static func all(_ document: Value, _ contract: Ranking) throws -> [Feature] {
        guard let entries = document.list else { throw EdgeRecError(.bundle, "has no list of features") }
        var features = try entries.map(Feature.init)
        if contract.inputs["item"] != nil, !features.contains(where: { $0.input == "item" }) {
            features.insert(Feature(), at: 0)
        }
        let types = features.map { (Exact($0.input), $0.kind == .number ? "float32" : "int32") }
        guard Dictionary(types, uniquingKeysWith: { $1 }) == contract.inputs, types.count == contract.inputs.count
        else {
            throw EdgeRecError(.bundle, "does not describe the inputs of the signature score")
        }
        try require(features.map { "\($0.of) \($0.name)" }.areDifferent, .bundle, "names a feature twice")
        let sizes = features.filter { $0.of == "history" }.map(\.size)
        try require(Set(sizes).count <= 1, .bundle, "has history_values of another size than the history")
        try require(
            sizes.isEmpty || features.contains { $0.input == "history" }, .bundle,
            "has history_values without a history")
        return features
    }

    /// The one input that needs no entry.
    private init() {
        (input, name, of, kind, values, size, codes) = ("item", "item", "item", .items, [], 0, [:])
    }

    private init(_ entry: Value) throws {
        guard let input = entry["input"]?.text, let name = entry["name"]?.text, let of = entry["of"]?.text,
            let kind = entry["type"]?.text.flatMap(Kind.init), !input.isEmpty, !name.isEmpty
        else { throw EdgeRecError(.bundle, "has a malformed entry") }
        guard let values = (entry["values"] ?? []).texts, values.areDifferent else {
            throw EdgeRecError(.bundle, "has malformed values of \(name)")
        }
        guard let size = (entry["size"] ?? 0).count, size <= 1 << 16 else {
            throw EdgeRecError(.bundle, "has a malformed size of \(name)")
        }
        let isKnown: Bool
        if let reserved = Self.reserved[Exact(input)] {
            isKnown =
                of == reserved.of && reserved.kinds.contains(kind) && name == input && (of == "history") == (size > 0)
        } else {
            isKnown =
                ["user", "item", "context"].contains(of) && kind != .items && (kind == .categories) == (size > 0)
                && !(of == "item" && Self.reserved[Exact(name)] != nil)
        }
        try require(isKnown, .bundle, "describes the input \(input) as something that it is not")
        (self.input, self.name, self.of, self.kind, self.values, self.size) = (input, name, of, kind, values, size)
        codes = Dictionary(uniqueKeysWithValues: zip(values.exact, 1...))
    }

    /// A number for the model: NaN where it is missing.
    func number(_ value: Value?) throws -> Float {
        guard let value, !value.isMissing else { return .nan }
        guard let number = value.double else { throw EdgeRecError(.argument, "\(name) is \(value), not a number") }
        try require(Float(number).isFinite, .argument, "\(name) is infinite, or too large for 32 bits")
        return Float(number)
    }

    /// Codes of categories for the model, `width` of them, padded with 0; missing and unseen ones are left out.
    func categories(_ value: Value?) throws -> [Int32] {
        var found: [Int32] = []
        if let value, !value.isMissing {
            guard let given = kind == .category ? [value] : value.list else {
                throw EdgeRecError(.argument, "\(name) is \(value), not a list of categories")
            }
            for one in given {
                let code = try self.code(one)
                if code > 0, !found.contains(code) { found.append(code) }
            }
        }
        return found.padded(to: width)
    }

    private func code(_ value: Value) throws -> Int32 {
        switch value {
        case .text(let text): return codes[Exact(text.stripped)] ?? 0
        case .integer(let number): return codes[Exact(String(number))] ?? 0
        case _ where value.isMissing: return 0
        default: throw EdgeRecError(.argument, "\(name) has \(value), but categories are texts or whole numbers")
        }
    }
}

/// The values of an item feature by row: numbers, or as many codes of categories as there are. Row 0 is an unknown item.
enum ItemColumn: Sendable {
    case numbers([Float])
    case categories([[Int32]])

    /// The columns of `item_values.json` by name of the feature.
    static func all(_ document: Value, _ features: [Feature], items: Int) throws -> [Exact: ItemColumn] {
        guard let columns = document.object else { throw EdgeRecError(.bundle, "is not an object") }
        return Dictionary(
            uniqueKeysWithValues: try columns.map { name, column in
                guard
                    let feature = features.first(where: {
                        $0.of == "item" && $0.input != "item" && Exact($0.name) == name
                    })
                else {
                    throw EdgeRecError(.bundle, "has values of \(name.text), which is no feature of items")
                }
                guard let rows = column.list, rows.count == items else {
                    throw EdgeRecError(.bundle, "does not have one value of \(name.text) for each of \(items) items")
                }
                return (name, try ItemColumn(feature, rows))
            })
    }

    private init(_ feature: Feature, _ rows: [Value]) throws {
        let malformed = EdgeRecError(.bundle, "has a malformed value of \(feature.name)")
        if feature.kind == .number {
            self = .numbers(
                [.nan]
                    + (try rows.map { value in
                        if case .missing = value { return .nan }
                        guard let number = value.double.map(Float.init), number.isFinite else { throw malformed }
                        return number
                    }))
            return
        }
        self = .categories(
            [[]]
                + (try rows.map { value in
                    if case .missing = value { return [] }
                    guard let codes = feature.kind == .category ? [value] : value.list else { throw malformed }
                    return try codes.map { code in
                        guard let code = code.count, code <= feature.values.count else { throw malformed }
                        return Int32(code)
                    }
                }))
    }
}

extension Array where Element == Int32 {
    /// The first of them, with 0 behind up to the length.
    func padded(to length: Int) -> [Int32] {
        prefix(length) + [Int32](repeating: 0, count: Swift.max(0, length - count))
    }

    /// The last of them, with 0 before up to the length.
    func leftPadded(to length: Int) -> [Int32] {
        [Int32](repeating: 0, count: Swift.max(0, length - count)) + suffix(length)
    }
}
