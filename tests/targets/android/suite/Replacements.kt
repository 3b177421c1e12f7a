package org.edgerec

import java.io.File
import kotlinx.coroutines.runBlocking

/**
 * Replaces the model of a [Recommender], step by step, and writes what each step left: one JSON object a line.
 *
 * Arguments: the shipped bundle, the folder of replacements, the public key in hexadecimal digits, then the steps:
 * `replace=FILE` (with `FILE.sig` if it is there), `rollback`, `reopen`, `ship=FILE` (an update of the app; opens it anew).
 */
fun main(arguments: Array<String>) = runBlocking {
    var shipped = File(arguments[0])
    val key = arguments[2].chunked(2).map { it.toInt(16).toByte() }.toByteArray()
    val updates = Updates(File(arguments[1]), key)
    var recommender = Recommender.open(updates = updates) { Bundle.read(shipped) }
    for (step in arguments.drop(3)) {
        val verb = step.substringBefore('=')
        val file = File(step.substringAfter('='))
        val refusal = try {
            when (verb) {
                "replace" -> {
                    val signature = File("$file.sig").takeIf { it.exists() }?.readText()
                    file.inputStream().use { recommender.replaceModel(it, signature) }
                }
                "rollback" -> recommender.rollback()
                else -> {
                    if (verb == "ship") shipped = file
                    recommender.close()
                    recommender = Recommender.open(updates = updates) { Bundle.read(shipped) }
                }
            }
            ""
        } catch (error: EdgeRecException) {
            error.message.orEmpty()
        }
        val items = recommender.recommend(listOf("i3", "i9"), k = 3).joinToString { "\"${it.item}\"" }
        val said = refusal.replace("\\", "\\\\").replace("\"", "\\\"")
        println("""{"release": ${recommender.bundle().release}, "items": [$items], "refusal": "$said"}""")
    }
    recommender.close()
}
