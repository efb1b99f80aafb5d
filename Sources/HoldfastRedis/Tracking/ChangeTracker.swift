import HoldfastStore
import NIOPosix

/// Listens to every server that holds keys of a store, and tells of changes (``HoldfastStore/ChangeTracking``).
///
/// One connection to each server listens; what is read and written goes over others. That nothing is missed rests on four facts:
///
/// 1. A server announces changes over one connection in their order, and answers in the same order: once it has answered PING, all
///    that had changed before has been told. So each round of answers confirms the moment at which it was asked for.
/// 2. What is read comes from the server that is listened to: each round asks the connection that listens, and all those for calls, who is
///    there (`run_id`). Behind one address there may be another server tomorrow.
/// 3. In a cluster each round compares who serves which slots with what the session began with. A call that is sent elsewhere by MOVED
///    or ASK is told of at once (``disturb()``), before its answer is there.
/// 4. When any of these connections ends, or sentinels name another primary, the session ends, at once, and another begins.
///
/// `broadcast`: the connection that listens is told of all keys with the prefixes. `reads`: the connections for calls are told to redirect
/// to it; the server remembers what they read. Each round asks whether they still do, for a new connection does not.
final class ChangeTracker: Sendable {
    private struct State {
        var prefixes: Set<Bytes>
        var session: TrackingSession?
        /// Whether the session ends for another that tells of more.
        var isWidened = false
        var task: Task<Void, Never>?
        var hasEnded = false
    }

    /// A server that is listened to.
    private struct Ear {
        let node: RedisConfiguration.Node?
        let stream: InvalidationStream
        /// Of the connection that listens.
        let id: Bytes
        /// Of the server; nil where it does not say.
        let server: Bytes?
    }

    private let servers: TrackedServers
    private let mode: RedisConfiguration.ClientTracking
    private let configuration: RedisConfiguration
    private let interval: Duration
    private let observe: TrackingSession.Observer
    private let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    private let alarm: Alarm
    private let state: Locked<State>

    /// How long a server is left alone that refuses to tell.
    private static let patience: Duration = .seconds(15)

    init(
        _ servers: TrackedServers, _ configuration: RedisConfiguration, prefixes: [Bytes], interval: Duration,
        _ observe: @escaping TrackingSession.Observer
    ) {
        self.servers = servers
        self.configuration = configuration
        mode = configuration.clientTracking
        self.interval = interval
        self.observe = observe
        alarm = Alarm(on: eventLoop)
        state = Locked(State(prefixes: Set(prefixes)))
    }

    func begin() {
        // Detached: it outlives the call that asked for it, and has none of its deadline.
        state.withLock { state in state.task = Task.detached { await self.run() } }
    }

    func add(_ prefix: Bytes) {
        let session = state.withLock { state -> TrackingSession? in
            guard mode == .broadcast, state.prefixes.insert(prefix).inserted else { return nil }
            state.isWidened = true
            return state.session
        }
        session?.end()
    }

    /// Begins anew, because another server holds the keys.
    func renew() { state.withLock { $0.session }?.end() }

    /// Tells that a call goes to where perhaps nobody listens.
    func disturb() { observe(.disturbed) }

    func end() {
        let (session, task) = state.withLock { state in
            state.hasEnded = true
            return (state.session, state.task)
        }
        task?.cancel()
        session?.end()
        alarm.ring()
    }

    private var hasEnded: Bool { state.withLock { $0.hasEnded } }

    // MARK: - Sessions

    private func run() async {
        var failures = 0
        while !hasEnded {
            let session = TrackingSession(observe, alarm)
            state.withLock { $0.session = session }
            let start = Uptime.nanoseconds
            var refusal: StoreError?
            do throws(StoreError) { try await listen(session) } catch { refusal = error.isServerFailure ? nil : error }
            session.end()
            if let refusal, !hasEnded { observe(.unavailable(refusal)) }
            let isWidened = state.withLock { state in
                defer { state.isWidened = false }
                return state.isWidened
            }
            if isWidened, refusal == nil { continue }
            // One that did not last is no better than one that failed.
            failures = elapsed(since: start) > .seconds(1) ? 1 : failures + 1
            await rest(
                refusal == nil
                    ? configuration.backoff.pause(afterFailures: failures, fraction: .random(in: 0...1)) : Self.patience)
        }
    }

    /// Rings that ended the session do not shorten the pause; the end of all does.
    private func rest(_ pause: Duration) async {
        let end = Uptime.nanoseconds &+ UInt64(pause.clampedNanoseconds)
        while !hasEnded, Uptime.nanoseconds < end {
            await alarm.wait(atMost: .nanoseconds(Int64(clamping: end &- Uptime.nanoseconds)))
        }
    }

    private func listen(_ session: TrackingSession) async throws(StoreError) {
        let picture = try await servers.picture()
        let prefixes = state.withLock { $0.prefixes }
        var ears: [Ear] = []
        let start = Uptime.nanoseconds
        for node in picture.nodes { ears.append(try await listen(to: node, prefixes, session)) }
        guard try await isWhole(ears, picture) else { throw StoreError(.connectionFailed, "The servers are changing places") }
        session.established(mode == .reads ? .reads : .prefixes(prefixes), elapsed: elapsed(since: start))
        while !session.hasEnded {
            await alarm.wait(atMost: interval)
            let start = Uptime.nanoseconds
            do throws(StoreError) {
                guard try await isWhole(ears, picture) else { return }
                session.confirmed(elapsed: elapsed(since: start))
            } catch {
                // Calls fail too, or the session has ended: nothing is confirmed meanwhile.
                guard error.isServerFailure else { throw error }
            }
        }
    }

    private func elapsed(since start: UInt64) -> Duration { .nanoseconds(Int64(clamping: Uptime.nanoseconds &- start)) }

    private func listen(
        to node: RedisConfiguration.Node?, _ prefixes: Set<Bytes>, _ session: TrackingSession
    ) async throws(StoreError) -> Ear {
        let stream = InvalidationStream(
            on: eventLoop, timeout: configuration.commandTimeout, told: { session.told($0) }, ended: { session.end() })
        session.add(stream)
        try await stream.open(servers.connector(to: node))
        let speaksRESP3 = ServerSelf(try await stream.ask(["HELLO"])).version == 3
        guard let id = try await stream.ask(["CLIENT", "ID"]).integer.map({ Bytes($0) }) else {
            throw StoreError(.unexpectedReply, operation: "CLIENT ID")
        }
        let server = ServerSelf.runID(try? await stream.ask(["INFO", "server"]))
        if mode == .broadcast {
            // In RESP2 the connection redirects to itself, and so has a channel to listen to.
            let redirect: [Bytes] = speaksRESP3 ? [] : ["REDIRECT", id]
            try await stream.ask(
                ["CLIENT", "TRACKING", "ON"] + redirect + ["BCAST"]
                    + prefixes.sorted { $0.lexicographicallyPrecedes($1) }
                    .flatMap { ["PREFIX", $0] })
        }
        if !speaksRESP3 { try await stream.ask(["SUBSCRIBE", InvalidationMessage.channel]) }
        if mode == .reads {
            // In this mode there is one.
            guard let connection = servers.connections(to: node).first else { throw StoreError(.connectionFailed) }
            // First, so that no end is missed: with the connection goes what the server knew of it.
            connection.whenLost { session.end() }
            let reply = try await connection.one {
                $0.command(["CLIENT", "TRACKING", "ON", "REDIRECT", id])
            }.get()
            if case .error(let error) = reply { throw StoreError(error, operation: "CLIENT TRACKING") }
        }
        return Ear(node: node, stream: stream, id: id, server: server)
    }

    /// Whether all that is read comes from where it is listened to, and nothing that changed until now is unheard.
    private func isWhole(_ ears: [Ear], _ picture: TrackedServers.Picture) async throws(StoreError) -> Bool {
        for ear in ears {
            try await ear.stream.ask(["PING"])
            let connections = servers.connections(to: ear.node)
            guard !connections.isEmpty else { return false }
            for connection in connections {
                guard try await leads(connection, to: ear) else { return false }
            }
        }
        return servers.isStill(picture)
    }

    /// Whether what is read over the connection comes from the server that is listened to.
    private func leads(_ connection: Connection, to ear: Ear) async throws(StoreError) -> Bool {
        var questions: [[Bytes]] = [["HELLO"], ["INFO", "server"]]
        if servers.isCluster { questions.append(["CLUSTER", "INFO"]) }
        if mode == .reads { questions.append(["CLIENT", "TRACKINGINFO"]) }
        let replies = try await connection.many(questions.count) { writer in
            for question in questions { writer.command(question) }
        }.get()
        if servers.mustBePrimary, ServerSelf(replies[0]).role == "replica" { return false }
        // A primary that the others do not see any more takes itself for one still, while its replica is promoted.
        if servers.isCluster, ClusterInfo(replies[2]).isDown { return false }
        if let server = ServerSelf.runID(replies[1]), let heard = ear.server, server != heard { return false }
        return mode != .reads || ServerSelf.redirection(replies[questions.count - 1]) == ear.id
    }
}
