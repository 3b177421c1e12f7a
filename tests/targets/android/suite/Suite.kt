package org.edgerec

import java.io.File
import java.util.Base64
import kotlin.math.abs
import kotlin.system.exitProcess

/**
 * Runs the conformance suite (converters/targets/README.md, section 12) through the module's classes.
 *
 * Arguments: the folder of the suite, the root of the repository, and bundles that the runtime here does not run.
 * Writes one line for each file of cases and each failure; exits with 1 if there is one.
 */
fun main(arguments: Array<String>) {
    val suite = Suite(File(arguments[0]), File(arguments[1]), arguments.drop(2).toSet())
    val failures = File(arguments[0], "cases").listFiles().orEmpty().sorted().sumOf(suite::run)
    exitProcess(if (failures > 0) 1 else 0)
}

private class Suite(private val folder: File, private val root: File, private val leftOut: Set<String>) {
    private class Skipped : Exception()

    fun run(file: File): Int {
        val document = Json.parse(file.readBytes()) as Map<*, *>
        val name = document["bundle"] as String?
        if (name in leftOut) {
            println("${file.name}: left out, as $name does not run here")
            return 0
        }
        val bundle = name?.let { Bundle.read(place(it)) }
        val tolerance = (document["tolerance"] as Number).toDouble()
        if (bundle != null && document.containsKey("model_sha256") && document["model_sha256"] != bundle.fingerprint) {
            println("${file.name}: the cases are of another model than $name")
            return 1
        }
        Loaded(bundle).use { loaded -> return runCases(file.name, document["cases"] as List<*>, loaded, tolerance) }
    }

    private fun runCases(file: String, cases: List<*>, loaded: Loaded, tolerance: Double): Int {
        var failed = 0
        var skipped = 0
        for (case in cases) {
            case as Map<*, *>
            val expected = case["expected"] as Map<*, *>
            val problem = try {
                if (case["dynamic"] == true) throw Skipped()
                differences(expected, answer(case, loaded), tolerance)
            } catch (error: Skipped) {
                skipped++
                null
            } catch (error: Exception) {
                val kind = if (error is IllegalArgumentException) "value" else if (error is EdgeRecException) "bundle" else "other"
                val wanted = expected["error"].let { if (it == "type") "value" else it }
                if (kind == wanted) null else "$error"
            }
            if (problem != null) {
                failed++
                println("$file: ${case["name"]}: $problem")
            }
        }
        println("$file: ${cases.size - failed - skipped} passed, $failed failed, $skipped that a typed language cannot express")
        return failed
    }

    private fun answer(case: Map<*, *>, loaded: Loaded): Map<String, Any?> {
        val call = case["call"] as String
        val arguments = case["arguments"] as Map<*, *>
        val file = case["file"] as Map<*, *>? ?: return loaded.answer(call, arguments)
        if (call == "replace") return replaced(made(file), arguments, ::made)
        return Loaded(Bundle.read(made(file))).use { it.answer(call, arguments) }
    }

    private fun made(file: Map<*, *>): ByteArray {
        val content = place(file["base"] as String).readBytes().copyOf((file["keep"] as Long).toInt())
        for ((at, hex) in (file["patches"] as List<*>?).orEmpty().map { it as List<*> }) {
            val bytes = (hex as String).chunked(2).map { it.toInt(16).toByte() }.toByteArray()
            bytes.copyInto(content, (at as Long).toInt())
        }
        return content + Base64.getDecoder().decode(file["tail"] as String? ?: "")
    }

    private fun place(name: String): File = if ('/' in name) File(root, name) else File(folder, "bundles/$name.tflite")

    private fun differences(expected: Map<*, *>, answer: Map<String, Any?>, tolerance: Double): String? =
        expected.entries.firstOrNull { (key, value) -> !same(value, answer[key], tolerance) }
            ?.let { "${it.key} is ${answer[it.key]}, not ${it.value}" }

    private fun same(expected: Any?, actual: Any?, tolerance: Double): Boolean = when {
        expected is List<*> && actual is List<*> ->
            expected.size == actual.size && expected.indices.all { same(expected[it], actual[it], tolerance) }
        actual is Float -> if (expected == null) actual.isNaN() else {
            val wanted = (expected as Number).toDouble()
            abs(actual - wanted) <= tolerance * maxOf(1.0, abs(wanted))
        }
        actual is Int -> expected == actual.toLong()
        else -> expected == actual
    }
}

internal fun texts(value: Any?): List<String> = (value as List<*>?).orEmpty().map { it as String }

internal fun values(value: Any?): Map<String, Any?> = (value as Map<*, *>?).orEmpty().entries.associate { it.key as String to it.value }

/** A bundle, loaded when a case asks for it. */
private class Loaded(private val bundle: Bundle?) : AutoCloseable {
    private val recommender = lazy { BlockingRecommender.load(bundle!!) }
    private val ranker = lazy { BlockingRanker.load(bundle!!) }

    fun answer(call: String, arguments: Map<*, *>): Map<String, Any?> = when (call) {
        "load" -> {
            val ready = if (bundle!!.contract is Ranking) ranker.value.bundle else recommender.value.bundle
            mapOf("name" to ready.name, "items" to ready.items.size - 1, "titles" to (ready.titles != null))
        }
        "recommend" -> listed(
            recommender.value.recommend(
                texts(arguments["history"]), k(arguments), texts(arguments["exclude"]),
                arguments["exclude_history"] as Boolean? ?: bundle!!.excludeHistory, values(arguments["user"]),
                arguments["explain"] as Boolean? ?: false, allow(arguments), atMost(arguments),
            ),
        )
        "similar" -> listed(
            recommender.value.similar(
                arguments["item"] as String, k(arguments), texts(arguments["exclude"]), allow(arguments), atMost(arguments),
            ),
        )
        "candidates" -> {
            val scores = recommender.value.score(texts(arguments["history"]), texts(arguments["candidates"]), values(arguments["user"]))
            mapOf("scores" to scores.toList())
        }
        "steps" -> steps(arguments)
        "rank" -> mapOf("scores" to rank(arguments).toList())
        "golden" -> {
            val result = if (bundle!!.contract is Ranking) ranker.value.golden() else recommender.value.golden()
            mapOf("passed" to result.passed, "failed" to result.failures.size)
        }
        else -> throw UnsupportedOperationException("the call $call")
    }

    private fun steps(arguments: Map<*, *>): Map<String, Any?> {
        var state = recommender.value.newState(values(arguments["user"]))
        for (item in texts(arguments["events"])) {
            state = RecurrentState.fromBytes(recommender.value.advance(state, item).toBytes())
        }
        val stored = state.toBytes()
        val prefix = stored.copyOf(stored.size - 4 * state.values.size).hex()
        val found = recommender.value.recommendFromState(
            state, k(arguments), texts(arguments["exclude"]), allow(arguments), atMost(arguments),
        )
        return listed(found) + mapOf("state_prefix" to prefix, "state_values" to state.values.toList())
    }

    private fun rank(arguments: Map<*, *>): FloatArray {
        val candidates = (arguments["candidates"] as List<*>).map { entry ->
            if (entry is Map<*, *>) Candidate(entry["item"] as String?, values(entry) - "item") else Candidate(entry as String)
        }
        val given = (arguments["history_values"] as List<*>?)?.map { (it as Number?)?.toFloat() }
        return ranker.value.score(
            values(arguments["user"]), candidates, values(arguments["context"]), texts(arguments["history"]), given,
        )
    }

    private fun listed(found: Recommendations): Map<String, Any?> = mapOf(
        "items" to found.map { it.item },
        "scores" to found.map { it.score },
        "titles" to found.map { it.title },
        "because" to found.map { it.because },
        "unknown" to found.unknown,
        "source" to found.source.name.lowercase(),
    )

    private fun k(arguments: Map<*, *>): Int = (arguments["k"] as Long? ?: 10L).toInt()

    private fun allow(arguments: Map<*, *>): List<String>? = arguments["allow"]?.let(::texts)

    private fun atMost(arguments: Map<*, *>): Map<String, Int> = values(arguments["at_most"]).mapValues { (it.value as Long).toInt() }

    override fun close() {
        if (recommender.isInitialized()) recommender.value.close()
        if (ranker.isInitialized()) ranker.value.close()
    }
}
