import Foundation

/// A problem that the app can handle or report: its message says what happened, where, and what to do.
public struct EdgeRecError: Error, LocalizedError, CustomStringConvertible, Sendable {
    public enum Kind: Sendable {
        /// The file is not a bundle, is damaged, or its parts do not fit together.
        case bundle
        /// The TFLite runtime refuses the model or a call.
        case runtime
        /// A replacement model was refused; the one in service stays.
        case update
        /// An argument is not one that the function takes: a mistake of the caller.
        case argument
        /// The history cannot be read or written.
        case history
    }

    public let kind: Kind
    public let message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }
    public var errorDescription: String? { message }

    static func damaged(_ what: String) -> EdgeRecError {
        EdgeRecError(.bundle, "damaged bundle (\(what)); copy or convert it again")
    }
}

func require(_ condition: Bool, _ kind: EdgeRecError.Kind, _ message: @autoclosure () -> String) throws {
    if !condition { throw EdgeRecError(kind, message()) }
}
