/// What this process believes about the server: the breaker's state machine, as a value.
///
/// ```
///              failure × threshold                     probe fails
///   ┌──── up ───────────────► down ◄──────────────────────────────┐
///   │     ▲ │ failure          │ probe begins                      │
///   │     │ ▼                  ▼                                   │
///   │   suspect ──────────► probing ── success × threshold ─► returning ── hooks done ─► up
///   │     success: up          ▲                                   │
///   └── start probe fails ─────┘ (to down at once)   hooks fail ───┘ (to down)
/// ```
///
/// Calls go to the server while it is `up` or `suspect`, and are decided here otherwise. Results of calls that began before the last
/// change of sides are ignored: a slow failure from before must not open a circuit that has closed since.
public struct ServerHealth: Sendable, Hashable {
    public struct Thresholds: Sendable, Hashable {
        /// Consecutive failures until the server counts as down.
        public var failures: Int
        /// Consecutive good probes until it counts as up again.
        public var successes: Int

        public init(failures: Int = 5, successes: Int = 2) {
            self.failures = max(1, failures)
            self.successes = max(1, successes)
        }
    }

    public enum State: Sendable, Hashable {
        case up
        /// It failed this many times in a row; calls still go to it.
        case suspect(failures: Int)
        case down(since: Timestamp)
        /// A probe is on its way, after this many good ones in a row.
        case probing(since: Timestamp, successes: Int)
        /// It answers; what was kept for it is being handed over, before calls go to it again.
        case returning(since: Timestamp)
    }

    public enum Event: Sendable, Hashable {
        /// A call of this generation was answered by the server, be it with an error of the caller's making.
        case succeeded(generation: Int)
        /// A call of this generation failed for the server's sake.
        case failed(generation: Int, at: Timestamp)
        /// The first probe of the process failed: there is no reason to believe that the server is up.
        case startFailed(at: Timestamp)
        case probeBegan
        case probeSucceeded
        case probeFailed
        /// Everything was handed over.
        case returned
        case returnFailed
    }

    /// What changed for callers.
    public enum Change: Sendable, Hashable {
        case wentDown(since: Timestamp)
        case cameBack(downSince: Timestamp)
    }

    public private(set) var state: State = .up
    /// Counts the changes of sides.
    public private(set) var generation = 0
    public let thresholds: Thresholds

    public init(thresholds: Thresholds = Thresholds()) { self.thresholds = thresholds }

    /// Since when calls are decided in this process; nil while they go to the server.
    public var localSince: Timestamp? {
        switch state {
        case .up, .suspect: nil
        case .down(let since), .probing(let since, _), .returning(let since): since
        }
    }

    /// Takes note of an event; answers what changed for callers. Events that mean nothing in the present state are ignored.
    public mutating func handle(_ event: Event) -> Change? {
        switch (state, event) {
        case (.suspect, .succeeded(generation)):
            state = .up
        case (.up, .failed(generation, let moment)):
            return fail(1, at: moment)
        case (.suspect(let failures), .failed(generation, let moment)):
            return fail(failures + 1, at: moment)
        case (.up, .startFailed(let moment)), (.suspect, .startFailed(let moment)):
            return goDown(at: moment)
        case (.down(let since), .probeBegan):
            state = .probing(since: since, successes: 0)
        case (.probing(let since, let successes), .probeSucceeded):
            state =
                successes + 1 >= thresholds.successes
                ? .returning(since: since) : .probing(since: since, successes: successes + 1)
        case (.probing(let since, _), .probeFailed), (.returning(let since), .returnFailed):
            state = .down(since: since)
        case (.returning(let since), .returned):
            state = .up
            generation += 1
            return .cameBack(downSince: since)
        default:
            break
        }
        return nil
    }

    private mutating func fail(_ failures: Int, at moment: Timestamp) -> Change? {
        if failures >= thresholds.failures { return goDown(at: moment) }
        state = .suspect(failures: failures)
        return nil
    }

    private mutating func goDown(at moment: Timestamp) -> Change? {
        state = .down(since: moment)
        generation += 1
        return .wentDown(since: moment)
    }
}
