import Holdfast
import HoldfastStore
import Testing

/// The Swift of the articles, compiled and run. `DocumentedSwiftTests` compares it with them.
@Suite struct ArticleTests {
    private struct Answer: Codable, Equatable, Sendable {
        var text: String
    }

    @Test func theOverviewWorks() async throws {
        // begin Sources/Holdfast/Holdfast.docc/Holdfast.md
        let state = AgentState.embedded()
        try await state.cache.set("greeting", "hello", ttl: .seconds(60))
        let decision = try await state.limits.check(.user("ann"), endpoint: "/search")
        let session = try await state.sessions.create(userID: "ann")
        // end Sources/Holdfast/Holdfast.docc/Holdfast.md
        #expect(decision.isAllowed && session.userID == "ann")
    }

    @Test func valuesAreKept() async throws {
        @Sendable func loadProfile(_ id: Int) async throws -> String { "profile \(id)" }
        let answer = Answer(text: "yes")

        // begin Sources/Holdfast/Holdfast.docc/CacheArticle.md
        let cache = try AgentState.embedded().cache.workspace("research")
        let profile = try await cache.getOrSet("user:42", ttl: .seconds(300)) { try await loadProfile(42) }.value
        try await cache.set("answer", answer, ttl: .seconds(60))
        let found = try await cache.get("answer", as: Answer.self)  // .hit(value, from:) or .miss(by:)
        try await cache.invalidate("user:*")
        // end Sources/Holdfast/Holdfast.docc/CacheArticle.md

        #expect(profile == "profile 42" && found.value == answer)
        #expect(try await cache.get("user:42", as: String.self).isMiss)
    }

    @Test func ratesAreLimited() async throws {
        func retryLater(_ pause: Duration?) { Issue.record("denied, for \(pause as Any)") }

        // begin Sources/Holdfast/Holdfast.docc/LimitsArticle.md
        let limits = AgentState.embedded().limits
        let decision = try await limits.check(.user("ann"), endpoint: "/search")  // by the plan
        guard decision.isAllowed else { return retryLater(decision.retryAfter) }

        let hourly = RateLimit("tokens", .tokenBucket, limit: 100_000, per: .seconds(3600))
        try await limits.record([RateLimitCharge(hourly, for: .user("ann"), cost: 1_250)])  // known only afterwards
        // end Sources/Holdfast/Holdfast.docc/LimitsArticle.md

        // What was charged is refilled in 45 s.
        let whole = try await limits.peek([RateLimitCharge(hourly, for: .user("ann"), cost: 100_000)])
        #expect(!whole.isAllowed)
    }

    @Test func aSessionIsKept() async throws {
        // begin Sources/Holdfast/Holdfast.docc/SessionsArticle.md
        let sessions = AgentState.embedded().sessions
        let session = try await sessions.create(
            userID: "user-123", workspaceID: "workspace-456", data: ["source": "web"], clientAddress: "192.0.2.1")

        if let seen = try await sessions.get(session.id).value { print(seen.data) }
        try await sessions.update(session.id, set: ["current_agent": "icp_architect"])
        try await sessions.extend(session.id, by: .seconds(1800))
        try await sessions.delete(session.id)
        // end Sources/Holdfast/Holdfast.docc/SessionsArticle.md
        #expect(try await sessions.get(session.id).value == nil)
    }

    /// The second of the two lines finds the version raised by the first.
    @Test func whatIsExpectedOfASessionIsSaid() async throws {
        let sessions = AgentState.embedded().sessions
        let session = try await sessions.create(userID: "user-123", data: ["step": 1])
        let error = await #expect(throws: StoreError.self) {
            // begin Sources/Holdfast/Holdfast.docc/SessionsArticle.md
            try await sessions.update(session.id, set: ["step": 2], expecting: .field("step", equals: 1))
            try await sessions.update(session.id, set: ["step": 3], expecting: .version(session.version))
            // end Sources/Holdfast/Holdfast.docc/SessionsArticle.md
        }
        #expect(error?.code == .preconditionFailed)
        #expect(try await sessions.get(session.id).value?.data["step"] == 2)
    }

    @Test func aConversationKeepsItsMessages() async throws {
        let sessions = AgentState.embedded().sessions
        // begin Sources/Holdfast/Holdfast.docc/SessionsArticle.md
        let talk = try await sessions.create(userID: "user-123", kind: .conversation)
        try await sessions.append([NewSessionMessage(role: "user", content: "hello")], to: talk.id)
        // end Sources/Holdfast/Holdfast.docc/SessionsArticle.md
        #expect(try await sessions.get(talk.id).value?.messages.count == 1)
    }
}
