/// An attribute of the items, such as their category: of each row any number of its values.
public struct Attribute: Sendable {
    /// The values by place.
    public let values: [String]
    private var starts: [Int32] = [0, 0]
    private var places: [Int32] = []

    /// Places of the values of an item row; empty where they are unknown.
    func of(_ row: Int) -> ArraySlice<Int32> { places[Int(starts[row])..<Int(starts[row + 1])] }

    /// All attributes of `attributes.json`, by name.
    static func all(_ document: Value, items: Int) throws -> [Exact: Attribute] {
        guard let entries = document.object else { throw EdgeRecError(.bundle, "is not an object") }
        return Dictionary(uniqueKeysWithValues: try entries.map { ($0, try Attribute($0.text, $1, items)) })
    }

    private init(_ name: String, _ entry: Value, _ items: Int) throws {
        guard let values = entry["values"]?.texts, values.areDifferent else {
            throw EdgeRecError(.bundle, "has no list of different texts as the values of \(name)")
        }
        guard let rows = entry["rows"]?.list, rows.count == items else {
            throw EdgeRecError(.bundle, "does not have one row of \(name) for each of \(items) items")
        }
        self.values = values
        for row in rows {
            guard let list = row.list else { throw EdgeRecError(.bundle, "has a malformed row of \(name)") }
            let own = list.compactMap(\.count)
            guard own.count == list.count, own.allSatisfy(values.indices.contains), Set(own).count == own.count else {
                throw EdgeRecError(.bundle, "has a row of \(name) that does not name different values")
            }
            places += own.map(Int32.init)
            starts.append(Int32(places.count))
        }
    }
}
