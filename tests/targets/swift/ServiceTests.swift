import Foundation
import XCTest

@testable import EdgeRec

/// What an app sees of a model in service. Environment: `EDGEREC_RELEASES`, a folder with the models `two.tflite`,
/// `three.tflite` and `nine.tflite` of these releases, of which each answers otherwise.
final class ServiceTests: XCTestCase {
    private let history = ["i3", "i9"]
    private var folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)

    override func tearDown() { try? FileManager.default.removeItem(at: folder) }

    private func release(_ name: String) throws -> URL {
        let releases = try XCTUnwrap(ProcessInfo.processInfo.environment["EDGEREC_RELEASES"])
        return URL(fileURLWithPath: releases).appendingPathComponent("\(name).tflite")
    }

    private func answer(_ recommender: Recommender) async throws -> [String] {
        try await recommender.recommend(history, k: 3).map(\.item)
    }

    func testThreadsShareAModelWhileItIsReplacedAndGetTheAnswerOfOneModelOrTheOther() async throws {
        let (two, three) = (try release("two"), try release("three"))
        let expected = [try await answer(Recommender.open(two)), try await answer(Recommender.open(three))]
        XCTAssertNotEqual(expected[0], expected[1])
        let recommender = try await Recommender.open(two, updates: Updates(folder: folder, publicKey: nil))
        let answers = try await withThrowingTaskGroup(of: [[String]].self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var answers: [[String]] = []
                    for _ in 0..<50 { answers.append(try await self.answer(recommender)) }
                    return answers
                }
            }
            group.addTask {
                try await recommender.replaceModel(with: Data(contentsOf: three), signature: nil)
                for _ in 0..<4 { try await recommender.rollback() }
                return []
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        XCTAssertEqual(answers.count, 400)
        for one in answers { XCTAssertTrue(expected.contains(one)) }
        let last = try await answer(recommender)
        XCTAssertEqual(last, expected[1])
    }

    func testUpdatesThatAreAskedForAtOnceAreMadeOneAfterTheOther() async throws {
        let recommender = try await Recommender.open(release("two"), updates: Updates(folder: folder, publicKey: nil))
        let (three, nine) = (try Data(contentsOf: release("three")), try Data(contentsOf: release("nine")))
        async let first = recommender.replaceModel(with: nine, signature: nil).release
        async let second = recommender.replaceModel(with: three, signature: nil).release
        let results = [try? await first, try? await second]
        XCTAssertEqual(results[0], 9)
        let served = await recommender.bundle.release
        XCTAssertEqual(served, 9)
        let stored = try await Recommender.open(release("two"), updates: Updates(folder: folder, publicKey: nil))
        let reopened = await stored.bundle.release
        XCTAssertEqual(reopened, 9)
    }

    func testANewerModelInAnUpdateOfTheAppWinsOverAReplacement() async throws {
        let updates = try Updates(folder: folder, publicKey: nil)
        let recommender = try await Recommender.open(release("two"), updates: updates)
        try await recommender.replaceModel(with: Data(contentsOf: release("three")), signature: nil)
        let updated = try await Recommender.open(release("nine"), updates: updates)
        let served = await updated.bundle.release
        XCTAssertEqual(served, 9)
        do {
            try await updated.rollback()
            XCTFail("there is no model before")
        } catch let error as EdgeRecError {
            XCTAssertEqual(error.kind, .update)
        }
    }

    func testADamagedReplacementGivesWayToTheModelOfTheApp() async throws {
        let updates = try Updates(folder: folder, publicKey: nil)
        let recommender = try await Recommender.open(release("two"), updates: updates)
        let name = try await recommender.replaceModel(with: Data(contentsOf: release("three")), signature: nil).name
        XCTAssertEqual(name, "new")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.count == 64 }
        let stored = folder.appendingPathComponent(try XCTUnwrap(files.first)).appendingPathComponent("model.tflite")
        try FileManager.default.removeItem(at: stored)
        try Data("damaged".utf8).write(to: stored)
        let reopened = try await Recommender.open(release("two"), updates: updates)
        let served = await reopened.bundle.release
        XCTAssertEqual(served, 2)
    }

    func testAModelThatEndedTheAppTwiceIsNotTriedAgain() async throws {
        let three = try Data(contentsOf: release("three")), name = sha256(Array(three)).hex
        let recommender = try await Recommender.open(release("two"), updates: Updates(folder: folder, publicKey: nil))
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let trial = folder.appendingPathComponent("trial")
        try Data("\(name) 2".utf8).write(to: trial)
        do {
            try await recommender.replaceModel(with: three, signature: nil)
            XCTFail("it is tried again")
        } catch let error as EdgeRecError {
            XCTAssertEqual(error.kind, .update)
        }
        try Data("\(name) 1".utf8).write(to: trial)
        let release = try await recommender.replaceModel(with: three, signature: nil).release
        XCTAssertEqual(release, 3)
        XCTAssertFalse(FileManager.default.fileExists(atPath: trial.path))
    }

    @MainActor
    func testTheModelIsNeverCalledOnTheMainThread() async throws {
        let file = try release("two")
        let served = try await Served<BlockingRecommender>(nil, 1) { try ModelBundle(file: file) }
        let isMain = await served.call { _ in Thread.isMainThread }
        XCTAssertFalse(isMain)
        XCTAssertTrue(Thread.isMainThread)
    }

    func testShortListsOfManyScoresAreThoseOfTheWholeOrder() {
        for seed in 1...100 {
            var state = UInt64(seed)
            let scores = (0..<300).map { _ -> Float in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                // Few different numbers, so that many are equal; some have no score.
                let number = Float(state >> 58)
                return number == 7 ? -.infinity : number == 8 ? .nan : number
            }
            let whole = Order.top(scores, 300)
            for k in [1, 2, 7, 30, 36, 37, 299] { XCTAssertEqual(Order.top(scores, k), Array(whole.prefix(k))) }
            for (one, next) in zip(whole, whole.dropFirst()) {
                let (first, second) = (scores[Int(one)], scores[Int(next)])
                XCTAssertTrue(first > second || (first == second && one < next))
            }
        }
    }

    func testJsonIsReadStrictly() throws {
        for text in [
            "", "{", "[1,]", "01", "1.", "+1", ".5", "nul", "True", "'a'", "\"\n\"", "\"\\x\"", "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"", "\"\\u12\"", "{a: 1}", "{\"a\" 1}", "[1] 2", "NaN", "-", "1e", "\u{FEFF}1", "//", "[1 2]",
            String(repeating: "[", count: 100_000),
        ] {
            XCTAssertThrowsError(try JSON.parse(Array(text.utf8)), text)
        }
        XCTAssertThrowsError(try JSON.parse([0x22, 0xFF, 0x22]))
        XCTAssertThrowsError(try JSON.parse(Array("[1, 2, 3]".utf8), most: 3))
        let read = try JSON.parse(
            Array(
                " {\"a\": [1, -2.5e1, true, null, \"\\ud83d\\ude00\\u00e9\\/\"], \"e\\u0301\": 9223372036854775807} "
                    .utf8))
        XCTAssertEqual(read["a"]?.list?.count, 5)
        XCTAssertEqual(read["a"]?.list?[1].double, -25)
        XCTAssertEqual(read["a"]?.list?[4].text, "😀é/")
        XCTAssertNil(read["a"]?.list?[2].integer)
        XCTAssertEqual(read["e\u{301}"]?.integer, .max)
        XCTAssertNil(read["\u{e9}"])
    }
}
