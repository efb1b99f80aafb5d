import HoldfastStore

// How planned commands are carried out.

extension UpstashCaller {
    /// The reply to one command, in RESP2's shape.
    func reply(to arguments: [Bytes], on store: any Store) async throws(StoreError) -> Reply {
        switch plan(arguments) {
        case .refuse(let error): return .error(error)
        case .compose(let body): return try await body(store)
        case .send(let sent, let restore):
            let reply = Self.finish(try await store.execute(.raw(sent)), sent, restore)
            var allowance = UpstashAllowance()
            guard allowance.takes(reply) else {
                throw StoreError(.commandFailed, UpstashAllowance.line, effect: RawCommand.reads(arguments) ? .none : .unknown)
            }
            return reply
        }
    }

    /// So many commands of a pipeline travel together: their replies are here before they can be weighed.
    static let chunk = 32
    /// So many commands of a pipeline may be made of several calls: each of them goes through all keys.
    static let maximumComposed = 10

    /// The replies to several in their order, each for itself: those that can travel together do, ``chunk`` at a time. Where the replies are
    /// too many (``UpstashAllowance``), the rest is not carried out.
    ///
    /// - Throws: what concerns the endpoint, or leaves open what was done, and ``HoldfastStore/ErrorCode/cancelled`` where nobody waits for the
    ///   rest. What was refused before anything was done is the reply to those commands, and to no others.
    func replies(to commands: [[Bytes]], on store: any Store) async throws(StoreError) -> [Reply] {
        let plans = commands.map(plan)
        var replies: [Reply] = []
        replies.reserveCapacity(plans.count)
        var allowance = UpstashAllowance()
        var (index, composed) = (0, 0)
        while index < plans.count {
            guard !allowance.isSpent else {
                let refusal = UpstashAllowance.refusal(" (it has not been carried out)")
                return replies + [Reply](repeating: refusal, count: plans.count - index)
            }
            let together = Self.sent(plans[index...].prefix(Self.chunk).prefix { if case .send = $0 { true } else { false } })
            do throws(StoreError) {
                let answered: [Reply]
                switch plans[index] {
                case .refuse(let error): answered = [.error(error)]
                case .compose where composed == Self.maximumComposed: answered = [.error(.tooManyComposed)]
                case .compose(let body):
                    composed += 1
                    if index > 0 { try await checkCaller() }
                    answered = [try await body(store)]
                case .send:
                    if index > 0 { try await checkCaller() }
                    answered = try await Self.run(together, .pipeline, on: store)
                }
                for (reply, arguments) in zip(answered, commands[index...]) {
                    replies.append(allowance.admit(reply, to: arguments))
                }
            } catch {
                guard error.effect == .none, error.code != .cancelled, !error.isOutage, !error.isRefusal else {
                    throw index > 0 ? error.withUnknownEffect() : error
                }
                replies += [Reply](repeating: .error(ReplyError(error.upstashLine)), count: max(1, together.count))
            }
            index += max(1, together.count)
        }
        return replies
    }

    /// Nobody else is served while a transaction is carried out.
    static let maximumTransactionCommands = 10_000

    /// The replies to a transaction. Where they are too many (``UpstashAllowance``), what changes something is carried out all the same, and
    /// what only reads is not where the store is this process.
    ///
    /// - Throws: where it is discarded as a whole: one of its commands is unknown, refused, or none for a transaction, or there are too many.
    func transaction(of commands: [[Bytes]], on store: any Store) async throws(StoreError) -> [Reply] {
        guard commands.count <= Self.maximumTransactionCommands else {
            throw StoreError(.tooLarge, "More than \(Self.maximumTransactionCommands) commands in one transaction")
        }
        let plans = commands.map(plan)
        for (arguments, plan) in zip(commands, plans) {
            switch plan {
            case .send: break
            case .refuse(let error): throw StoreError(.commandFailed, error.line)
            case .compose:
                throw StoreError(.commandFailed, "ERR \(arguments[0].lossyString.uppercased()) is not supported in a transaction")
            }
        }
        // Each for itself is within this bound already.
        let draws = commands.reduce(UInt64(0)) { sum, arguments in sum + (RawCommand.named(arguments[0])?.draws(arguments) ?? 0) }
        guard draws <= Keyspace.maximumDraws.magnitude else {
            throw StoreError(.commandFailed, ReplyError.tooManyDraws.line)
        }
        var allowance = UpstashAllowance()
        let replies = try await Self.run(Self.sent(plans), .transaction, on: store)
        return zip(replies, commands).map { reply, arguments in allowance.admit(reply, to: arguments) }
    }

    /// For what is done in steps, between two of them.
    ///
    /// - Throws: ``HoldfastStore/ErrorCode/cancelled`` where nobody waits for what comes of it.
    func checkCaller() async throws(StoreError) {
        if Task.isCancelled { throw StoreError(.cancelled) }
        if await hasLeft() { throw StoreError(.cancelled, "The caller's connection has ended") }
    }

    private typealias Sent = (arguments: [Bytes], restore: @Sendable (Reply) -> Reply)

    private static func sent(_ plans: some Sequence<Plan>) -> [Sent] {
        plans.compactMap { if case .send(let arguments, let restore) = $0 { (arguments, restore) } else { nil } }
    }

    private static func run(_ sent: [Sent], _ mode: Batch.Mode, on store: any Store) async throws(StoreError) -> [Reply] {
        var batch = Batch(mode, sent.map { .raw($0.arguments) })
        if mode == .transaction { batch.maximumReplyBytes = UpstashAllowance.maximumBytes }
        let replies = try await store.execute(batch)
        return zip(replies, sent).map { reply, sent in finish(reply, sent.arguments, sent.restore) }
    }

    private static func finish(_ reply: Reply, _ sent: [Bytes], _ restore: (Reply) -> Reply) -> Reply {
        restore(reply).inRESP2(of: sent[0].lossyString.uppercased())
    }
}

extension ReplyError {
    fileprivate static let tooManyComposed = ReplyError(
        "ERR at most \(UpstashCaller.maximumComposed) of KEYS, DBSIZE, RANDOMKEY, FLUSHDB and FLUSHALL in one pipeline")
}
