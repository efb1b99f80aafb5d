import HTTPTypes
import Holdfast
import HoldfastStore

/// EpiSPY's looks at one limit and one session, under the cache's path.
struct ReferenceRoutes: Sendable {
    let state: AgentState

    private static let identifier = Route.Parameter.path(
        "id", .string(1...512), "Whose limit: `user:123`, `ip:…`, `key:…`, `tenant:…`, or any other name.")

    var routes: [Route] {
        [
            Route(
                .get, "/api/v1/cache/rate-limit/{id}", "getRateLimit", "Where someone stands with the server's limits.",
                group: "Cache management", access: .role(.reader), parameters: [Self.identifier],
                outcomes: [.ok(LimitAnswer.decisionSchema, "The state.", headers: LimitAnswer.headerNotes)]
            ) { (call) async throws(StoreError) in LimitAnswer.state(try await limiter(call).peek(Self.subject(call))) },
            Route(
                .post, "/api/v1/cache/rate-limit/{id}/reset", "resetRateLimit", "Forgets what someone has consumed.",
                group: "Cache management", access: .role(.operator), parameters: [Self.identifier],
                outcomes: [.ok(.object([.required("reset", .boolean)]), "Forgotten.")]
            ) { (call) async throws(StoreError) in
                try await limiter(call).reset(Self.subject(call))
                return .json(["reset": true])
            },
            Route(
                .get, "/api/v1/cache/session/{id}", "getCachedSession", "A session, without letting it stay longer.",
                group: "Cache management", access: .role(.reader), parameters: [SessionRoutes.id, .ifNoneMatch],
                outcomes: [
                    .ok(SessionAnswer.schema, "The session.", headers: [("ETag", "Its version.")]), .notModified,
                    .problem(.notFound, "There is no such session."), SessionRoutes.damaged,
                ]
            ) { (call) async throws(StoreError) in
                SessionRoutes.answer(try await sessions(call).get(try call.sessionID(), touch: false), call)
            },
            Route(
                .delete, "/api/v1/cache/session/{id}", "deleteCachedSession", "Ends a session.", group: "Cache management",
                access: .role(.operator), parameters: [SessionRoutes.id],
                outcomes: [
                    .ok(
                        .object([.required("deleted", .boolean), .required("decided_by", Decider.schema)]),
                        "It is gone, or there was none.")
                ]
            ) { (call) async throws(StoreError) in
                let ended = try await sessions(call).delete(try call.sessionID())
                return .json(["deleted": .bool(ended.value), "decided_by": .string(ended.by.word)])
            },
        ]
    }

    private func limiter(_ call: Call) -> RateLimiter { call.context.tenant.map(state.limits.scoped(to:)) ?? state.limits }
    private func sessions(_ call: Call) -> Sessions { call.context.tenant.map(state.sessions.scoped(to:)) ?? state.sessions }

    /// `user:123` is the user 123, as in the reference systems; what begins with no known kind is a name of its own.
    static func subject(_ call: Call) -> RateLimitSubject {
        let text = call.string("id")
        let parts = text.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, let kind = RateLimitSubject.Kind(rawValue: String(parts[0])) else { return .id(text) }
        return RateLimitSubject(kind, String(parts[1]))
    }
}
