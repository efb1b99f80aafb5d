import Holdfast
import HoldfastStore

/// What is decided in this process while the server is away.
public enum DecisionLoad: String, CaseIterable, Sendable {
    case limitCheck = "limit-away"
    /// Of a session that this process has seen.
    case sessionRead = "session-away"

    /// What a load needs: a server that was there and is away.
    public struct Outage: Sendable {
        private let state: AgentState
        private let session: SessionID
        private let rule = RateLimit("bench", .tokenBucket, limit: 1_000_000_000, per: .seconds(3600))
        private let ann = RateLimitSubject.user("ann")

        public init() async throws {
            let server = SwitchedStore(EmbeddedStore())
            let failover = Failover(server: server, local: EmbeddedStore())
            state = AgentState(failover: failover)
            session = try await state.sessions.create(userID: "ann").id
            _ = try await state.sessions.get(session)
            server.isThere = false
            await failover.start()
            precondition(failover.decider.isLocal)
        }

        public func call(_ load: DecisionLoad) async throws {
            switch load {
            case .limitCheck: _ = try await state.limits.check([rule], for: ann)
            case .sessionRead: _ = try await state.sessions.get(session)
            }
        }
    }

    public func run(_ operations: Int) async throws {
        let outage = try await Outage()
        for _ in 0..<operations { try await outage.call(self) }
    }
}
