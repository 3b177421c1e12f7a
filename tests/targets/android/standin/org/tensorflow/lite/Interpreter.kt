package org.tensorflow.lite

import java.lang.foreign.Arena
import java.lang.foreign.FunctionDescriptor
import java.lang.foreign.Linker
import java.lang.foreign.MemoryLayout
import java.lang.foreign.MemorySegment
import java.lang.foreign.SymbolLookup
import java.lang.foreign.ValueLayout.ADDRESS
import java.lang.foreign.ValueLayout.JAVA_INT
import java.lang.foreign.ValueLayout.JAVA_LONG
import java.lang.invoke.MethodHandle
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Stands in for the class of the same name in the Android library, whose native part does not run here: the same
 * methods over the C library of TFLite, which computes what the Android library computes.
 *
 * The module is compiled against the real class and run with this one.
 */
class Interpreter(model: ByteBuffer, options: Options) : AutoCloseable {
    class Options {
        internal var threads = 1
        internal var xnnpack = true

        fun setNumThreads(threads: Int): Options = apply { this.threads = threads }

        fun setUseXNNPACK(use: Boolean): Options = apply { xnnpack = use }
    }

    private val arena = Arena.ofShared()
    private val library = SymbolLookup.libraryLookup(System.getProperty("tflite.c"), arena)
    private val handles = HashMap<String, MethodHandle>()
    private val interpreter: MemorySegment
    private val runners = HashMap<String, MemorySegment>()

    init {
        require(model.isDirect) { "Model ByteBuffer should be either a MappedByteBuffer of the model file, or a direct ByteBuffer" }
        val content = arena.allocate(model.capacity().toLong(), 16)
        content.copyFrom(MemorySegment.ofBuffer(model.duplicate().clear()))
        val made = call("TfLiteModelCreate", ADDRESS, content, content.byteSize()) as MemorySegment
        require(made.address() != 0L) { "ByteBuffer is not a valid TensorFlow Lite model flatbuffer" }
        val settings = call("TfLiteInterpreterOptionsCreate", ADDRESS) as MemorySegment
        call("TfLiteInterpreterOptionsSetNumThreads", null, settings, options.threads)
        interpreter = call("TfLiteInterpreterCreate", ADDRESS, made, settings) as MemorySegment
        require(interpreter.address() != 0L) { "Internal error: Cannot create interpreter" }
        check(call("TfLiteInterpreterAllocateTensors", JAVA_INT, interpreter) == 0) { "Internal error: Unexpected failure when preparing tensor allocations" }
    }

    val signatureKeys: Array<String>
        get() = names(interpreter, "TfLiteInterpreterGetSignatureCount", "TfLiteInterpreterGetSignatureKey")

    fun getSignatureInputs(signature: String): Array<String> =
        names(runner(signature), "TfLiteSignatureRunnerGetInputCount", "TfLiteSignatureRunnerGetInputName")

    fun getSignatureOutputs(signature: String): Array<String> =
        names(runner(signature), "TfLiteSignatureRunnerGetOutputCount", "TfLiteSignatureRunnerGetOutputName")

    fun getInputTensorFromSignature(name: String, signature: String): Tensor =
        NativeTensor(name, call("TfLiteSignatureRunnerGetInputTensor", ADDRESS, runner(signature), text(name)) as MemorySegment)

    fun getOutputTensorFromSignature(name: String, signature: String): Tensor =
        NativeTensor(name, call("TfLiteSignatureRunnerGetOutputTensor", ADDRESS, runner(signature), text(name)) as MemorySegment)

    fun runSignature(inputs: Map<String, Any>, outputs: Map<String, Any>, signature: String) {
        val runner = runner(signature)
        for ((name, buffer) in inputs) {
            val tensor = call("TfLiteSignatureRunnerGetInputTensor", ADDRESS, runner, text(name)) as MemorySegment
            val segment = MemorySegment.ofBuffer((buffer as ByteBuffer).duplicate().clear())
            require(call("TfLiteTensorCopyFromBuffer", JAVA_INT, tensor, segment, segment.byteSize()) == 0) {
                "Cannot copy to a TensorFlowLite tensor ($name) from a Java Buffer of ${segment.byteSize()} bytes"
            }
        }
        require(call("TfLiteSignatureRunnerInvoke", JAVA_INT, runner) == 0) { "Internal error: Failed to run on the given Interpreter" }
        for ((name, buffer) in outputs) {
            val tensor = call("TfLiteSignatureRunnerGetOutputTensor", ADDRESS, runner, text(name)) as MemorySegment
            val segment = MemorySegment.ofBuffer((buffer as ByteBuffer).duplicate().clear())
            require(call("TfLiteTensorCopyToBuffer", JAVA_INT, tensor, segment, segment.byteSize()) == 0) {
                "Cannot copy from a TensorFlowLite tensor ($name) to a Java Buffer of ${segment.byteSize()} bytes"
            }
            buffer.position(buffer.capacity())
        }
    }

    override fun close() {
        runners.values.forEach { call("TfLiteSignatureRunnerDelete", null, it) }
        call("TfLiteInterpreterDelete", null, interpreter)
        arena.close()
    }

    private fun runner(signature: String): MemorySegment = runners.getOrPut(signature) {
        val runner = call("TfLiteInterpreterGetSignatureRunner", ADDRESS, interpreter, text(signature)) as MemorySegment
        require(runner.address() != 0L) { "Input error: Signature $signature does not exist." }
        check(call("TfLiteSignatureRunnerAllocateTensors", JAVA_INT, runner) == 0) { "Internal error: Cannot allocate tensors" }
        runner
    }

    private fun names(of: MemorySegment, count: String, name: String): Array<String> {
        // A count of signatures is an int32, one of tensors a size_t.
        val size = call(count, if (count == "TfLiteInterpreterGetSignatureCount") JAVA_INT else JAVA_LONG, of) as Number
        return Array(size.toInt()) { place ->
            (call(name, ADDRESS, of, place) as MemorySegment).reinterpret(1024).getString(0)
        }
    }

    private fun text(text: String): MemorySegment = arena.allocateFrom(text)

    /** Calls a function of the library; the types of its arguments follow from the values. */
    private fun call(function: String, result: MemoryLayout?, vararg arguments: Any): Any? {
        val handle = handles.getOrPut(function) {
            val layouts = arguments.map { if (it is MemorySegment) ADDRESS else if (it is Long) JAVA_LONG else JAVA_INT }.toTypedArray()
            val type = if (result == null) FunctionDescriptor.ofVoid(*layouts) else FunctionDescriptor.of(result, *layouts)
            Linker.nativeLinker().downcallHandle(library.find(function).get(), type)
        }
        return handle.invokeWithArguments(*arguments)
    }

    private inner class NativeTensor(private val name: String, private val handle: MemorySegment) : Tensor {
        override fun dataType(): DataType = when (call("TfLiteTensorType", JAVA_INT, handle)) {
            1 -> DataType.FLOAT32
            2 -> DataType.INT32
            else -> throw IllegalArgumentException("DataType error")
        }

        override fun shape(): IntArray = IntArray(numDimensions()) { call("TfLiteTensorDim", JAVA_INT, handle, it) as Int }

        override fun numDimensions(): Int = call("TfLiteTensorNumDims", JAVA_INT, handle) as Int

        override fun numBytes(): Int = (call("TfLiteTensorByteSize", JAVA_LONG, handle) as Long).toInt()

        override fun numElements(): Int = shape().fold(1) { product, size -> product * size }

        override fun shapeSignature(): IntArray = shape()

        override fun index(): Int = throw UnsupportedOperationException()

        override fun name(): String = name

        override fun quantizationParams(): Tensor.QuantizationParams = throw UnsupportedOperationException()

        override fun asReadOnlyBuffer(): ByteBuffer =
            ByteBuffer.allocate(numBytes()).order(ByteOrder.nativeOrder()).asReadOnlyBuffer()
    }
}
