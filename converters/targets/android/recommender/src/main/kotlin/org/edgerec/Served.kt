package org.edgerec

import java.io.Closeable
import java.io.InputStream
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext

/**
 * The model in service, which is called on one background thread at a time and can be exchanged between two calls.
 *
 * @param store `null`: the model cannot be replaced.
 * @param load makes a bundle ready to be called.
 */
internal class Served<M : Closeable>(
    private var model: M,
    private val store: ModelStore?,
    private val load: (Bundle) -> M,
) : Closeable {
    private val calls: CoroutineDispatcher = Dispatchers.Default.limitedParallelism(1)
    private val updates = Mutex()

    @Volatile
    private var closed = false

    suspend fun <T> call(answer: (M) -> T): T = withContext(calls) {
        check(!closed) { "the model is closed" }
        answer(model)
    }

    suspend fun replace(content: InputStream, signature: String?, allowDowngrade: Boolean, allowOtherCatalogue: Boolean): Bundle =
        exchange { it.replace(content, signature, allowDowngrade, allowOtherCatalogue) }

    suspend fun rollback(): Bundle = exchange { it.rollback() }

    /** Closes the model when the call that is running has ended. */
    override fun close() {
        closed = true
        model.close()
    }

    private suspend fun exchange(update: (ModelStore) -> Bundle): Bundle = updates.withLock {
        check(!closed) { "the model is closed" }
        val changed = store ?: throw UpdateException("this model was opened without a folder for its replacements")
        // What has been decided on disk must become what answers: no cancellation in between.
        withContext(NonCancellable) {
            val bundle = withContext(Dispatchers.IO) { update(changed) }
            val new = withContext(Dispatchers.IO) { load(bundle) }
            withContext(calls) {
                val old = model
                model = new
                old.close()
                if (closed) new.close()
            }
            bundle
        }
    }

    companion object {
        /** Opens the model in service, off the calling thread; a replacement that cannot be loaded gives way to the shipped one. */
        suspend fun <M : Closeable> open(
            updates: Updates?,
            shipped: () -> Bundle,
            load: (Bundle) -> M,
            tried: (M) -> GoldenResult,
        ): Served<M> = withContext(Dispatchers.IO) {
            val store = updates?.let { ModelStore(it.folder, shipped, it.publicKey) { bundle -> load(bundle).use(tried) } }
            val model = try {
                load(store?.current() ?: shipped())
            } catch (error: EdgeRecException) {
                if (store == null) throw error
                load(shipped())
            }
            Served(model, store, load)
        }
    }
}
