package org.edgerec.android

import android.content.Context
import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import org.edgerec.Bundle
import org.edgerec.BundleException
import org.edgerec.Ranker
import org.edgerec.Recommender
import org.edgerec.Updates

/** The place of the retrieval model among the assets. */
const val MODEL_ASSET = "edgerec/model.tflite"

/** The place of the ranking model among the assets. */
const val RANKER_ASSET = "edgerec/ranker.tflite"

/**
 * Opens the model among the app's assets, or the one that replaced it.
 *
 * @param updates see [updatesOf]; `null`: the model cannot be replaced at run time.
 * @throws org.edgerec.EdgeRecException the model cannot be used: the message says why.
 */
suspend fun Recommender.Companion.open(
    context: Context,
    asset: String = MODEL_ASSET,
    threads: Int = 1,
    updates: Updates? = null,
): Recommender {
    val app = context.applicationContext
    return open(threads, updates) { readAsset(app, asset) }
}

/** The same of a ranking model. */
suspend fun Ranker.Companion.open(
    context: Context,
    asset: String = RANKER_ASSET,
    threads: Int = 1,
    updates: Updates? = null,
): Ranker {
    val app = context.applicationContext
    return open(threads, updates) { readAsset(app, asset) }
}

/**
 * Lets a model be replaced at run time, in a folder of the app's own files that no backup takes to another device.
 *
 * @param publicKey the 32 raw bytes of the Ed25519 key that replacements must be signed with.
 * @param name of the folder: another one for each model.
 */
fun updatesOf(context: Context, publicKey: ByteArray?, name: String = "model"): Updates =
    Updates(File(File(context.applicationContext.noBackupFilesDir, "edgerec"), name), publicKey)

/** Reads and checks a bundle among the assets, which is mapped if it is stored without compression. */
fun readAsset(context: Context, asset: String): Bundle = try {
    Bundle.read(mapped(context, asset) ?: copied(context, asset))
} catch (error: BundleException) {
    throw BundleException("the asset $asset: ${error.message}", error)
} catch (error: IOException) {
    throw BundleException("the asset $asset cannot be read (${error.message})", error)
}

private fun mapped(context: Context, asset: String): ByteBuffer? {
    val descriptor = try {
        context.assets.openFd(asset)
    } catch (_: FileNotFoundException) {
        return null // absent, or compressed after all
    }
    try {
        FileInputStream(descriptor.fileDescriptor).use { file ->
            return file.channel.map(FileChannel.MapMode.READ_ONLY, descriptor.startOffset, descriptor.declaredLength)
        }
    } finally {
        descriptor.close()
    }
}

private fun copied(context: Context, asset: String): ByteBuffer {
    val content = context.assets.open(asset).use { it.readBytes() }
    return ByteBuffer.allocateDirect(content.size).put(content)
}
