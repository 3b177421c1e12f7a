package org.edgerec

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32
import java.util.zip.DataFormatException
import java.util.zip.Inflater

/**
 * The ZIP behind the flatbuffer, read by its central directory alone and within limits, so that a hostile file costs no
 * more memory than the limits allow.
 */
internal class Archive private constructor(private val file: ByteBuffer, private val entries: List<Entry>) {
    /** An entry of the central directory. */
    class Entry(val name: String, val method: Int, val packed: Int, val size: Int, val crc: Long, val header: Int)

    /** Where the ZIP begins: the header of its first member. */
    val start: Int = entries.minOfOrNull { it.header } ?: file.limit()

    /** The members in the order of the directory. */
    fun members(): Map<String, ByteArray> = entries.associate { it.name to content(it) }

    private fun content(entry: Entry): ByteArray {
        if (entry.header + LOCAL_BYTES > file.limit() || file.getInt(entry.header) != LOCAL) {
            damaged("the header of ${entry.name} is absent")
        }
        val names = unsigned(entry.header + 26) + unsigned(entry.header + 28)
        val begin = entry.header.toLong() + LOCAL_BYTES + names
        if (begin + entry.packed > file.limit()) damaged("${entry.name} is cut off")
        val packed = ByteArray(entry.packed)
        val part = file.duplicate()
        (part as Buffer).position(begin.toInt())
        part.get(packed)
        val content = if (entry.method == STORED) packed else inflate(packed, entry)
        if (content.size != entry.size) damaged("member ${entry.name} is not as long as it claims")
        if (CRC32().apply { update(content) }.value != entry.crc) damaged("member ${entry.name} has a wrong checksum")
        return content
    }

    private fun inflate(packed: ByteArray, entry: Entry): ByteArray {
        val inflater = Inflater(true)
        try {
            inflater.setInput(packed)
            // Grows with what really comes out: a claimed size costs nothing.
            var content = ByteArray(minOf(entry.size, 16 * 1024 + 4 * packed.size))
            var length = 0
            while (!inflater.finished()) {
                if (length == content.size) {
                    if (length >= entry.size) {
                        if (inflater.inflate(ByteArray(1)) > 0) damaged("member ${entry.name} is longer than it claims")
                        if (!inflater.finished()) damaged("member ${entry.name} is cut off")
                        break
                    }
                    content = content.copyOf(minOf(entry.size.toLong(), 2L * length + 1024).toInt())
                }
                val more = inflater.inflate(content, length, content.size - length)
                length += more
                if (more == 0 && (inflater.needsInput() || inflater.needsDictionary())) {
                    damaged("member ${entry.name} is cut off")
                }
            }
            return if (length == content.size) content else content.copyOf(length)
        } catch (error: DataFormatException) {
            damaged("member ${entry.name} cannot be unpacked", error)
        } finally {
            inflater.end()
        }
    }

    private fun unsigned(at: Int): Int = file.getShort(at).toInt() and 0xFFFF

    companion object {
        private const val STORED = 0
        private const val DEFLATED = 8
        private const val END = 0x06054b50
        private const val CENTRAL = 0x02014b50
        private const val LOCAL = 0x04034b50
        private const val END_BYTES = 22
        private const val CENTRAL_BYTES = 46
        private const val LOCAL_BYTES = 30
        private const val ENCRYPTED = 1
        private const val LONGEST_COMMENT = 0xFFFF

        // What all members together may have when inflated: a floor for small files, and a multiple of the file.
        private const val FLOOR = 8L shl 20
        private const val FACTOR = 3L

        /**
         * Reads the directory.
         *
         * @param known names of the members that may be there.
         * @param limit most bytes of one member, unpacked.
         * @throws BundleException there is no ZIP, or it is not one that a bundle has.
         */
        fun of(content: ByteBuffer, known: Set<String>, limit: Int): Archive {
            val file = content.duplicate().order(ByteOrder.LITTLE_ENDIAN)
            val end = endOf(file) ?: throw BundleException(
                "a TFLite file without the edgerec part (a plain model, or a truncated bundle); " +
                    "make one with: edgerec convert",
            )
            val count = file.getShort(end + 10).toInt() and 0xFFFF
            val bytes = file.getInt(end + 12).toLong() and 0xFFFFFFFFL
            if (file.getInt(end + 4) != 0) damaged("it is one of several disks")
            val first = file.getInt(end + 16).toLong() and 0xFFFFFFFFL
            if (first + bytes != end.toLong()) damaged("its directory is not where it should be")
            val entries = ArrayList<Entry>()
            var at = first.toInt()
            var total = 0L
            repeat(count) {
                val entry = entry(file, at, end, known, limit)
                total += entry.size
                if (total > FLOOR + FACTOR * file.limit()) {
                    throw BundleException("member ${entry.name} claims ${entry.size} bytes; refusing the file")
                }
                if (entry.header >= first) damaged("member ${entry.name} is not where it should be")
                if (entries.any { it.name == entry.name }) damaged("member ${entry.name} is there twice")
                entries.add(entry)
                val sizes = intArrayOf(28, 30, 32).sumOf { file.getShort(at + it).toInt() and 0xFFFF }
                at += CENTRAL_BYTES + sizes
            }
            if (at != end) damaged("its directory has another length than it claims")
            return Archive(file, entries)
        }

        private fun endOf(file: ByteBuffer): Int? {
            val last = file.limit() - END_BYTES
            for (at in last downTo maxOf(0, last - LONGEST_COMMENT)) {
                if (file.getInt(at) == END && (file.getShort(at + 20).toInt() and 0xFFFF) == last - at) return at
            }
            return null
        }

        private fun entry(file: ByteBuffer, at: Int, end: Int, known: Set<String>, limit: Int): Entry {
            if (at + CENTRAL_BYTES > end || file.getInt(at) != CENTRAL) damaged("its directory is cut off")
            val nameBytes = file.getShort(at + 28).toInt() and 0xFFFF
            if (at + CENTRAL_BYTES + nameBytes > end) damaged("its directory is cut off")
            val raw = ByteArray(nameBytes) { file.get(at + CENTRAL_BYTES + it) }
            val name = String(raw, Charsets.ISO_8859_1)
            if (name !in known) throw BundleException("unexpected member \"${name.take(80)}\"; refusing the file")
            val flags = file.getShort(at + 8).toInt()
            val method = file.getShort(at + 10).toInt() and 0xFFFF
            if (flags and ENCRYPTED != 0) damaged("member $name is encrypted")
            if (method != STORED && method != DEFLATED) {
                throw BundleException("member $name is packed by method $method; convert the model again")
            }
            val packed = file.getInt(at + 20).toLong() and 0xFFFFFFFFL
            val size = file.getInt(at + 24).toLong() and 0xFFFFFFFFL
            val header = file.getInt(at + 42).toLong() and 0xFFFFFFFFL
            if (size > limit) throw BundleException("member $name claims $size bytes; refusing the file")
            if (packed > file.limit() || header > file.limit()) damaged("member $name is cut off")
            return Entry(
                name, method, packed.toInt(), size.toInt(), file.getInt(at + 16).toLong() and 0xFFFFFFFFL, header.toInt(),
            )
        }

        private fun damaged(what: String, cause: Throwable? = null): Nothing =
            throw BundleException("damaged bundle ($what); copy or convert it again", cause)
    }
}
