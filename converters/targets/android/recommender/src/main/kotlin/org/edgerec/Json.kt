package org.edgerec

/**
 * A strict JSON parser (RFC 8259) for the bundle's own members.
 *
 * The framework's `org.json` accepts comments, bare words and single quotes, and overflows the stack on deep nesting; a
 * file from outside must not have such freedom.
 *
 * Values are `Map<String, Any?>`, `List<Any?>`, `String`, `Long` (whole numbers that fit), `Double`, `Boolean` and `null`.
 */
internal class Json private constructor(private val text: String) {
    private var at = 0

    private fun document(): Any? {
        val value = value(0)
        blanks()
        if (at < text.length) fail("has something after its end")
        return value
    }

    private fun value(depth: Int): Any? {
        if (depth > MAX_DEPTH) fail("is nested deeper than $MAX_DEPTH levels")
        blanks()
        return when (val first = peek()) {
            '{' -> objectValue(depth)
            '[' -> arrayValue(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> if (first == '-' || first in '0'..'9') number() else fail("has an unexpected character")
        }
    }

    private fun objectValue(depth: Int): Map<String, Any?> {
        val entries = LinkedHashMap<String, Any?>()
        at++
        blanks()
        if (peek() == '}') return entries.also { at++ }
        while (true) {
            blanks()
            if (peek() != '"') fail("has an object key that is not a text")
            val key = string()
            blanks()
            expect(':')
            entries[key] = value(depth + 1)
            blanks()
            if (peek() == '}') return entries.also { at++ }
            expect(',')
        }
    }

    private fun arrayValue(depth: Int): List<Any?> {
        val values = ArrayList<Any?>()
        at++
        blanks()
        if (peek() == ']') return values.also { at++ }
        while (true) {
            values.add(value(depth + 1))
            blanks()
            if (peek() == ']') return values.also { at++ }
            expect(',')
        }
    }

    private fun string(): String {
        at++
        var start = at
        var decoded: StringBuilder? = null
        while (true) {
            val character = peek()
            when {
                character == '"' -> {
                    val rest = text.substring(start, at++)
                    return decoded?.append(rest)?.toString() ?: rest
                }
                character == '\\' -> {
                    val builder = decoded ?: StringBuilder().also { decoded = it }
                    builder.append(text, start, at)
                    at++
                    builder.append(escape())
                    start = at
                }
                character < ' ' -> fail("has a control character in a text")
                else -> at++
            }
        }
    }

    private fun escape(): Char = when (val kind = peek().also { at++ }) {
        '"', '\\', '/' -> kind
        'b' -> '\b'
        'f' -> '\u000C'
        'n' -> '\n'
        'r' -> '\r'
        't' -> '\t'
        'u' -> {
            if (at + 4 > text.length) fail("ends within an escape")
            val digits = text.substring(at, at + 4)
            if (!digits.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }) fail("has an illegal escape")
            at += 4
            digits.toInt(16).toChar()
        }
        else -> fail("has an illegal escape")
    }

    private fun number(): Number {
        val start = at
        if (text[at] == '-') at++
        val whole = digits()
        if (whole > 1 && text[at - whole] == '0') fail("has a number with a leading zero")
        var fraction = false
        if (at < text.length && text[at] == '.') {
            fraction = true
            at++
            digits()
        }
        if (at < text.length && (text[at] == 'e' || text[at] == 'E')) {
            fraction = true
            at++
            if (at < text.length && (text[at] == '+' || text[at] == '-')) at++
            digits()
        }
        val literal = text.substring(start, at)
        return if (fraction) literal.toDouble() else literal.toLongOrNull() ?: literal.toDouble()
    }

    private fun digits(): Int {
        val start = at
        while (at < text.length && text[at] in '0'..'9') at++
        if (at == start) fail("has a malformed number")
        return at - start
    }

    private fun <T> word(word: String, value: T): T {
        if (!text.startsWith(word, at)) fail("has an unexpected character")
        at += word.length
        return value
    }

    private fun blanks() {
        while (at < text.length && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else fail("ends too early")

    private fun expect(character: Char) {
        if (peek() != character) fail("lacks a '$character'")
        at++
    }

    private fun fail(what: String): Nothing = throw IllegalArgumentException("$what (character $at)")

    companion object {
        private const val MAX_DEPTH = 100

        /** @throws IllegalArgumentException it is not JSON; the message continues the name of the document. */
        fun parse(text: String): Any? = Json(text).document()

        /** The same of UTF-8. */
        fun parse(content: ByteArray): Any? = parse(content.decodeStrictly())
    }
}

/** The text of UTF-8, which must be well-formed: @throws IllegalArgumentException it is not. */
internal fun ByteArray.decodeStrictly(): String = try {
    decodeToString(throwOnInvalidSequence = true)
} catch (error: java.nio.charset.CharacterCodingException) {
    throw IllegalArgumentException("is not UTF-8", error)
}
