import HoldfastStore

/// The names of operations on sessions that this process has acknowledged, whoever decided them: one that is repeated in an outage is known
/// again although its marker lies on the server, or here under an epoch that is over (``SessionsHere``).
///
/// So unlike the near copies it is not forgotten at a return. Bounded like them, by two generations: when the young one is full it becomes
/// the old one, and what was old is forgotten. About the last half to whole of the bound is known, in O(1) a step.
final class AcknowledgedOperations: Sendable {
    /// Until when each is known, by `uptime`. An operation's marker stands for it, which contains the session's key and the name; for a
    /// creation the session's key, which comes from the name.
    private struct State {
        var young: [Key: Duration] = [:]
        var old: [Key: Duration] = [:]
    }

    private let limit: Int
    private let state = Locked(State())

    init(limit: Int) { self.limit = limit }

    /// - Parameter retention: for how long the marker stays where it is, counted from the effect. A repetition does not count anew.
    func note(_ marker: Key, for retention: Duration, now: Duration) {
        state.withLock { state in
            if Self.isKnown(marker, at: now, state) { return }
            if state.young.count >= max(1, limit / 2) {
                state.old = state.young
                state.young = [:]
            }
            state.young[marker] = now + retention
        }
    }

    func contains(_ marker: Key, now: Duration) -> Bool { state.withLock { Self.isKnown(marker, at: now, $0) } }

    private static func isKnown(_ marker: Key, at now: Duration, _ state: State) -> Bool {
        (state.young[marker] ?? state.old[marker]).map { now < $0 } ?? false
    }
}
