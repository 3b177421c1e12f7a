package org.edgerec

import java.io.Closeable
import java.io.InputStream

/**
 * Recommendations from the model in the app and the user's own history, computed on the device.
 *
 * Every function may be called from the main thread: the work is done on a background thread, one call at a time.
 *
 * ```
 * val recommender = Recommender.open(context)
 * val list = recommender.recommend(listOf("1029743", "995242"), k = 3)
 * ```
 */
class Recommender internal constructor(private val served: Served<BlockingRecommender>) : Closeable {
    /** The checked bundle of the model in service: its items, titles, user features and attributes. */
    suspend fun bundle(): Bundle = served.call { it.bundle }

    /**
     * The [k] best items after [history].
     *
     * @param history raw item ids, oldest first. The model reads the last known ones; ids that are not in the catalogue are
     *   skipped and counted.
     * @param k how many items; the list is shorter only when fewer remain.
     * @param exclude raw ids never to return.
     * @param excludeHistory never return an item of the history; by default (`null`) as the model was measured.
     * @param user values of the model's user features by name, such as `mapOf("gender" to "F", "age" to 31)`. All are
     *   optional; unknown values are skipped.
     * @param explain also say which event contributed most to each item; this takes up to 21 more calls of the model.
     * @param allow only these ids may be returned, of any number; `null`: all.
     * @param atMost at most so many items of each value of an attribute, such as `mapOf("category" to 3)`.
     * @return the items, best first. Without any known event or user feature, the most popular items, with score 0.
     * @throws IllegalArgumentException [k] is below 1, or a name of [user] or [atMost] is not the model's.
     */
    suspend fun recommend(
        history: List<String>,
        k: Int = 10,
        exclude: Collection<String> = emptyList(),
        excludeHistory: Boolean? = null,
        user: Map<String, Any?> = emptyMap(),
        explain: Boolean = false,
        allow: Collection<String>? = null,
        atMost: Map<String, Int> = emptyMap(),
    ): Recommendations = served.call {
        it.recommend(history, k, exclude, excludeHistory ?: it.bundle.excludeHistory, user, explain, allow, atMost)
    }

    /** Scores of [candidates] after [history], in their order; NaN for ids that are not in the catalogue. */
    suspend fun score(history: List<String>, candidates: List<String>, user: Map<String, Any?> = emptyMap()): FloatArray =
        served.call { it.score(history, candidates, user) }

    /**
     * The [k] items that [item] raises most: their scores after a history of this item alone, less their mean scores after
     * other items. It is what a shop shows as "goes with this". The first call runs the model 65 times, later ones once.
     *
     * @throws IllegalArgumentException the item is not in the catalogue.
     */
    suspend fun similar(
        item: String,
        k: Int = 10,
        exclude: Collection<String> = emptyList(),
        allow: Collection<String>? = null,
        atMost: Map<String, Int> = emptyMap(),
    ): Recommendations = served.call { it.similar(item, k, exclude, allow, atMost) }

    /**
     * The state before any event, for [advance] and [recommendFromState]. With a stored state, a new event costs one step
     * of a recurrent model instead of the whole history.
     *
     * @throws BundleException the model is not recurrent, so it has no state.
     */
    suspend fun newState(user: Map<String, Any?> = emptyMap()): RecurrentState = served.call { it.newState(user) }

    /** The state after one more event; an id that is not in the catalogue changes nothing. */
    suspend fun advance(state: RecurrentState, item: String): RecurrentState = served.call { it.advance(state, item) }

    /**
     * The [k] best items after a stored state, the most popular ones after an empty one.
     *
     * @param exclude raw ids never to return: the state cannot name the items of the history.
     * @throws IllegalArgumentException the state belongs to another model: begin again with [newState] and the history.
     */
    suspend fun recommendFromState(
        state: RecurrentState,
        k: Int = 10,
        exclude: Collection<String> = emptyList(),
        allow: Collection<String>? = null,
        atMost: Map<String, Int> = emptyMap(),
    ): Recommendations = served.call { it.recommendFromState(state, k, exclude, allow, atMost) }

    /** The self-test: whether the model computes on this device what it computes in Python. */
    suspend fun golden(): GoldenResult = served.call { it.golden() }

    /**
     * Puts another model in service, without a restart: its signature, its hashes and its golden vectors are checked, and
     * an older release is refused. On any failure the current model goes on answering.
     *
     * @param content the bundle, such as a download; it is read to its end, and not closed.
     * @param signature the text of the bundle's signature file.
     * @return the bundle that is now in service.
     * @throws EdgeRecException it is refused: the message says why.
     */
    suspend fun replaceModel(
        content: InputStream,
        signature: String?,
        allowDowngrade: Boolean = false,
        allowOtherCatalogue: Boolean = false,
    ): Bundle = served.replace(content, signature, allowDowngrade, allowOtherCatalogue)

    /** Puts the model before the current one in service again. */
    suspend fun rollback(): Bundle = served.rollback()

    override fun close() = served.close()

    companion object {
        /**
         * Opens the model that [shipped] reads, or the one that replaced it. On Android use `open(context)`.
         *
         * @param threads threads of the interpreter; one is fastest at usual catalogue sizes.
         * @throws BundleException, BackendException the model cannot be used: the message says why.
         */
        suspend fun open(threads: Int = 1, updates: Updates? = null, shipped: () -> Bundle): Recommender =
            Recommender(Served.open(updates, shipped, { BlockingRecommender.load(it, threads) }, { it.golden() }))
    }
}
