import SwiftUI

/// An app with one screen: search, pick, see recommendations and their reasons.
@main
struct RecommendationsApp: App {
    var body: some Scene {
        WindowGroup { RecommendationsView() }
    }
}
