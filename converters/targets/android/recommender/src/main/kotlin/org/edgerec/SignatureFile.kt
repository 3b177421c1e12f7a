package org.edgerec

import com.google.crypto.tink.subtle.Ed25519Verify
import java.security.GeneralSecurityException
import java.security.MessageDigest

/**
 * The signature of a bundle, `MODEL.sig`: lines `ed25519 KEYID BASE64` below a heading, each an Ed25519 signature over every
 * byte of the bundle.
 */
internal object SignatureFile {
    private const val HEADING = "edgerec-signature 1"
    private const val ALGORITHM = "ed25519"
    private const val MOST_CHARACTERS = 4096
    private const val MOST_LINES = 16
    private const val SIGNATURE_BYTES = 64
    private const val KEY_BYTES = 32

    /**
     * Checks that one of the signatures is by the owner of the key.
     *
     * @param publicKey the 32 raw bytes of an Ed25519 public key.
     * @throws UpdateException none is, or the file is malformed.
     */
    fun verify(content: ByteArray, signature: String?, publicKey: ByteArray) {
        require(publicKey.size == KEY_BYTES) { "a public key has $KEY_BYTES bytes, not ${publicKey.size}" }
        if (signature == null) throw UpdateException("the model is not signed, but this app requires a signature; send MODEL.sig along")
        val keyId = MessageDigest.getInstance("SHA-256").digest(publicKey).hex().take(16)
        val own = signatures(signature).filter { (key, _) -> key == keyId }
        if (own.isEmpty()) throw UpdateException("the model is not signed with the key $keyId of this app; sign it with that key")
        if (own.none { (_, bytes) -> isValid(content, bytes, publicKey) }) {
            throw UpdateException("the signature is not of this model: the file was altered, or the signature is another file's")
        }
    }

    /** The key id and the bytes of each signature. */
    private fun signatures(text: String): List<Pair<String, ByteArray>> {
        if (text.length > MOST_CHARACTERS || !text.all { it.code < 128 }) throw malformed("it is not a short ASCII text")
        val lines = text.split('\n').map { it.removeSuffix("\r") }.dropLastWhile { it.isEmpty() }
        if (lines.firstOrNull() != HEADING) throw malformed("it does not begin with \"$HEADING\"")
        if (lines.size > MOST_LINES + 1) throw malformed("it has more than $MOST_LINES signatures")
        return lines.drop(1).mapNotNull { line ->
            val fields = line.split(' ')
            if (fields.size != 3 || fields.any { it.isEmpty() }) throw malformed("a line has not three fields")
            if (fields[0] == ALGORITHM) fields[1] to decoded(fields[2]) else null
        }
    }

    // The framework's decoder is not part of the JVM, and the JVM's not of Android 7.
    private fun decoded(base64: String): ByteArray {
        val digits = base64.removeSuffix("==")
        val values = digits.map { DIGITS.indexOf(it) }
        if (base64.length - digits.length != 2 || digits.length != 86 || -1 in values || values.last() and 15 != 0) {
            throw malformed("a signature has not $SIGNATURE_BYTES bytes")
        }
        var bits = 0
        val bytes = ArrayList<Byte>()
        values.forEachIndexed { place, value ->
            bits = (bits shl 6) or value
            if (place % 4 != 0) bytes.add((bits shr (6 - 2 * (place % 4))).toByte())
        }
        return bytes.toByteArray()
    }

    private fun isValid(content: ByteArray, signature: ByteArray, publicKey: ByteArray): Boolean = try {
        Ed25519Verify(publicKey).verify(signature, content)
        true
    } catch (_: GeneralSecurityException) {
        false
    }

    private fun malformed(why: String) = UpdateException("the signature file is malformed: $why")

    private const val DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
}
