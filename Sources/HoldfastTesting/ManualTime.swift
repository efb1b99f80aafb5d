public import HoldfastStore

/// Clocks that stand still until a test moves them.
public final class ManualTime: TimeSource {
    private struct Sleeper {
        let id: Int
        let until: Duration
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        /// What the wall clock would have said when `uptime` began.
        var start: Timestamp
        var uptime: Duration = .zero
        var sleepers: [Sleeper] = []
        var nextID = 0
    }

    private let state: Locked<State>

    public init(now: Timestamp = Timestamp(milliseconds: 1_700_000_000_000)) { state = Locked(State(start: now)) }

    public var now: Timestamp { state.withLock { $0.start + $0.uptime } }
    public var uptime: Duration { state.withLock { $0.uptime } }

    /// How many tasks are asleep: what a test waits for before it moves the clock.
    public var sleeperCount: Int { state.withLock { $0.sleepers.count } }

    /// When the first of those who are asleep wakes, on ``uptime``.
    public var nextWake: Duration? { state.withLock { $0.sleepers.map(\.until).min() } }

    /// Moves both clocks forward and wakes whoever has slept long enough.
    public func advance(by span: Duration) {
        let awake = state.withLock { state -> [Sleeper] in
            state.uptime += span
            let (due, waiting) = (
                state.sleepers.filter { $0.until <= state.uptime }, state.sleepers.filter { $0.until > state.uptime }
            )
            state.sleepers = waiting
            return due.sorted { $0.until < $1.until }
        }
        for sleeper in awake { sleeper.continuation.resume() }
    }

    /// Lets the wall clock step, as an operator or NTP would; ``uptime`` goes on.
    public func stepWallClock(by span: Duration) { state.withLock { $0.start = $0.start + span } }

    public func sleep(for span: Duration) async throws {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let resume = state.withLock { state -> Result<Void, any Error>? in
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if span <= .zero { return .success(()) }
                    state.sleepers.append(Sleeper(id: id, until: state.uptime + span, continuation: continuation))
                    return nil
                }
                if let resume { continuation.resume(with: resume) }
            }
        } onCancel: {
            let sleeper = state.withLock { state -> Sleeper? in
                guard let place = state.sleepers.firstIndex(where: { $0.id == id }) else { return nil }
                return state.sleepers.remove(at: place)
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }
}

extension ManualTime {
    /// Moves the clocks in steps, whenever a task is asleep, until a condition holds or an hour has passed on them.
    ///
    /// - Returns: whether the condition came to hold.
    @discardableResult
    public func advanceUntil(by step: Duration, _ condition: () -> Bool) async -> Bool {
        let end = uptime + .seconds(3600)
        while !condition() {
            if sleeperCount > 0 {
                guard uptime < end else { return false }
                advance(by: step)
            }
            await Task.yield()
        }
        return true
    }

    /// Lets a failover on these clocks watch its server, which answers again, until calls go to it.
    public func letReturn(_ failover: Failover) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await failover.run() }
            await advanceUntil(by: .milliseconds(100)) { failover.localSince == nil }
            group.cancelAll()
        }
    }
}
