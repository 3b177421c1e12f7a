package org.edgerec

import kotlin.math.abs

/**
 * What the golden vectors of a bundle say: made-up inputs whose outputs are known from Python.
 *
 * @property passed how many gave what is expected.
 * @property failures the others, one line each.
 */
class GoldenResult internal constructor(val passed: Int, val failures: List<String>) {
    /**
     * Refuses a model that answers otherwise than Python, or that has no golden vectors to tell.
     *
     * @throws BundleException it does.
     */
    fun requirePassed() {
        if (failures.isNotEmpty()) {
            val count = passed + failures.size
            throw BundleException("${failures.size} of $count golden vectors fail on this device; the first: ${failures[0]}")
        }
        if (passed == 0) throw BundleException("it has no golden vectors, so nothing shows that it computes rightly here")
    }
}

internal object Golden {
    private const val TOLERANCE = 0.02f

    fun malformed(cause: Throwable? = null) = BundleException("golden.json has a malformed case", cause)

    /** Runs [check] on each case; it returns why the case fails, or `null`. */
    fun run(cases: List<Map<*, *>>, check: (Map<*, *>) -> String?): GoldenResult {
        val failures = cases.mapNotNull(check)
        return GoldenResult(cases.size - failures.size, failures)
    }

    /** The numbers of an entry of a case. */
    fun scores(case: Map<*, *>): FloatArray {
        val values = case["scores"] as? List<*> ?: throw malformed()
        return FloatArray(values.size) { (values[it] as? Number)?.toFloat() ?: throw malformed() }
    }

    /** How far a score may be from the expected one. */
    fun within(case: Map<*, *>, scores: FloatArray): Float {
        val tolerance = (case["tolerance"] as? Number)?.toFloat() ?: TOLERANCE
        return tolerance * (scores.maxOfOrNull { abs(it) } ?: 0f)
    }

    fun near(expected: FloatArray, found: FloatArray, within: Float): Boolean =
        expected.size == found.size && expected.indices.all { abs(expected[it] - found[it]) <= within }

    /** Whether each id is the expected one at its place, or nearly ties with it. */
    fun sameOrder(ids: IntArray, scores: FloatArray, found: IntArray, within: Float): Boolean = ids.indices.all { place ->
        val listed = ids.indexOf(found[place])
        val own = if (listed < 0) scores.last() else scores[listed]
        found[place] == ids[place] || abs(own - scores[place]) <= within
    }
}
