import Foundation

/// The signature of a bundle, `MODEL.sig`: lines `ed25519 KEYID BASE64` below a heading, each an Ed25519 signature over
/// every byte of the bundle.
enum SignatureFile {
    private static let heading = "edgerec-signature 1"
    private static let maxBytes = 4096, maxLines = 16, signatureBytes = 64

    /// Checks that one of the signatures is by the owner of the key.
    ///
    /// - Parameter key: the 32 raw bytes of an Ed25519 public key.
    /// - Throws: `EdgeRecError` none is, or the file is malformed.
    static func verify(_ content: Content, _ text: String?, by key: Data) throws {
        guard let text else {
            throw EdgeRecError(
                .update, "the model is not signed, but this app requires a signature; send MODEL.sig along")
        }
        let keyId = String(sha256(Array(key)).hex.prefix(16))
        let own = try signatures(text).filter { $0.key == keyId }
        try require(
            !own.isEmpty, .update, "the model is not signed with the key \(keyId) of this app; sign it with that key")
        try require(
            own.contains { isSigned(content.bytes, $0.bytes, by: key) }, .update,
            "the signature is not of this model: the file was altered, or the signature is another file's")
    }

    /// The key id and the bytes of each signature.
    private static func signatures(_ text: String) throws -> [(key: String, bytes: Data)] {
        func malformed(_ why: String) -> EdgeRecError {
            EdgeRecError(.update, "the signature file is malformed: \(why)")
        }
        // By bytes: Swift takes CR and LF together for one character.
        let bytes = Array(text.utf8)
        guard bytes.count <= maxBytes, bytes.allSatisfy({ $0 < 128 }) else {
            throw malformed("it is not a short ASCII text")
        }
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
        }
        while lines.last == "" { lines.removeLast() }
        guard lines.first == heading else { throw malformed("it does not begin with \"\(heading)\"") }
        guard lines.count <= maxLines + 1 else { throw malformed("it has more than \(maxLines) signatures") }
        return try lines.dropFirst().compactMap { line in
            let fields = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 3, !fields.contains("") else { throw malformed("a line has not three fields") }
            if fields[0] != "ed25519" { return nil }
            guard let signature = Data(base64Encoded: fields[2]), signature.count == signatureBytes else {
                throw malformed("a signature has not \(signatureBytes) bytes")
            }
            return (fields[1], signature)
        }
    }
}
