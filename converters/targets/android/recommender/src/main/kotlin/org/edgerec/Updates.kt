package org.edgerec

import java.io.File

/**
 * Lets a model be replaced at run time.
 *
 * @property folder a folder of the app's own storage for the replacements of this one model.
 * @property publicKey the 32 raw bytes of the Ed25519 key that replacements must be signed with; `null` takes them without
 *   a signature, which is for tests only.
 */
class Updates(val folder: File, val publicKey: ByteArray?) {
    init {
        require(publicKey == null || publicKey.size == 32) { "an Ed25519 public key has 32 bytes, not ${publicKey?.size}" }
    }
}
