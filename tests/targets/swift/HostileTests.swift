import Foundation
import XCTest

@testable import EdgeRec

/// Damaged and crafted files (the folder `EDGEREC_HOSTILE`) are refused or answered, and never end the process.
final class HostileTests: XCTestCase {
    func testHostileFilesAreRefusedOrAnswered() throws {
        let folder = URL(fileURLWithPath: try XCTUnwrap(ProcessInfo.processInfo.environment["EDGEREC_HOSTILE"]))
        setvbuf(stdout, nil, _IOLBF, 0)
        var answered = 0, refused = 0
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() {
            // Said before it is read, so that the last line names the file that ended the process.
            print("hostile file \(name)")
            do {
                try use(try ModelBundle(file: folder.appendingPathComponent(name)))
                answered += 1
            } catch let error as EdgeRecError {
                XCTAssertFalse(error.message.contains("\n"), error.message)
                refused += 1
            }
        }
        print("hostile files: \(answered) answered, \(refused) refused")
    }

    private func use(_ bundle: ModelBundle) throws {
        let ids = (1..<min(bundle.items.count, 9)).map { bundle.items[$0] }
        guard case .retrieval(let sizes) = bundle.contract else {
            let ranker = try BlockingRanker(bundle)
            _ = try ranker.score(user: [:], ids.map { Candidate($0) }, history: ids)
            return _ = try ranker.golden()
        }
        let recommender = try BlockingRecommender(bundle)
        _ = try recommender.recommend(ids, k: 5, explain: true)
        _ = try recommender.recommend(ids, k: bundle.items.count + 1, exclude: ids)
        if let attribute = bundle.attributeNames.first { _ = try recommender.recommend(ids, atMost: [attribute: 1]) }
        if sizes.state > 0 {
            let state = try recommender.advance(recommender.newState(), ids[0])
            _ = try recommender.recommendFromState(RecurrentState(data: state.data))
        }
        _ = try recommender.golden()
    }
}
