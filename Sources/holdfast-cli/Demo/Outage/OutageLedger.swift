import Holdfast
import HoldfastStore

/// What was promised to somebody in the course of the demonstration, for the proof at its end.
final class OutageLedger: Sendable {
    /// So wide that nothing is denied: what the server has counted at the end must be what was admitted.
    static let wide = RateLimit("wide", .slidingLog, limit: 20_000, per: .seconds(3600))
    /// So narrow that it is used up in either phase: it shows what a cut-off instance may admit.
    static let narrow = RateLimit("narrow", .slidingLog, limit: 20, per: .seconds(3600))
    static let subject = RateLimitSubject.tenant("demo")

    struct Promises: Sendable {
        /// With whether they were acknowledged by an instance that was cut off.
        var accepted: [SessionID: Bool] = [:]
        var ended: [SessionID: Bool] = [:]
        var changed: Set<SessionID> = []
        var admitted: [String: Int] = [:]
        /// Those about whose end nothing is known: the reply to the logout was lost.
        var left: Set<SessionID> = []

        var live: [SessionID] { accepted.keys.filter { ended[$0] == nil && !left.contains($0) } }
    }

    private struct State {
        var promises = Promises()
        /// By the instance that made them: those that it may use and end.
        var recent: [String: [SessionID]] = [:]
        var changes: [(instance: String, status: Failover.Status, at: ContinuousClock.Instant)] = []
    }

    private let state = Locked(State())

    var promises: Promises { state.withLock(\.promises) }

    /// - Parameter instance: that uses it in its load; nil for none.
    func accept(_ id: SessionID, whileAway: Bool, of instance: String? = nil) {
        state.withLock { state in
            state.promises.accepted[id] = whileAway
            if let instance { state.recent[instance, default: []].append(id) }
        }
    }

    /// One that the instance has made lately.
    func someSession(of instance: String) -> SessionID? { state.withLock { $0.recent[instance]?.suffix(20).randomElement() } }

    /// Nobody uses it any more.
    func leave(_ id: SessionID) {
        state.withLock { state in
            for instance in state.recent.keys { state.recent[instance]?.removeAll { $0 == id } }
            state.promises.left.insert(id)
        }
    }

    /// The logout was refused, so it is still there.
    func keep(_ id: SessionID) { state.withLock { _ = $0.promises.left.remove(id) } }

    func end(_ id: SessionID, whileAway: Bool) {
        state.withLock { state in
            state.promises.ended[id] = whileAway
            state.promises.left.remove(id)
        }
    }

    func change(_ id: SessionID) { state.withLock { _ = $0.promises.changed.insert(id) } }

    func admit(_ rule: RateLimit) { state.withLock { $0.promises.admitted[rule.name, default: 0] += 1 } }

    // MARK: - Who decides

    func note(_ status: Failover.Status, of instance: String) {
        state.withLock { $0.changes.append((instance, status, .now)) }
    }

    /// How long after a moment an instance decided here, or left it to the server again; nil where it has not yet.
    func delay(of instance: String, toLocal: Bool, since start: ContinuousClock.Instant) -> Duration? {
        state.withLock { state in
            state.changes.first { change in
                guard change.instance == instance, change.at >= start else { return false }
                if case .local = change.status { return toLocal }
                return change.status == .server && !toLocal
            }.map { $0.at - start }
        }
    }
}
