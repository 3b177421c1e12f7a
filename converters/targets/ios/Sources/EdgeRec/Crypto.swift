import Foundation

#if canImport(CryptoKit)
    import CryptoKit

    func sha256(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var hash = SHA256()
        hash.update(bufferPointer: bytes)
        return Array(hash.finalize())
    }

    /// Whether an Ed25519 signature is by the owner of the key, of 32 bytes, and of this content.
    func isSigned(_ content: UnsafeRawBufferPointer, _ signature: Data, by key: Data) -> Bool {
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: key), let start = content.baseAddress
        else { return false }
        let data = Data(bytesNoCopy: UnsafeMutableRawPointer(mutating: start), count: content.count, deallocator: .none)
        return key.isValidSignature(signature, for: data)
    }
#else
    import CCrypto

    func sha256(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        precondition(EVP_Digest(bytes.baseAddress, bytes.count, &digest, nil, EVP_sha256(), nil) == 1)
        return digest
    }

    /// Whether an Ed25519 signature is by the owner of the key, of 32 bytes, and of this content.
    func isSigned(_ content: UnsafeRawBufferPointer, _ signature: Data, by key: Data) -> Bool {
        let key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, Array(key), key.count)
        let context = EVP_MD_CTX_new()
        defer {
            EVP_MD_CTX_free(context)
            EVP_PKEY_free(key)
        }
        guard EVP_DigestVerifyInit(context, nil, nil, nil, key) == 1 else { return false }
        let bytes = content.bindMemory(to: UInt8.self).baseAddress
        return EVP_DigestVerify(context, Array(signature), signature.count, bytes, content.count) == 1
    }
#endif

func sha256(_ bytes: [UInt8]) -> [UInt8] { bytes.withUnsafeBytes { sha256($0) } }

extension Sequence where Element == UInt8 {
    /// Lower-case hexadecimal digits.
    var hex: String { map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
}
