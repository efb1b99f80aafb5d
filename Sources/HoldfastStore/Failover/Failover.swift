public import Synchronization

/// Watches the server and routes each operation by its ``OutagePolicy``: the one place that knows about outages.
///
/// Without a server everything is decided by the embedded store, as the configured store. With one, calls go to it; when it fails as
/// often as the thresholds say it counts as down, and calls are decided here, in microseconds, until it is back. One probe at a
/// time looks for it (``run()``); before calls go to it again, the return hooks hand over what was kept for it. A server that has
/// taken writes must take them again to be back: one that answers and refuses them stays away.
///
/// A refusal of credentials or configuration is no outage: it is thrown to the caller and shown by ``refusal``, and never turned into
/// local decisions. One that ends an outage, as when the server is restarted with another password, ends the local decisions too:
/// every call answers it until the server accepts us.
public final class Failover: Sendable {
    public struct Configuration: Sendable {
        public var thresholds: ServerHealth.Thresholds
        /// How often the server is pinged while it is up, so that an idle process notices too.
        public var checkInterval: Duration
        /// Between probes while it is down: doubled from the first to the second, with jitter. While it is up the first is the least time
        /// between two pings for the sake of callers whose deadlines have ended.
        public var probeBackoff: ClosedRange<Duration>
        /// How long a probe may take.
        public var probeTimeout: Duration
        /// A call or probe that takes longer counts as a failure, however it ended; nil for never. A call is what a service does at
        /// once, which may be several round trips; not what it waits for before it begins (``handOverPatience``).
        public var slowCall: Duration?

        /// How long a call without an earlier deadline waits while what single failures left here is handed over. A call that waits longer
        /// counts as one that the server did not answer: after as many as the thresholds say this process decides by itself until all is
        /// handed over.
        public var handOverPatience: Duration

        public init(
            thresholds: ServerHealth.Thresholds = ServerHealth.Thresholds(), checkInterval: Duration = .seconds(1),
            probeBackoff: ClosedRange<Duration> = .milliseconds(100)...(.seconds(2)), probeTimeout: Duration = .seconds(1),
            slowCall: Duration? = nil, handOverPatience: Duration = .seconds(5)
        ) {
            self.thresholds = thresholds
            self.checkInterval = checkInterval
            self.probeBackoff = probeBackoff
            self.probeTimeout = probeTimeout
            self.slowCall = slowCall
            self.handOverPatience = handOverPatience
        }
    }

    /// What a service does when the server is back, before calls go to it again.
    public typealias ReturnHook = @Sendable (_ server: any Store) async throws(StoreError) -> Void
    /// Called once for each change, in their order, outside of locks.
    public typealias Observer = @Sendable (Status) -> Void

    /// The configured server; nil where this process is the store.
    public let server: (any Store)?
    /// The store in this process.
    public let local: any Store
    public let time: any TimeSource
    /// What was decided here and the server still has to hear.
    public let outbox: Outbox

    struct State {
        var health: ServerHealth
        var writes = WriteProof()
        var hooks: [ReturnHook] = []
        var certainHooks: [@Sendable () async -> Void] = []
        var answerHooks: [ReturnHook] = []
        var returnedHooks: [@Sendable () -> Void] = []
        var awayHooks: [@Sendable () -> Void] = []
        var refusal: StoreError?
        var statistics = Statistics()
        /// Whether somebody is watching the server at this moment.
        var isAsking = false
        /// When somebody last asked because a caller had waited in vain.
        var askedAtOnce: Duration?
    }

    let configuration: Configuration
    let random: @Sendable () -> UInt64
    let state: Locked<State>
    /// What `state` means for the next call.
    @usableFromInline let route: Atomic<Route>
    /// The server, or the store in this process where there is none.
    @usableFromInline let configured: any Store
    let announcements: Announcements<Status>
    /// Handing over what was left here.
    let rest: SerialWork

    /// - Parameters:
    ///   - server: the configured server, where there is one.
    ///   - local: the store in this process.
    ///   - outbox: where what is decided here is kept for the server; by default in memory.
    ///   - random: randomness for the jitter of probes.
    ///   - observer: told of each change; for logs. Applications read ``changes``.
    public init(
        server: (any Store)? = nil, local: any Store, outbox: Outbox? = nil, configuration: Configuration = Configuration(),
        time: any TimeSource = .system, random: @escaping @Sendable () -> UInt64 = { .random(in: .min ... .max) },
        observer: @escaping Observer = { _ in }
    ) {
        self.server = server
        self.local = local
        self.configuration = configuration
        self.time = time
        self.outbox = outbox ?? Outbox(time: time)
        self.random = random
        let health = ServerHealth(thresholds: configuration.thresholds)
        state = Locked(State(health: health))
        // Without a server too: nothing has to be noted of its calls, ever.
        route = Atomic(Self.route(health, configuration))
        configured = server ?? local
        rest = SerialWork(time: time)
        announcements = Announcements(server == nil ? .embedded : .server, observer: observer)
    }

    // MARK: - What is known

    public var health: ServerHealth { state.withLock { $0.health } }

    /// Since when operations are decided in this process because the server is away; nil otherwise.
    public var localSince: Timestamp? { server == nil ? nil : state.withLock { $0.health.localSince } }

    /// Who would decide an operation now.
    public var decider: Decider { localSince.map { .local(since: $0) } ?? .server }

    /// The server's last refusal of our credentials or configuration, until it accepts them.
    public var refusal: StoreError? { state.withLock { $0.refusal } }

    /// Who decides an operation now, and why.
    public var status: Status { state.withLock { status($0) } }

    public var statistics: Statistics { state.withLock { $0.statistics } }

    /// The present status, then each change of it, in order and once.
    ///
    /// Any number of readers may listen, each by a sequence of its own. One that does not read keeps the latest 16 changes. The sequence
    /// ends when ``run()`` does, as at the end of the process, and with this failover.
    public var changes: AsyncStream<Status> { announcements.listen() }

    private static func route(_ health: ServerHealth, _ configuration: Configuration) -> Route {
        Route(generation: health.generation, isPlain: health.state == .up && configuration.slowCall == nil)
    }

    private func status(_ state: State) -> Status {
        if server == nil { return .embedded }
        if let refusal = state.refusal { return .refused(refusal) }
        return state.health.localSince.map(Status.local) ?? .server
    }

    // MARK: - Calls

    /// Carries out an operation on the side that decides it.
    ///
    /// The body may run twice: on the server, and, when that fails for the server's sake and the policy is not `.fail`, on the local
    /// store. Cost while up: two words to look at. What the outbox holds, after single failures, goes to the server first.
    ///
    /// - Throws: ``ErrorCode/unavailable`` for `.fail` while the server is known to be away; ``refusal`` where the server was last heard
    ///   refusing us; otherwise what the body throws. What means "the server is away" has ``StoreError/isOutage``.
    @inlinable nonisolated(nonsending) public func perform<Output: Sendable>(
        _ policy: OutagePolicy,
        _ body: nonisolated(nonsending) (_ store: any Store, _ decider: Decider) async throws(StoreError) -> Output
    ) async throws(StoreError) -> Decided<Output> {
        let route = route.load(ordering: .acquiring)
        guard route.isPlain, outbox.isEmpty else { return try await performWatched(policy, body) }
        do {
            return Decided(try await body(configured, .server), by: .server)
        } catch {
            return try await settle(error, of: route.generation, since: nil, policy, body)
        }
    }

    /// The same where there is more to do than to make the call: the server is away, or was missing last time, or waits for what was
    /// decided here, or has a limit of time.
    @usableFromInline nonisolated(nonsending) func performWatched<Output: Sendable>(
        _ policy: OutagePolicy,
        _ body: nonisolated(nonsending) (_ store: any Store, _ decider: Decider) async throws(StoreError) -> Output
    ) async throws(StoreError) -> Decided<Output> {
        guard let server else { return Decided(try await body(local, .server), by: .server) }
        let (since, generation, isSuspect) = state.withLock { state in
            (state.health.localSince, state.health.generation, state.health.state != .up)
        }
        if let since { return try await decideLocally(policy, since: since, body) }
        var start: Duration?
        do {
            if !outbox.isEmpty { try await handOver(to: server) }
            // The time that others' entries took is none of this call's.
            if configuration.slowCall != nil { start = time.uptime }
            let output = try await body(server, .server)
            if isSlow(since: start) {
                note(.failed(generation: generation, at: moment), StoreError(.timeout))
            } else if isSuspect {
                note(.succeeded(generation: generation))
            }
            return Decided(output, by: .server)
        } catch {
            return try await settle(error, of: generation, since: start, policy, body)
        }
    }

    /// What becomes of a call that failed: counted where that was for the server's sake, and then decided here where the policy says so.
    ///
    /// - Parameters:
    ///   - generation: as it was when the call began.
    ///   - start: when it began, where calls have a limit of time and it came to begin.
    @usableFromInline nonisolated(nonsending) func settle<Output: Sendable>(
        _ error: StoreError, of generation: Int, since start: Duration?, _ policy: OutagePolicy,
        _ body: nonisolated(nonsending) (_ store: any Store, _ decider: Decider) async throws(StoreError) -> Output
    ) async throws(StoreError) -> Decided<Output> {
        if server == nil { throw error }
        let isSlow = error.code != .cancelled && isSlow(since: start)
        if isSlow || error.isServerFailure {
            note(.failed(generation: generation, at: moment), error)
        } else if error.code == .deadlineExceeded {
            note(.deadlineEnded(generation: generation, at: moment), error)
            askAtOnce()
        }
        guard error.isServerFailure, policy != .fail else { throw error }
        do throws(StoreError) {
            return try await decideLocally(policy, since: localSince ?? time.now, body)
        } catch let local {
            // Not done here says nothing of what the server did.
            throw error.effect == .unknown ? local.withUnknownEffect() : local
        }
    }

    /// What single failures left here, before a call that would otherwise not see it. Where that fails nothing has happened of the call.
    private func handOver(to server: any Store) async throws(StoreError) {
        do throws(StoreError) {
            try await outbox.replay(on: server, patience: configuration.handOverPatience)
        } catch {
            throw StoreError(error.code, error.message, operation: error.operation)
        }
    }

    /// Whether a call that began then took too long; counts it.
    private func isSlow(since start: Duration?) -> Bool {
        guard let start, let limit = configuration.slowCall, time.uptime - start > limit else { return false }
        state.withLock { $0.statistics.slowCalls += 1 }
        return true
    }

    private nonisolated(nonsending) func decideLocally<Output: Sendable>(
        _ policy: OutagePolicy, since: Timestamp,
        _ body: nonisolated(nonsending) (_ store: any Store, _ decider: Decider) async throws(StoreError) -> Output
    ) async throws(StoreError) -> Decided<Output> {
        if let refusal { throw refusal }
        switch policy {
        case .fail: throw StoreError(.unavailable, "The configured server has been away since \(since.rfc3339)")
        case .local, .localThenReplay:
            let decider = Decider.local(since: since)
            return Decided(try await body(local, decider), by: decider)
        }
    }

    // MARK: - What services do when it changes

    /// Adds something to do when the server is back, before calls go to it again. Hooks run in the order in which they were added;
    /// one that throws keeps the server counted as down until the next probe.
    ///
    /// A local decision that was under way when the hooks ran may end after them: a service that keeps something for the server
    /// keeps it first and looks at ``decider`` afterwards, and hands over by itself when the sides have changed.
    public func whenServerReturns(_ hook: @escaping ReturnHook) { state.withLock { $0.hooks.append(hook) } }

    /// Adds something to do when everything has been handed over and all other hooks have succeeded, right before calls go to the server
    /// again: drop what was only of use while it was away. Nothing that can fail follows it.
    public func whenReturnIsCertain(_ hook: @escaping @Sendable () async -> Void) {
        state.withLock { $0.certainHooks.append(hook) }
    }

    /// Adds something to do as soon as calls go to the server again: forget what was decided here while the hooks of other services ran.
    public func whenServerHasReturned(_ hook: @escaping @Sendable () -> Void) { state.withLock { $0.returnedHooks.append(hook) } }

    /// Adds something to do as soon as the server counts as away: forget what must not be served then. No call goes to the server any
    /// more when it is done.
    public func whenServerGoesAway(_ hook: @escaping @Sendable () -> Void) { state.withLock { $0.awayHooks.append(hook) } }

    /// Adds something to do after each ping that the server answers while calls go to it: hand over what single failures, or decisions
    /// that ended after the return, have left here, also where no call comes any more. It must cost nothing where there is nothing to do.
    public func whileServerAnswers(_ hook: @escaping ReturnHook) { state.withLock { $0.answerHooks.append(hook) } }

    // MARK: - Changes

    var moment: Moment { Moment(time) }

    /// - Parameter error: why a call failed.
    func note(_ event: ServerHealth.Event, _ error: StoreError? = nil) {
        change { state in
            switch event {
            case .succeeded(state.health.generation): state.writes.note(success: ())
            case .deadlineEnded where !state.health.isSilent: break
            case .failed(let generation, _), .pingFailed(let generation, _), .deadlineEnded(let generation, _):
                state.statistics.failures += 1
                if generation == state.health.generation, let error { state.writes.note(failure: error) }
            default: break
            }
            switch state.health.handle(event) {
            case .wentDown?: state.statistics.outages += 1
            case .cameBack?:
                state.statistics.returns += 1
                state.writes.hasReturned()
            case nil: break
            }
        }
    }

    /// Changes the state and tells who listens where that changes the status. A refusal for another reason is no change.
    func change(_ body: (inout State) -> Void) {
        let (isChange, hooks) = state.withLock { state in
            let (before, wasAway) = (status(state), state.health.localSince != nil)
            body(&state)
            route.store(Self.route(state.health, configuration), ordering: .releasing)
            let after = status(state)
            let hooks = !wasAway && state.health.localSince != nil ? state.awayHooks : []
            if case (.refused, .refused) = (before, after) { return (false, hooks) }
            guard before != after else { return (false, hooks) }
            if case .refused = after { state.statistics.refusals += 1 }
            announcements.publish(after)
            return (true, hooks)
        }
        for hook in hooks { hook() }
        if isChange { announcements.deliver() }
    }
}

extension StoreError {
    /// Whether the server refused our credentials, permissions or configuration: a mistake to mend, not an outage to wait out.
    public var isRefusal: Bool { code == .serverRefused || code == .permissionMissing }
}
