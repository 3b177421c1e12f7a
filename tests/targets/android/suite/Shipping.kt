package org.edgerec

import java.io.File
import kotlinx.coroutines.runBlocking

/**
 * Replaces the model of a [Recommender] and updates the app around it, and writes what each step left: one JSON object a
 * line.
 *
 * Arguments: the shipped bundle, the folder of replacements, then the steps: `replace=FILE`, `rollback`, `ship=FILE` (an
 * update of the app, which opens the recommender anew).
 */
fun main(arguments: Array<String>) = runBlocking {
    var shipped = File(arguments[0])
    val updates = Updates(File(arguments[1]), publicKey = null)
    var recommender = Recommender.open(updates = updates) { Bundle.read(shipped) }
    for (step in arguments.drop(2)) {
        val file = File(step.substringAfter('='))
        val refusal = try {
            when (step.substringBefore('=')) {
                "replace" -> file.inputStream().use { recommender.replaceModel(it, signature = null) }
                "rollback" -> recommender.rollback()
                else -> {
                    shipped = file
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
