package org.edgerec

/** Reasons: which event of the history contributed most to a recommended item. */
internal object Reasons {
    // The newest events that are left out in turn; each costs one call of the model.
    private const val LEFT_OUT = 20

    /** Transitions of the newest positions of the history, `neighbours` each: item rows and their weights. */
    class Links(val neighbours: Int, val items: IntArray, val weights: FloatArray)

    /**
     * For each recommended item the row of the event that contributed most to it, 0 where there is none: the event whose
     * transition to it weighs most, or else the one without which its score falls most. Of equal events the newest counts.
     *
     * @param read the rows that the model read, oldest first; those above [items] are user features, which are no events.
     * @param links calls the signature `links` for [read]; `null` for a model without transitions.
     * @param itemScores scores all rows after other rows.
     */
    fun of(
        ids: IntArray,
        scores: FloatArray,
        read: IntArray,
        items: Int,
        links: (() -> Links)?,
        itemScores: (IntArray) -> FloatArray,
    ): IntArray {
        if (ids.isEmpty() || read.all { it > items }) return IntArray(ids.size)
        val found = if (links == null) IntArray(ids.size) else linked(ids, read, items, links())
        val without = found.indices.filter { found[it] == 0 }
        if (without.isNotEmpty()) leftOut(ids, scores, read, items, itemScores, without, found)
        return found
    }

    private fun linked(ids: IntArray, read: IntArray, items: Int, links: Links): IntArray {
        val positions = links.items.size / links.neighbours
        return IntArray(ids.size) { place ->
            var reason = 0
            var most = 0f
            for (back in 0 until minOf(positions, read.size)) {
                val event = read[read.size - 1 - back]
                if (event > items) continue
                val first = (positions - 1 - back) * links.neighbours
                for (entry in first until first + links.neighbours) {
                    if (links.items[entry] == ids[place] && links.weights[entry] > most) {
                        most = links.weights[entry]
                        reason = event
                    }
                }
            }
            reason
        }
    }

    private fun leftOut(
        ids: IntArray,
        scores: FloatArray,
        read: IntArray,
        items: Int,
        itemScores: (IntArray) -> FloatArray,
        wanted: List<Int>,
        found: IntArray,
    ) {
        val most = FloatArray(ids.size)
        for (place in read.indices.filter { read[it] <= items }.takeLast(LEFT_OUT).asReversed()) {
            val others = itemScores(IntArray(read.size - 1) { read[if (it < place) it else it + 1] })
            for (one in wanted) {
                val fall = scores[one] - others[ids[one]]
                if (fall > most[one]) {
                    most[one] = fall
                    found[one] = read[place]
                }
            }
        }
    }
}
