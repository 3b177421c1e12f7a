import Foundation
import XCTest

@testable import EdgeRec

/// Runs the conformance suite (converters/targets/README.md, section 12) through the package's classes.
///
/// Environment: `EDGEREC_ROOT`, the root of the repository; `EDGEREC_LEFT_OUT`, bundles that the runtime here does not run.
/// It writes one line for each file of cases, which counts the cases.
final class ConformanceTests: XCTestCase {
    private static let root = URL(fileURLWithPath: ProcessInfo.processInfo.environment["EDGEREC_ROOT"] ?? ".")
    private static let suite = root.appendingPathComponent("converters/targets/conformance")
    private static let leftOut = ProcessInfo.processInfo.environment["EDGEREC_LEFT_OUT"]?.split(separator: " ") ?? []

    func testTheSuite() async throws {
        let folder = Self.suite.appendingPathComponent("cases")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        XCTAssertGreaterThan(files.count, 10)
        for file in files.sorted(by: { $0.path < $1.path }) where file.pathExtension == "json" { try await run(file) }
    }

    private func run(_ file: URL) async throws {
        let document = try JSON.parse(Array(try Data(contentsOf: file)))
        let name = document["bundle"]?.text, topic = file.lastPathComponent
        if let name, Self.leftOut.contains(Substring(name)) {
            return print("\(topic): left out, as \(name) does not run here")
        }
        let bundle = try name.map { try ModelBundle(file: Self.place($0)) }
        if let bundle, let model = document["model_sha256"] { XCTAssertEqual(model.text, bundle.fingerprint) }
        let loaded = bundle.map(Loaded.init), tolerance = document["tolerance"]!.double!
        var passed = 0, failed = 0, skipped = 0
        for example in document["cases"]!.list! {
            let wanted = example["expected"]!
            if example["dynamic"]?.flag == true { skipped += 1; continue }
            let problem: String?
            do {
                problem = difference(wanted, try await answer(example, loaded), tolerance)
            } catch let error as EdgeRecError {
                let kind = error.kind == .argument ? "value" : "bundle"
                problem = wanted["error"]?.text == kind ? nil : "\(error)"
            }
            if let problem {
                failed += 1
                XCTFail("\(topic): \(example["name"]!.text!): \(problem)")
            } else {
                passed += 1
            }
        }
        print("\(topic): \(passed) passed, \(failed) failed, \(skipped) that a typed language cannot express")
    }

    private func answer(_ example: Value, _ loaded: Loaded?) async throws -> [Exact: Value] {
        let call = example["call"]!.text!, arguments = example["arguments"]!
        guard let file = example["file"] else { return try loaded!.answer(call, arguments) }
        if call == "replace" { return try await replaced(try Self.made(file), arguments) }
        return try Loaded(ModelBundle(data: try Self.made(file))).answer(call, arguments)
    }

    /// Replaces a model step by step; returns lists with an entry for each step.
    private func replaced(_ first: Data, _ arguments: Value) async throws -> [Exact: Value] {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        let updates = try Updates(folder: folder, publicKey: arguments["public_key"]?.text.map(Self.bytes))
        var served = try await InService(first, updates)
        var (accepted, releases, answers): ([Value], [Value], [Value]) = ([], [], [])
        for step in arguments["steps"]!.list! {
            do {
                switch step["do"]!.text {
                case "replace": try await served.replace(try Self.made(step["file"]!), step["signature"]?.text)
                case "rollback": try await served.rollback()
                default: served = try await InService(first, updates)
                }
                accepted.append(true)
            } catch is EdgeRecError {
                accepted.append(false)
            }
            releases.append(.integer(await served.release()))
            answers.append(.list(try await served.answer(arguments["ask"]!)))
        }
        return ["accepted": .list(accepted), "releases": .list(releases), "answers": .list(answers)]
    }

    private static func place(_ name: String) -> URL {
        name.contains("/") ? root.appendingPathComponent(name) : suite.appendingPathComponent("bundles/\(name).tflite")
    }

    /// The bytes of a file that the suite describes.
    private static func made(_ file: Value) throws -> Data {
        var content = try Data(contentsOf: place(file["base"]!.text!)).prefix(file["keep"]!.count!)
        for patch in file["patches"]?.list ?? [] {
            let at = patch.list![0].count!, new = bytes(patch.list![1].text!)
            content.replaceSubrange(at..<at + new.count, with: new)
        }
        return content + (Data(base64Encoded: file["tail"]?.text ?? "") ?? Data())
    }

    private static func bytes(_ hex: String) -> Data {
        let digits = Array(hex.utf8)
        return Data(
            stride(from: 0, to: digits.count, by: 2).map {
                hexadecimal(digits[$0])! << 4 | hexadecimal(digits[$0 + 1])!
            })
    }

    private func difference(_ expected: Value, _ answer: [Exact: Value], _ tolerance: Double) -> String? {
        for (name, value) in expected.object! where !same(value, answer[name] ?? .missing, tolerance) {
            return "\(name.text) is \(answer[name] ?? .missing), not \(value)"
        }
        return nil
    }

    private func same(_ expected: Value, _ actual: Value, _ tolerance: Double) -> Bool {
        switch (expected, actual) {
        case (.list(let one), .list(let other)):
            return one.count == other.count && zip(one, other).allSatisfy { same($0, $1, tolerance) }
        case (.missing, .number(let number)): return number.isNaN
        case (_, .number(let number)):
            guard let wanted = expected.double else { return false }
            return abs(number - wanted) <= tolerance * max(1, abs(wanted))
        case (.text(let one), .text(let other)): return Exact(one) == Exact(other)
        case (.integer(let one), .integer(let other)): return one == other
        case (.flag(let one), .flag(let other)): return one == other
        case (.missing, .missing): return true
        default: return false
        }
    }
}

/// A model that can be replaced, of either kind.
private enum InService {
    case recommender(Recommender)
    case ranker(Ranker)

    init(_ first: Data, _ updates: Updates) async throws {
        if case .ranking = try ModelBundle(data: first).contract {
            self = .ranker(try await Ranker.open(updates: updates) { try ModelBundle(data: first) })
        } else {
            self = .recommender(try await Recommender.open(updates: updates) { try ModelBundle(data: first) })
        }
    }

    func replace(_ model: Data, _ signature: String?) async throws {
        switch self {
        case .recommender(let recommender): try await recommender.replaceModel(with: model, signature: signature)
        case .ranker(let ranker): try await ranker.replaceModel(with: model, signature: signature)
        }
    }

    func rollback() async throws {
        switch self {
        case .recommender(let recommender): try await recommender.rollback()
        case .ranker(let ranker): try await ranker.rollback()
        }
    }

    func release() async -> Int64 {
        switch self {
        case .recommender(let recommender): return await recommender.bundle.release
        case .ranker(let ranker): return await ranker.bundle.release
        }
    }

    func answer(_ ask: Value) async throws -> [Value] {
        switch self {
        case .recommender(let recommender):
            return try await recommender.recommend(ask["history"]!.texts!, k: ask["k"]!.count!).map { .text($0.item) }
        case .ranker(let ranker):
            let candidates = ask["candidates"]!.texts!.map { Candidate($0) }
            let user = BlockingRanker.named(ask["user"]), context = BlockingRanker.named(ask["context"])
            return try await ranker.score(user: user, candidates, context: context).map { .number(Double($0)) }
        }
    }
}

/// A bundle, loaded when a case asks for it.
private final class Loaded {
    private let bundle: ModelBundle
    private lazy var recommender = Result { try BlockingRecommender(bundle) }
    private lazy var ranker = Result { try BlockingRanker(bundle) }

    init(_ bundle: ModelBundle) { self.bundle = bundle }

    private var isRanking: Bool { if case .ranking = bundle.contract { return true } else { return false } }

    func answer(_ call: String, _ arguments: Value) throws -> [Exact: Value] {
        let history = arguments["history"]?.texts ?? [], exclude = arguments["exclude"]?.texts ?? []
        let allow = arguments["allow"]?.texts, k = arguments["k"]?.integer.map { Int($0) } ?? 10
        let atMost = BlockingRanker.named(arguments["at_most"]).mapValues { Int($0.integer!) }
        let user = BlockingRanker.named(arguments["user"])
        switch call {
        case "load":
            let ready = isRanking ? try ranker.get().bundle : try recommender.get().bundle
            return [
                "name": .text(ready.name), "items": .integer(Int64(ready.items.count - 1)),
                "titles": .flag(ready.titles != nil),
            ]
        case "recommend":
            return listed(
                try recommender.get().recommend(
                    history, k: k, exclude: exclude, excludeHistory: arguments["exclude_history"]?.flag, user: user,
                    explain: arguments["explain"]?.flag ?? false, allow: allow, atMost: atMost))
        case "similar":
            return listed(
                try recommender.get().similar(
                    to: arguments["item"]!.text!, k: k, exclude: exclude, allow: allow, atMost: atMost))
        case "candidates":
            let candidates = arguments["candidates"]!.texts!
            return ["scores": numbers(try recommender.get().score(history, candidates, user: user))]
        case "steps":
            let recommender = try recommender.get()
            var state = try recommender.newState(user: user)
            for item in arguments["events"]!.texts! {
                state = try RecurrentState(data: try recommender.advance(state, item).data)
            }
            let found = try recommender.recommendFromState(state, k: k, exclude: exclude, allow: allow, atMost: atMost)
            let prefix = state.data.dropLast(4 * state.values.count).hex
            return listed(found).merging(["state_prefix": .text(prefix), "state_values": numbers(state.values)]) { $1 }
        case "rank":
            let scores = try ranker.get().score(
                user: user, try arguments["candidates"]!.list!.map(Candidate.init(json:)),
                context: BlockingRanker.named(arguments["context"]), history: history,
                historyValues: floats(arguments["history_values"]),
                retrievalScores: floats(arguments["retrieval_scores"]))
            return ["scores": numbers(scores)]
        case "golden":
            let result = isRanking ? try ranker.get().golden() : try recommender.get().golden()
            return ["passed": .integer(Int64(result.passed)), "failed": .integer(Int64(result.failures.count))]
        default:
            XCTFail("the call \(call)")
            return [:]
        }
    }

    private func floats(_ value: Value?) -> [Float?]? { value?.list?.map { $0.double.map { Float($0) } } }

    private func numbers(_ values: [Float]) -> Value { .list(values.map { .number(Double($0)) }) }

    private func listed(_ found: Recommendations) -> [Exact: Value] {
        [
            "items": .list(found.map { .text($0.item) }), "scores": numbers(found.map(\.score)),
            "titles": .list(found.map { .text($0.title) }), "unknown": .integer(Int64(found.unknown)),
            "because": .list(found.map { $0.because.map(Value.text) ?? .missing }),
            "source": .text(found.source.rawValue),
        ]
    }
}
