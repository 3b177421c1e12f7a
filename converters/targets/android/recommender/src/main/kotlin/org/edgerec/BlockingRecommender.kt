package org.edgerec

import java.io.Closeable

/**
 * A loaded retrieval bundle that answers on the calling thread: for background services and tests. Apps use
 * [Recommender], which never blocks the main thread.
 *
 * Several threads may share it; their calls to the model wait for each other. "Rows" are row numbers of the item table:
 * 1 to N for the items by descending popularity, the values of user features behind them, and 0 for padding.
 */
class BlockingRecommender private constructor(
    val bundle: Bundle,
    private val contract: Retrieval,
    private val runtime: Runtime,
) : Closeable {
    // What [similar] compares with: the mean scores after each of up to 64 items. It never changes.
    private val typical: FloatArray by lazy {
        val rows = (0 until SAMPLE).map { (1 + it.toLong() * (contract.items - 1) / (SAMPLE - 1)).toInt() }.distinct()
        val sums = DoubleArray(contract.items + 1)
        for (row in rows) itemScores(intArrayOf(row)).forEachIndexed { other, score -> sums[other] += score.toDouble() }
        FloatArray(sums.size) { (sums[it] / rows.size).toFloat() }
    }

    /** How the model is run for a list: with excluded rows, for the outputs that are wanted. */
    private fun interface Run {
        fun with(exclude: IntArray, vararg wanted: String): Map<String, Any>
    }

    /** The same as [Recommender.recommend]. */
    fun recommend(
        history: List<String>,
        k: Int = 10,
        exclude: Collection<String> = emptyList(),
        excludeHistory: Boolean = bundle.excludeHistory,
        user: Map<String, Any?> = emptyMap(),
        explain: Boolean = false,
        allow: Collection<String>? = null,
        atMost: Map<String, Int> = emptyMap(),
    ): Recommendations {
        requireCount(k)
        val limits = limits(atMost)
        val rows = rows(history)
        val banned = rows(exclude).toMutableSet()
        if (excludeHistory) banned.addAll(rows.asIterable())
        val allowed = allow?.let { rows(it).toSet() }
        val read = inputRows(rows, user)
        val unknown = history.size - rows.size
        if (read.isEmpty()) return popular(k, banned, allowed, limits, unknown)
        return listed(after(read), k, banned, allowed, limits, unknown, if (explain) read else null)
    }

    /** The same as [Recommender.score]. */
    fun score(history: List<String>, candidates: List<String>, user: Map<String, Any?> = emptyMap()): FloatArray {
        val read = inputRows(rows(history), user)
        val scores = if (read.isEmpty()) null else itemScores(read)
        return FloatArray(candidates.size) { place ->
            val row = bundle.items.find(candidates[place])
            if (row == 0) Float.NaN else scores?.get(row) ?: 0f
        }
    }

    /** The same as [Recommender.similar]. */
    fun similar(
        item: String,
        k: Int = 10,
        exclude: Collection<String> = emptyList(),
        allow: Collection<String>? = null,
        atMost: Map<String, Int> = emptyMap(),
    ): Recommendations {
        requireCount(k)
        val row = bundle.items.find(item)
        require(row > 0) { "the item $item is not in the catalogue" }
        val limits = limits(atMost)
        val banned = rows(exclude).toMutableSet().apply { add(row) }
        val scores = itemScores(intArrayOf(row))
        typical.forEachIndexed { other, score -> scores[other] -= score }
        val (ids, raised) = selected(scores, banned, k, allow?.let { rows(it).toSet() }, limits)
        return Recommendations(ids.indices.map { recommendation(ids[it], raised[it], 0) }, 0, Source.MODEL)
    }

    /** The same as [Recommender.newState]. */
    fun newState(user: Map<String, Any?> = emptyMap()): RecurrentState =
        inputRows(IntArray(0), user).fold(RecurrentState(FloatArray(stateSize()), bundle.fingerprint), ::advanceRow)

    /** The same as [Recommender.advance]. */
    fun advance(state: RecurrentState, item: String): RecurrentState {
        checkState(state)
        val row = bundle.items.find(item)
        return if (row == 0) state else advanceRow(state, row)
    }

    /** The same as [Recommender.recommendFromState]. */
    fun recommendFromState(
        state: RecurrentState,
        k: Int = 10,
        exclude: Collection<String> = emptyList(),
        allow: Collection<String>? = null,
        atMost: Map<String, Int> = emptyMap(),
    ): Recommendations {
        checkState(state)
        requireCount(k)
        val limits = limits(atMost)
        val banned = rows(exclude).toSet()
        val allowed = allow?.let { rows(it).toSet() }
        if (state.isEmpty) return popular(k, banned, allowed, limits, 0)
        val given = HashMap<String, Any>()
        given["state"] = state.values
        if (contract.recent > 0) given["recent"] = leftPadded(state.recent, contract.recent)
        val run = Run { excluded, wanted ->
            runtime.run("recommend_from_state", given + ("exclude" to padded(excluded)), *wanted)
        }
        return listed(run, k, banned, allowed, limits, 0, null)
    }

    /**
     * Runs the golden vectors of the bundle: the self-test of the model on this device.
     *
     * @throws BundleException they are malformed.
     */
    fun golden(): GoldenResult = Golden.run(bundle.golden()) { case ->
        val (history, exclude, ids) = listOf("history", "exclude", "ids").map { rowsOf(case[it]) }
        val expected = Golden.scores(case)
        if (expected.size != ids.size) throw Golden.malformed()
        val (found, scores) = if (ids.isEmpty()) IntArray(0) to FloatArray(0) else best(after(history), exclude.toSet(), ids.size)
        val within = Golden.within(case, expected)
        if (Golden.near(expected, scores, within) && Golden.sameOrder(ids, expected, found, within)) {
            null
        } else {
            "expected the rows ${ids.toList()} with the scores ${expected.toList()}, got ${found.toList()} with ${scores.toList()}"
        }
    }

    override fun close() = runtime.close()

    private fun requireCount(k: Int) = require(k >= 1) { "k is $k; ask for at least one item" }

    private fun rows(ids: Collection<String>): IntArray =
        ids.mapNotNull { id -> bundle.items.find(id).takeIf { it > 0 } }.toIntArray()

    private fun limits(atMost: Map<String, Int>): Limits? {
        if (atMost.isEmpty()) return null
        return Limits(
            atMost.entries.associate { (name, most) ->
                val attribute = requireNotNull(bundle.attributes[name]) {
                    "the bundle has no attribute $name; it has: ${bundle.attributes.keys.joinToString().ifEmpty { "none" }}"
                }
                require(most >= 1) { "at most $most items of each $name; allow at least one" }
                attribute to most
            },
        )
    }

    /** The rows that the model reads: the user's known values, then the last events. */
    private fun inputRows(history: IntArray, user: Map<String, Any?>): IntArray {
        val known = UserFeature.rowsOf(bundle.userFeatures, user)
        val room = contract.maxHistory - known.size
        return known.toIntArray() + history.copyOfRange(maxOf(0, history.size - room), history.size)
    }

    private fun after(read: IntArray): Run {
        val history = leftPadded(read, contract.maxHistory)
        return Run { excluded, wanted ->
            runtime.run("recommend", mapOf("history" to history, "exclude" to padded(excluded)), *wanted)
        }
    }

    private fun itemScores(read: IntArray): FloatArray =
        after(read).with(IntArray(0), "item_scores")["item_scores"] as FloatArray

    private fun links(read: IntArray): Reasons.Links {
        val found = runtime.run("links", mapOf("history" to leftPadded(read, contract.maxHistory)), "items", "weights")
        return Reasons.Links(contract.neighbours, found["items"] as IntArray, found["weights"] as FloatArray)
    }

    private fun advanceRow(state: RecurrentState, row: Int): RecurrentState {
        val after = runtime.run("advance", mapOf("state" to state.values, "item" to intArrayOf(row)), "state")
        val isItem = contract.recent > 0 && row <= contract.items
        val recent = if (isItem) (state.recent + row).let { it.copyOfRange(maxOf(0, it.size - contract.recent), it.size) } else state.recent
        return RecurrentState(after["state"] as FloatArray, state.fingerprint, recent)
    }

    /** Rows and scores of the best items, best first; neither [k] nor [exclude] is limited by the model's own sizes. */
    private fun best(run: Run, exclude: Set<Int>, k: Int): Pair<IntArray, FloatArray> {
        val banned = exclude.filter { it <= contract.items }.sorted().toIntArray()
        if (k <= contract.topK && banned.size <= contract.maxExclude) {
            val found = run.with(banned, "ids", "scores")
            val ids = found["ids"] as IntArray
            val scores = found["scores"] as FloatArray
            val kept = (0 until k).filter { ids[it] > 0 }
            return IntArray(kept.size) { ids[kept[it]] } to FloatArray(kept.size) { scores[kept[it]] }
        }
        val scores = run.with(IntArray(0), "item_scores")["item_scores"] as FloatArray
        banned.forEach { scores[it] = Float.NEGATIVE_INFINITY }
        val ids = Order.top(scores, k)
        return ids to FloatArray(ids.size) { scores[ids[it]] }
    }

    private fun bestWithin(run: Run, exclude: Set<Int>, k: Int, allowed: Set<Int>?, limits: Limits?): Pair<IntArray, FloatArray> {
        if (allowed == null && limits == null) return best(run, exclude, k)
        return selected(run.with(IntArray(0), "item_scores")["item_scores"] as FloatArray, exclude, k, allowed, limits)
    }

    /** The best of all scores, which are changed. */
    private fun selected(
        scores: FloatArray,
        exclude: Set<Int>,
        k: Int,
        allowed: Set<Int>?,
        limits: Limits?,
    ): Pair<IntArray, FloatArray> {
        for (row in 1 until scores.size) {
            if (row in exclude || (allowed != null && row !in allowed)) scores[row] = Float.NEGATIVE_INFINITY
        }
        val ranked = Order.top(scores, if (limits == null) k else scores.size)
        val ids = if (limits == null) ranked else taken(ranked.asSequence(), k, limits).toIntArray()
        return ids to FloatArray(ids.size) { scores[ids[it]] }
    }

    private fun taken(rows: Sequence<Int>, k: Int, limits: Limits?): List<Int> =
        rows.filter { limits == null || limits.take(it) }.take(k).toList()

    private fun listed(
        run: Run,
        k: Int,
        banned: Set<Int>,
        allowed: Set<Int>?,
        limits: Limits?,
        unknown: Int,
        explained: IntArray?,
    ): Recommendations {
        val (ids, scores) = bestWithin(run, banned, k, allowed, limits)
        val because = if (explained == null) IntArray(ids.size) else reasons(ids, scores, explained)
        val found = ids.indices.map { recommendation(ids[it], scores[it], because[it]) }
        return Recommendations(found, unknown, Source.MODEL)
    }

    private fun reasons(ids: IntArray, scores: FloatArray, read: IntArray): IntArray {
        val links = if (contract.neighbours > 0) ({ links(read) }) else null
        return Reasons.of(ids, scores, read, contract.items, links, ::itemScores)
    }

    private fun popular(k: Int, banned: Set<Int>, allowed: Set<Int>?, limits: Limits?, unknown: Int): Recommendations {
        val rows = (1..contract.items).asSequence().filter { it !in banned && (allowed == null || it in allowed) }
        return Recommendations(taken(rows, k, limits).map { recommendation(it, 0f, 0) }, unknown, Source.POPULARITY)
    }

    private fun recommendation(row: Int, score: Float, because: Int): Recommendation {
        val title = bundle.titles?.takeIf { it.size > 1 }?.get(row).orEmpty()
        return Recommendation(bundle.items[row], score, title, if (because > 0) bundle.items[because] else null)
    }

    private fun stateSize(): Int {
        if (contract.state == 0) throw BundleException("not a recurrent model, so it has no state; use recommend()")
        return contract.state
    }

    private fun checkState(state: RecurrentState) {
        require(state.fingerprint == bundle.fingerprint) {
            "the state belongs to another bundle; begin again with newState() and the history"
        }
        require(state.values.size == stateSize()) { "the state has ${state.values.size} values, this model's has ${stateSize()}" }
        require(state.recent.size <= contract.recent) {
            "the state has ${state.recent.size} recent rows, this model reads ${contract.recent}"
        }
        require(state.recent.all { it <= contract.items }) { "the state has a recent row above ${contract.items}" }
    }

    private fun padded(rows: IntArray): IntArray = rows.copyOf(contract.maxExclude)

    /** Rows of an entry of a golden vector. */
    private fun rowsOf(value: Any?): IntArray {
        val last = contract.items + bundle.userFeatures.sumOf { it.rows }
        val rows = value as? List<*> ?: throw Golden.malformed()
        return IntArray(rows.size) { place ->
            (rows[place] as? Long)?.takeIf { it in 1..last }?.toInt() ?: throw Golden.malformed()
        }
    }

    /** Checks the signatures' shapes, and runs the last row: a table shorter than the vocabulary fails here, not later. */
    private fun checkModel() {
        val history = listOf(1, contract.maxHistory)
        val exclude = listOf(1, contract.maxExclude)
        requireInputs("recommend", mapOf("history" to history, "exclude" to exclude))
        if (contract.state > 0) {
            val state = listOf(1, contract.state)
            requireInputs("advance", mapOf("state" to state, "item" to listOf(1)))
            val recent = if (contract.recent > 0) mapOf("recent" to listOf(1, contract.recent)) else emptyMap()
            requireInputs("recommend_from_state", mapOf("state" to state, "exclude" to exclude) + recent)
        }
        val top = listOf(1, contract.topK)
        val all = listOf(1, contract.items + 1)
        requireOutput("recommend", "ids", top)
        requireOutput("recommend", "scores", top)
        requireOutput("recommend", "item_scores", all)
        if (contract.neighbours > 0) {
            requireInputs("links", mapOf("history" to history))
            val shape = runtime.outputShape("links", "items")
            val events = if (shape != null && shape.size == 3) shape[1] else 1
            if (events !in 1..contract.maxHistory) {
                throw BundleException("links gives $events events, the model reads up to ${contract.maxHistory}")
            }
            for (name in listOf("items", "weights")) requireOutput("links", name, listOf(1, events, contract.neighbours))
        }
        val last = intArrayOf(contract.items + bundle.userFeatures.sumOf { it.rows })
        try {
            after(last).with(IntArray(0), "ids", "scores")
            if (contract.neighbours > 0) links(last)
        } catch (error: BackendException) {
            throw BundleException("the model does not fit its vocabulary: ${error.message}", error)
        }
    }

    private fun requireInputs(signature: String, expected: Map<String, List<Int>>) {
        val actual = runtime.inputShapes(signature)
        if (actual != expected) throw BundleException("the inputs of $signature are $actual, the manifest says $expected")
    }

    private fun requireOutput(signature: String, name: String, expected: List<Int>) {
        val actual = runtime.outputShape(signature, name)
        if (actual != expected) throw BundleException("output $name is ${actual ?: "absent"}, the manifest says $expected")
    }

    companion object {
        private const val SAMPLE = 64

        /**
         * Loads the model and runs it once to see that it fits its vocabulary.
         *
         * @param threads threads of the interpreter; one is fastest at usual catalogue sizes.
         * @throws BundleException it is not a retrieval bundle, or does not fit its own vocabulary.
         * @throws BackendException the runtime is absent or refuses the model.
         */
        fun load(bundle: Bundle, threads: Int = 1): BlockingRecommender {
            val contract = bundle.retrieval()
            val runtime = Runtime.load(bundle, threads)
            try {
                return BlockingRecommender(bundle, contract, runtime).apply { checkModel() }
            } catch (error: Throwable) {
                runtime.close()
                throw error
            }
        }
    }
}

/** The last [length] rows, left-padded with 0. */
internal fun leftPadded(rows: IntArray, length: Int): IntArray {
    val last = minOf(rows.size, length)
    return IntArray(length).also { rows.copyInto(it, length - last, rows.size - last) }
}
