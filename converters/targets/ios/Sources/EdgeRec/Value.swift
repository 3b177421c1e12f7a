import Foundation

/// A value of a feature as an app passes it, or of JSON: `["age": 31, "gender": "F", "tags": ["a", "b"], "city": nil]`.
public enum Value: Sendable {
    case missing
    case flag(Bool)
    case integer(Int64)
    case number(Double)
    case text(String)
    case list([Value])
    case object([Exact: Value])
}

/// A text that is compared by code point; Swift's `String` takes texts for equal that differ in their normalisation.
public struct Exact: Hashable, Sendable, ExpressibleByStringLiteral {
    public let text: String

    public init(_ text: String) { self.text = text }
    public init(stringLiteral text: String) { self.text = text }

    public static func == (one: Exact, other: Exact) -> Bool { one.text.utf8.elementsEqual(other.text.utf8) }

    public func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension Value: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByArrayLiteral, ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .text(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(booleanLiteral value: Bool) { self = .flag(value) }
    public init(arrayLiteral values: Value...) { self = .list(values) }
    public init(nilLiteral: ()) { self = .missing }
}

extension Value {
    /// The entry of an object; `nil` where there is none, or this is no object.
    subscript(_ name: Exact) -> Value? { object?[name] }

    var object: [Exact: Value]? { if case .object(let entries) = self { return entries } else { return nil } }
    var list: [Value]? { if case .list(let values) = self { return values } else { return nil } }
    var text: String? { if case .text(let text) = self { return text } else { return nil } }
    var flag: Bool? { if case .flag(let flag) = self { return flag } else { return nil } }
    var integer: Int64? { if case .integer(let number) = self { return number } else { return nil } }

    /// A whole number from 0 on that fits in 31 bits.
    var count: Int? { integer.flatMap { (0...Int64(Int32.max)).contains($0) ? Int($0) : nil } }

    /// A number, whole or not.
    var double: Double? {
        switch self {
        case .integer(let number): return Double(number)
        case .number(let number): return number
        default: return nil
        }
    }

    /// All of a list of texts; `nil` if it is something else.
    var texts: [String]? {
        guard let list else { return nil }
        let texts = list.compactMap(\.text)
        return texts.count == list.count ? texts : nil
    }

    var isMissing: Bool {
        switch self {
        case .missing: return true
        case .number(let number): return number.isNaN
        default: return false
        }
    }
}

extension Sequence where Element == String {
    var exact: [Exact] { map { Exact($0) } }
}

extension Array where Element == String {
    /// Whether no two texts are the same.
    var areDifferent: Bool { Set(exact).count == count }
}

extension String {
    /// Without blanks at both ends.
    var stripped: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
