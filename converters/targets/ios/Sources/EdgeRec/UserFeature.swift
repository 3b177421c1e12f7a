import Foundation

/// A feature of the user that the model can read. Each value is a row of the item table, behind all items.
public struct UserFeature: Sendable {
    /// Its name in `user` of `Recommender.recommend`.
    public let name: String
    /// The values of a categorical feature; empty for a numeric one.
    public let values: [String]
    /// The bounds between the ranges of a numeric feature, rising; a bound belongs to the range above it.
    public let edges: [Double]
    let first: Int
    private let rowOfValue: [Exact: Int]

    var rows: Int { values.isEmpty ? edges.count + 1 : values.count }

    init(_ entry: Value) throws {
        guard let name = entry["name"]?.text, let first = entry["first"]?.count, let values = entry["values"]?.texts,
            let list = entry["edges"]?.list, values.isEmpty || list.isEmpty
        else { throw EdgeRecError(.bundle, "has a malformed entry under user_features") }
        let edges = list.compactMap(\.double)
        guard edges.count == list.count, edges.allSatisfy(\.isFinite), zip(edges, edges.dropFirst()).allSatisfy(<)
        else {
            throw EdgeRecError(.bundle, "has malformed edges of the user feature \(name)")
        }
        self.name = name
        self.first = first
        self.values = values
        self.edges = edges
        let rows = values.enumerated().map { (Exact($1), first + $0) }
        rowOfValue = Dictionary(rows, uniquingKeysWith: { $1 })
    }

    /// The row of a value, `nil` if it is absent or unknown.
    private func row(of value: Value) -> Int? {
        if !values.isEmpty { return Self.text(value).flatMap { rowOfValue[Exact($0.stripped)] } }
        guard let number = Self.number(value), !number.isNaN else { return nil }
        return first + edges.filter { $0 <= number }.count
    }

    private static func text(_ value: Value) -> String? {
        switch value {
        case .text(let text): return text
        case .integer(let number): return String(number)
        case .number(let number): return String(number)
        default: return nil
        }
    }

    private static func number(_ value: Value) -> Double? {
        guard case .text(let text) = value else { return value.double }
        let stripped = text.stripped
        // `Double` alone would also take hexadecimal digits.
        return stripped.utf8.contains(where: { $0 | 0x20 == UInt8(ascii: "x") }) ? nil : Double(stripped)
    }

    /// Rows of a user's known values, in the order of the features.
    static func rows(of features: [UserFeature], _ user: [String: Value]) throws -> [Int32] {
        let given = Dictionary(user.map { (Exact($0), $1) }, uniquingKeysWith: { $1 })
        let names = features.map(\.name)
        let strange = Set(given.keys).subtracting(names.exact).map(\.text).sorted()
        try require(
            strange.isEmpty, .argument,
            "the model knows no user feature \(strange.joined(separator: ", ")); it has: \(listed(names))")
        return features.compactMap { feature in given[Exact(feature.name)].flatMap(feature.row).map(Int32.init) }
    }
}

/// Names in a message.
func listed(_ names: [String]) -> String { names.isEmpty ? "none" : names.joined(separator: ", ") }
