public import HoldfastStore

/// One connection of a ``RedisStore`` that nobody else uses, for as long as the body of ``RedisStore/withConnection(_:)`` runs.
///
/// All raw commands are allowed but those that are not answered by exactly one reply (SUBSCRIBE, MONITOR, SHUTDOWN…). A command that
/// waits on the server (BLPOP, XREAD BLOCK, WAIT…) may do so as long as it says, with the command timeout on top.
///
/// Nothing is ever sent twice here, and a lost connection, or one that could not be made, is not made again: what it knew (watched keys,
/// an open transaction) is gone, so every later call fails with ``HoldfastStore/ErrorCode/connectionLost``. A call that was sent and is then cancelled, or times out,
/// ends the connection, so that a blocking pop that nobody waits for takes nothing: the server sees the end and forgets the command. An
/// element that it popped before that is lost, as with every client; use LMOVE-like commands where it must not be.
///
/// Where sentinels name another primary, or a cluster's node is none any more, the connection is lost as well: nobody goes on with, or
/// waits on, one that is none. On a cluster it leads to the primary of one key: what lies on another node is answered with the error
/// line that names it (MOVED, CROSSSLOT), and not sent there.
///
/// A connection whose state was changed for good (SELECT, AUTH, an open MULTI…) is closed afterwards and not given to others.
public final class RedisConnection: Store {
    private struct State {
        /// Keys are watched, or a transaction is open.
        var isWatching = false
        var isInTransaction = false
        /// Something was changed that stays changed.
        var isAltered = false
        var hasEnded = false

        /// A command that changes the connection is about to be sent: what it begins counts from now on.
        mutating func begin(_ name: String) {
            switch name {
            case "WATCH": isWatching = true
            case "MULTI": isInTransaction = true
            case "UNWATCH", "EXEC", "DISCARD": break
            default: isAltered = true
            }
        }

        /// It was answered: only now is what it ends over. One that was not sent, or not answered, has ended nothing.
        mutating func answered(_ name: String, _ reply: Reply) {
            // In its place among others of a pipeline.
            begin(name)
            // EXEC that was refused for what was queued has discarded it all; any other error has changed nothing.
            if case .error(let error) = reply, error.prefix != "EXECABORT" { return }
            switch name {
            // What is only queued is not done.
            case "UNWATCH" where !isInTransaction: isWatching = false
            case "EXEC", "DISCARD": (isWatching, isInTransaction) = (false, false)
            default: break
            }
        }
    }

    let base: Connection
    private let digests: ScriptDigests
    private let subscriptions: any Store
    /// Told of error lines.
    private let heed: @Sendable (ReplyError) -> Void
    private let state = Locked(State())

    init(
        _ base: Connection, digests: ScriptDigests, subscriptions: any Store,
        heed: @escaping @Sendable (ReplyError) -> Void = { _ in }
    ) {
        self.base = base
        self.digests = digests
        self.subscriptions = subscriptions
        self.heed = heed
    }

    /// Ends its use.
    /// - Returns: whether it is as it was.
    func end() -> Bool {
        state.withLock { state in
            state.hasEnded = true
            return !(state.isWatching || state.isInTransaction || state.isAltered) && !base.isBusy
        }
    }

    // MARK: - Calls

    /// Watches keys: the next ``HoldfastStore/Store/transaction(_:)`` on this connection fails with
    /// ``HoldfastStore/ErrorCode/conflict``, and does nothing, if one of them is changed before. It ends the watching either way, unless
    /// it was not sent.
    public func watch(_ keys: Key...) async throws(StoreError) {
        let reply = try await execute(.raw(["WATCH"] + keys.map(\.bytes)))
        if case .error(let error) = reply { throw StoreError(error, operation: "WATCH") }
    }

    /// Sends anything but what is not answered by exactly one reply, which is refused with
    /// ``HoldfastStore/ErrorCode/invalidArgument``.
    public func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        let changing = try admit(operation)
        do {
            let reply = try await base.one(extra: BlockingCommands.wait(of: operation)) { operation.write(to: &$0) }.get()
            look(at: reply)
            if let changing { state.withLock { $0.answered(changing, reply) } }
            return reply
        } catch {
            throw error.during(operation.name)
        }
    }

    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        let operations = batch.operations
        guard !operations.isEmpty else { return [] }
        var changing: [(place: Int, name: String)] = []
        for (place, operation) in operations.enumerated() {
            if let name = try admit(operation) { changing.append((place, name)) }
        }
        switch batch.mode {
        case .pipeline:
            do {
                let replies = try await base.many(operations.count, extra: BlockingCommands.wait(of: operations)) { writer in
                    for operation in operations { operation.write(to: &writer) }
                }.get()
                for reply in replies { look(at: reply) }
                state.withLock { state in for (place, name) in changing { state.answered(name, replies[place]) } }
                return replies
            } catch {
                throw error.during("pipeline")
            }
        case .transaction:
            let result = await base.many(operations.count + 2) { writer in
                writer.command(["MULTI"])
                for operation in operations { operation.write(to: &writer) }
                writer.command(["EXEC"])
            }
            do {
                let replies = try result.get()
                for reply in replies { look(at: reply) }
                if let exec = replies.last { state.withLock { $0.answered("EXEC", exec) } }
                return try TransactionReplies.results(replies, count: operations.count)
            } catch {
                throw error.during("transaction")
            }
        }
    }

    public func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        let script = procedure.script
        do throws(StoreError) {
            let reply = try await digests.evaluate(script, procedure.keys, procedure.arguments) { command throws(StoreError) in
                try await execute(.raw(command))
            }
            return try procedure.output(of: reply)
        } catch {
            throw error.during(script.identifier)
        }
    }

    /// Subscribes over the store's connection for subscriptions.
    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        try await subscriptions.withSubscription(to: channels, whenFull: overflow, body)
    }

    private func look(at reply: Reply) {
        guard case .error(let error) = reply else { return }
        // The server is not the primary any more: the next caller should not meet it.
        if error.prefix == "READONLY" { state.withLock { $0.isAltered = true } }
        heed(error)
    }

    /// - Returns: the command's name where it changes the connection.
    private func admit(_ operation: Operation) throws(StoreError) -> String? {
        var changing: String?
        if case .raw(let arguments) = operation {
            guard let first = arguments.first, !first.isEmpty else { throw .invalid("command", "The command is empty") }
            switch SharedCommands.fault(of: arguments) {
            case .replies?:
                let name = SharedCommands.word(first)
                throw StoreError(
                    .invalidArgument, "\(name) \(SharedCommands.Fault.replies.reason)", operation: name, field: "command")
            case .state?: changing = SharedCommands.word(first)
            case .waits?, nil: break
            }
        }
        let hasEnded = state.withLock { state in
            if let changing { state.begin(changing) }
            return state.hasEnded
        }
        guard !hasEnded else {
            throw StoreError(.invalidArgument, "The connection was used after withConnection had ended", field: "connection")
        }
        return changing
    }
}
