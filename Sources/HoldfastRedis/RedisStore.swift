public import HoldfastStore
import NIOPosix

/// A Redis or Valkey server as a store.
///
/// All calls share one connection, which is made by the first call and pipelines what is in flight together. While the server
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
    private let connection: Connection
    private let hub: SubscriptionHub
    /// Who finds the primary, where sentinels name it.
    private let follower: SentinelFollower?
    private let digests = ScriptDigests()

    /// Connects to nothing yet.
    ///
    /// - Throws: ``HoldfastStore/ErrorCode/invalidArgument`` for settings that cannot work, such as a certificate file that is none.
    public init(_ configuration: RedisConfiguration) throws(StoreError) {
        try configuration.validate()
        self.configuration = configuration
        let follower: SentinelFollower?
        let connector: Connector
        switch configuration.endpoint {
        case .tcp(let host, let port):
            follower = nil
            connector = try Connector(configuration, to: .fixed(.tcp(host: host, port: port)))
        case .unixSocket(let path):
            follower = nil
            connector = try Connector(configuration, to: .fixed(.unixSocket(path: path)))
        case .sentinel(let sentinel):
            let guide = try SentinelFollower(sentinel, of: configuration)
            follower = guide
            connector = try Connector(
                configuration, to: .found { () throws(StoreError) in try await guide.primary() }, role: .primary)
        }
        self.follower = follower
        connection = Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next())
        hub = SubscriptionHub(connector, on: MultiThreadedEventLoopGroup.singleton.next())
        follower?.lead(connection, hub)
    }

    /// How many calls were sent and have no reply yet, those that nobody waits for any more included.
    var outstanding: Int { connection.outstanding }

    /// Whether the connection for subscriptions is there.
    var isListening: Bool { hub.isConnected }

    deinit {
        follower?.close()
        connection.closeWithoutWaiting()
        hub.close()
    }

    /// Closes the connection. What is in flight and all later calls fail with ``HoldfastStore/ErrorCode/shuttingDown``.
    public func shutdown() async {
        follower?.close()
        hub.close()
        await connection.close()
    }

    /// Raw commands that cannot share a connection (SUBSCRIBE, MULTI, SELECT, blocking ones…) are refused with
    /// ``HoldfastStore/ErrorCode/invalidArgument``, and nothing is sent.
    public func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        try SharedCommands.check(operation)
        let first = await connection.one({ operation.write(to: &$0) })
        if case .success(let reply) = first, follower == nil || !reply.isReadOnlyRefusal { return reply }
        let result = await again(first, isIdempotent: operation.isIdempotent) { operation.write(to: &$0) }
        do { return try result.get() } catch { throw error.during(operation.name) }
    }

    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        let operations = batch.operations
        guard let first = operations.first else { return [] }
        if operations.count == 1 { return [try await execute(first)] }
        for operation in operations { try SharedCommands.check(operation) }
        switch batch.mode {
        case .pipeline:
            do { return try await sendPipeline(operations).get() } catch { throw error.during("pipeline") }
        case .transaction:
            do { return try await sendTransaction(operations) } catch { throw error.during("transaction") }
        }
    }

    public func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        let script = procedure.script
        do throws(StoreError) {
            return try procedure.output(of: try await evaluate(script, procedure.keys, procedure.arguments))
        } catch {
            throw error.during(script.identifier)
        }
    }

    /// EVALSHA, and where the server does not know the script (it was restarted, or flushed its scripts), EVAL, which teaches it.
    private func evaluate(_ script: Script, _ keys: [Key], _ arguments: [Bytes]) async throws(StoreError) -> Reply {
        let tail = [Bytes(Int64(keys.count))] + keys.map(\.bytes) + arguments
        let short = ["EVALSHA", digests.digest(of: script)] + tail
        let reply = try await send(isIdempotent: script.isIdempotent) { $0.command(short) }.get()
        guard case .error(let error) = reply, error.prefix == "NOSCRIPT" else { return reply }
        let long = ["EVAL", Bytes(script.lua)] + tail
        return try await send(isIdempotent: script.isIdempotent) { $0.command(long) }.get()
    }

    // MARK: - Sending, and sending once more

    private func send(
        isIdempotent: Bool, _ encode: (inout CommandWriter) -> Void
    ) async -> Result<Reply, StoreError> {
        await again(await connection.one(encode), isIdempotent: isIdempotent, encode)
    }

    /// Sends a command once more where its first result asks for that: what a demoted primary refused, what was provably not sent, and
    /// what is idempotent.
    private func again(
        _ first: Result<Reply, StoreError>, isIdempotent: @autoclosure () -> Bool, _ encode: (inout CommandWriter) -> Void
    ) async -> Result<Reply, StoreError> {
        switch first {
        case .success(let reply):
            guard let follower, reply.isReadOnlyRefusal else { return first }
            follower.demoted()
        case .failure(let error):
            guard repeats(error, isIdempotent: isIdempotent()) else { return first }
        }
        return await connection.one(encode)
    }

    /// What a demoted primary refused is sent once more, by itself and in order.
    private func sendPipeline(_ operations: [Operation]) async -> Result<[Reply], StoreError> {
        let first = await sendAll(operations)
        guard let follower, case .success(var replies) = first else { return first }
        let refused = replies.indices.filter { replies[$0].isReadOnlyRefusal }
        guard !refused.isEmpty else { return first }
        follower.demoted()
        guard case .success(let later) = await sendAll(refused.map { operations[$0] }) else { return first }
        for (place, reply) in zip(refused, later) { replies[place] = reply }
        return .success(replies)
    }

    private func sendAll(_ operations: [Operation]) async -> Result<[Reply], StoreError> {
        await sendMany(operations.count, isIdempotent: operations.allSatisfy(\.isIdempotent)) { writer in
            for operation in operations { operation.write(to: &writer) }
        }
    }

    private func sendTransaction(_ operations: [Operation]) async throws(StoreError) -> [Reply] {
        func send() async throws(StoreError) -> [Reply] {
            try await sendMany(operations.count + 2, isIdempotent: operations.allSatisfy(\.isIdempotent)) { writer in
                writer.command(["MULTI"])
                for operation in operations { operation.write(to: &writer) }
                writer.command(["EXEC"])
            }.get()
        }
        var replies = try await send()
        // A transaction of which something was refused while it was queued has done nothing.
        if let follower, replies.contains(where: \.isReadOnlyRefusal), case .error? = replies.last {
            follower.demoted()
            replies = try await send()
        }
        return try TransactionReplies.results(replies, count: operations.count)
    }

    private func sendMany(
        _ count: Int, isIdempotent: @autoclosure () -> Bool, _ encode: (inout CommandWriter) -> Void
    ) async -> Result<[Reply], StoreError> {
        let result = await connection.many(count, encode)
        guard case .failure(let error) = result, repeats(error, isIdempotent: isIdempotent()) else { return result }
        return await connection.many(count, encode)
    }

    /// Whether a call that failed so may be sent once more.
    private func repeats(_ error: StoreError, isIdempotent: @autoclosure () -> Bool) -> Bool {
        if error.code == .timeout { follower?.suspect() }
        guard configuration.retriesOnTimeout else { return false }
        switch error.code {
        case .connectionLost: return error.effect == .none || isIdempotent()
        // Unsent within its whole time: another wait is not better.
        case .timeout: return error.effect == .unknown && isIdempotent()
        default: return false
        }
    }

    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        let (subscription, inbox) = Subscription.make()
        try await hub.add(inbox, to: channels)
        defer { hub.remove(inbox, from: channels) }
        return try await body(subscription)
    }
}

extension Reply {
    /// Whether a server refused a write because it is a replica.
    fileprivate var isReadOnlyRefusal: Bool {
        if case .error(let error) = self { error.prefix == "READONLY" } else { false }
    }
}

extension Operation {
    /// Whether carrying it out twice has the effect, and gives the answer, of carrying it out once.
    fileprivate var isIdempotent: Bool {
        if case .strings(.set(_, _, let options)) = self { return options.condition == nil && !options.returnsOld }
        return CommandTable.shared[Bytes(name)]?.flags.contains(.idempotent) ?? false
    }
}
