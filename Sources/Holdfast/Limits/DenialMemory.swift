import HoldfastStore

/// Denials of the last moment, so that a caller that does not stop costs no round trips.
///
/// A remembered denial is given again while it is at most `maximumAge` old, and never past the moment at which the store said that a
/// retry has a chance. Someone else's refund or reset is therefore seen after `maximumAge` at the latest.
///
/// Bounded: two generations of at most half the entries each; when the newer is full or old the older goes.
final class DenialMemory: Sendable {
    private struct Entry {
        let costs: [Int]
        let capacities: [Int]
        let decision: RateLimitDecision
        let time: Duration
    }

    private struct State {
        var newer: [[Key]: Entry] = [:]
        var older: [[Key]: Entry] = [:]
        var turnedAt: Duration = .zero
    }

    private let maximumAge: Duration
    private let generationLimit: Int
    private let state = Locked(State())

    init(maximumAge: Duration, maximumEntries: Int) {
        self.maximumAge = maximumAge
        generationLimit = maximumAge > .zero ? maximumEntries / 2 : 0
    }

    var count: Int { state.withLock { $0.newer.count + $0.older.count } }

    func remember(_ decision: RateLimitDecision, of call: RateLimitCall, at time: Duration) {
        guard generationLimit > 0 else { return }
        let entry = Entry(
            costs: call.charges.map(\.cost), capacities: call.charges.map(\.rule.capacity), decision: decision, time: time)
        state.withLock { state in
            if state.newer.count >= generationLimit || time - state.turnedAt > maximumAge {
                state.older = state.newer
                state.newer = [:]
                state.turnedAt = time
            }
            state.newer[call.keys] = entry
        }
    }

    /// The denial that still holds for a call, decided by the same side, with its waits brought up to date.
    func denial(of call: RateLimitCall, by decider: Decider, at time: Duration) -> RateLimitDecision? {
        guard generationLimit > 0 else { return nil }
        guard let entry = state.withLock({ $0.newer[call.keys] ?? $0.older[call.keys] }) else { return nil }
        let age = time - entry.time
        guard age <= maximumAge, age >= .zero, entry.decision.by == decider else { return nil }
        var states: [RateLimitState] = []
        for (index, known) in entry.decision.rules.enumerated() {
            let charge = call.charges[index]
            guard charge.rule.capacity == entry.capacities[index] else { return nil }
            if !known.hasRoom {
                // A smaller call may still have room; a wait that is over is no denial.
                guard charge.cost >= entry.costs[index], known.retryAfter ?? .seconds(3600) > age else { return nil }
            }
            states.append(known.aged(by: age, cost: charge.cost))
        }
        return RateLimitDecision(states, at: entry.decision.at + age, by: decider, isRemembered: true)
    }

    /// Forgets what was denied for any of these keys.
    func forget(_ keys: [Key]) {
        guard generationLimit > 0 else { return }
        let keys = Set(keys)
        state.withLock { state in
            state.newer = state.newer.filter { keys.isDisjoint(with: $0.key) }
            state.older = state.older.filter { keys.isDisjoint(with: $0.key) }
        }
    }

    func forgetAll() {
        state.withLock { state in
            state.newer = [:]
            state.older = [:]
        }
    }
}

extension RateLimitState {
    fileprivate func aged(by age: Duration, cost: Int) -> RateLimitState {
        let wait = cost > limit ? nil : retryAfter.map { max(.zero, $0 - age) }
        return RateLimitState(
            rule: rule, subject: subject, cost: cost, hasRoom: hasRoom && cost <= limit, remaining: remaining,
            resetAfter: max(.zero, resetAfter - age), retryAfter: wait)
    }
}
