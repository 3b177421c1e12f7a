/// One recommended item.
public struct Recommendation: Sendable, Hashable, Identifiable {
    /// Its raw id.
    public let item: String
    /// Higher is better; comparable within one call.
    public let score: Float
    /// Empty where the bundle has none.
    public let title: String
    /// Raw id of the event of the history that contributed most to it; `nil` unless it was asked for and there is one.
    public let because: String?

    public var id: String { item }
}

/// Where a list comes from.
public enum Source: String, Sendable {
    case model
    /// The most popular items, as nothing is known of the user.
    case popularity
}

/// The list of a recommendation, best first.
public struct Recommendations: RandomAccessCollection, Sendable {
    private let items: [Recommendation]
    /// How many events of the history are not in the catalogue and were skipped.
    public let unknown: Int
    public let source: Source

    init(_ items: [Recommendation], unknown: Int, source: Source) {
        self.items = items
        self.unknown = unknown
        self.source = source
    }

    public var startIndex: Int { items.startIndex }
    public var endIndex: Int { items.endIndex }
    public subscript(place: Int) -> Recommendation { items[place] }
}
