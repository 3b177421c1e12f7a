package org.edgerec

/**
 * An attribute of the items, such as their category: of each row any number of its values.
 *
 * @property values the values by index.
 */
class Attribute private constructor(
    val values: List<String>,
    private val starts: IntArray,
    private val indexes: IntArray,
) {
    /** Indexes of the values of an item row; empty where they are unknown. */
    internal fun of(row: Int): IntArray = indexes.copyOfRange(starts[row], starts[row + 1])

    internal companion object {
        /** @throws IllegalArgumentException the document is malformed. */
        fun of(document: Any?, items: Int): Map<String, Attribute> {
            require(document is Map<*, *>) { "is not an object" }
            return document.entries.associate { (name, entry) -> name as String to attribute(name, entry, items) }
        }

        private fun attribute(name: String, entry: Any?, items: Int): Attribute {
            val values = (entry as? Map<*, *>)?.get("values") as? List<*>
            val rows = (entry as? Map<*, *>)?.get("rows") as? List<*>
            require(values != null && rows != null && values.all { it is String }) { "has a malformed attribute $name" }
            require(values.toSet().size == values.size) { "names a value of the attribute $name twice" }
            require(rows.size == items) { "has ${rows.size} rows of the attribute $name for $items items" }
            // Row 0 is padding and has none.
            val starts = IntArray(items + 2)
            rows.forEachIndexed { place, row ->
                require(row is List<*>) { "has a malformed row of the attribute $name" }
                require(row.toSet().size == row.size) { "gives an item a value of the attribute $name twice" }
                starts[place + 2] = starts[place + 1] + row.size
            }
            val indexes = IntArray(starts.last())
            var at = 0
            for (row in rows) {
                for (index in row as List<*>) {
                    require(index is Long && index in values.indices) { "has an index outside the values of the attribute $name" }
                    indexes[at++] = index.toInt()
                }
            }
            return Attribute(values.map { it as String }, starts, indexes)
        }
    }
}
