public import HoldfastStore
import NIOPosix

/// A Redis or Valkey server as a store.
///
/// All calls share one connection, which is made by the first call and pipelines what is in flight together (or several:
/// ``RedisConfiguration/sharedConnections``). While the server
/// cannot be reached calls fail with ``HoldfastStore/ErrorCode/connectionFailed`` (effect none): the first one when connecting has
/// failed, those of the pause after it at once. What was in flight when a connection was lost fails with effect `unknown`, unless
/// it is safe to send once more. Cancelling a call, or its timeout, disturbs no other.
///
/// Subscriptions share a second connection. When it is lost it is made again, all that is listened to is subscribed to again, and
/// every ``HoldfastStore/Subscription`` is told of the gap. A new subscription fails when the server cannot be reached.
///
///     let store = try RedisStore(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: 6379)))
///     let name = try await store(.get(key))
///     await store.shutdown()
public final class RedisStore: Store {
    public let configuration: RedisConfiguration
    let topology: Topology
    let digests = ScriptDigests()
    let trackers = Trackers()
    let hub: SubscriptionHub
    /// Who listens to shard channels, on a cluster.
    let shards: ShardSubscriptions?

    enum Topology {
        case server(ServerLink)
        case cluster(Cluster)
    }

    /// Connects to nothing yet.
    ///
    /// - Throws: ``HoldfastStore/ErrorCode/invalidArgument`` for settings that cannot work, such as a certificate file that is none.
    public init(_ configuration: RedisConfiguration) throws(StoreError) {
        try configuration.validate()
        self.configuration = configuration
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        switch configuration.endpoint {
        case .tcp(let host, let port):
            shards = nil
            let connector = try Connector(configuration, to: .fixed(.tcp(host: host, port: port)))
            topology = .server(ServerLink(connector))
            hub = SubscriptionHub(connector, on: loop)
        case .unixSocket(let path):
            shards = nil
            let connector = try Connector(configuration, to: .fixed(.unixSocket(path: path)))
            topology = .server(ServerLink(connector))
            hub = SubscriptionHub(connector, on: loop)
        case .sentinel(let sentinel):
            shards = nil
            let follower = try SentinelFollower(sentinel, of: configuration)
            let connector = try Connector(
                configuration, to: .found { () throws(StoreError) in try await follower.primary() }, role: .primary)
            let link = ServerLink(connector, follower: follower)
            topology = .server(link)
            hub = SubscriptionHub(connector, on: loop)
            follower.lead(link, hub, trackers)
        case .cluster(let cluster):
            let nodes = try Cluster(cluster, of: configuration)
            topology = .cluster(nodes)
            shards = ShardSubscriptions(nodes)
            nodes.whenSentElsewhere { [trackers] in trackers.disturb() }
            let connector = try Connector(configuration, to: .found { ServerAddress(await nodes.newHome()) })
            // Whoever only listens would not learn of another slot table by its calls.
            hub = SubscriptionHub(connector, on: loop) { _ = nodes.hasMap() }
            nodes.whenHomeIsLost { [weak hub] in hub?.renew() }
        }
    }

    /// How many calls were sent and have no reply yet, those that nobody waits for any more included.
    var outstanding: Int {
        switch topology {
        case .server(let server): server.connections.reduce(0) { $0 + $1.outstanding }
        case .cluster(let cluster): cluster.outstanding
        }
    }

    /// What has become of all calls so far, but for those on connections for exclusive use. No round trip.
    public var statistics: ClientStatistics {
        switch topology {
        case .server(let server): server.connections.reduce(ClientStatistics()) { $0 + $1.statistics }
        case .cluster(let cluster): cluster.statistics
        }
    }

    /// Whether the connection for subscriptions is there.
    var isListening: Bool { hub.isConnected }

    deinit {
        trackers.close()
        shards?.close()
        hub.close()
        switch topology {
        case .server(let server): server.closeWithoutWaiting()
        case .cluster(let cluster): cluster.closeWithoutWaiting()
        }
    }

    /// Closes all connections. Calls in flight may finish first; those that have not in the time given, and all later calls, fail with
    /// ``HoldfastStore/ErrorCode/shuttingDown``. Subscriptions end at once, connections for exclusive use when their callers are done.
    public func shutdown(finishingWithin grace: Duration = .seconds(2)) async {
        trackers.close()
        shards?.close()
        hub.close()
        switch topology {
        case .server(let server): await server.close(finishingWithin: grace)
        case .cluster(let cluster): await cluster.close(finishingWithin: grace)
        }
    }

    /// Raw commands that cannot share a connection (SUBSCRIBE, MULTI, SELECT, blocking ones…) are refused with
    /// ``HoldfastStore/ErrorCode/invalidArgument``, and nothing is sent.
    public func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        try SharedCommands.check(operation)
        switch topology {
        case .server(let server):
            // The hot path of all: nothing between the caller and the connection.
            let connection = server.connection
            let first = await connection.one({ operation.write(to: &$0) })
            if case .success(let reply) = first, !server.isRefusal(reply, of: operation) { return reply }
            let result = await server.again(first, on: connection, isIdempotent: operation.isIdempotent) {
                operation.write(to: &$0)
            }
            do { return try result.get() } catch { throw error.during(operation.name) }
        case .cluster(let cluster):
            do { return try await cluster.execute(operation) } catch { throw error.during(operation.name) }
        }
    }

    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        let operations = batch.operations
        guard let first = operations.first else { return [] }
        if operations.count == 1 { return [try await execute(first)] }
        try SharedCommands.check(operations)
        do {
            switch (batch.mode, topology) {
            case (.pipeline, .server(let server)): return try await server.pipeline(operations)
            case (.pipeline, .cluster(let cluster)): return try await cluster.pipeline(operations)
            case (.transaction, .server(let server)): return try await server.transaction(operations)
            case (.transaction, .cluster(let cluster)): return try await cluster.transaction(operations)
            }
        } catch {
            throw error.during(batch.mode == .pipeline ? "pipeline" : "transaction")
        }
    }

    /// On a cluster all keys must share a slot: otherwise ``HoldfastStore/ErrorCode/crossSlot``, and nothing is sent.
    public func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        let script = procedure.script
        // Of EVALSHA and EVAL together: they are one call.
        var history = AttemptHistory()
        do throws(StoreError) {
            let reply = try await digests.evaluate(script, procedure.keys, procedure.arguments) { command throws(StoreError) in
                try await call(script, procedure.keys, &history, command)
            }
            return try procedure.output(of: reply)
        } catch {
            throw error.during(script.identifier)
        }
    }

    private func call(
        _ script: Script, _ keys: [Key], _ history: inout AttemptHistory, _ command: [Bytes]
    ) async throws(StoreError) -> Reply {
        switch topology {
        case .server(let server):
            try await server.send(isIdempotent: script.isIdempotent, &history) { $0.command(command) }.get()
        case .cluster(let cluster): try await cluster.evaluate(script, keys, &history) { $0.command(command) }
        }
    }

    /// The same commands to the server, or to every primary of a cluster.
    func askEveryPrimary(
        _ count: Int, _ encode: @escaping @Sendable (inout CommandWriter) -> Void
    ) async throws(StoreError) -> [[Reply]] {
        switch topology {
        case .server(let server): [try await server.connection.many(count, encode).get()]
        case .cluster(let cluster): try await cluster.toEveryPrimary(count, encode)
        }
    }

    /// On a cluster a shard channel is listened to at the node that serves its slot, and followed when the slot moves; the listener is told
    /// of the gap.
    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        let (subscription, inbox) = Subscription.make(whenFull: overflow)
        defer { inbox.finish() }
        guard let shards, channels.contains(where: \.isSharded) else {
            try await hub.add(inbox, to: channels)
            defer { hub.remove(inbox, from: channels) }
            return try await body(subscription)
        }
        let everywhere = channels.filter { !$0.isSharded }
        if !everywhere.isEmpty { try await hub.add(inbox, to: everywhere) }
        defer { hub.remove(inbox, from: everywhere) }
        return try await shards.withListeners(to: channels.filter(\.isSharded), inbox) { try await body(subscription) }
    }
}
