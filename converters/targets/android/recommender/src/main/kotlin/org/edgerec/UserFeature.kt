package org.edgerec

/**
 * A feature of the user that the model can read. Each value is a row of the item table, behind all items.
 *
 * @property name its name in `user` of [Recommender.recommend].
 * @property values the values of a categorical feature; empty for a numeric one.
 * @property edges the bounds between the ranges of a numeric feature, rising; a bound belongs to the range above it.
 */
class UserFeature internal constructor(
    val name: String,
    internal val first: Int,
    val values: List<String>,
    val edges: List<Double>,
) {
    internal val rows: Int get() = if (values.isNotEmpty()) values.size else edges.size + 1

    private val rowOfValue = values.withIndex().associate { (place, value) -> value to first + place }

    /** The row of a value, `null` if it is absent or unknown. */
    internal fun rowOf(value: Any?): Int? {
        if (value == null) return null
        if (values.isNotEmpty()) return rowOfValue[value.toString().trim()]
        val number = when (value) {
            is Number -> value.toDouble()
            is Boolean -> if (value) 1.0 else 0.0
            is CharSequence -> value.trim().let { if (NUMBER.matches(it)) it.toString().toDouble() else return null }
            else -> return null
        }
        return if (number.isNaN()) null else first + edges.count { it <= number }
    }

    internal companion object {
        // What a number looks like as text; `toDouble` alone would also take "1d" and hexadecimal digits.
        private val NUMBER = Regex("[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?")

        /** @throws IllegalArgumentException the entry is malformed. */
        fun of(entry: Any?): UserFeature {
            require(entry is Map<*, *>) { "it is not an object" }
            val name = entry["name"]
            val first = Contract.count(entry["first"])
            val values = entry["values"]
            val edges = entry["edges"]
            require(name is String && first != null && values is List<*> && edges is List<*>) { "the user feature $name" }
            require(values.isEmpty() || edges.isEmpty()) { "the user feature $name" }
            require(values.all { it is String }) { "the values of the user feature $name" }
            val bounds = edges.map { (it as? Number)?.toDouble() ?: Double.NaN }
            require(bounds.all { it.isFinite() } && bounds.zipWithNext().all { (low, high) -> low < high }) {
                "the edges of the user feature $name"
            }
            return UserFeature(name, first, values.map { it as String }, bounds)
        }

        /** @throws IllegalArgumentException [user] names a feature that the model does not have. */
        fun rowsOf(features: List<UserFeature>, user: Map<String, Any?>): List<Int> {
            val names = features.map { it.name }
            val strange = user.keys - names.toSet()
            require(strange.isEmpty()) {
                "the model knows no user feature ${strange.joinToString()}; it has: ${names.joinToString().ifEmpty { "none" }}"
            }
            return features.mapNotNull { it.rowOf(user[it.name]) }
        }
    }
}
