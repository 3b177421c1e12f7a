package org.edgerec

import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor

/**
 * A bundle's model in the TFLite interpreter: each signature is a function of named arrays. Threads may share it: their
 * calls wait for each other.
 */
internal class Runtime private constructor(private val interpreter: Interpreter) : Closeable {
    // Native memory is reused from call to call: one buffer for each tensor.
    private val buffers = HashMap<Tensor, ByteBuffer>()
    private val tensors = HashMap<String, Tensor>()
    private var closed = false

    /** Shapes of a signature's inputs by name; @throws BundleException the model has no such signature. */
    @Synchronized
    fun inputShapes(signature: String): Map<String, List<Int>> {
        if (signature !in interpreter.signatureKeys) throw BundleException("the model has no signature $signature")
        return interpreter.getSignatureInputs(signature).associateWith { input(signature, it).shape().toList() }
    }

    /** Shape of an output, `null` if there is none of that name. */
    @Synchronized
    fun outputShape(signature: String, name: String): List<Int>? =
        if (name in interpreter.getSignatureOutputs(signature)) output(signature, name).shape().toList() else null

    /**
     * Outputs of a signature.
     *
     * @param inputs an `IntArray` or `FloatArray` of every input by its name, in C order.
     * @param wanted names of the outputs to return, as `IntArray` or `FloatArray`.
     * @throws BackendException the runtime refuses the inputs.
     */
    @Synchronized
    fun run(signature: String, inputs: Map<String, Any>, vararg wanted: String): Map<String, Any> {
        check(!closed) { "the model is closed" }
        try {
            val given = inputs.mapValues { (name, values) -> filled(input(signature, name), values) }
            val results: Map<String, ByteBuffer> = wanted.associateWith { buffer(output(signature, it)) }
            interpreter.runSignature(given, results, signature)
            return results.mapValues { (name, buffer) -> copied(output(signature, name), buffer) }
        } catch (error: IllegalArgumentException) {
            throw BackendException("the runtime refuses a call of $signature (${error.message})", error)
        }
    }

    @Synchronized
    override fun close() {
        if (!closed) interpreter.close()
        closed = true
    }

    private fun input(signature: String, name: String): Tensor =
        tensors.getOrPut("$signature>$name") { interpreter.getInputTensorFromSignature(name, signature) }

    private fun output(signature: String, name: String): Tensor =
        tensors.getOrPut("$signature<$name") { interpreter.getOutputTensorFromSignature(name, signature) }

    private fun buffer(tensor: Tensor): ByteBuffer = buffers.getOrPut(tensor) {
        ByteBuffer.allocateDirect(4 * tensor.numElements()).order(ByteOrder.nativeOrder())
    }.also { (it as java.nio.Buffer).clear() }

    private fun filled(tensor: Tensor, values: Any): ByteBuffer {
        val buffer = buffer(tensor)
        val size = if (values is IntArray) values.size else (values as FloatArray).size
        require(size == tensor.numElements()) { "${tensor.name()} takes ${tensor.numElements()} values, not $size" }
        when (values) {
            is IntArray -> buffer.asIntBuffer().put(values)
            is FloatArray -> buffer.asFloatBuffer().put(values)
        }
        return buffer
    }

    private fun copied(tensor: Tensor, buffer: ByteBuffer): Any {
        (buffer as java.nio.Buffer).rewind()
        return if (tensor.dataType() == DataType.INT32) {
            IntArray(tensor.numElements()).also { buffer.asIntBuffer().get(it) }
        } else {
            FloatArray(tensor.numElements()).also { buffer.asFloatBuffer().get(it) }
        }
    }

    companion object {
        // Of a larger model memory counts more than time: XNNPACK keeps packed copies of the item table.
        private const val LARGE_MODEL = 8 shl 20

        /** @throws BackendException the runtime cannot be loaded, or refuses the model. */
        fun load(bundle: Bundle, threads: Int): Runtime {
            val options = Interpreter.Options().setNumThreads(threads)
            if (bundle.flatbuffer.capacity() > LARGE_MODEL) options.setUseXNNPACK(false)
            try {
                return Runtime(Interpreter(bundle.flatbuffer, options))
            } catch (error: UnsatisfiedLinkError) {
                throw BackendException("the TFLite library is not in this app (${error.message})", error)
            } catch (error: IllegalArgumentException) {
                throw refused(bundle, error)
            } catch (error: IllegalStateException) {
                throw refused(bundle, error)
            }
        }

        private fun refused(bundle: Bundle, error: Exception): BackendException {
            val reason = error.message.orEmpty().lineSequence().firstOrNull { it.isNotBlank() } ?: error.javaClass.simpleName
            return BackendException("the TFLite runtime refuses the ${bundle.scheme} model ${bundle.name}: $reason", error)
        }
    }
}
