package org.edgerec

/** Top lists from scores, with one order everywhere: best first, and of equal scores the lower, more popular, row. */
internal object Order {
    /** The [k] best rows of [scores] by rows, without row 0 and what has the score minus infinity or none. */
    fun top(scores: FloatArray, k: Int): IntArray {
        // A heap of the best so far, the worst of them at its root.
        val heap = IntArray(minOf(k, scores.size))
        var size = 0
        fun worse(one: Int, other: Int) = scores[one] < scores[other] || (scores[one] == scores[other] && one > other)
        fun sink() {
            var parent = 0
            while (true) {
                var child = 2 * parent + 1
                if (child >= size) return
                if (child + 1 < size && worse(heap[child + 1], heap[child])) child++
                if (!worse(heap[child], heap[parent])) return
                heap[parent] = heap[child].also { heap[child] = heap[parent] }
                parent = child
            }
        }
        for (row in 1 until scores.size) {
            if (scores[row].isNaN() || scores[row] == Float.NEGATIVE_INFINITY) continue
            if (size < heap.size) {
                heap[size] = row
                var child = size++
                while (child > 0 && worse(heap[child], heap[(child - 1) / 2])) {
                    val parent = (child - 1) / 2
                    heap[parent] = heap[child].also { heap[child] = heap[parent] }
                    child = parent
                }
            } else if (size > 0 && worse(heap[0], row)) {
                heap[0] = row
                sink()
            }
        }
        val best = IntArray(size)
        while (size > 0) {
            best[size - 1] = heap[0]
            heap[0] = heap[--size]
            sink()
        }
        return best
    }
}

/** At most so many items of each value of an attribute, counted along a list. */
internal class Limits(private val limits: Map<Attribute, Int>) {
    private val taken = limits.mapValues { (attribute, _) -> IntArray(attribute.values.size) }

    /** Whether one more item of this row may be listed; if so, it is counted. */
    fun take(row: Int): Boolean {
        val full = limits.any { (attribute, most) -> attribute.of(row).any { taken.getValue(attribute)[it] >= most } }
        if (full) return false
        for (attribute in limits.keys) attribute.of(row).toSet().forEach { taken.getValue(attribute)[it]++ }
        return true
    }
}
