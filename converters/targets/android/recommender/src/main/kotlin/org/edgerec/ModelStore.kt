package org.edgerec

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.io.RandomAccessFile
import java.security.MessageDigest

/**
 * Which model is in service: the one that the app ships, or one that replaced it at run time. It works on the calling
 * thread; apps use [Recommender.replaceModel].
 *
 * Each replacement has a folder of its own, named by its sha256, and one small file says which is in service. That file is
 * replaced by a rename, so that at every moment one whole model is.
 *
 * @param folder a folder of the app's own storage, which nothing else uses.
 * @param shipped reads the model that the app ships.
 * @param publicKey the 32 raw bytes of the Ed25519 key that replacements must be signed with; `null`: they need no signature.
 * @param tried loads a replacement and runs its golden vectors.
 */
internal class ModelStore(
    private val folder: File,
    private val shipped: () -> Bundle,
    private val publicKey: ByteArray?,
    private val tried: (Bundle) -> GoldenResult,
) {
    /** What is in service and what was before; `null` stands for the shipped model. */
    private class Choice(val current: String?, val previous: String?, val base: String)

    /** The model in service; the shipped one if its replacement cannot be read, or if the app ships a newer one. */
    @Synchronized
    fun current(): Bundle {
        val own = shipped()
        val chosen = choice(own).current ?: return own
        return try {
            Bundle.read(model(chosen))
        } catch (_: BundleException) {
            own
        }
    }

    /**
     * Puts another model in service, if it passes every check; otherwise the current one stays.
     *
     * @param content the bundle.
     * @param signature the text of its signature file.
     * @return the new model, or the current one if it is the same.
     * @throws UpdateException, BundleException, BackendException it is refused: the message says why.
     */
    fun replace(
        content: InputStream,
        signature: String?,
        allowDowngrade: Boolean = false,
        allowOtherCatalogue: Boolean = false,
    ): Bundle = locked {
        // All checks are of these bytes, which are then written: nothing can change in between.
        val bytes = content.readAtMost(MOST_BYTES)
        publicKey?.let { SignatureFile.verify(bytes, signature, it) }
        val new = Bundle.read(bytes)
        val old = current()
        if (new.identity == old.identity) return@locked old
        checkSuccession(old, new, allowDowngrade, allowOtherCatalogue)
        val name = MessageDigest.getInstance("SHA-256").digest(bytes).hex()
        remembering(name) { tried(new).requirePassed() }
        val own = shipped()
        val before = choice(own)
        store(name, bytes, signature)
        choose(Choice(name, before.current, own.identity))
        Bundle.read(model(name))
    }

    /**
     * Puts the model before the current one in service again, after the same checks as a replacement's but that of the
     * release; another call goes forward again.
     *
     * @throws UpdateException there is none.
     */
    fun rollback(): Bundle = locked {
        val own = shipped()
        val now = choice(own)
        if (now.current == now.previous) throw UpdateException("there is no model before this one to go back to")
        val previous = now.previous
        if (previous != null) {
            val bytes = content(previous)
            publicKey?.let { SignatureFile.verify(bytes, signature(previous), it) }
            tried(Bundle.read(bytes)).requirePassed()
        }
        choose(Choice(previous, now.current, now.base))
        current()
    }

    /**
     * Runs the trial of a model so that an app which ends meanwhile knows of it when it starts again: a model may crash the
     * runtime, and the app with it. After [MOST_TRIALS] such ends it is not tried any more.
     */
    private fun remembering(name: String, trial: () -> Unit) {
        val file = File(folder, "trial")
        val before = if (file.exists()) file.readText().split(' ') else emptyList()
        val ends = if (before.firstOrNull() == name) before.last().toIntOrNull() ?: 0 else 0
        if (ends >= MOST_TRIALS) throw UpdateException("the app ended $ends times while it tried this model; it is not tried again")
        written(file, "$name ${ends + 1}".toByteArray())
        try {
            trial()
        } finally {
            file.delete()
        }
    }

    private fun checkSuccession(old: Bundle, new: Bundle, allowDowngrade: Boolean, allowOtherCatalogue: Boolean) {
        if (new.contract.kind != old.contract.kind) {
            throw UpdateException("a ${new.contract.kind} model cannot replace a ${old.contract.kind} model")
        }
        if (new.release < old.release && !allowDowngrade) {
            throw UpdateException("release ${new.release} is older than release ${old.release}, which is in service")
        }
        val shared = new.contract !is Retrieval || (1 until new.items.size).any { old.items.find(new.items[it]) > 0 }
        if (!shared && !allowOtherCatalogue) {
            throw UpdateException("the new model has no item in common with the old one: another catalogue?")
        }
    }

    /** What is chosen now. A newer model in an update of the app wins over a replacement for the model before. */
    private fun choice(own: Bundle): Choice {
        val none = Choice(null, null, own.identity)
        val entries = try {
            Json.parse(File(folder, CHOICE).readBytes()) as? Map<*, *>
        } catch (_: IOException) {
            null
        } catch (_: IllegalArgumentException) {
            null
        } ?: return none
        val names = listOf("current", "previous").map { entry -> (entries[entry] as? String)?.takeIf { NAME.matches(it) } }
        val current = names[0] ?: return Choice(null, names[1], own.identity)
        if (entries["base"] == own.identity) return Choice(current, names[1], own.identity)
        val replacement = try {
            Bundle.read(model(current))
        } catch (_: BundleException) {
            return none
        }
        return if (replacement.release > own.release) Choice(current, null, own.identity) else none
    }

    private fun store(name: String, content: ByteArray, signature: String?) {
        val incoming = File(folder, "incoming")
        incoming.deleteRecursively()
        if (!incoming.mkdirs()) throw UpdateException("$incoming cannot be made: is storage left?")
        written(File(incoming, MODEL), content)
        if (signature != null) written(File(incoming, SIGNATURE), signature.toByteArray())
        val place = File(folder, name)
        place.deleteRecursively()
        if (!incoming.renameTo(place)) throw UpdateException("$incoming cannot be renamed to $place")
    }

    private fun choose(choice: Choice) {
        fun quoted(name: String?) = if (name == null) "null" else "\"$name\""
        val text = """{"current": ${quoted(choice.current)}, "previous": ${quoted(choice.previous)}, "base": "${choice.base}"}"""
        val temporary = File(folder, "$CHOICE.new")
        written(temporary, text.toByteArray())
        if (!temporary.renameTo(File(folder, CHOICE))) throw UpdateException("$temporary cannot be renamed")
        val kept = setOf(choice.current, choice.previous)
        folder.listFiles().orEmpty().filter { NAME.matches(it.name) && it.name !in kept }.forEach { it.deleteRecursively() }
    }

    private fun written(file: File, content: ByteArray) = try {
        FileOutputStream(file).use {
            it.write(content)
            it.fd.sync()
        }
    } catch (error: IOException) {
        throw UpdateException("$file cannot be written (${error.message})", error)
    }

    private fun InputStream.readAtMost(most: Int): ByteArray {
        val bytes = try {
            readBytes()
        } catch (error: IOException) {
            throw UpdateException("the new model cannot be read (${error.message})", error)
        } catch (error: OutOfMemoryError) {
            throw UpdateException("the new model needs more memory than this app may use", error)
        }
        if (bytes.size > most) throw UpdateException("the new model has ${bytes.size} bytes, more than the $most that are taken")
        return bytes
    }

    private fun content(name: String): ByteArray = try {
        model(name).readBytes()
    } catch (error: IOException) {
        throw UpdateException("the model before this one cannot be read (${error.message})", error)
    }

    private fun model(name: String) = File(File(folder, name), MODEL)

    private fun signature(name: String): String? = File(File(folder, name), SIGNATURE).takeIf { it.isFile }?.readText()

    /** One update at a time, also among processes of the app. */
    private fun <T> locked(change: () -> T): T = synchronized(this) {
        folder.mkdirs()
        RandomAccessFile(File(folder, "lock"), "rw").use { file -> file.channel.lock().use { change() } }
    }

    private companion object {
        const val CHOICE = "choice.json"
        const val MODEL = "model.tflite"
        const val SIGNATURE = "model.tflite.sig"
        const val MOST_BYTES = 512 shl 20

        /** Two, as the system may have ended the app for a reason of its own. */
        const val MOST_TRIALS = 2
        val NAME = Regex("[0-9a-f]{64}")
    }
}
