package org.edgerec

import java.security.SecureRandom

/** Texts by row; row 0 is padding and empty. */
interface Texts {
    /** How many rows there are, padding included. */
    val size: Int

    operator fun get(row: Int): String
}

/** Raw ids, which are found by their text as well. */
interface Ids : Texts {
    /** The row of an id, 0 where there is none. */
    fun find(id: String): Int
}

/** No ids: of a bundle that has none. */
internal object NoIds : Ids {
    override val size = 1

    override fun get(row: Int) = ""

    override fun find(id: String) = 0
}

/**
 * Lines of UTF-8: the bytes of the file, and where each line ends. A line with a backslash is the inside of a JSON text.
 *
 * @throws IllegalArgumentException it is not UTF-8, does not end with a line feed, or has an illegal escape.
 */
internal open class Lines(private val content: ByteArray) : Texts {
    private val ends: IntArray

    init {
        requireUtf8(content)
        require(content.isEmpty() || content.last() == LINE_FEED) { "does not end with a line feed" }
        ends = IntArray(content.count { it == LINE_FEED })
        var line = 0
        content.forEachIndexed { at, byte -> if (byte == LINE_FEED) ends[line++] = at }
        if (BACKSLASH in content) {
            for (row in 1 until size) if (hasEscape(row)) get(row)
        }
    }

    final override val size: Int get() = ends.size + 1

    override fun get(row: Int): String {
        if (row == 0) return ""
        val line = content.decodeToString(start(row), ends[row - 1])
        return if ('\\' in line) Json.parse("\"$line\"") as String else line
    }

    protected fun start(row: Int): Int = if (row == 1) 0 else ends[row - 2] + 1

    protected fun end(row: Int): Int = ends[row - 1]

    private fun hasEscape(row: Int): Boolean = (start(row) until end(row)).any { content[it] == BACKSLASH }

    private companion object {
        const val LINE_FEED = '\n'.code.toByte()
        const val BACKSLASH = '\\'.code.toByte()
        const val CHECKED_AT_ONCE = 1 shl 20

        /** Checks by parts, as a whole text would take twice the memory again. */
        fun requireUtf8(content: ByteArray) {
            var from = 0
            while (from < content.size) {
                var to = minOf(content.size, from + CHECKED_AT_ONCE)
                // A part must not end within a character.
                while (to < content.size && to > from + 1 && content[to].toInt() and 0xC0 == 0x80) to--
                content.copyOfRange(from, to).decodeStrictly()
                from = to
            }
        }
    }
}

/** Lines with an index of their hashes: 8 bytes an id, whatever its length. */
internal class LineIds(content: ByteArray) : Lines(content), Ids {
    // Open addressing; the seed differs in each process, so that no file can be made whose ids collide.
    private val table = IntArray(Integer.highestOneBit(maxOf(4, size * 2)) * 2)

    /** Whether no id is there twice or empty. */
    val unique: Boolean

    init {
        var distinct = true
        for (row in 1 until size) {
            val id = get(row)
            val slot = slot(id)
            if (table[slot] != 0 || id.isEmpty()) distinct = false else table[slot] = row
        }
        unique = distinct
    }

    override fun find(id: String): Int = table[slot(id)]

    /** The slot of the id, or the free one where it would stand. */
    private fun slot(id: String): Int {
        var slot = hash(id) and (table.size - 1)
        while (table[slot] != 0 && get(table[slot]) != id) slot = (slot + 1) and (table.size - 1)
        return slot
    }

    private companion object {
        val SEED = SecureRandom().nextInt()

        fun hash(id: String): Int {
            var hash = SEED
            for (character in id) {
                hash = (hash xor character.code) * 0x01000193
                hash = hash xor (hash ushr 15)
            }
            hash *= -0x7a143589
            return hash xor (hash ushr 13)
        }
    }
}

/**
 * Ids that are whole numbers from 0 to 2^63 - 1, in as many bits as the largest needs.
 *
 * @param content one byte with the number of bits, then the ids of rows 1 to [count], each from its lowest bit on.
 * @throws IllegalArgumentException the content is something else; it is checked before anything is unpacked.
 */
internal class NumberIds(content: ByteArray, private val count: Int) : Ids {
    private val values: LongArray

    // Rows in the order of their values, for the binary search.
    private val order: IntArray

    /** Whether no id is there twice. */
    val unique: Boolean

    init {
        val bits = if (content.isEmpty()) 0 else content[0].toInt() and 0xFF
        require(
            bits in 1..63 && (bits >= 31 || count <= 1 shl bits) &&
                content.size.toLong() == 1 + (count.toLong() * bits + 7) / 8,
        ) { "does not hold $count different numbers" }
        values = LongArray(count)
        var place = 8L
        for (index in 0 until count) {
            var value = 0L
            var bit = 0
            while (bit < bits) {
                val inByte = (place and 7).toInt()
                val taken = minOf(8 - inByte, bits - bit)
                val byte = content[(place ushr 3).toInt()].toInt() and 0xFF
                value = value or (((byte ushr inByte) and ((1 shl taken) - 1)).toLong() shl bit)
                bit += taken
                place += taken
            }
            values[index] = value
        }
        order = sortedRows()
        unique = (1 until count).none { values[order[it]] == values[order[it - 1]] }
    }

    override val size: Int get() = count + 1

    override fun get(row: Int): String = if (row == 0) "" else values[row - 1].toString()

    override fun find(id: String): Int {
        val value = canonical(id) ?: return 0
        var low = 0
        var high = count - 1
        while (low <= high) {
            val middle = (low + high) ushr 1
            val found = values[order[middle]]
            when {
                found < value -> low = middle + 1
                found > value -> high = middle - 1
                else -> return order[middle] + 1
            }
        }
        return 0
    }

    /** A heap sort of the places by value: no boxed numbers, and n log n whatever the file holds. */
    private fun sortedRows(): IntArray {
        val places = IntArray(count) { it }
        fun sink(from: Int, until: Int) {
            var parent = from
            while (true) {
                var child = 2 * parent + 1
                if (child >= until) return
                if (child + 1 < until && values[places[child + 1]] > values[places[child]]) child++
                if (values[places[child]] <= values[places[parent]]) return
                places[parent] = places[child].also { places[child] = places[parent] }
                parent = child
            }
        }
        for (parent in count / 2 - 1 downTo 0) sink(parent, count)
        for (last in count - 1 downTo 1) {
            places[0] = places[last].also { places[last] = places[0] }
            sink(0, last)
        }
        return places
    }

    private companion object {
        /** The number that a text is, if it is written the one way that ids are. */
        fun canonical(id: String): Long? {
            val plain = id.isNotEmpty() && id.length < 20 && id.all { it in '0'..'9' } && (id == "0" || id[0] != '0')
            return if (plain) id.toLongOrNull() else null
        }
    }
}
