package org.edgerec

import java.io.Closeable
import java.io.InputStream

/**
 * Orders candidates by a ranking model, from what is known of the user, the items and the moment, on the device.
 *
 * Every function may be called from the main thread: the work is done on a background thread, one call at a time.
 */
class Ranker internal constructor(private val served: Served<BlockingRanker>) : Closeable {
    /** The checked bundle of the model in service; `features` names what the model reads. */
    suspend fun bundle(): Bundle = served.call { it.bundle }

    /**
     * Scores of the candidates, in their order.
     *
     * @param user values of features of the user by name. In this and all others, what is absent, `null`, NaN or an unseen
     *   category counts as missing.
     * @param candidates any number of items; their features come from the bundle unless a candidate has its own.
     * @param context values of features of the moment by name.
     * @param history raw item ids, oldest first, if the model reads a history.
     * @param historyValues a value for each event, such as a rating.
     * @throws IllegalArgumentException a name is not the model's, or a value has the wrong type or is infinite.
     */
    suspend fun score(
        user: Map<String, Any?>,
        candidates: List<Candidate>,
        context: Map<String, Any?> = emptyMap(),
        history: List<String> = emptyList(),
        historyValues: List<Float?>? = null,
    ): FloatArray = served.call { it.score(user, candidates, context, history, historyValues) }

    /** The self-test: whether the model computes on this device what it computes in Python. */
    suspend fun golden(): GoldenResult = served.call { it.golden() }

    /** As [Recommender.replaceModel]. */
    suspend fun replaceModel(content: InputStream, signature: String?, allowDowngrade: Boolean = false): Bundle =
        served.replace(content, signature, allowDowngrade, allowOtherCatalogue = true)

    /** Puts the model before the current one in service again. */
    suspend fun rollback(): Bundle = served.rollback()

    override fun close() = served.close()

    companion object {
        /** Opens the model that [shipped] reads, or the one that replaced it. On Android use `open(context)`. */
        suspend fun open(threads: Int = 1, updates: Updates? = null, shipped: () -> Bundle): Ranker =
            Ranker(Served.open(updates, shipped, { BlockingRanker.load(it, threads) }, { it.golden() }))
    }
}
