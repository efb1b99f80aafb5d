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
    private let digests = ScriptDigests()

    /// Connects to nothing yet.
    ///
    /// - Throws: ``HoldfastStore/ErrorCode/invalidArgument`` for settings that cannot work, such as a certificate file that is none.
    public init(_ configuration: RedisConfiguration) throws(StoreError) {
        try configuration.validate()
        self.configuration = configuration
        let connector = try Connector(configuration)
        connection = Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next())
        hub = SubscriptionHub(connector, on: MultiThreadedEventLoopGroup.singleton.next())
    }

    /// How many calls were sent and have no reply yet, those that nobody waits for any more included.
    var outstanding: Int { connection.outstanding }

    /// Whether the connection for subscriptions is there.
    var isListening: Bool { hub.isConnected }

    deinit {
        connection.closeWithoutWaiting()
        hub.close()
    }

    /// Closes the connection. What is in flight and all later calls fail with ``HoldfastStore/ErrorCode/shuttingDown``.
    public func shutdown() async {
        hub.close()
        await connection.close()
    }

    /// Raw commands that cannot share a connection (SUBSCRIBE, MULTI, SELECT, blocking ones…) are refused with
    /// ``HoldfastStore/ErrorCode/invalidArgument``, and nothing is sent.
    public func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        try SharedCommands.check(operation)
        switch await connection.one({ operation.write(to: &$0) }) {
        case .success(let reply): return reply
        case .failure(let error):
            guard repeats(error, isIdempotent: operation.isIdempotent) else { throw error.during(operation.name) }
            do { return try await connection.one({ operation.write(to: &$0) }).get() } catch {
                throw error.during(operation.name)
            }
        }
    }

    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        let operations = batch.operations
        guard let first = operations.first else { return [] }
        if operations.count == 1 { return [try await execute(first)] }
        for operation in operations { try SharedCommands.check(operation) }
        var result = await send(batch)
        if case .failure(let error) = result, repeats(error, isIdempotent: operations.allSatisfy(\.isIdempotent)) {
            result = await send(batch)
        }
        let replies: [Reply]
        do { replies = try result.get() } catch { throw error.during(batch.mode == .pipeline ? "pipeline" : "transaction") }
        return batch.mode == .pipeline ? replies : try Self.results(ofTransaction: replies, count: operations.count)
    }

    private func send(_ batch: Batch) async -> Result<[Reply], StoreError> {
        let operations = batch.operations
        switch batch.mode {
        case .pipeline:
            return await connection.many(operations.count) { writer in
                for operation in operations { operation.write(to: &writer) }
            }
        case .transaction:
            return await connection.many(operations.count + 2) { writer in
                writer.command(["MULTI"])
                for operation in operations { operation.write(to: &writer) }
                writer.command(["EXEC"])
            }
        }
    }

    /// What EXEC answered. A transaction that was refused while it was queued has done nothing; its first refusal says why.
    private static func results(ofTransaction replies: [Reply], count: Int) throws(StoreError) -> [Reply] {
        if case .error(let error)? = replies.first {
            // Without MULTI what followed was carried out on its own, or not.
            throw StoreError(StoreError(error).code, error.line, effect: .unknown, operation: "MULTI")
        }
        switch replies.last {
        case .array(let results)? where results.count == count: return results
        case .error(let error)?:
            for case .error(let refusal) in replies.dropLast() { throw StoreError(refusal, operation: "transaction") }
            throw StoreError(error, operation: "EXEC")
        default: throw StoreError(.unexpectedReply, effect: .unknown, operation: "EXEC")
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
        let reply = try await call(short, isIdempotent: script.isIdempotent)
        guard case .error(let error) = reply, error.prefix == "NOSCRIPT" else { return reply }
        return try await call(["EVAL", Bytes(script.lua)] + tail, isIdempotent: script.isIdempotent)
    }

    private func call(_ arguments: [Bytes], isIdempotent: Bool) async throws(StoreError) -> Reply {
        let result = await connection.one { $0.command(arguments) }
        guard case .failure(let error) = result, repeats(error, isIdempotent: isIdempotent) else { return try result.get() }
        return try await connection.one { $0.command(arguments) }.get()
    }

    /// Whether a call that failed so may be sent once more.
    private func repeats(_ error: StoreError, isIdempotent: @autoclosure () -> Bool) -> Bool {
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

extension Operation {
    /// Whether carrying it out twice has the effect, and gives the answer, of carrying it out once.
    fileprivate var isIdempotent: Bool {
        if case .strings(.set(_, _, let options)) = self { return options.condition == nil && !options.returnsOld }
        return CommandTable.shared[Bytes(name)]?.flags.contains(.idempotent) ?? false
    }
}

extension RedisConfiguration {
    fileprivate func validate() throws(StoreError) {
        if case .tcp(let host, let port) = endpoint {
            guard !host.isEmpty else { throw .invalid("host", "The host is empty") }
            guard (1...65_535).contains(port) else { throw .invalid("port", "\(port) is no port (1-65535)") }
        }
        if case .unixSocket(let path) = endpoint {
            // sockaddr_un holds 108 bytes on Linux, 104 on macOS, with the closing zero.
            guard (1...103).contains(path.utf8.count) else { throw .invalid("path", "A socket's path has 1 to 103 bytes") }
        }
        guard database >= 0 else { throw .invalid("database", "\(database) is no database (0 or more)") }
        guard commandTimeout > .zero else { throw .invalid("commandTimeout", "A timeout is longer than nothing") }
        guard connectTimeout > .zero else { throw .invalid("connectTimeout", "A timeout is longer than nothing") }
        guard maximumInFlight > 0 else { throw .invalid("maximumInFlight", "At least one call must be allowed") }
        if let clientName {
            let isPrintable = clientName.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
            guard isPrintable else { throw .invalid("clientName", "A client name has no spaces or special characters") }
        }
    }
}
