/// What the golden vectors of a bundle say: made-up inputs whose outputs are known from Python.
public struct GoldenResult: Sendable {
    /// How many gave what is expected.
    public let passed: Int
    /// The others, one line each.
    public let failures: [String]

    /// Runs a check on each case; it returns why the case fails, or `nil`.
    init(_ cases: [Value], _ check: (Value) throws -> String?) rethrows {
        failures = try cases.compactMap(check)
        passed = cases.count - failures.count
    }

    /// Refuses a model that answers otherwise than Python, or that has no golden vectors to tell.
    public func requirePassed() throws {
        try require(
            failures.isEmpty, .bundle,
            "\(failures.count) of \(passed + failures.count) golden vectors fail on this device; the first: \(failures.first ?? "")"
        )
        try require(passed > 0, .bundle, "it has no golden vectors, so nothing shows that it computes rightly here")
    }
}

enum Golden {
    private static let tolerance = 0.02
    // A file could otherwise allow itself anything.
    private static let mostTolerance = 0.1

    static let malformed = EdgeRecError(.bundle, "golden.json has a malformed case")

    static func scores(_ golden: Value) throws -> [Float] {
        guard let list = golden["scores"]?.list else { throw malformed }
        return try list.map { value in
            guard let score = value.double.map(Float.init), score.isFinite else { throw malformed }
            return score
        }
    }

    /// How far a score may be from the expected one.
    static func within(_ golden: Value, _ scores: [Float]) -> Float {
        let tolerance = min(max(golden["tolerance"]?.double ?? tolerance, 0), mostTolerance)
        return Float(tolerance) * (scores.map(abs).max() ?? 0)
    }

    static func near(_ expected: [Float], _ found: [Float], _ within: Float) -> Bool {
        expected.count == found.count && zip(expected, found).allSatisfy { abs($0 - $1) <= within }
    }

    /// Whether each id is the expected one at its place, or nearly ties with it.
    static func sameOrder(_ ids: [Int32], _ scores: [Float], _ found: [Int32], _ within: Float) -> Bool {
        ids.indices.allSatisfy { place in
            let own = ids.firstIndex(of: found[place]).map { scores[$0] } ?? scores[scores.count - 1]
            return found[place] == ids[place] || abs(own - scores[place]) <= within
        }
    }
}
