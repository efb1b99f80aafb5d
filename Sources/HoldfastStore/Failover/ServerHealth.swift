/// What this process believes about the server: the breaker's state machine, as a value.
///
/// ```
///              failure × threshold                     probe fails
///   ┌──── up ───────────────► down ◄──────────────────────────────┐
///   │     ▲ │ failure          │ probe begins                      │
///   │     │ ▼                  ▼                                   │
///   │   suspect ──────────► probing ── trusted ─► returning ── hooks done ─► up
///   │     success: up          ▲                       │
///   └── start probe fails ─────┘ (to down at once)     hooks fail (to down)
/// ```
///
/// Calls go to the server while it is `up` or `suspect`, and are decided here otherwise. Results of calls that began before the last
/// change of sides are ignored: a slow failure from before must not open a circuit that has closed since.
///
/// **Silence.** A caller's deadline that ends tells nothing by itself: it may be short. Where a ping has gone unanswered, and nothing was
/// answered since, it is a failure like any other.
///
/// **Trust.** After its first outage a server is trusted again after ``Thresholds/successes`` good probes in a row. One that goes away
/// again soon after its return flaps, and each flap doubles the time for which it must answer every probe before it is trusted:
/// ``Thresholds/trust`` says from what to what. So a server that comes and goes every few seconds stays away for its callers, who are
/// spared the change of sides. A server that stays for ``Thresholds/calm`` has been forgiven everything.
public struct ServerHealth: Sendable, Hashable {
    public struct Thresholds: Sendable, Hashable {
        /// Consecutive failures until the server counts as down.
        public var failures: Int
        /// Consecutive good probes until it counts as up again.
        public var successes: Int
        /// For how long a server that flaps must answer before it is trusted: the first bound after the second outage, twice as long
        /// after each further one, up to the second bound.
        public var trust: ClosedRange<Duration>
        /// How long after its return a server that goes away is not flapping any more.
        public var calm: Duration

        public init(
            failures: Int = 5, successes: Int = 2, trust: ClosedRange<Duration> = .seconds(1)...(.seconds(30)),
            calm: Duration = .seconds(60)
        ) {
            self.failures = max(1, failures)
            self.successes = max(1, successes)
            self.trust = trust
            self.calm = calm
        }
    }

    public enum State: Sendable, Hashable {
        case up
        /// It failed this many times in a row; calls still go to it.
        case suspect(failures: Int)
        case down(since: Timestamp)
        /// It is being asked, and has answered this often in a row.
        case probing(since: Timestamp, successes: Int)
        /// It answers; what was kept for it is being handed over, before calls go to it again.
        case returning(since: Timestamp)
    }

    public enum Event: Sendable, Hashable {
        /// A call of this generation was answered by the server, be it with an error of the caller's making.
        case succeeded(generation: Int)
        /// A call of this generation failed for the server's sake.
        case failed(generation: Int, at: Moment)
        /// A ping of this generation failed, while calls go to the server.
        case pingFailed(generation: Int, at: Moment)
        /// A caller's deadline ended while a call of this generation waited for the server.
        case deadlineEnded(generation: Int, at: Moment)
        /// The first probe of the process failed: there is no reason to believe that the server is up.
        case startFailed(at: Moment)
        case probeBegan
        case probeSucceeded(at: Moment)
        case probeFailed
        /// Everything was handed over.
        case returned(at: Moment)
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
    /// How many outages in a row each began soon after the one before: 0 after a calm time.
    public private(set) var flaps = 0
    public let thresholds: Thresholds
    /// Whether a ping has failed since the server last answered anything, while calls go to it.
    public private(set) var isSilent = false
    /// When it last came back, on the clock that never steps.
    private var returnedAt: Duration?
    /// Since when it has answered every probe.
    private var answeringSince: Duration?

    public init(thresholds: Thresholds = Thresholds()) { self.thresholds = thresholds }

    /// Since when calls are decided in this process; nil while they go to the server.
    public var localSince: Timestamp? {
        switch state {
        case .up, .suspect: nil
        case .down(let since), .probing(let since, _), .returning(let since): since
        }
    }

    /// For how long the server must answer in this outage before it is trusted.
    public var trustSpan: Duration {
        guard flaps > 0 else { return .zero }
        // 2^62 times the lower bound is above any upper bound.
        let doublings = min(flaps - 1, 62)
        var span = thresholds.trust.lowerBound
        for _ in 0..<doublings where span < thresholds.trust.upperBound { span *= 2 }
        return min(span, thresholds.trust.upperBound)
    }

    /// How long the next probe may wait: nothing, unless the server answers and only has to show that it stays.
    public func pauseBeforeProbe(at moment: Moment) -> Duration {
        guard case .probing(_, let successes) = state, successes >= thresholds.successes, let answeringSince else { return .zero }
        return max(.zero, answeringSince + trustSpan - moment.uptime)
    }

    /// Takes note of an event; answers what changed for callers. Events that mean nothing in the present state are ignored.
    public mutating func handle(_ event: Event) -> Change? {
        switch (state, event) {
        case (.suspect, .succeeded(generation)):
            state = .up
            isSilent = false
        case (.up, .failed(generation, let moment)):
            return fail(1, at: moment)
        case (.suspect(let failures), .failed(generation, let moment)):
            return fail(failures + 1, at: moment)
        case (.up, .pingFailed(generation, let moment)):
            isSilent = true
            return fail(1, at: moment)
        case (.suspect(let failures), .pingFailed(generation, let moment)):
            isSilent = true
            return fail(failures + 1, at: moment)
        case (.suspect(let failures), .deadlineEnded(generation, let moment)) where isSilent:
            return fail(failures + 1, at: moment)
        case (.up, .startFailed(let moment)), (.suspect, .startFailed(let moment)):
            return goDown(at: moment)
        case (.down(let since), .probeBegan):
            state = .probing(since: since, successes: 0)
            answeringSince = nil
        case (.probing(let since, let successes), .probeSucceeded(let moment)):
            answer(successes + 1, since: since, at: moment)
        case (.probing(let since, _), .probeFailed), (.returning(let since), .returnFailed):
            state = .down(since: since)
        case (.returning(let since), .returned(let moment)):
            state = .up
            generation += 1
            returnedAt = moment.uptime
            return .cameBack(downSince: since)
        default:
            break
        }
        return nil
    }

    private mutating func fail(_ failures: Int, at moment: Moment) -> Change? {
        if failures >= thresholds.failures { return goDown(at: moment) }
        state = .suspect(failures: failures)
        return nil
    }

    private mutating func goDown(at moment: Moment) -> Change? {
        state = .down(since: moment.wall)
        isSilent = false
        generation += 1
        if let returnedAt { flaps = moment.uptime - returnedAt < thresholds.calm ? flaps + 1 : 0 }
        return .wentDown(since: moment.wall)
    }

    private mutating func answer(_ successes: Int, since: Timestamp, at moment: Moment) {
        let start = answeringSince ?? moment.uptime
        answeringSince = start
        let isTrusted = successes >= thresholds.successes && moment.uptime - start >= trustSpan
        state = isTrusted ? .returning(since: since) : .probing(since: since, successes: successes)
    }
}
