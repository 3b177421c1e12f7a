import EdgeRec
import SwiftUI

/// Search for items, pick some, and see what is recommended, why, and in which time.
struct RecommendationsView: View {
    @StateObject private var model = RecommendationsModel()
    @State private var wanted = ""

    var body: some View {
        NavigationView {
            List {
                if let problem = model.problem { Text(problem).foregroundColor(.red) }
                if !wanted.isEmpty {
                    Section("Found") {
                        ForEach(model.search(wanted), id: \.self) { item in
                            Button(model.title(of: item)) {
                                wanted = ""
                                Task { await model.pick(item) }
                            }
                        }
                    }
                }
                Section("Recommended for you (\(model.milliseconds, specifier: "%.1f") ms)") {
                    ForEach(model.list) { entry in
                        VStack(alignment: .leading) {
                            Text(model.title(of: entry.item))
                            if let because = entry.because {
                                Text("because of \(model.title(of: because))").font(.caption).foregroundColor(
                                    .secondary)
                            }
                        }
                        .accessibilityElement(children: .combine)
                    }
                }
                Button("Forget my history", role: .destructive) { Task { await model.forget() } }
            }
            .searchable(text: $wanted, prompt: "Search for an item you like")
            .navigationTitle("For you")
        }
        .task { await model.open() }
    }
}

@MainActor
final class RecommendationsModel: ObservableObject {
    @Published private(set) var list: [Recommendation] = []
    @Published private(set) var milliseconds = 0.0
    @Published private(set) var problem: String?

    private var recommender: Recommender?
    private var store: HistoryStore?
    private var bundle: ModelBundle?

    func open() async {
        await reporting {
            let recommender = try await Recommender.open()
            bundle = await recommender.bundle
            store = try HistoryStore()
            self.recommender = recommender
        }
        await refresh()
    }

    func pick(_ item: String) async {
        await reporting { try await store?.add(item) }
        await refresh()
    }

    func forget() async {
        await reporting { try await store?.clear() }
        await refresh()
    }

    /// The most popular items whose title or id has the text.
    func search(_ text: String) -> [String] {
        guard let bundle else { return [] }
        let rows = (1..<bundle.items.count).lazy.filter { row in
            bundle.titles?[row].localizedCaseInsensitiveContains(text) ?? false || bundle.items[row] == text
        }
        return rows.prefix(20).map { bundle.items[$0] }
    }

    func title(of item: String) -> String {
        guard let bundle, let title = bundle.titles?[bundle.items.row(of: item)], !title.isEmpty else { return item }
        return title
    }

    private func refresh() async {
        await reporting {
            guard let recommender, let store else { return }
            let history = try await store.history()
            let start = Date()
            list = Array(try await recommender.recommend(history, k: 10, explain: true))
            milliseconds = -start.timeIntervalSinceNow * 1000
        }
    }

    private func reporting(_ step: () async throws -> Void) async {
        do { try await step() } catch { problem = error.localizedDescription }
    }
}
