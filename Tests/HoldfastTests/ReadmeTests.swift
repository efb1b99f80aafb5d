import Foundation
import Holdfast
import HoldfastStore
import Testing

/// The README's Swift, compiled and run.
@Suite struct ReadmeTests {
    @Test func theExampleOfTheReadmeWorks() async throws {
        @Sendable func loadProfile(_ id: Int) async throws -> String { "profile \(id)" }

        let state = AgentState.embedded()
        let profile = try await state.cache.workspace("research").getOrSet("profile-42", ttl: .seconds(300)) {
            try await loadProfile(42)
        }.value
        let decision = try await state.limits.check(.user("user-123"), endpoint: "/agents/execute")
        let session = try await state.sessions.create(userID: "user-123")

        #expect(profile == "profile 42")
        #expect(decision.isAllowed)
        #expect(session.userID == "user-123")
    }
}
