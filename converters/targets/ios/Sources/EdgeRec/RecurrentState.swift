import Foundation

/// What a recurrent model remembers of one user's events, which an app stores between two of them. It belongs to one
/// bundle and never changes: `Recommender.advance` returns a new one.
public struct RecurrentState: Sendable, Equatable {
    private static let magic = Array("ERS2".utf8), magicWithoutRecent = Array("ERS1".utf8)
    private static let fingerprintBytes = 32

    let values: [Float]
    /// Which model it belongs to: the SHA-256 of the flatbuffer in 64 hexadecimal digits.
    public let fingerprint: String
    let recent: [Int32]

    init(values: [Float], fingerprint: String, recent: [Int32]) throws {
        try require(values.allSatisfy(\.isFinite), .argument, "the state's values are not finite")
        try require(recent.allSatisfy { $0 > 0 }, .argument, "the state's recent rows begin at 1")
        self.values = values
        self.fingerprint = fingerprint
        self.recent = recent
    }

    /// The state that `data` gave, now or in the format `ERS1` (without recent rows).
    public init(data: Data) throws {
        let bytes = Array(data), magic = Array(bytes.prefix(4)), counted = magic == Self.magic
        var at = 4 + Self.fingerprintBytes
        func number(_ at: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << UInt32(8 * $1) } }
        guard counted || magic == Self.magicWithoutRecent, bytes.count >= at + (counted ? 4 : 0) else {
            throw Self.malformed
        }
        let count = counted ? Int(number(at)) : 0
        at += counted ? 4 : 0
        let left = bytes.count - at - 4 * count
        guard left >= 4, left % 4 == 0 else { throw Self.malformed }
        let first = at + 4 * count
        try self.init(
            values: stride(from: first, to: bytes.count, by: 4).map { Float(bitPattern: number($0)) },
            fingerprint: bytes[4..<4 + Self.fingerprintBytes].hex,
            recent: stride(from: at, to: first, by: 4).map { Int32(bitPattern: number($0)) })
    }

    /// Whether it holds nothing: no event and no user feature so far.
    public var isEmpty: Bool { recent.isEmpty && values.allSatisfy { $0 == 0 } }

    /// The state as bytes to store: `ERS2`, the fingerprint (32 bytes), the number of recent rows (uint32), the recent rows
    /// (int32) and the values (float32), all little-endian. Every implementation of edgerec reads them.
    public var data: Data {
        var data = Data(Self.magic)
        let digits = Array(fingerprint.utf8)
        data += stride(from: 0, to: digits.count, by: 2).map {
            hexadecimal(digits[$0])! << 4 | hexadecimal(digits[$0 + 1])!
        }
        let numbers = [UInt32(recent.count)] + recent.map(UInt32.init(bitPattern:)) + values.map(\.bitPattern)
        for number in numbers { withUnsafeBytes(of: number.littleEndian) { data.append(contentsOf: $0) } }
        return data
    }

    private static let malformed = EdgeRecError(.argument, "not a stored state (or a truncated one)")
}
