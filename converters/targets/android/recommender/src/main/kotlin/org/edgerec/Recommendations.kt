package org.edgerec

/**
 * One recommended item.
 *
 * @property item its raw id.
 * @property score higher is better; comparable within one call.
 * @property title empty where the bundle has none.
 * @property because raw id of the event of the history that contributed most to it; `null` unless it was asked for and
 *   there is one.
 */
data class Recommendation(val item: String, val score: Float, val title: String, val because: String? = null)

/** Where a list comes from. */
enum class Source {
    MODEL,

    /** The most popular items, as nothing is known of the user. */
    POPULARITY,
}

/**
 * The list of a recommendation, best first.
 *
 * @property unknown how many events of the history are not in the catalogue and were skipped.
 */
class Recommendations internal constructor(
    private val items: List<Recommendation>,
    val unknown: Int,
    val source: Source,
) : List<Recommendation> by items {
    override fun equals(other: Any?): Boolean = items == other

    override fun hashCode(): Int = items.hashCode()

    override fun toString(): String = "$items ($source, $unknown unknown events)"
}
