import Foundation

/// Lets a model be replaced at run time.
public struct Updates: Sendable {
    /// A folder of the app's own storage for the replacements of this one model.
    public let folder: URL
    /// The 32 raw bytes of the Ed25519 key that replacements must be signed with; `nil` takes them without a signature,
    /// which is for tests only.
    public let publicKey: Data?

    public init(folder: URL, publicKey: Data?) throws {
        try require(
            publicKey == nil || publicKey?.count == 32, .argument,
            "an Ed25519 public key has 32 bytes, not \(publicKey?.count ?? 0)")
        self.folder = folder
        self.publicKey = publicKey
    }

    /// In the app's own files, in a folder that no backup takes to another device.
    ///
    /// - Parameter name: of the folder: another one for each model.
    public init(publicKey: Data?, name: String = "model") throws {
        let support = try FileManager.default.url(
            for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        var folder = support.appendingPathComponent("edgerec").appendingPathComponent(name)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        try? folder.setResourceValues(values)
        try self.init(folder: folder, publicKey: publicKey)
    }
}

/// Which model is in service: the one that the app ships, or one that replaced it at run time. It works on the calling
/// thread; apps use `Recommender.replaceModel`.
///
/// Each replacement has a folder of its own, named by its SHA-256, and one small file says which is in service. That file
/// is replaced by a rename, so that at every moment one whole model is.
final class ModelStore: @unchecked Sendable {
    private static let mostBytes = 512 << 20
    // Two, as the system may have ended the app for a reason of its own.
    private static let mostTrials = 2

    private let updates: Updates
    private let shipped: @Sendable () throws -> ModelBundle
    private let tried: @Sendable (ModelBundle) throws -> GoldenResult
    private let lock = NSRecursiveLock()

    /// What is in service and what was before; `nil` stands for the shipped model.
    private struct Choice: Codable {
        var current: String?
        var previous: String?
        var base: String
    }

    /// - Parameters:
    ///   - shipped: reads the model that the app ships.
    ///   - tried: loads a replacement and runs its golden vectors.
    init(
        _ updates: Updates, shipped: @escaping @Sendable () throws -> ModelBundle,
        tried: @escaping @Sendable (ModelBundle) throws -> GoldenResult
    ) {
        self.updates = updates
        self.shipped = shipped
        self.tried = tried
    }

    /// The model in service; the shipped one if its replacement cannot be read, or if the app ships a newer one.
    func current() throws -> ModelBundle {
        lock.lock()
        defer { lock.unlock() }
        let own = try shipped()
        return choice(own).current.flatMap { try? ModelBundle(file: model($0)) } ?? own
    }

    /// Puts another model in service, if it passes every check; otherwise the current one stays.
    ///
    /// - Parameter signature: the text of its signature file.
    /// - Returns: the new model, or the current one if it is the same.
    /// - Throws: `EdgeRecError` it is refused: the message says why.
    func replace(
        _ data: Data, _ signature: String?, allowDowngrade: Bool = false, allowOtherCatalogue: Bool = false
    ) throws -> ModelBundle {
        try locked {
            try require(
                data.count <= Self.mostBytes, .update,
                "the new model has \(data.count) bytes, more than the \(Self.mostBytes) that are taken")
            // All checks are of these bytes, which are then written: nothing can change in between.
            let content = Content(copying: data)
            let new = try checked(content, signature)
            let old = try current()
            if new.identity == old.identity { return old }
            try checkSuccession(old, new, allowDowngrade, allowOtherCatalogue)
            let name = sha256(content.bytes).hex
            try remembering(name) { try tried(new).requirePassed() }
            let own = try shipped()
            let before = choice(own)
            try store(name, content, signature)
            try choose(Choice(current: name, previous: before.current, base: own.identity))
            return try ModelBundle(file: model(name))
        }
    }

    /// Puts the model before the current one in service again, after the same checks as a replacement's but that of the
    /// release; another call goes forward again.
    func rollback() throws -> ModelBundle {
        try locked {
            let now = choice(try shipped())
            try require(now.current != now.previous, .update, "there is no model before this one to go back to")
            if let previous = now.previous {
                let folder = model(previous).deletingLastPathComponent()
                let signature = try? String(
                    contentsOf: folder.appendingPathComponent("model.tflite.sig"), encoding: .utf8)
                try tried(try checked(Content(of: model(previous)), signature)).requirePassed()
            }
            try choose(Choice(current: now.previous, previous: now.current, base: now.base))
            return try current()
        }
    }

    /// Runs the trial of a model so that an app which ends meanwhile knows of it when it starts again: a model may crash the
    /// runtime, and the app with it.
    private func remembering(_ name: String, _ trial: () throws -> Void) throws {
        let file = updates.folder.appendingPathComponent("trial")
        let before = (try? String(contentsOf: file, encoding: .utf8))?.split(separator: " ").map(String.init) ?? []
        let ends = before.first == name ? before.last.flatMap { Int($0) } ?? 0 : 0
        try require(
            ends < Self.mostTrials, .update,
            "the app ended \(ends) times while it tried this model; it is not tried again")
        try writing { try Self.write(Data("\(name) \(ends + 1)".utf8), to: file) }
        defer { try? FileManager.default.removeItem(at: file) }
        try trial()
    }

    private func checked(_ content: Content, _ signature: String?) throws -> ModelBundle {
        if let key = updates.publicKey { try SignatureFile.verify(content, signature, by: key) }
        return try ModelBundle(content)
    }

    private func checkSuccession(
        _ old: ModelBundle, _ new: ModelBundle, _ allowDowngrade: Bool, _ allowOtherCatalogue: Bool
    ) throws {
        try require(
            new.contract.kind == old.contract.kind, .update,
            "a \(new.contract.kind) model cannot replace a \(old.contract.kind) model")
        try require(
            new.release >= old.release || allowDowngrade, .update,
            "release \(new.release) is older than release \(old.release), which is in service")
        guard case .retrieval = new.contract, !allowOtherCatalogue else { return }
        try require(
            (1..<new.items.count).contains { old.items.row(of: new.items[$0]) > 0 }, .update,
            "the new model has no item in common with the old one: another catalogue?")
    }

    /// What is chosen now. A newer model in an update of the app wins over a replacement for the model before.
    private func choice(_ own: ModelBundle) -> Choice {
        let none = Choice(base: own.identity)
        guard let stored = try? Data(contentsOf: choiceFile),
            var choice = try? JSONDecoder().decode(Choice.self, from: stored)
        else { return none }
        choice.current = choice.current.flatMap { Self.isName($0) ? $0 : nil }
        choice.previous = choice.previous.flatMap { Self.isName($0) ? $0 : nil }
        if choice.base == own.identity { return choice }
        guard let current = choice.current, let replacement = try? ModelBundle(file: model(current)),
            replacement.release > own.release
        else { return none }
        return Choice(current: current, base: own.identity)
    }

    private func store(_ name: String, _ content: Content, _ signature: String?) throws {
        let files = FileManager.default, incoming = updates.folder.appendingPathComponent("incoming")
        let place = model(name).deletingLastPathComponent()
        try writing {
            try? files.removeItem(at: incoming)
            try files.createDirectory(at: incoming, withIntermediateDirectories: true)
            try Self.write(Data(content.bytes), to: incoming.appendingPathComponent("model.tflite"))
            if let signature {
                try Self.write(Data(signature.utf8), to: incoming.appendingPathComponent("model.tflite.sig"))
            }
            try? files.removeItem(at: place)
            try files.moveItem(at: incoming, to: place)
        }
    }

    private func choose(_ choice: Choice) throws {
        let files = FileManager.default, temporary = choiceFile.appendingPathExtension("new")
        try writing {
            try Self.write(try JSONEncoder().encode(choice), to: temporary)
            guard rename(temporary.path, choiceFile.path) == 0 else { throw CocoaError(.fileWriteUnknown) }
        }
        let found = (try? files.contentsOfDirectory(atPath: updates.folder.path)) ?? []
        for name in found where Self.isName(name) && name != choice.current && name != choice.previous {
            try? files.removeItem(at: updates.folder.appendingPathComponent(name))
        }
    }

    private var choiceFile: URL { updates.folder.appendingPathComponent("choice.json") }

    private func model(_ name: String) -> URL {
        updates.folder.appendingPathComponent(name).appendingPathComponent("model.tflite")
    }

    private static func isName(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy { hexadecimal($0) != nil }
    }

    /// Writes and flushes a new file.
    private static func write(_ data: Data, to file: URL) throws {
        guard FileManager.default.createFile(atPath: file.path, contents: nil) else {
            throw CocoaError(.fileWriteUnknown)
        }
        let handle = try FileHandle(forWritingTo: file)
        try handle.write(contentsOf: data)
        try handle.synchronize()
        try handle.close()
    }

    private func writing(_ step: () throws -> Void) throws {
        do {
            try step()
        } catch let error where !(error is EdgeRecError) {
            throw EdgeRecError(
                .update, "\(updates.folder.path) cannot be written to (\(error.localizedDescription)): is storage left?"
            )
        }
    }

    /// One update at a time, also among processes of the app.
    private func locked<T>(_ change: () throws -> T) throws -> T {
        lock.lock()
        defer { lock.unlock() }
        try writing { try FileManager.default.createDirectory(at: updates.folder, withIntermediateDirectories: true) }
        let descriptor = open(updates.folder.appendingPathComponent("lock").path, O_CREAT | O_RDWR, 0o600)
        guard descriptor >= 0, flock(descriptor, LOCK_EX) == 0 else {
            throw EdgeRecError(.update, "\(updates.folder.path) cannot be locked")
        }
        defer { close(descriptor) }
        return try change()
    }
}
