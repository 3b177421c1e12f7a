import CSystem
import Foundation

/// An event of the user.
public struct Event: Sendable, Hashable {
    /// Raw id.
    public let item: String
    /// Such as a rating; `nil` for none.
    public let value: Double?
    public let time: Date
}

/// The user's own history, in a database of the app. It never leaves the device, and holds no user id.
public actor HistoryStore {
    private let database: OpaquePointer
    private let most: Int

    private static let create = """
        create table if not exists event \
        (place integer primary key autoincrement, item text not null, value real, time integer not null)
        """
    private static let insert = "insert into event (item, value, time) values (?, ?, ?)"
    private static let newest = "select item, value, time from event order by place desc limit ?"
    private static let forgetOldest =
        "delete from event where place not in (select place from event order by place desc limit ?)"
    private static let remove = "delete from event where item = ?"
    private static let clear = "delete from event"

    /// Opens the database, which is made in the app's own files by default.
    ///
    /// - Parameter most: how many of the newest events are kept.
    public init(_ file: URL? = nil, most: Int = 1000) throws {
        try require(most > 0, .argument, "\(most) events to keep; keep at least one")
        let place =
            try file
            ?? FileManager.default.url(
                for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true
            ).appendingPathComponent("edgerec-history.db")
        var opened: OpaquePointer?
        let status = sqlite3_open_v2(
            place.path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nil)
        guard status == SQLITE_OK, let opened else {
            sqlite3_close(opened)
            throw EdgeRecError(.history, "\(place.path) cannot be opened (\(String(cString: sqlite3_errstr(status))))")
        }
        database = opened
        self.most = most
        try Self.run(opened, Self.create, [])
    }

    deinit { sqlite3_close(database) }

    /// Adds an event; the oldest ones beyond `most` are forgotten.
    public func add(_ item: String, value: Double? = nil, time: Date = Date()) throws {
        let milliseconds = Int64(time.timeIntervalSince1970 * 1000)
        try Self.run(database, Self.insert, [.text(item), value.map(Value.number) ?? .missing, .integer(milliseconds)])
        try Self.run(database, Self.forgetOldest, [.integer(Int64(most))])
    }

    /// The newest events, oldest first.
    public func events(limit: Int? = nil) throws -> [Event] {
        var events: [Event] = []
        try Self.run(database, Self.newest, [.integer(Int64(limit ?? most))]) { row in
            let item = sqlite3_column_text(row, 0).map { String(cString: $0) } ?? ""
            let value = sqlite3_column_type(row, 1) == SQLITE_NULL ? nil : sqlite3_column_double(row, 1)
            let time = Date(timeIntervalSince1970: Double(sqlite3_column_int64(row, 2)) / 1000)
            events.append(Event(item: item, value: value, time: time))
        }
        return events.reversed()
    }

    /// Raw ids of the newest events, oldest first, as `recommend` takes them.
    public func history(limit: Int? = nil) throws -> [String] { try events(limit: limit).map(\.item) }

    /// Forgets all events of an item.
    public func remove(_ item: String) throws { try Self.run(database, Self.remove, [.text(item)]) }

    /// Forgets everything.
    public func clear() throws { try Self.run(database, Self.clear, []) }

    private static func run(
        _ database: OpaquePointer, _ statement: String, _ arguments: [Value], _ row: (OpaquePointer?) -> Void = { _ in }
    ) throws {
        var prepared: OpaquePointer?
        defer { sqlite3_finalize(prepared) }
        var status = sqlite3_prepare_v2(database, statement, -1, &prepared, nil)
        // SQLite copies a text whose destructor is -1.
        let copied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        for (place, argument) in arguments.enumerated() where status == SQLITE_OK {
            switch argument {
            case .text(let text): status = sqlite3_bind_text(prepared, Int32(place + 1), text, -1, copied)
            case .number(let number): status = sqlite3_bind_double(prepared, Int32(place + 1), number)
            case .integer(let number): status = sqlite3_bind_int64(prepared, Int32(place + 1), number)
            default: status = sqlite3_bind_null(prepared, Int32(place + 1))
            }
        }
        if status == SQLITE_OK {
            status = sqlite3_step(prepared)
            while status == SQLITE_ROW {
                row(prepared)
                status = sqlite3_step(prepared)
            }
        }
        guard status == SQLITE_DONE else {
            throw EdgeRecError(
                .history, "the history cannot be read or written (\(String(cString: sqlite3_errmsg(database))))")
        }
    }
}
