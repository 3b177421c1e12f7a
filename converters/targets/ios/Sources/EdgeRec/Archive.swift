import CSystem

/// The ZIP behind the flatbuffer, read strictly: only what the writer of bundles makes, and everything is checked before
/// it is inflated, so that a hostile file costs no more memory than the limits allow.
struct Archive {
    /// A member that is not inflated yet.
    struct Member {
        let name: String
        fileprivate let method: Int
        fileprivate let crc: Int
        fileprivate let size: Int
        fileprivate let packed: Range<Int>
    }

    /// Where the ZIP begins: the header of its first member.
    let start: Int
    let members: [Member]

    private static let endBytes = 22, entryBytes = 46, headerBytes = 30
    private static let stored = 0, deflated = 8, utf8Name = 0x800
    // What all members together may have when inflated: a floor for small files, and a multiple of the file.
    private static let floor = 8 << 20, factor = 3

    /// - Parameter known: names of the members that may be there, in ASCII.
    /// - Throws: `EdgeRecError` there is no ZIP, or not one that a bundle has.
    init(_ file: Content, known: [String]) throws {
        let end = file.count - Self.endBytes
        guard end >= 0, file.uint32(end) == 0x0605_4b50, file.uint16(end + 20) == 0 else {
            throw EdgeRecError(
                .bundle,
                "a TFLite file without the edgerec part (a plain model, or a truncated bundle); make one with: edgerec convert"
            )
        }
        let count = file.uint16(end + 10), directory = file.uint32(end + 16)
        guard file.uint32(end + 4) == 0, file.uint16(end + 8) == count, count <= known.count,
            directory + file.uint32(end + 12) == end
        else { throw EdgeRecError.damaged("its directory is malformed") }
        var members: [Member] = []
        var at = directory, start = directory, begin = directory, total = 0
        for place in 0..<count {
            guard at + Self.entryBytes <= end, file.uint32(at) == 0x0201_4b50 else {
                throw EdgeRecError.damaged("its directory is malformed")
            }
            let length = file.uint16(at + 28), header = file.uint32(at + 42)
            guard at + Self.entryBytes + length <= end, file.uint32(at + 30) == 0 else {
                throw EdgeRecError.damaged("its directory is malformed")
            }
            let raw = file.part(at + Self.entryBytes..<at + Self.entryBytes + length)
            guard let name = known.first(where: { $0.utf8.elementsEqual(raw) }) else {
                throw EdgeRecError(
                    .bundle,
                    "unexpected member \"\(String(decoding: raw.prefix(40), as: UTF8.self))\"; refusing the file")
            }
            if members.contains(where: { $0.name == name }) { throw EdgeRecError.damaged("\(name) is there twice") }
            let method = file.uint16(at + 10), packed = file.uint32(at + 20), size = file.uint32(at + 24)
            guard file.uint16(at + 8) & ~Self.utf8Name == 0, method == Self.stored || method == Self.deflated else {
                throw EdgeRecError.damaged("\(name) is neither stored nor deflated")
            }
            total += size
            if total > Self.floor + Self.factor * file.count {
                throw EdgeRecError.damaged("\(name) claims \(size) bytes")
            }
            if place > 0, header != begin { throw EdgeRecError.damaged("\(name) is not behind the one before it") }
            if place == 0 { start = header }
            let data = header + Self.headerBytes + length
            guard data + packed <= directory, Self.sameHeader(file, entry: at, header: header, name: length) else {
                throw EdgeRecError.damaged("the header of \(name) is not what the directory says")
            }
            members.append(
                Member(
                    name: name, method: method, crc: file.uint32(at + 16), size: size, packed: data..<data + packed))
            begin = data + packed
            at += Self.entryBytes + length
        }
        guard at == end, begin == directory else { throw EdgeRecError.damaged("its directory is malformed") }
        self.start = start
        self.members = members
    }

    /// The inflated bytes of a member.
    func content(of member: Member, in file: Content) throws -> [UInt8] {
        let packed = file.part(member.packed)
        let content = member.method == Self.stored ? Array(packed) : try Self.inflated(packed, member)
        guard content.count == member.size else {
            throw EdgeRecError.damaged("\(member.name) is not as long as it claims")
        }
        guard crc32(0, content, UInt32(content.count)) == UInt(member.crc) else {
            throw EdgeRecError.damaged("\(member.name) has another checksum")
        }
        return content
    }

    /// Whether the local header says what the entry says, flags to sizes and the name, and has no more.
    private static func sameHeader(_ file: Content, entry: Int, header: Int, name: Int) -> Bool {
        guard file.uint32(header) == 0x0403_4b50, file.uint16(header + 26) == name, file.uint16(header + 28) == 0 else {
            return false
        }
        func same(_ places: Range<Int>, _ others: Range<Int>) -> Bool {
            file.part(places).elementsEqual(file.part(others))
        }
        // Flags and method, then checksum and sizes; the time between them means nothing.
        return same(header + 6..<header + 10, entry + 8..<entry + 12)
            && same(header + 14..<header + 26, entry + 16..<entry + 28)
            && same(header + headerBytes..<header + headerBytes + name, entry + entryBytes..<entry + entryBytes + name)
    }

    private static func inflated(_ packed: UnsafeRawBufferPointer, _ member: Member) throws -> [UInt8] {
        var stream = z_stream()
        guard inflateInit2_(&stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw EdgeRecError.damaged("\(member.name) cannot be inflated")
        }
        defer { inflateEnd(&stream) }
        // One byte more than claimed shows a member that is longer, without inflating the rest.
        return try [UInt8](unsafeUninitializedCapacity: member.size + 1) { content, length in
            stream.next_in = UnsafeMutablePointer(mutating: packed.bindMemory(to: UInt8.self).baseAddress)
            stream.avail_in = UInt32(packed.count)
            stream.next_out = content.baseAddress
            stream.avail_out = UInt32(content.count)
            let status = inflate(&stream, Z_FINISH)
            length = Int(stream.total_out)
            guard status == Z_STREAM_END, stream.avail_in == 0 else {
                throw EdgeRecError.damaged("\(member.name) cannot be inflated to \(member.size) bytes")
            }
        }
    }
}
