import Holdfast
import HoldfastStore

/// EpiSPY's complete workflow: a limit, a session with the agent's state, and a cached prediction, together.
enum WorkflowDemo {
    static func play(_ stage: DemoStage, _ journal: DemoJournal) async throws {
        let session = try await stage.sessions.create(userID: "analyst-1", kind: .workflow, data: ["step": "collect"])
        let predictions = try stage.cache.category(.predictionResults)
        let rule = RateLimit("predict", .tokenBucket, limit: 60, per: .seconds(60), burst: 3)
        var outcomes: [String] = []
        for region in ["eu", "us", "eu", "asia"] {
            let decision = try await stage.limiter.check([rule], for: .user("analyst-1"))
            guard decision.isAllowed else {
                outcomes.append("denied")
                continue
            }
            let found = try await predictions.resolve("region:\(region)", as: Double.self) { 0.42 }
            outcomes.append(found.source == .factory(by: found.by) ? "computed" : "cached")
            try await stage.sessions.update(session.id, set: ["step": "predict", "last": .string(region)])
        }
        journal.check(
            "predictions are limited, cached and remembered", outcomes == ["computed", "computed", "cached", "denied"],
            outcomes.joined(separator: ", "))
        let state = try await stage.sessions.get(session.id).value?.data
        journal.check("the session knows where the agent is", state == ["step": "predict", "last": "eu"])
    }
}
