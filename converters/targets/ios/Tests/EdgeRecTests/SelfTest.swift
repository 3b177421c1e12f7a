import Foundation
import XCTest

@testable import EdgeRec

/// The self-test: run it on a simulator or a device with Product > Test in Xcode.
final class SelfTest: XCTestCase {
    func testTheModelComputesHereWhatItComputesInPython() async throws {
        try await Recommender.open().golden().requirePassed()
    }

    func testTheRankingModelComputesHereWhatItComputesInPython() async throws {
        try XCTSkipUnless(
            FileManager.default.fileExists(atPath: Packaged.ranker.path), "the package has no ranking model")
        try await Ranker.open().golden().requirePassed()
    }

    func testAnEmptyHistoryGivesTheMostPopularItems() async throws {
        let recommender = try await Recommender.open()
        let list = try await recommender.recommend([], k: 3)
        let items = await recommender.bundle.items
        XCTAssertEqual(list.source, .popularity)
        XCTAssertEqual(list.first?.item, items[1])
        XCTAssertEqual(items.row(of: items[items.count - 1]), items.count - 1)
    }

    func testAnAlteredBundleIsRefused() throws {
        var content = try Data(contentsOf: Packaged.model)
        content[content.count / 3] ^= 1
        XCTAssertThrowsError(try ModelBundle(data: content)) { XCTAssertEqual(($0 as? EdgeRecError)?.kind, .bundle) }
    }

    func testTheHistoryIsKeptInOrderAndForgotten() async throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: file) }
        let store = try HistoryStore(file, most: 4)
        for item in ["a", "b", "a", "é", "c"] { try await store.add(item, value: item == "c" ? 4.5 : nil) }
        let events = try await store.events()
        XCTAssertEqual(events.map(\.item), ["b", "a", "é", "c"])
        XCTAssertEqual(events.map(\.value), [nil, nil, nil, 4.5])
        try await store.remove("a")
        let left = try await HistoryStore(file).history(limit: 2)
        XCTAssertEqual(left, ["é", "c"])
        try await store.clear()
        let none = try await store.history()
        XCTAssertEqual(none, [])
    }
}
