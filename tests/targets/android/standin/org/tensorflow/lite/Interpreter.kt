package org.tensorflow.lite

import java.lang.foreign.Arena
import java.lang.foreign.FunctionDescriptor
import java.lang.foreign.Linker
import java.lang.foreign.MemorySegment
import java.lang.foreign.SymbolLookup
import java.lang.foreign.ValueLayout.ADDRESS
import java.lang.foreign.ValueLayout.JAVA_INT
import java.lang.foreign.ValueLayout.JAVA_LONG
import java.lang.invoke.MethodHandle
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Stands in for the class of the same name in the Android library, whose native part does not run here: the same methods
 * over the C library of LiteRT, from the Python package `ai-edge-litert`, with the kernels that the Android library has.
 *
 * The module is compiled against the real class and run with this one.
 */
class Interpreter(model: ByteBuffer, @Suppress("unused_parameter") options: Options) : AutoCloseable {
    /** What is set has no effect: the C library computes in one thread. */
    class Options {
        fun setNumThreads(@Suppress("unused_parameter") threads: Int): Options = this

        fun setUseXNNPACK(@Suppress("unused_parameter") use: Boolean): Options = this
    }

    private class Signature(val index: Long, val inputs: List<NativeTensor>, val outputs: List<NativeTensor>)

    private val arena = Arena.ofShared()
    private val model: MemorySegment
    private val compiled: MemorySegment
    private val signatures: Map<String, Signature>

    init {
        require(model.isDirect) { "Model ByteBuffer should be either a MappedByteBuffer of the model file, or a direct ByteBuffer" }
        val content = arena.allocate(model.capacity().toLong(), 64)
        content.copyFrom(MemorySegment.ofBuffer(model.duplicate().clear()))
        this.model = made("CreateModelFromBuffer", ENVIRONMENT, content, content.byteSize())
        val settings = made("CreateOptions")
        call("SetOptionsHardwareAccelerators", settings, CPU)
        compiled = made("CreateCompiledModel", ENVIRONMENT, this.model, settings)
        call("DestroyOptions", settings)
        signatures = (0 until number("GetNumModelSignatures", this.model)).associate { index ->
            val signature = made("GetModelSignature", this.model, index)
            text("GetSignatureKey", signature) to
                Signature(index, tensors(signature, index, "Input"), tensors(signature, index, "Output"))
        }
    }

    val signatureKeys: Array<String> get() = signatures.keys.toTypedArray()

    fun getSignatureInputs(signature: String): Array<String> = found(signature).inputs.map { it.name() }.toTypedArray()

    fun getSignatureOutputs(signature: String): Array<String> = found(signature).outputs.map { it.name() }.toTypedArray()

    fun getInputTensorFromSignature(name: String, signature: String): Tensor = found(signature).inputs.first { it.name() == name }

    fun getOutputTensorFromSignature(name: String, signature: String): Tensor = found(signature).outputs.first { it.name() == name }

    fun runSignature(inputs: Map<String, Any>, outputs: Map<String, Any>, signature: String) {
        val called = found(signature)
        for (tensor in called.inputs) {
            val given = MemorySegment.ofBuffer((inputs.getValue(tensor.name()) as ByteBuffer).duplicate().clear())
            require(given.byteSize() == tensor.numBytes().toLong()) { "Cannot copy ${given.byteSize()} bytes to ${tensor.name()}" }
            tensor.locked(WRITE) { it.copyFrom(given) }
        }
        call(
            "RunCompiledModel", compiled, called.index,
            called.inputs.size.toLong(), handles(called.inputs), called.outputs.size.toLong(), handles(called.outputs),
        )
        for ((name, buffer) in outputs) {
            val tensor = called.outputs.first { it.name() == name }
            tensor.locked(READ) { MemorySegment.ofBuffer((buffer as ByteBuffer).duplicate().clear()).copyFrom(it) }
        }
    }

    override fun close() {
        for (signature in signatures.values) (signature.inputs + signature.outputs).forEach { call("DestroyTensorBuffer", it.handle) }
        call("DestroyCompiledModel", compiled)
        call("DestroyModel", model)
        arena.close()
    }

    private fun found(signature: String): Signature =
        requireNotNull(signatures[signature]) { "Input error: Signature $signature does not exist." }

    private fun tensors(signature: MemorySegment, index: Long, kind: String): List<NativeTensor> =
        (0 until number("GetNumSignature${kind}s", signature)).map { place ->
            val type = arena.allocate(RANKED_TYPE_BYTES, 8)
            call("GetRankedTensorType", made("GetSignature${kind}TensorByIndex", signature, place), type)
            val needed = made("GetCompiledModel${kind}BufferRequirements", compiled, index, place)
            val handle = made("CreateManagedTensorBufferFromRequirements", ENVIRONMENT, type, needed)
            NativeTensor(text("GetSignature${kind}Name", signature, place), type, handle)
        }

    private fun handles(tensors: List<NativeTensor>): MemorySegment {
        val places = arena.allocate(ADDRESS, tensors.size.toLong())
        tensors.forEachIndexed { place, tensor -> places.setAtIndex(ADDRESS, place.toLong(), tensor.handle) }
        return places
    }

    /** A tensor with its memory; [type] is LiteRT's `LiteRtRankedTensorType`: type, rank and flags, dimensions, strides. */
    private class NativeTensor(private val name: String, type: MemorySegment, val handle: MemorySegment) : Tensor {
        private val kind = type.get(JAVA_INT, 0)
        private val shape = IntArray(type.get(JAVA_INT, 4) and 127) { type.get(JAVA_INT, 8 + 4L * it) }

        fun locked(mode: Int, use: (MemorySegment) -> Unit) {
            Arena.ofConfined().use { arena ->
                val place = arena.allocate(ADDRESS)
                call("LockTensorBuffer", handle, place, mode)
                use(place.get(ADDRESS, 0).reinterpret(numBytes().toLong()))
                call("UnlockTensorBuffer", handle)
            }
        }

        override fun dataType(): DataType = when (kind) {
            1 -> DataType.FLOAT32
            2 -> DataType.INT32
            else -> throw IllegalArgumentException("DataType error")
        }

        override fun shape(): IntArray = shape.copyOf()

        override fun numDimensions(): Int = shape.size

        override fun numElements(): Int = shape.fold(1) { product, size -> product * size }

        override fun numBytes(): Int = 4 * numElements()

        override fun shapeSignature(): IntArray = shape()

        override fun index(): Int = throw UnsupportedOperationException()

        override fun name(): String = name

        override fun quantizationParams(): Tensor.QuantizationParams = throw UnsupportedOperationException()

        override fun asReadOnlyBuffer(): ByteBuffer =
            ByteBuffer.allocate(numBytes()).order(ByteOrder.nativeOrder()).asReadOnlyBuffer()
    }

    private companion object {
        const val CPU = 1
        const val READ = 0
        const val WRITE = 1
        const val RANKED_TYPE_BYTES = 72L
        val LIBRARY: SymbolLookup = SymbolLookup.libraryLookup(System.getProperty("litert"), Arena.global())
        val FUNCTIONS = HashMap<String, MethodHandle>()
        val ENVIRONMENT = made("CreateEnvironment", 0, MemorySegment.NULL)

        /** Calls `LiteRt…`; the types of its arguments follow from the values. */
        fun call(function: String, vararg arguments: Any) {
            val handle = synchronized(FUNCTIONS) {
                FUNCTIONS.getOrPut(function) {
                    val types = arguments.map { if (it is MemorySegment) ADDRESS else if (it is Long) JAVA_LONG else JAVA_INT }
                    val symbol = LIBRARY.find("LiteRt$function").get()
                    // Those that destroy return nothing, so what is read of them means nothing.
                    Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.of(JAVA_INT, *types.toTypedArray()))
                }
            }
            val status = handle.invokeWithArguments(*arguments) as Int
            require(status == 0 || function.startsWith("Destroy")) { "Internal error: LiteRt$function failed with status $status" }
        }

        /** Calls a function whose last argument is the place of its result. */
        fun <T> resultOf(function: String, arguments: Array<out Any>, read: (MemorySegment) -> T): T = Arena.ofConfined().use {
            val place = it.allocate(8, 8)
            call(function, *arguments, place)
            read(place)
        }

        fun made(function: String, vararg arguments: Any): MemorySegment = resultOf(function, arguments) { it.get(ADDRESS, 0) }

        fun number(function: String, vararg arguments: Any): Long = resultOf(function, arguments) { it.get(JAVA_LONG, 0) }

        fun text(function: String, vararg arguments: Any): String =
            resultOf(function, arguments) { it.get(ADDRESS, 0).reinterpret(1024).getString(0) }
    }
}
