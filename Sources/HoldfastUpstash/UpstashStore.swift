public import HoldfastStore

/// A database of Upstash's, or of anything that speaks its REST protocol, as a store.
///
/// Each call is one HTTP request; calls share a pool of connections, each by itself in time. A call whose answer is lost fails with
/// effect `unknown`, unless it only reads: then it is sent once more. A write never is, even one that is idempotent: between the two
/// somebody else's write would be lost, and no server remembers what REST has brought. A call that cannot connect fails with
/// ``HoldfastStore/ErrorCode/connectionFailed`` and has no effect. Requests and keys beyond the limits are refused with
/// ``HoldfastStore/ErrorCode/tooLarge`` before they are sent. Any bytes are carried, in both directions (see `RESTCarrier`).
///
/// A read-only token can read; what it may not do is refused with ``HoldfastStore/ErrorCode/permissionMissing`` and the advice to
/// check the token. Blocking commands, WATCH and CLIENT do not exist over REST; the endpoint refuses them.
///
/// Subscriptions are one event stream for each channel or pattern, so the order of messages is kept within each of them. A stream that is
/// lost, or silent for ``UpstashConfiguration/streamIdleLimit``, or that the endpoint cannot serve for the moment (429, 5xx), is made again
/// after ``UpstashConfiguration/reconnectBackoff``, and the ``HoldfastStore/Subscription`` is told of the gap. One that is refused for good
/// (400, 401, 403, 404, 405, a redirect) ends the subscription: its sequence ends, and what subscribed throws, such as
/// ``HoldfastStore/ErrorCode/serverRefused`` where the token is no longer taken. Streams have connections of their own, one each, so they
/// take none from the calls.
///
///     let store = try UpstashStore(UpstashConfiguration(url: "https://eu1-cat.upstash.io", token: token))
///     let name = try await store(.get(key))
///     await store.shutdown()
public final class UpstashStore: Store {
    public let configuration: UpstashConfiguration
    private let client: RESTClient

    /// Connects to nothing yet.
    ///
    /// - Throws: ``HoldfastStore/ErrorCode/invalidArgument`` for settings that cannot work.
    public init(_ configuration: UpstashConfiguration) throws(StoreError) {
        try configuration.validate()
        let tls = try configuration.tls?.makeConfiguration()
        self.configuration = configuration
        client = RESTClient(configuration, tls)
    }

    /// Closes the connections. Later calls fail with ``HoldfastStore/ErrorCode/shuttingDown``.
    public func shutdown() async { await client.shutdown() }

    // MARK: - Operations

    public func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        let arguments = try admit(operation)
        do throws(StoreError) {
            let (call, isCarried) = try RESTCall.command(arguments)
            guard case .one(let reply) = try await client.send(call) else {
                throw StoreError(.protocolViolation, effect: .unknown)
            }
            return isCarried ? try Self.carried(reply, count: 1)[0] : Self.advised(reply)
        } catch {
            throw error.during(operation.name)
        }
    }

    /// A transaction that carries what is no text is one script instead of MULTI/EXEC: nothing runs in between either, but a command
    /// that the server does not know does not keep the others from being carried out.
    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        guard !batch.operations.isEmpty else { return [] }
        if batch.operations.count == 1 { return [try await execute(batch.operations[0])] }
        var commands: [[Bytes]] = []
        for operation in batch.operations { commands.append(try admit(operation)) }
        do throws(StoreError) {
            switch batch.mode {
            case .pipeline: return try await pipeline(commands)
            case .transaction where commands.allSatisfy(RESTBody.canCarry):
                return try await many("/multi-exec", commands, areReads: commands.allSatisfy(RESTCall.reads)).map(Self.advised)
            case .transaction:
                guard case .one(let reply) = try await client.send(RESTCall.carrier(for: commands)) else {
                    throw StoreError(.protocolViolation, effect: .unknown)
                }
                return try Self.carried(reply, count: commands.count)
            }
        } catch {
            throw error.during(batch.mode == .pipeline ? "pipeline" : "transaction")
        }
    }

    private func pipeline(_ commands: [[Bytes]]) async throws(StoreError) -> [Reply] {
        let areCarried = commands.map { !RESTBody.canCarry($0) }
        var sent: [[Bytes]] = []
        sent.reserveCapacity(commands.count)
        for (command, isCarried) in zip(commands, areCarried) {
            sent.append(isCarried ? try RESTCarrier.script(for: [command], reads: RESTCall.reads(command)) : command)
        }
        let replies = try await many("/pipeline", sent, areReads: commands.allSatisfy(RESTCall.reads))
        var results: [Reply] = []
        results.reserveCapacity(replies.count)
        for (reply, isCarried) in zip(replies, areCarried) {
            // An error in place of a carrier's reply is that command's; the others have been carried out.
            let isRefused = if case .error = reply { true } else { false }
            results.append(isCarried && !isRefused ? try Self.carried(reply, count: 1)[0] : Self.advised(reply))
        }
        return results
    }

    private func many(_ path: String, _ commands: [[Bytes]], areReads: Bool) async throws(StoreError) -> [Reply] {
        switch try await client.send(.commands(path, commands, areReads: areReads)) {
        case .many(let replies) where replies.count == commands.count: return replies
        // Refused as a whole: nothing was carried out.
        case .one(.error(let error)): throw StoreError(ReplyError(Self.advised(error.line)))
        default: throw StoreError(.protocolViolation, "The endpoint answered another number of commands", effect: .unknown)
        }
    }

    /// The operation as it is sent, its keys within the limit.
    private func admit(_ operation: Operation) throws(StoreError) -> [Bytes] {
        let arguments = operation.arguments
        guard arguments.first?.isEmpty == false else { throw .invalid("command", "The command is empty") }
        try check(CommandTable.shared.keys(in: arguments) ?? [], operation.name)
        return arguments
    }

    private func check(_ keys: [Key], _ operation: String) throws(StoreError) {
        for key in keys where key.bytes.count > configuration.maximumKeyBytes {
            throw StoreError(
                .tooLarge, "A key has \(key.bytes.count) bytes; the endpoint takes \(configuration.maximumKeyBytes)",
                operation: operation, field: "key")
        }
    }

    // MARK: - Procedures

    public func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        let script = procedure.script
        try check(procedure.keys, script.identifier)
        do throws(StoreError) {
            return try procedure.output(of: Self.advised(try await evaluate(procedure)))
        } catch {
            throw error.during(script.identifier)
        }
    }

    /// EVALSHA, and where the server does not know the script, EVAL, which teaches it.
    private func evaluate<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Reply {
        let keys = procedure.keys.map(\.bytes)
        guard keys.allSatisfy(RESTBody.isText) else {
            throw StoreError(.invalidArgument, "A procedure's keys must be text over REST", field: "key")
        }
        var (lua, arguments) = (procedure.script.lua, procedure.arguments)
        if !RESTBody.canCarry(arguments) { (lua, arguments) = (RESTCarrier.decoding(lua), arguments.map(RESTCarrier.encoded)) }
        let tail = [Bytes(Int64(keys.count))] + keys + arguments
        let reply = try await call(["EVALSHA", RESTCarrier.digest(of: lua)] + tail)
        guard case .error(let error) = reply, error.prefix == "NOSCRIPT" else { return reply }
        return try await call(["EVAL", Bytes(lua)] + tail)
    }

    private func call(_ arguments: [Bytes]) async throws(StoreError) -> Reply {
        guard case .one(let reply) = try await client.send(RESTCall.command(arguments).call) else {
            throw StoreError(.protocolViolation, effect: .unknown)
        }
        return reply
    }

    // MARK: - Replies

    private static func carried(_ reply: Reply, count: Int) throws(StoreError) -> [Reply] {
        if case .error(let error) = reply {
            throw StoreError(ReplyError(advised(error.line)), scriptMayHaveRun: !error.isBeforeRun)
        }
        guard let replies = RESTCarrier.replies(in: reply, count: count) else {
            throw StoreError(.unexpectedReply, effect: .unknown)
        }
        return replies.map(advised)
    }

    private static func advised(_ reply: Reply) -> Reply {
        guard case .error(let error) = reply else { return reply }
        return .error(ReplyError(advised(error.line)))
    }

    /// Whoever may not do something has most likely been given the read-only token.
    private static func advised(_ line: String) -> String {
        line.hasPrefix("NOPERM") ? line + " (is UPSTASH_REDIS_REST_TOKEN the read-only token?)" : line
    }

    // MARK: - Subscriptions

    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        for case .shardChannel in channels { throw StoreError.invalid("channels", "REST has no subscriptions to shard channels") }
        let (subscription, inbox) = Subscription.make(whenFull: overflow)
        defer { inbox.finish() }
        let (beginnings, beginning) = AsyncThrowingStream<Void, any Error>.makeStream()
        let (channels, (patience, isCallers)) = (Set(channels), try client.patience())
        return try await withThrowingTaskGroup(of: Void.self) { group in
            // An endpoint may answer, and never say that it listens.
            group.addTask {
                guard (try? await Task.sleep(for: patience)) != nil else { return }
                beginning.finish(throwing: StoreError(isCallers ? .deadlineExceeded : .timeout, operation: "SUBSCRIBE"))
            }
            for selector in channels {
                let stream = EventStream(selector: selector, client: client, inbox: inbox)
                group.addTask { try await stream.run(beginning) }
            }
            defer { group.cancelAll() }
            var begun = beginnings.makeAsyncIterator()
            for _ in channels { guard try await begun.next() != nil else { throw StoreError(.cancelled) } }
            let result: Swift.Result<Result, any Error>
            do { result = .success(try await body(subscription)) } catch { result = .failure(error) }
            group.cancelAll()
            // A stream that was refused has ended the subscription, and so is why the body came to its end.
            try await group.waitForAll()
            return try result.get()
        }
    }
}

extension UpstashConfiguration {
    fileprivate func validate() throws(StoreError) {
        let host = url.hasPrefix("https://") ? url.dropFirst(8) : url.hasPrefix("http://") ? url.dropFirst(7) : ""
        guard !host.isEmpty, !host.hasPrefix("/"), url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), !url.contains("?"),
            !url.contains("#")
        else { throw .invalid("url", "It must be an https:// URL without a query") }
        guard !token.isEmpty, token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw .invalid("token", "A token is made of visible ASCII characters")
        }
        if tls != nil, url.hasPrefix("http://") { throw .invalid("tls", "An http:// URL has no TLS") }
        guard commandTimeout > .zero else { throw .invalid("commandTimeout", "A timeout is longer than nothing") }
        guard connectTimeout > .zero else { throw .invalid("connectTimeout", "A timeout is longer than nothing") }
        guard streamIdleLimit > .zero else { throw .invalid("streamIdleLimit", "A timeout is longer than nothing") }
        guard reconnectBackoff.lowerBound > .zero else {
            throw .invalid("reconnectBackoff", "Between two attempts there is a pause")
        }
        guard maximumRequestBytes > 0, maximumKeyBytes > 0, maximumResponseBytes > 0 else {
            throw .invalid("maximumRequestBytes", "Limits are larger than nothing")
        }
    }
}
