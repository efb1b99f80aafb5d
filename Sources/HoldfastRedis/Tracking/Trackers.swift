import HoldfastStore

/// The trackers of a store, for whoever learns that its keys are elsewhere.
final class Trackers: Sendable {
    private struct State {
        var trackers: [ChangeTracker] = []
        var isClosed = false
    }

    private let state = Locked(State())

    var all: [ChangeTracker] { state.withLock { $0.trackers } }

    /// Adds one and lets it begin, unless the store is closed.
    ///
    /// - Parameter alone: whether there may be no other: a connection redirects what it read to one listener only.
    /// - Returns: false where there is another.
    func begin(_ tracker: ChangeTracker, alone: Bool) -> Bool {
        let (begins, isIn) = state.withLock { state -> (Bool, Bool) in
            if alone, !state.trackers.isEmpty { return (false, false) }
            if !state.isClosed { state.trackers.append(tracker) }
            return (!state.isClosed, true)
        }
        if begins { tracker.begin() }
        return isIn
    }

    func end(_ tracker: ChangeTracker) {
        state.withLock { $0.trackers.removeAll { $0 === tracker } }
        tracker.end()
    }

    func renew() { for tracker in all { tracker.renew() } }
    func disturb() { for tracker in all { tracker.disturb() } }

    func close() {
        let trackers = state.withLock { state in
            state.isClosed = true
            return state.trackers
        }
        for tracker in trackers { end(tracker) }
    }
}
