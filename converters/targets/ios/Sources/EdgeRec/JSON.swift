/// A strict JSON parser (RFC 8259) for the bundle's own members.
///
/// Foundation's takes a number for a boolean and the other way round, and differs between systems; a file from outside
/// must not have such freedom.
struct JSON {
    private static let maxDepth = 100

    private let bytes: UnsafeBufferPointer<UInt8>
    private var at = 0
    private var room: Int

    /// - Parameter most: how many values it may have; each takes up to thirty times the memory of its text.
    /// - Throws: `EdgeRecError` it is not JSON; the message continues the name of the document.
    static func parse(_ content: [UInt8], most: Int = .max) throws -> Value {
        try content.withUnsafeBufferPointer { bytes in
            var parser = JSON(bytes: bytes, room: most)
            let value = try parser.value(0)
            parser.blanks()
            if parser.at < bytes.count { throw parser.fault("has something after its end") }
            return value
        }
    }

    private init(bytes: UnsafeBufferPointer<UInt8>, room: Int) {
        self.bytes = bytes
        self.room = room
    }

    private mutating func value(_ depth: Int) throws -> Value {
        if depth > Self.maxDepth { throw fault("is nested deeper than \(Self.maxDepth) levels") }
        room -= 1
        if room < 0 { throw fault("has more values than a file of its size may have") }
        blanks()
        switch try peek() {
        case UInt8(ascii: "{"): return try object(depth)
        case UInt8(ascii: "["): return try list(depth)
        case UInt8(ascii: "\""): return .text(try string())
        case UInt8(ascii: "t"): return try word("true", .flag(true))
        case UInt8(ascii: "f"): return try word("false", .flag(false))
        case UInt8(ascii: "n"): return try word("null", .missing)
        default: return try number()
        }
    }

    private mutating func object(_ depth: Int) throws -> Value {
        var entries: [Exact: Value] = [:]
        at += 1
        blanks()
        if try peek() == UInt8(ascii: "}") { at += 1; return .object(entries) }
        while true {
            blanks()
            if try peek() != UInt8(ascii: "\"") { throw fault("has an object key that is not a text") }
            let key = Exact(try string())
            blanks()
            try expect(UInt8(ascii: ":"))
            entries[key] = try value(depth + 1)
            blanks()
            if try peek() == UInt8(ascii: "}") { at += 1; return .object(entries) }
            try expect(UInt8(ascii: ","))
        }
    }

    private mutating func list(_ depth: Int) throws -> Value {
        var values: [Value] = []
        at += 1
        blanks()
        if try peek() == UInt8(ascii: "]") { at += 1; return .list(values) }
        while true {
            values.append(try value(depth + 1))
            blanks()
            if try peek() == UInt8(ascii: "]") { at += 1; return .list(values) }
            try expect(UInt8(ascii: ","))
        }
    }

    private mutating func string() throws -> String {
        at += 1
        var decoded: [UInt8] = []
        var start = at
        while true {
            switch try peek() {
            case UInt8(ascii: "\""):
                decoded += bytes[start..<at]
                at += 1
                guard let text = String(utf8: decoded) else { throw fault("is not UTF-8") }
                return text
            case UInt8(ascii: "\\"):
                decoded += bytes[start..<at]
                at += 1
                decoded += Array(String(try escape()).utf8)
                start = at
            case 0..<0x20: throw fault("has a control character in a text")
            default: at += 1
            }
        }
    }

    private mutating func escape() throws -> Unicode.Scalar {
        let kind = try peek()
        at += 1
        switch kind {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(kind)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            var code = try unit()
            // The second half of a surrogate pair follows as another escape.
            if (0xD800..<0xDC00).contains(code), at + 1 < bytes.count, bytes[at] == UInt8(ascii: "\\"),
                bytes[at + 1] == UInt8(ascii: "u")
            {
                at += 2
                let low = try unit()
                code = (0xDC00..<0xE000).contains(low) ? 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00) : 0xD800
            }
            guard let scalar = Unicode.Scalar(code) else { throw fault("has half of a surrogate pair") }
            return scalar
        default: throw fault("has an illegal escape")
        }
    }

    /// The four hexadecimal digits of an escape.
    private mutating func unit() throws -> UInt32 {
        guard at + 4 <= bytes.count else { throw fault("ends within an escape") }
        var code: UInt32 = 0
        for digit in bytes[at..<at + 4] {
            guard let value = hexadecimal(digit) else { throw fault("has an illegal escape") }
            code = code << 4 | UInt32(value)
        }
        at += 4
        return code
    }

    private mutating func number() throws -> Value {
        let start = at
        var whole = true
        if bytes[at] == UInt8(ascii: "-") { at += 1 }
        let first = at
        try digits()
        if at - first > 1, bytes[first] == UInt8(ascii: "0") { throw fault("has a number with a leading zero") }
        if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
            whole = false
            at += 1
            try digits()
        }
        if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
            whole = false
            at += 1
            if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") { at += 1 }
            try digits()
        }
        let literal = String(decoding: bytes[start..<at], as: UTF8.self)
        if whole, let integer = Int64(literal) { return .integer(integer) }
        return .number(Double(literal) ?? .infinity)
    }

    private mutating func digits() throws {
        let start = at
        while at < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[at]) { at += 1 }
        if at == start { throw fault("has an unexpected character") }
    }

    private mutating func word(_ word: StaticString, _ value: Value) throws -> Value {
        let end = at + word.utf8CodeUnitCount
        guard end <= bytes.count, (0..<word.utf8CodeUnitCount).allSatisfy({ bytes[at + $0] == word.utf8Start[$0] })
        else {
            throw fault("has an unexpected character")
        }
        at = end
        return value
    }

    private mutating func blanks() {
        while at < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[at]) { at += 1 }
    }

    private func peek() throws -> UInt8 {
        guard at < bytes.count else { throw fault("ends too early") }
        return bytes[at]
    }

    private mutating func expect(_ character: UInt8) throws {
        if try peek() != character { throw fault("lacks a '\(Character(Unicode.Scalar(character)))'") }
        at += 1
    }

    private func fault(_ what: String) -> EdgeRecError { EdgeRecError(.bundle, "\(what) (byte \(at))") }
}

/// The value of a hexadecimal digit in ASCII.
func hexadecimal(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): return digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): return digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): return digit - UInt8(ascii: "A") + 10
    default: return nil
    }
}

extension String {
    /// The text of UTF-8; `nil` if it is malformed. A byte order mark stays a part of it, unlike with Foundation.
    init?(utf8 bytes: some Collection<UInt8>) {
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.utf8.elementsEqual(bytes) else { return nil }
        self = text
    }
}
