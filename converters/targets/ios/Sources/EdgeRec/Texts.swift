/// Texts by row; row 0 is padding and empty.
public protocol Texts: Sendable {
    /// How many rows there are, padding included.
    var count: Int { get }

    subscript(row: Int) -> String { get }
}

/// Raw ids, which are found by their text as well, compared by code point.
public protocol Ids: Texts {
    /// The row of an id, 0 where there is none.
    func row(of id: String) -> Int

    /// Whether no id is there twice or empty.
    var areDifferent: Bool { get }
}

/// No ids: of a bundle that has none.
struct NoIds: Ids {
    let count = 1
    let areDifferent = true

    subscript(row: Int) -> String { "" }

    func row(of id: String) -> Int { 0 }
}

/// Lines of UTF-8: the bytes of the file, and where each line ends. A line with a backslash is the inside of a JSON text.
struct Lines: Texts {
    private let content: [UInt8]
    private var ends: [Int] = []

    var count: Int { ends.count + 1 }

    /// - Parameter most: how many lines there may be.
    /// - Throws: `EdgeRecError` it has more, is not UTF-8, does not end with a line feed, or has an illegal escape.
    init(_ content: [UInt8], most: Int) throws {
        self.content = content
        try require(content.isEmpty || content.last == UInt8(ascii: "\n"), .bundle, "does not end with a line feed")
        for (at, byte) in content.enumerated() where byte == UInt8(ascii: "\n") {
            try require(ends.count < most, .bundle, "has more than \(most) lines")
            ends.append(at)
        }
        for row in 1..<count { _ = try text(row) }
    }

    subscript(row: Int) -> String {
        // Every line was read once when the file was checked.
        row == 0 ? "" : (try? text(row)) ?? ""
    }

    /// Whether this is the text of the row.
    func isRow(_ row: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        let line = bytes(row)
        return line.contains(UInt8(ascii: "\\")) ? self[row].utf8.elementsEqual(text) : line.elementsEqual(text)
    }

    private func bytes(_ row: Int) -> ArraySlice<UInt8> {
        content[(row == 1 ? 0 : ends[row - 2] + 1)..<ends[row - 1]]
    }

    private func text(_ row: Int) throws -> String {
        let line = bytes(row)
        if line.contains(UInt8(ascii: "\\")) {
            return try JSON.parse([UInt8(ascii: "\"")] + line + [UInt8(ascii: "\"")]).text ?? ""
        }
        guard let text = String(utf8: line) else { throw EdgeRecError(.bundle, "is not UTF-8") }
        return text
    }
}

/// Lines with an index of their hashes: 8 bytes an id, whatever its length.
struct LineIds: Ids {
    // The seed differs in each process, so that no file can be made whose ids collide.
    private static let seed = UInt64.random(in: 0...UInt64.max)

    private let lines: Lines
    private let table: [Int32]
    let areDifferent: Bool

    var count: Int { lines.count }

    init(_ content: [UInt8], most: Int) throws {
        let lines = try Lines(content, most: most)
        var slots = 4
        while slots < 2 * lines.count { slots *= 2 }
        var table = [Int32](repeating: 0, count: slots)
        var areDifferent = true
        for row in 1..<lines.count {
            var id = lines[row]
            let slot = id.withUTF8 { Self.slot(of: $0, in: table, lines) }
            if table[slot] != 0 || id.isEmpty { areDifferent = false } else { table[slot] = Int32(row) }
        }
        self.lines = lines
        self.table = table
        self.areDifferent = areDifferent
    }

    subscript(row: Int) -> String { lines[row] }

    func row(of id: String) -> Int {
        var id = id
        return id.withUTF8 { Int(table[Self.slot(of: $0, in: table, lines)]) }
    }

    /// The slot of an id, or the free one where it would stand.
    private static func slot(of id: UnsafeBufferPointer<UInt8>, in table: [Int32], _ lines: Lines) -> Int {
        var hash = seed
        for byte in id { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        hash = (hash ^ hash >> 32) &* 0xd6e8_feb8_6659_fd93
        var slot = Int(truncatingIfNeeded: hash >> 32) & (table.count - 1)
        while table[slot] != 0, !lines.isRow(Int(table[slot]), id) { slot = (slot + 1) & (table.count - 1) }
        return slot
    }
}

/// Ids that are whole numbers from 0 to 2^63 - 1, in as many bits as the largest needs.
struct NumberIds: Ids {
    private let values: [Int64]
    // Places in the order of their values, for the binary search.
    private let order: [Int32]
    let areDifferent: Bool

    var count: Int { values.count + 1 }

    /// - Parameter content: one byte with the number of bits, then the ids, each from its lowest bit on. It is checked
    ///   before anything is unpacked.
    init(_ content: [UInt8], count: Int) throws {
        let bits = Int(content.first ?? 0)
        guard (1...63).contains(bits), bits >= 31 || count <= 1 << bits, content.count == 1 + (count * bits + 7) / 8
        else {
            throw EdgeRecError(.bundle, "does not hold \(count) different numbers")
        }
        var values = [Int64](repeating: 0, count: count)
        for at in 0..<count * bits where content[1 + at / 8] >> (at % 8) & 1 == 1 {
            values[at / bits] |= 1 << (at % bits)
        }
        var order = [Int32](0..<Int32(count))
        order = order.sorted { values[Int($0)] < values[Int($1)] }
        areDifferent = zip(order, order.dropFirst()).allSatisfy { values[Int($0)] != values[Int($1)] }
        self.values = values
        self.order = order
    }

    subscript(row: Int) -> String { row == 0 ? "" : String(values[row - 1]) }

    func row(of id: String) -> Int {
        // A number is an id only if it is written the one way that ids are.
        guard let value = Int64(id), Exact(String(value)) == Exact(id) else { return 0 }
        var low = 0, high = order.count
        while low < high {
            let middle = (low + high) / 2
            if values[Int(order[middle])] < value { low = middle + 1 } else { high = middle }
        }
        return low < order.count && values[Int(order[low])] == value ? Int(order[low]) + 1 : 0
    }
}
