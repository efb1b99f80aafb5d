import Holdfast
import HoldfastStore
import Testing

/// The README's Swift, compiled and run. `DocumentedSwiftTests` compares it with the README.
@Suite struct ReadmeTests {
    @Test func theExampleOfTheReadmeWorks() async throws {
        @Sendable func loadProfile(_ id: Int) async throws -> String { "profile \(id)" }

        // begin README.md
        let state = AgentState.embedded()  // or over a RedisStore: see docs/ARCHITECTURE.md

        // Cache: one call of the factory for a thousand callers; a late filler never brings back what was invalidated.
        let profile = try await state.cache.workspace("research").getOrSet("profile-42", ttl: .seconds(300)) {
            try await loadProfile(42)
        }.value  // .by says who decided: the server, or this process because that is away

        // Limits: one round trip, several rules at once, all or nothing.
        let decision = try await state.limits.check(.user("user-123"), endpoint: "/agents/execute")

        // Sessions: fields that many agents change at once, and a logout that stays one.
        let session = try await state.sessions.create(userID: "user-123")
        // end README.md

        #expect(profile == "profile 42")
        #expect(decision.isAllowed)
        #expect(session.userID == "user-123")
    }
}
