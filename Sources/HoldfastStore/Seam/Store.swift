/// A Redis-shaped key space: a server, a REST endpoint, or this process.
///
/// Services are written over this protocol, once. It knows nothing of outages: a store that cannot be reached throws, and
/// ``Failover`` decides what that means for the caller.
public protocol Store: Sendable {
    /// Carries out one operation. One round trip.
    ///
    /// - Returns: the reply; an error that the server answered is a ``Reply/error(_:)``, not thrown.
    /// - Throws: ``StoreError`` when there is no reply; its ``StoreError/effect`` says whether the operation may have happened.
    func execute(_ operation: Operation) async throws(StoreError) -> Reply

    /// Carries out several operations in one round trip and answers them in order.
    ///
    /// - Throws: ``StoreError`` when not all replies came, or when a transaction was refused as a whole (then with effect `none`).
    func execute(_ batch: Batch) async throws(StoreError) -> [Reply]

    /// Runs a procedure atomically. One round trip.
    func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output

    /// Subscribes, runs the body with the messages, and unsubscribes when it ends, however it ends.
    ///
    /// Messages published after the body has begun are delivered in order. See ``Subscription`` for what a slow reader and a lost
    /// connection get.
    ///
    /// - Parameter overflow: what happens when messages come faster than they are read.
    func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result
}

extension Store {
    /// The same with ``Subscription/Overflow/standard``: of 1,024 messages that were not read the oldest go.
    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        try await withSubscription(to: channels, whenFull: .standard, body)
    }
}

extension Store {
    /// Carries out one typed command: `let name = try await store(.get(key))`.
    @inlinable public func callAsFunction<Output>(_ command: Command<Output>) async throws(StoreError) -> Output {
        try command.output(of: try await execute(command.operation))
    }

    /// Several typed commands in one round trip: `let (name, visits) = try await store.pipeline(.get(a), .incr(b))`.
    ///
    /// - Throws: the first error among the replies; the other commands have been carried out all the same.
    @inlinable public func pipeline<each Output: Sendable>(
        _ command: repeat Command<each Output>
    ) async throws(StoreError) -> (repeat each Output) {
        try await together(.pipeline, repeat each command)
    }

    /// Several typed commands, atomically, in one round trip (MULTI/EXEC).
    ///
    /// - Throws: the first error among the replies; the other commands have been carried out all the same, as in Redis.
    @inlinable public func transaction<each Output: Sendable>(
        _ command: repeat Command<each Output>
    ) async throws(StoreError) -> (repeat each Output) {
        try await together(.transaction, repeat each command)
    }

    /// Many commands of one type in one round trip.
    @inlinable public func pipeline<Output>(_ commands: [Command<Output>]) async throws(StoreError) -> [Output] {
        if commands.isEmpty { return [] }
        let replies = try await execute(Batch(.pipeline, commands.map(\.operation)))
        var outputs: [Output] = []
        outputs.reserveCapacity(commands.count)
        // By index, and the decoder alone: copying whole commands is what a pipeline would spend most on.
        for index in commands.indices {
            guard index < replies.count else { throw StoreError(.unexpectedReply, effect: .unknown) }
            let decode = commands[index].decode
            if case .error = replies[index] { _ = try commands[index].output(of: replies[index]) }
            guard let output = decode(replies[index]) else {
                throw StoreError(.unexpectedReply, effect: .unknown, operation: commands[index].operation.name)
            }
            outputs.append(output)
        }
        return outputs
    }

    @inlinable func together<each Output: Sendable>(
        _ mode: Batch.Mode, _ command: repeat Command<each Output>
    ) async throws(StoreError) -> (repeat each Output) {
        var operations: [Operation] = []
        for command in repeat each command { operations.append(command.operation) }
        var replies = try await execute(Batch(mode, operations)).makeIterator()
        func next<T>(_ command: Command<T>) throws(StoreError) -> T {
            guard let reply = replies.next() else { throw StoreError(.unexpectedReply, effect: .unknown) }
            return try command.output(of: reply)
        }
        return (repeat try next(each command))
    }
}
