package org.edgerec

/**
 * An input of a ranking model.
 *
 * @property input its name in the signature.
 * @property name its name for the app, in `user`, `context` or a candidate.
 * @property of whose it is: `user`, `item`, `context`, `history` or `retrieval`.
 * @property type `number`, `category` or `categories`; of items and of the history, `items`.
 * @property values of categories: the texts that are known, whose index counts from 1.
 * @property size of several categories or of the history: how many are read.
 */
class Feature private constructor(
    val input: String,
    val name: String,
    val of: String,
    val type: String,
    val values: List<String>,
    val size: Int,
) {
    private val indexOf = values.withIndex().associate { (place, value) -> value to place + 1 }

    /** One that this code fills itself: rows of items, the history, the score of the retrieval. */
    internal val reserved: Boolean get() = input in RESERVED

    /** How many numbers one item, or the user, has. */
    internal val width: Int get() = if (type == CATEGORIES) size else 1

    /**
     * A number for the model: NaN where it is missing.
     *
     * @throws IllegalArgumentException it is infinite, or not a number.
     */
    internal fun number(value: Any?): Float {
        if (value == null) return Float.NaN
        require(value is Number) { "$name is ${describe(value)}, not a number" }
        val number = value.toFloat()
        require(!number.isInfinite()) { "$name is infinite, or too large for 32 bits" }
        return number
    }

    /**
     * Indexes of categories for the model, [width] of them, padded with 0; missing and unknown ones are left out.
     *
     * @throws IllegalArgumentException one is neither a text nor a whole number.
     */
    internal fun categories(value: Any?): IntArray {
        val given = when {
            value == null -> emptyList()
            type == CATEGORY -> listOf(value)
            value is Iterable<*> -> value.toList()
            value is Array<*> -> value.toList()
            else -> throw IllegalArgumentException("$name is ${describe(value)}, not a list of categories")
        }
        val known = given.mapNotNull { one -> one?.let { indexOf[text(it)] } }.distinct().take(width)
        return IntArray(width) { known.getOrElse(it) { 0 } }
    }

    private fun text(value: Any): String = when (value) {
        is CharSequence -> value.toString().trim()
        is Int, is Long, is Short, is Byte -> value.toString()
        else -> throw IllegalArgumentException("$name has ${describe(value)}, but categories are texts or whole numbers")
    }

    private fun describe(value: Any) = "$value (${value.javaClass.simpleName})"

    internal companion object {
        const val NUMBER = "number"
        const val CATEGORY = "category"
        const val CATEGORIES = "categories"
        const val ITEMS = "items"
        const val ITEM = "item"
        const val HISTORY = "history"
        const val HISTORY_VALUES = "history_values"
        const val RETRIEVAL_SCORE = "retrieval_score"

        /** Inputs that are no features of the user, the moment or an item: whose they are, and of which types. */
        private val RESERVED = mapOf(
            ITEM to ("item" to setOf(CATEGORY, ITEMS)),
            HISTORY to ("history" to setOf(ITEMS, CATEGORIES)),
            HISTORY_VALUES to ("history" to setOf(NUMBER)),
            RETRIEVAL_SCORE to ("retrieval" to setOf(NUMBER)),
        )
        private val OWNERS = setOf("user", "item", "context")
        private val TYPES = setOf(NUMBER, CATEGORY, CATEGORIES)

        /** @throws IllegalArgumentException the document is malformed, or does not fit the contract. */
        fun of(document: Any?, contract: Ranking): List<Feature> {
            require(document is List<*>) { "is not a list" }
            val described = document.map(::feature)
            val absent = ITEM in contract.inputs && described.none { it.input == ITEM }
            val item = Feature(ITEM, ITEM, "item", ITEMS, emptyList(), 1)  // the one input that needs no entry
            val features = if (absent) listOf(item) + described else described
            require(features.map { it.input }.sorted() == contract.inputs.keys.sorted()) {
                "does not describe the inputs of the signature score"
            }
            require(features.distinctBy { it.of to it.name }.size == features.size) { "names a feature twice" }
            for (feature in features) {
                val expected = if (feature.type == NUMBER) "float32" else "int32"
                require(contract.inputs[feature.input] == expected) { "gives ${feature.input} another type than the model" }
            }
            return features
        }

        private fun feature(entry: Any?): Feature {
            require(entry is Map<*, *>) { "has an entry that is not an object" }
            val texts = listOf("input", "name", "of", "type").map { entry[it] as? String ?: "" }
            val (input, name, of, type) = texts
            val reserved = RESERVED[input]
            val fits = if (reserved != null) of == reserved.first && type in reserved.second else of in OWNERS && type in TYPES
            require(input.isNotEmpty() && name.isNotEmpty() && fits) { "has a malformed entry ($input)" }
            val values = (entry["values"] ?: emptyList<Any>()) as? List<*>
            require(values != null && values.all { it is String } && values.toSet().size == values.size) {
                "has malformed values of $input"
            }
            val size = if (entry.containsKey("size")) Contract.count(entry["size"]) ?: 0 else 1
            require(size > 0) { "has a malformed size of $input" }
            return Feature(input, name, of, type, values.map { it as String }, size)
        }
    }
}

/** The values of an item feature by row: numbers, or indexes of categories. */
internal class ItemColumn private constructor(
    private val numbers: FloatArray?,
    private val starts: IntArray,
    private val indexes: IntArray,
) {
    fun number(row: Int): Float = numbers!![row]

    /** Indexes of categories, [width] of them, padded with 0. */
    fun categories(row: Int, width: Int): IntArray {
        val first = starts[row]
        val count = minOf(width, starts[row + 1] - first)
        return IntArray(width) { if (it < count) indexes[first + it] else 0 }
    }

    companion object {
        /** @throws IllegalArgumentException the document is malformed. */
        fun of(document: Any?, features: List<Feature>, items: Int): Map<String, ItemColumn> {
            require(document is Map<*, *>) { "is not an object" }
            val known = features.filter { it.of == "item" && !it.reserved }.associateBy { it.name }
            return document.entries.associate { (name, rows) ->
                val feature = requireNotNull(known[name]) { "has values of $name, which is no feature of items" }
                require(rows is List<*> && rows.size == items) { "does not have one value of $name for each item" }
                feature.name to column(feature, rows)
            }
        }

        private fun column(feature: Feature, rows: List<*>): ItemColumn {
            if (feature.type == Feature.NUMBER) {
                // Row 0 stands for an unknown item.
                val numbers = FloatArray(rows.size + 1) { Float.NaN }
                rows.forEachIndexed { place, value -> numbers[place + 1] = finite(feature, value) }
                return ItemColumn(numbers, IntArray(0), IntArray(0))
            }
            val lists = rows.map { value -> if (feature.type == Feature.CATEGORY) listOf(value) else value as? List<*> }
            val starts = IntArray(rows.size + 2)
            lists.forEachIndexed { place, list ->
                require(list != null) { "has a malformed value of ${feature.name}" }
                starts[place + 2] = starts[place + 1] + list.size
            }
            val least = if (feature.type == Feature.CATEGORY) 0L else 1L
            val indexes = IntArray(starts.last())
            var at = 0
            for (index in lists.flatMap { it.orEmpty() }) {
                require(index is Long && index in least..feature.values.size) { "has a malformed value of ${feature.name}" }
                indexes[at++] = index.toInt()
            }
            return ItemColumn(null, starts, indexes)
        }

        private fun finite(feature: Feature, value: Any?): Float {
            if (value == null) return Float.NaN
            require(value is Number && value.toFloat().isFinite()) { "has a malformed value of ${feature.name}" }
            return value.toFloat()
        }
    }
}
