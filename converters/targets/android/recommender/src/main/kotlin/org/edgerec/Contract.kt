package org.edgerec

/** The signatures of a bundle, with the sizes of their inputs and outputs. */
sealed interface Contract {
    /** `"retrieval"` or `"ranking"`. */
    val kind: String

    companion object {
        /** @throws IllegalArgumentException it is malformed or of an unknown kind. */
        internal fun of(entry: Any?): Contract {
            require(entry is Map<*, *>) { "has no contract" }
            return when (val kind = if (entry.containsKey("kind")) entry["kind"] else Retrieval.KIND) {
                Retrieval.KIND -> Retrieval.of(entry)
                Ranking.KIND -> Ranking.of(entry)
                else -> throw IllegalArgumentException(
                    "is of the unknown kind $kind; this version knows ${Retrieval.KIND}, ${Ranking.KIND}",
                )
            }
        }

        internal fun count(value: Any?): Int? = if (value is Long && value in 0..Int.MAX_VALUE) value.toInt() else null
    }
}

/**
 * Scores the whole catalogue.
 *
 * @property maxHistory how many rows the model reads.
 * @property maxExclude how many rows the model itself leaves out.
 * @property topK how many items the model itself lists.
 * @property items the number of items N.
 * @property state floats of the state; 0: there is none.
 * @property recent newest item rows that are read beside the state.
 * @property neighbours transitions of each item; 0: there are none.
 */
data class Retrieval(
    val maxHistory: Int,
    val maxExclude: Int,
    val topK: Int,
    val items: Int,
    val state: Int = 0,
    val recent: Int = 0,
    val neighbours: Int = 0,
) : Contract {
    override val kind: String get() = KIND

    companion object {
        const val KIND = "retrieval"

        internal fun of(entry: Map<*, *>): Retrieval {
            val sizes = listOf("max_history", "max_exclude", "top_k", "items").map { Contract.count(entry[it]) ?: 0 }
            require(sizes.all { it > 0 }) {
                "lacks the sizes of the signature (max_history, max_exclude, top_k, items)"
            }
            val (state, recent, neighbours) = listOf("state", "recent", "neighbours").map { name ->
                val value = if (entry.containsKey(name)) entry[name] else 0L
                requireNotNull(Contract.count(value)) { "gives $name a size of $value" }
            }
            require(neighbours == 0 || recent > 0) {
                "gives each item $neighbours neighbours, but no recent rows to read them for"
            }
            return Retrieval(sizes[0], sizes[1], sizes[2], sizes[3], state, recent, neighbours)
        }
    }
}

/**
 * Scores given candidates.
 *
 * @property candidates how many one call of the model takes; longer lists are split.
 * @property inputs type (`float32` or `int32`) of each input by name.
 */
data class Ranking(val candidates: Int, val inputs: Map<String, String>) : Contract {
    override val kind: String get() = KIND

    companion object {
        const val KIND = "ranking"

        internal fun of(entry: Map<*, *>): Ranking {
            val candidates = Contract.count(entry["candidates"]) ?: 0
            val inputs = (entry["inputs"] as? Map<*, *>).orEmpty()
            require(candidates > 0 && inputs.isNotEmpty() && inputs.values.all { it is String }) {
                "lacks the number of candidates or the inputs of the signature score"
            }
            return Ranking(candidates, inputs.entries.associate { it.key as String to it.value as String })
        }
    }
}
