import Foundation

/// A checked bundle: a TFLite flatbuffer with a ZIP appended, which holds everything about the model: the sizes of its
/// inputs, the ids, the titles, the golden vectors and the hashes of all parts.
public struct ModelBundle: Sendable {
    /// The parsed `edgerec.json`.
    let manifest: Value
    public let contract: Contract
    /// Raw id by row; row 0 is padding, rows from 1 on by descending popularity.
    public let items: any Ids
    /// Likewise the titles; `nil` when the bundle has none.
    public let titles: (any Texts)?
    /// Features of the user that the model can read.
    public let userFeatures: [UserFeature]
    /// Attributes of the items for `atMost` of `Recommender.recommend`, by name.
    let attributes: [Exact: Attribute]
    /// Inputs of a ranking model.
    public let features: [Feature]
    let itemValues: [Exact: ItemColumn]
    private let goldenContent: [UInt8]?
    private let mostValues: Int
    /// SHA-256 of the manifest, which has the hashes of all else: tells any two bundles apart.
    let identity: String
    let file: Content
    let modelBytes: Int

    public var name: String { manifest["name"]?.text ?? "" }
    /// How the weights are stored, such as `int8`.
    public var scheme: String { manifest["scheme"]?.text ?? "" }
    /// SHA-256 of the model, in 64 hexadecimal digits: which model a stored state belongs to.
    public var fingerprint: String { manifest["flatbuffer_sha256"]?.text ?? "" }
    /// The release number; a lower one never replaces a higher one.
    public var release: Int64 { manifest["release"]?.integer ?? 0 }
    /// Whether items of the history are left out by default.
    public var excludeHistory: Bool { manifest["exclude_history"]?.flag ?? true }
    /// Names of the attributes for `atMost`.
    public var attributeNames: [String] { attributes.keys.map(\.text).sorted() }

    /// The newest format that this version reads.
    private static let format: Int64 = 3
    private static let manifestName = "edgerec.json", goldenName = "golden.json"
    private static let newest = ["attributes.json", "features.json", "item_values.json"]
    private static let members =
        [
            manifestName, "items.txt", "items.bin", "titles.txt", goldenName, "MODEL_CARD.md",
        ] + newest
    // Items of a ranking model, which may read none of them, beside those that its bytes may hold.
    private static let rankedItems = 100_000

    /// Reads and checks a file, which is mapped, not copied.
    ///
    /// - Throws: `EdgeRecError` it is absent, not a bundle, truncated, altered, or of a newer format.
    public init(file: URL) throws {
        do {
            try self.init(Content(of: file))
        } catch let error as EdgeRecError {
            throw EdgeRecError(error.kind, "\(file.path): \(error.message)")
        }
    }

    /// Reads and checks a bundle in memory.
    public init(data: Data) throws { try self.init(Content(copying: data)) }

    init(_ file: Content) throws {
        guard file.count >= 8, file.uint32(4) == 0x334c_4654 else { throw EdgeRecError(.bundle, "not a TFLite file") }
        let archive = try Archive(file, known: Self.members)
        guard let entry = archive.members.first(where: { $0.name == Self.manifestName }) else {
            throw EdgeRecError(.bundle, "has no \(Self.manifestName), so it is not an edgerec bundle")
        }
        self.file = file
        modelBytes = archive.start
        // At least 32 bytes of memory for each value: as much as eight times the file, and 8 MiB.
        let mostValues = (8 << 20 + 8 * file.count) / 32
        self.mostValues = mostValues
        let stored = try archive.content(of: entry, in: file)
        identity = sha256(stored).hex
        let manifest = try Self.manifest(stored, mostValues)
        self.manifest = manifest
        try Self.checkModel(file, archive.start, manifest)
        let found = try Self.checkedMembers(archive, file, manifest)
        goldenContent = found[Self.goldenName]

        func reading<T>(_ name: String, _ step: () throws -> T) throws -> T {
            do { return try step() } catch let error as EdgeRecError {
                throw EdgeRecError(.bundle, "\(name) \(error.message)")
            }
        }
        func parsed<T>(_ name: String, _ step: (Value) throws -> T) throws -> T? {
            try found[name].map { content in try reading(name) { try step(JSON.parse(content, most: mostValues)) } }
        }
        let contract = try reading(Self.manifestName) { try Contract(manifest["contract"]) }
        self.contract = contract
        let most: Int
        switch contract {
        case .retrieval(let sizes):
            // Even a table of 2 bits has more bytes than items.
            try require(
                sizes.items <= archive.start, .bundle,
                "\(Self.manifestName) says \(sizes.items) items, more than the model has bytes")
            most = sizes.items
        case .ranking: most = Self.rankedItems + archive.start
        }
        let items = try Self.items(found, contract, most, reading)
        self.items = items
        titles = try found["titles.txt"].map { content in try reading("titles.txt") { try Lines(content, most: most) } }
            .flatMap { $0.count > 1 ? $0 : nil }
        if let titles {
            try require(
                titles.count == items.count, .bundle,
                "titles.txt has \(titles.count - 1) lines for \(items.count - 1) items")
        }
        userFeatures = try reading(Self.manifestName) { try Self.userFeatures(manifest, contract) }
        attributes = try parsed("attributes.json") { try Attribute.all($0, items: items.count - 1) } ?? [:]
        if case .ranking(let sizes) = contract {
            let features = try parsed("features.json") { try Feature.all($0, sizes) } ?? []
            self.features = features
            itemValues =
                try parsed("item_values.json") { try ItemColumn.all($0, features, items: items.count - 1) } ?? [:]
        } else {
            features = []
            itemValues = [:]
        }
    }

    /// The contract of a retrieval bundle; throws if it is of another kind.
    func retrieval() throws -> Retrieval {
        if case .retrieval(let sizes) = contract { return sizes }
        throw EdgeRecError(.bundle, "a \(contract.kind) model, not a retrieval model")
    }

    /// The contract of a ranking bundle; throws if it is of another kind.
    func ranking() throws -> Ranking {
        if case .ranking(let sizes) = contract { return sizes }
        throw EdgeRecError(.bundle, "a \(contract.kind) model, not a ranking model")
    }

    /// The golden vectors: inputs with the outputs that are expected for them. Empty when the bundle has none.
    func golden() throws -> [Value] {
        guard let goldenContent else { return [] }
        guard let cases = try? JSON.parse(goldenContent, most: mostValues)["cases"]?.list,
            cases.allSatisfy({ $0.object != nil })
        else { throw EdgeRecError(.bundle, "\(Self.goldenName) has no list of cases") }
        return cases
    }

    private static func manifest(_ content: [UInt8], _ most: Int) throws -> Value {
        let manifest: Value
        do {
            manifest = try JSON.parse(content, most: most)
        } catch let error as EdgeRecError {
            throw EdgeRecError(.bundle, "\(manifestName) \(error.message)")
        }
        guard let format = manifest["format"]?.integer, format >= 1 else {
            throw EdgeRecError(.bundle, "\(manifestName) has no format version")
        }
        try require(
            format <= Self.format, .bundle,
            "bundle format \(format), this app reads up to \(Self.format); export the package again")
        let sections = ["runtimes", "dataset", "quality"].compactMap { manifest[$0] }
        let runtimes = manifest["runtimes"]?.object ?? [:]
        guard sections.allSatisfy({ $0.object != nil }), runtimes.values.allSatisfy({ $0.object != nil }) else {
            throw EdgeRecError(.bundle, "\(manifestName) has entries of the wrong kind")
        }
        guard manifest["name"]?.text != nil, manifest["scheme"]?.text != nil else {
            throw EdgeRecError(.bundle, "\(manifestName) lacks the name or the scheme")
        }
        guard let release = (manifest["release"] ?? 0).integer, (0..<1 << 53).contains(release) else {
            throw EdgeRecError(.bundle, "\(manifestName) has a release that is not a number from 0 to 2^53 - 1")
        }
        return manifest
    }

    private static func checkModel(_ file: Content, _ size: Int, _ manifest: Value) throws {
        try require(
            manifest["flatbuffer_bytes"]?.integer == Int64(size), .bundle,
            "the model has \(size) bytes, \(manifestName) says something else; the file is truncated or altered")
        let hash = sha256(file.part(0..<size)).hex
        try require(
            manifest["flatbuffer_sha256"]?.text == hash, .bundle,
            "the model was altered (its sha256 is not the one in \(manifestName))")
    }

    /// The other members, inflated, whose hashes are those of the manifest.
    private static func checkedMembers(_ archive: Archive, _ file: Content, _ manifest: Value) throws -> [String:
        [UInt8]]
    {
        let others = archive.members.filter { $0.name != manifestName }
        guard let hashes = manifest["members"]?.object, Set(hashes.keys) == Set(others.map { Exact($0.name) }) else {
            throw EdgeRecError(.bundle, "its members are not those that \(manifestName) lists; convert the model again")
        }
        var found: [String: [UInt8]] = [:]
        for member in others {
            let content = try archive.content(of: member, in: file)
            try require(
                hashes[Exact(member.name)]?.text == sha256(content).hex, .bundle,
                "\(member.name) was altered (its sha256 is not the one in \(manifestName))")
            found[member.name] = content
        }
        try require(
            manifest["format"]?.integer == format || !newest.contains(where: found.keys.contains), .bundle,
            "its format does not have all of its members; convert the model again")
        return found
    }

    private static func items(
        _ found: [String: [UInt8]], _ contract: Contract, _ most: Int,
        _ reading: (String, () throws -> any Ids) throws -> any Ids
    ) throws -> any Ids {
        guard case .retrieval(let sizes) = contract else {
            try require(found["items.bin"] == nil, .bundle, "items.bin is not for this bundle; convert the model again")
            let ids = try found["items.txt"].map { content in
                try reading("items.txt") { try LineIds(content, most: most) }
            }
            return ids ?? NoIds()
        }
        let ids: any Ids
        if let numbers = found["items.bin"] {
            try require(found["items.txt"] == nil, .bundle, "has its ids twice; convert the model again")
            ids = try reading("items.bin") { try NumberIds(numbers, count: sizes.items) }
        } else {
            ids = try reading("items.txt") { try LineIds(found["items.txt"] ?? [], most: most) }
        }
        try require(
            ids.count == sizes.items + 1, .bundle,
            "names \(ids.count - 1) items, the model scores \(sizes.items); convert the model again")
        try require(ids.areDifferent, .bundle, "an item is named twice or has no name; convert the model again")
        return ids
    }

    private static func userFeatures(_ manifest: Value, _ contract: Contract) throws -> [UserFeature] {
        guard case .retrieval(let sizes) = contract, let entries = manifest["user_features"] else { return [] }
        guard let list = entries.list else { throw EdgeRecError(.bundle, "has user_features that are no list") }
        let features = try list.map(UserFeature.init)
        var first = sizes.items + 1
        for feature in features {
            try require(
                feature.first == first, .bundle,
                "has the user feature \(feature.name) at row \(feature.first), not \(first)")
            first += feature.rows
        }
        try require(
            features.isEmpty || features.count < sizes.maxHistory, .bundle,
            "has \(features.count) user features, which leave no place for a history")
        return features
    }
}
