package org.edgerec

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * What a recurrent model remembers of one user's events, which an app stores between two of them. It belongs to one
 * bundle and never changes: [Recommender.advance] returns a new one.
 */
class RecurrentState internal constructor(
    internal val values: FloatArray,
    /** Which model it belongs to: the sha256 of the flatbuffer in 64 hexadecimal digits. */
    val fingerprint: String,
    internal val recent: IntArray = IntArray(0),
) {
    init {
        require(values.all { it.isFinite() }) { "the state's values are not finite" }
        require(SHA256.matches(fingerprint)) { "the state's fingerprint is not 64 hexadecimal digits" }
        require(recent.all { it > 0 }) { "the state's recent rows begin at 1" }
    }

    /** Whether it holds nothing: no event and no user feature so far. */
    val isEmpty: Boolean get() = values.all { it == 0f } && recent.isEmpty()

    /**
     * The state as bytes to store: `ERS2`, the fingerprint (32 bytes), the number of recent rows (uint32), the recent
     * rows (int32) and the values (float32), all little-endian. Every implementation of edgerec reads them.
     */
    fun toBytes(): ByteArray {
        val content = ByteBuffer.allocate(HEADER_BYTES + 4 + 4 * (recent.size + values.size))
        content.order(ByteOrder.LITTLE_ENDIAN).put(MAGIC.toByteArray())
        for (place in 0 until 32) content.put(fingerprint.substring(2 * place, 2 * place + 2).toInt(16).toByte())
        content.putInt(recent.size)
        recent.forEach { content.putInt(it) }
        values.forEach { content.putFloat(it) }
        return content.array()
    }

    companion object {
        private const val MAGIC = "ERS2"
        private const val MAGIC_WITHOUT_RECENT = "ERS1"
        private const val HEADER_BYTES = 36
        private val SHA256 = Regex("[0-9a-f]{64}")

        /** @throws IllegalArgumentException the content is not a stored state. */
        fun fromBytes(content: ByteArray): RecurrentState {
            val magic = String(content.copyOf(minOf(4, content.size)), Charsets.ISO_8859_1)
            require(magic == MAGIC || magic == MAGIC_WITHOUT_RECENT) { NOT_A_STATE }
            val counted = magic == MAGIC
            require(content.size >= HEADER_BYTES + if (counted) 4 else 0) { NOT_A_STATE }
            val stored = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN)
            val fingerprint = (4 until HEADER_BYTES).joinToString("") { "%02x".format(content[it]) }
            val count = if (counted) stored.getInt(HEADER_BYTES).toLong() and 0xFFFFFFFFL else 0
            val start = HEADER_BYTES + if (counted) 4 else 0
            val left = content.size - start - 4 * count
            require(left >= 4 && left % 4 == 0L) { NOT_A_STATE }
            val recent = IntArray(count.toInt()) { stored.getInt(start + 4 * it) }
            val first = start + 4 * recent.size
            return RecurrentState(FloatArray((left / 4).toInt()) { stored.getFloat(first + 4 * it) }, fingerprint, recent)
        }

        private const val NOT_A_STATE = "not a stored state (or a truncated one)"
    }
}
