package org.edgerec

import java.io.Closeable

/**
 * A candidate for a ranking model.
 *
 * @property item its raw id; values of its features are taken from the bundle. `null`, or an unknown id: nothing is known
 *   of it but [values].
 * @property values values by name of a feature that differ from the bundle's, such as today's price, and
 *   `retrieval_score` if the model reads it.
 */
class Candidate(val item: String?, val values: Map<String, Any?> = emptyMap()) {
    constructor(item: String?, vararg values: Pair<String, Any?>) : this(item, values.toMap())
}

/** A loaded ranking bundle that answers on the calling thread; apps use [Ranker]. */
class BlockingRanker private constructor(
    val bundle: Bundle,
    private val contract: Ranking,
    private val runtime: Runtime,
) : Closeable {
    /** The same as [Ranker.score]. */
    fun score(
        user: Map<String, Any?>,
        candidates: List<Candidate>,
        context: Map<String, Any?> = emptyMap(),
        history: List<String> = emptyList(),
        historyValues: List<Float?>? = null,
    ): FloatArray {
        requireKnown("user", "user", user)
        requireKnown("context", "context", context)
        require(historyValues == null || historyValues.size == history.size) {
            "${historyValues?.size} history values for ${history.size} events"
        }
        candidates.forEach { requireKnown("item", "candidate ${it.item}", it.values) }
        val shared = shared(user, context, history, historyValues)
        val scores = FloatArray(candidates.size)
        for (first in candidates.indices step contract.candidates) {
            val chunk = candidates.subList(first, minOf(candidates.size, first + contract.candidates))
            val found = runtime.run(SIGNATURE, shared + items(chunk), OUTPUT)[OUTPUT] as FloatArray
            found.copyInto(scores, first, 0, chunk.size)
        }
        return scores
    }

    /** Runs the golden vectors of the bundle, as [BlockingRecommender.golden]. */
    fun golden(): GoldenResult = Golden.run(bundle.golden()) { case ->
        val expected = Golden.scores(case)
        val found = try {
            score(
                texts(case["user"]),
                (case["candidates"] as? List<*> ?: throw Golden.malformed()).map(::candidate),
                texts(case["context"]),
                (case["history"] as? List<*>).orEmpty().map { it as? String ?: throw Golden.malformed() },
                (case["history_values"] as? List<*>)?.map { (it as? Number)?.toFloat() },
            )
        } catch (error: IllegalArgumentException) {
            throw Golden.malformed(error)
        }
        if (Golden.near(expected, found, Golden.within(case, expected))) {
            null
        } else {
            "expected the scores ${expected.toList()}, got ${found.toList()}"
        }
    }

    override fun close() = runtime.close()

    private fun texts(value: Any?): Map<String, Any?> =
        (value as? Map<*, *>).orEmpty().entries.associate { it.key as String to it.value }

    private fun candidate(entry: Any?): Candidate = when (entry) {
        is String -> Candidate(entry)
        is Map<*, *> -> Candidate(entry["item"]?.let { it as? String ?: throw Golden.malformed() }, texts(entry) - "item")
        else -> throw Golden.malformed()
    }

    private fun requireKnown(of: String, argument: String, given: Map<String, Any?>) {
        val known = bundle.features.filter { (it.of == of && !it.reserved) || (of == "item" && it.of == "retrieval") }.map { it.name }
        val strange = given.keys - known.toSet()
        require(strange.isEmpty()) {
            "$argument: the model knows no feature ${strange.joinToString()}; it has: ${known.joinToString().ifEmpty { "none" }}"
        }
    }

    /** How many events the model reads. */
    private val length: Int get() = bundle.features.firstOrNull { it.input == Feature.HISTORY }?.size ?: 0

    /** Inputs that all candidates share. */
    private fun shared(
        user: Map<String, Any?>,
        context: Map<String, Any?>,
        history: List<String>,
        historyValues: List<Float?>?,
    ): Map<String, Any> {
        val events = history.indices.filter { bundle.items.find(history[it]) > 0 }.takeLast(length)
        return bundle.features.mapNotNull { feature ->
            when {
                feature.input == Feature.HISTORY -> feature.input to
                    leftPadded(IntArray(events.size) { bundle.items.find(history[events[it]]) }, length)
                feature.input == Feature.HISTORY_VALUES -> feature.input to FloatArray(length) { place ->
                    val event = place - (length - events.size)
                    if (event < 0) Float.NaN else feature.number(historyValues?.get(events[event]))
                }
                feature.of == "user" -> feature.input to tensor(feature, user[feature.name])
                feature.of == "context" -> feature.input to tensor(feature, context[feature.name])
                else -> null
            }
        }.toMap()
    }

    private fun tensor(feature: Feature, value: Any?): Any =
        if (feature.type == Feature.NUMBER) floatArrayOf(feature.number(value)) else feature.categories(value)

    /** Inputs of a chunk of candidates, padded with unknown items. */
    private fun items(chunk: List<Candidate>): Map<String, Any> {
        val rows = IntArray(contract.candidates) { chunk.getOrNull(it)?.item?.let(bundle.items::find) ?: 0 }
        return bundle.features.mapNotNull { feature ->
            when {
                feature.input == Feature.ITEM -> feature.input to rows
                feature.of == "item" || feature.of == "retrieval" -> feature.input to column(feature, chunk, rows)
                else -> null
            }
        }.toMap()
    }

    private fun column(feature: Feature, chunk: List<Candidate>, rows: IntArray): Any {
        val stored = bundle.itemValues[feature.name].takeIf { feature.of == "item" }
        if (feature.type == Feature.NUMBER) {
            return FloatArray(rows.size) { place ->
                val own = chunk.getOrNull(place)?.values
                if (own != null && feature.name in own) feature.number(own[feature.name]) else stored?.number(rows[place]) ?: Float.NaN
            }
        }
        val indexes = IntArray(rows.size * feature.width)
        rows.forEachIndexed { place, row ->
            val own = chunk.getOrNull(place)?.values
            val found = if (own != null && feature.name in own) feature.categories(own[feature.name]) else stored?.categories(row, feature.width)
            found?.copyInto(indexes, place * feature.width)
        }
        return indexes
    }

    /** Checks the signature's shapes, and runs it once on the last item. */
    private fun checkModel() {
        val expected = bundle.features.associate { feature -> feature.input to shape(feature) }
        val actual = runtime.inputShapes(SIGNATURE)
        if (actual != expected) throw BundleException("the inputs of $SIGNATURE are $actual, the manifest says $expected")
        val output = runtime.outputShape(SIGNATURE, OUTPUT)
        if (output != listOf(contract.candidates)) {
            throw BundleException("output $OUTPUT is ${output ?: "absent"}, the manifest says [${contract.candidates}]")
        }
        try {
            score(emptyMap(), listOf(Candidate(bundle.items[bundle.items.size - 1])))
        } catch (error: BackendException) {
            throw BundleException("the model does not fit its vocabulary: ${error.message}", error)
        }
    }

    private fun shape(feature: Feature): List<Int> {
        val width = listOf(feature.size).takeIf { feature.type == Feature.CATEGORIES }.orEmpty()
        return when {
            feature.of == "history" -> listOf(1, length)
            feature.of == "item" || feature.of == "retrieval" -> listOf(contract.candidates) + width
            else -> listOf(1) + width
        }
    }

    companion object {
        private const val SIGNATURE = "score"
        private const val OUTPUT = "scores"

        /**
         * Loads the model and runs it once to see that it fits.
         *
         * @throws BundleException it is not a ranking bundle, or does not fit its own features.
         * @throws BackendException the runtime is absent or refuses the model.
         */
        fun load(bundle: Bundle, threads: Int = 1): BlockingRanker {
            val contract = bundle.ranking()
            if (bundle.features.isEmpty()) throw BundleException("a ranking model without features.json; convert it again")
            val runtime = Runtime.load(bundle, threads)
            try {
                return BlockingRanker(bundle, contract, runtime).apply { checkModel() }
            } catch (error: Throwable) {
                runtime.close()
                throw error
            }
        }
    }
}
