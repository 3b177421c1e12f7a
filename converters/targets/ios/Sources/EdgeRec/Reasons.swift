/// Reasons: which event of the history contributed most to a recommended item.
struct Reasons {
    // The newest events that are left out in turn; each costs one call of the model.
    private static let leftOut = 20

    /// Transitions of the newest positions of the history, `neighbours` each: item rows and their weights.
    struct Links {
        let neighbours: Int
        let items: [Int32]
        let weights: [Float]
    }

    /// The rows that the model read, oldest first; those above `items` are user features, which are no events.
    let read: [Int32]
    let items: Int
    /// Calls the signature `links` for `read`; `nil` for a model without transitions.
    let links: (() throws -> Links)?
    /// Scores all rows after other rows.
    let itemScores: ([Int32]) throws -> [Float]

    /// For each recommended item the row of the event that contributed most to it, 0 where there is none: the event whose
    /// transition to it weighs most, or else the one without which its score falls most. Of equal events the newest counts.
    func of(_ ids: [Int32], _ scores: [Float]) throws -> [Int32] {
        var found = [Int32](repeating: 0, count: ids.count)
        if ids.isEmpty || read.allSatisfy({ $0 > items }) { return found }
        if let links = try links?() { found = ids.map { linked($0, links) } }
        let without = found.indices.filter { found[$0] == 0 }
        if without.isEmpty { return found }
        var most = [Float](repeating: 0, count: ids.count)
        for place in read.indices.filter({ read[$0] <= items }).suffix(Self.leftOut).reversed() {
            var others = read
            others.remove(at: place)
            let scoresWithout = try itemScores(others)
            for one in without {
                let fall = scores[one] - scoresWithout[Int(ids[one])]
                if fall > most[one] {
                    most[one] = fall
                    found[one] = read[place]
                }
            }
        }
        return found
    }

    private func linked(_ id: Int32, _ links: Links) -> Int32 {
        let positions = links.items.count / links.neighbours
        var reason: Int32 = 0, most: Float = 0
        for (back, event) in read.reversed().prefix(positions).enumerated() where event <= items {
            let first = (positions - 1 - back) * links.neighbours
            for entry in first..<first + links.neighbours where links.items[entry] == id && links.weights[entry] > most
            {
                most = links.weights[entry]
                reason = event
            }
        }
        return reason
    }
}
