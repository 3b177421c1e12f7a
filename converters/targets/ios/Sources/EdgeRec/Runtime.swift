import CTensorFlowLite
import Foundation

/// Numbers of a tensor, in C order.
enum Tensor: Sendable {
    case integers([Int32])
    case floats([Float])

    var count: Int {
        switch self {
        case .integers(let values): return values.count
        case .floats(let values): return values.count
        }
    }
}

/// A bundle's model in the TFLite interpreter: each signature is a function of named tensors. Threads may share it: their
/// calls wait for each other.
final class Runtime: @unchecked Sendable {
    private static let float32: Int32 = 1, int32: Int32 = 2

    private let lock = NSLock()
    // The model's bytes, which must outlive the interpreter.
    private let file: Content
    private let model: OpaquePointer
    private let interpreter: OpaquePointer
    private var runners: [String: OpaquePointer] = [:]
    // How many numbers the outputs have whose shapes were checked.
    private var sizes: [String: Int] = [:]

    /// - Parameter threads: threads of the interpreter; one is fastest at usual catalogue sizes.
    init(_ bundle: ModelBundle, threads: Int) throws {
        file = bundle.file
        guard let model = TfLiteModelCreate(file.bytes.baseAddress, bundle.modelBytes) else {
            throw EdgeRecError(.bundle, "the model is not a sound TFLite flatbuffer; convert it again")
        }
        let options = TfLiteInterpreterOptionsCreate()
        TfLiteInterpreterOptionsSetNumThreads(options, Int32(clamping: threads))
        let created = TfLiteInterpreterCreate(model, options)
        TfLiteInterpreterOptionsDelete(options)
        guard let interpreter = created else {
            TfLiteModelDelete(model)
            throw EdgeRecError(
                .runtime,
                "the TFLite runtime refuses the \(bundle.scheme) model \(bundle.name); the system's log says why")
        }
        self.model = model
        self.interpreter = interpreter
        for place in 0..<TfLiteInterpreterGetSignatureCount(interpreter) {
            guard let key = TfLiteInterpreterGetSignatureKey(interpreter, place),
                let runner = TfLiteInterpreterGetSignatureRunner(interpreter, key)
            else { continue }
            runners[String(cString: key)] = runner
            guard TfLiteSignatureRunnerAllocateTensors(runner) == 0 else {
                throw EdgeRecError(
                    .runtime, "the TFLite runtime refuses \(String(cString: key)) of the model \(bundle.name)")
            }
        }
    }

    deinit {
        runners.values.forEach { TfLiteSignatureRunnerDelete($0) }
        TfLiteInterpreterDelete(interpreter)
        TfLiteModelDelete(model)
    }

    /// Checks that a signature has exactly these inputs, in these shapes.
    func requireInputs(_ signature: String, _ expected: [String: [Int]]) throws {
        let runner = try runner(signature)
        let names = (0..<Int32(TfLiteSignatureRunnerGetInputCount(runner))).compactMap {
            TfLiteSignatureRunnerGetInputName(runner, $0).map { String(cString: $0) }
        }
        let actual = names.map { ($0, shape(TfLiteSignatureRunnerGetInputTensor(runner, $0))) }
        guard Dictionary(actual, uniquingKeysWith: { $1 }) == expected else {
            throw EdgeRecError(.bundle, "the inputs of \(signature) are \(actual), the manifest says \(expected)")
        }
    }

    /// The shape of an output.
    func outputShape(_ signature: String, _ name: String) throws -> [Int] {
        let runner = try runner(signature)
        let names = (0..<Int32(TfLiteSignatureRunnerGetOutputCount(runner))).compactMap {
            TfLiteSignatureRunnerGetOutputName(runner, $0).map { String(cString: $0) }
        }
        guard names.contains(name) else { throw EdgeRecError(.bundle, "\(signature) has no output \(name)") }
        let shape = shape(TfLiteSignatureRunnerGetOutputTensor(runner, name))
        sizes["\(signature) \(name)"] = shape.reduce(1, &*)
        return shape
    }

    /// Checks that a signature has an output of this shape.
    func requireOutput(_ signature: String, _ name: String, _ expected: [Int]) throws {
        let actual = try outputShape(signature, name)
        try require(actual == expected, .bundle, "output \(name) is \(actual), the manifest says \(expected)")
    }

    /// Outputs of a signature, which must have been checked.
    ///
    /// - Throws: `EdgeRecError` the runtime refuses the inputs, or the model fails.
    func run(_ signature: String, _ inputs: [String: Tensor], _ wanted: [String]) throws -> [String: Tensor] {
        // The interpreter has one set of buffers: the outputs are copied before the next call.
        lock.lock()
        defer { lock.unlock() }
        let runner = try runner(signature)
        for (name, values) in inputs {
            try require(
                fill(TfLiteSignatureRunnerGetInputTensor(runner, name), values), .bundle,
                "the input \(name) of \(signature) is of another type or size than the manifest says")
        }
        try require(TfLiteSignatureRunnerInvoke(runner) == 0, .bundle, "the model fails in \(signature)")
        var outputs: [String: Tensor] = [:]
        for name in wanted {
            let output = copied(TfLiteSignatureRunnerGetOutputTensor(runner, name))
            guard let output, output.count == sizes["\(signature) \(name)"] else {
                throw EdgeRecError(
                    .bundle, "the output \(name) of \(signature) is of another type or size than the manifest says")
            }
            outputs[name] = output
        }
        return outputs
    }

    private func runner(_ signature: String) throws -> OpaquePointer {
        guard let runner = runners[signature] else {
            throw EdgeRecError(.bundle, "the model has no signature \(signature)")
        }
        return runner
    }

    private func shape(_ tensor: OpaquePointer?) -> [Int] {
        (0..<max(0, TfLiteTensorNumDims(tensor))).map { Int(TfLiteTensorDim(tensor, $0)) }
    }

    private func fill(_ tensor: OpaquePointer?, _ values: Tensor) -> Bool {
        switch values {
        case .integers(let numbers):
            return TfLiteTensorType(tensor) == Self.int32
                && TfLiteTensorCopyFromBuffer(tensor, numbers, 4 * numbers.count) == 0
        case .floats(let numbers):
            return TfLiteTensorType(tensor) == Self.float32
                && TfLiteTensorCopyFromBuffer(tensor, numbers, 4 * numbers.count) == 0
        }
    }

    private func copied(_ tensor: OpaquePointer?) -> Tensor? {
        let bytes = TfLiteTensorByteSize(tensor)
        if TfLiteTensorType(tensor) == Self.int32 {
            var numbers = [Int32](repeating: 0, count: bytes / 4)
            return TfLiteTensorCopyToBuffer(tensor, &numbers, bytes) == 0 ? .integers(numbers) : nil
        }
        guard TfLiteTensorType(tensor) == Self.float32 else { return nil }
        var numbers = [Float](repeating: 0, count: bytes / 4)
        return TfLiteTensorCopyToBuffer(tensor, &numbers, bytes) == 0 ? .floats(numbers) : nil
    }
}

extension Dictionary where Key == String, Value == Tensor {
    /// An output that was asked for. Its type is part of the contract.
    func integers(_ name: String) throws -> [Int32] {
        if case .integers(let values)? = self[name] { return values }
        throw EdgeRecError(.bundle, "the output \(name) is not of whole numbers")
    }

    func floats(_ name: String) throws -> [Float] {
        if case .floats(let values)? = self[name] { return values }
        throw EdgeRecError(.bundle, "the output \(name) is not of floating-point numbers")
    }
}
