package org.edgerec

import java.io.Closeable
import java.io.File
import java.io.InputStream
import kotlin.io.path.createTempDirectory
import kotlinx.coroutines.runBlocking

/** A [Recommender] or a [Ranker] whose model can be replaced. */
private class InService(
    val replace: suspend (InputStream, String?) -> Unit,
    val rollback: suspend () -> Unit,
    val release: suspend () -> Long,
    val answer: suspend (Map<*, *>) -> List<Any?>,
    private val model: Closeable,
) : Closeable by model

/**
 * Replaces a model as the conformance suite asks (`call`: `replace`).
 *
 * @param first the model that the app ships.
 * @param made the bytes of a file that the suite describes.
 * @return lists with an entry for each step.
 */
internal fun replaced(first: ByteArray, arguments: Map<*, *>, made: (Map<*, *>) -> ByteArray): Map<String, Any?> = runBlocking {
    val folder = createTempDirectory("edgerec").toFile()
    val key = (arguments["public_key"] as String?)?.chunked(2)?.map { it.toInt(16).toByte() }?.toByteArray()
    val ask = arguments["ask"] as Map<*, *>
    var served = opened(first, Updates(File(folder, "model"), key))
    try {
        val accepted = ArrayList<Boolean>()
        val releases = ArrayList<Long>()
        val answers = ArrayList<List<Any?>>()
        for (step in arguments["steps"] as List<*>) {
            step as Map<*, *>
            accepted += try {
                when (step["do"]) {
                    "replace" -> served.replace(made(step["file"] as Map<*, *>).inputStream(), step["signature"] as String?)
                    "rollback" -> served.rollback()
                    else -> {
                        served.close()
                        served = opened(first, Updates(File(folder, "model"), key))
                    }
                }
                true
            } catch (_: EdgeRecException) {
                false
            }
            releases += served.release()
            answers += served.answer(ask)
        }
        mapOf("accepted" to accepted, "releases" to releases, "answers" to answers)
    } finally {
        served.close()
        folder.deleteRecursively()
    }
}

private suspend fun opened(first: ByteArray, updates: Updates): InService {
    if (Bundle.read(first).contract is Ranking) {
        val ranker = Ranker.open(updates = updates) { Bundle.read(first) }
        return InService({ content, signature -> ranker.replaceModel(content, signature) }, { ranker.rollback() }, { ranker.bundle().release }, { ask ->
            val candidates = texts(ask["candidates"]).map { Candidate(it) }
            ranker.score(values(ask["user"]), candidates, values(ask["context"])).toList()
        }, ranker)
    }
    val recommender = Recommender.open(updates = updates) { Bundle.read(first) }
    return InService({ content, signature -> recommender.replaceModel(content, signature) }, { recommender.rollback() }, { recommender.bundle().release }, { ask ->
        recommender.recommend(texts(ask["history"]), (ask["k"] as Long).toInt()).map { it.item }
    }, recommender)
}
