/// Top lists from scores, with one order everywhere: best first, and of equal scores the lower, more popular, row.
enum Order {
    /// The `k` best rows of the scores by rows, without row 0 and what has the score minus infinity or none.
    static func top(_ scores: [Float], _ k: Int) -> [Int32] {
        func isBetter(_ one: Int32, _ other: Int32) -> Bool {
            let (first, second) = (scores[Int(one)], scores[Int(other)])
            return first > second || (first == second && one < other)
        }
        var rows = (1..<Int32(scores.count)).filter { scores[Int($0)] > -.infinity }
        if k < rows.count / 8 {
            // The best so far in order, the worst of them last: a long catalogue is not sorted for a short list.
            var best = rows.prefix(k).sorted(by: isBetter)
            for row in rows.dropFirst(k) where isBetter(row, best[k - 1]) {
                var place = k - 1
                while place > 0, isBetter(row, best[place - 1]) {
                    best[place] = best[place - 1]
                    place -= 1
                }
                best[place] = row
            }
            return best
        }
        rows.sort(by: isBetter)
        return Array(rows.prefix(k))
    }
}

/// At most so many items of each value of an attribute, counted along a list.
struct Limits {
    private let limits: [(attribute: Attribute, most: Int)]
    private var taken: [[Int]]

    init(_ limits: [(Attribute, Int)]) {
        self.limits = limits
        taken = limits.map { [Int](repeating: 0, count: $0.0.values.count) }
    }

    /// Whether one more item of this row may be listed; if so, it is counted.
    mutating func take(_ row: Int32) -> Bool {
        for (place, limit) in limits.enumerated()
        where limit.attribute.of(Int(row)).contains(where: { taken[place][Int($0)] >= limit.most }) { return false }
        for (place, limit) in limits.enumerated() {
            for value in limit.attribute.of(Int(row)) { taken[place][Int(value)] += 1 }
        }
        return true
    }
}

/// Which items a list may have.
struct Selection {
    let banned: Set<Int32>
    let allowed: Set<Int32>?
    let limits: Limits?

    func permits(_ row: Int32) -> Bool { !banned.contains(row) && (allowed?.contains(row) ?? true) }

    /// The first `k` rows of a ranking that stay within the limits.
    func first(_ k: Int, of ranked: some Sequence<Int32>) -> [Int32] {
        guard var limits else { return Array(ranked.prefix(k)) }
        var rows: [Int32] = []
        for row in ranked where rows.count < k && limits.take(row) { rows.append(row) }
        return rows
    }

    /// Rows of the best items for the scores of all rows.
    func best(_ scores: [Float], _ k: Int) -> [Int32] {
        var scores = scores
        for row in 1..<Int32(scores.count) where !permits(row) { scores[Int(row)] = -.infinity }
        return first(k, of: Order.top(scores, limits == nil ? k : scores.count))
    }
}
