public import HoldfastStore

/// Lets a request be repeated safely: it has one effect, and everybody who repeats it gets its answer.
///
/// The record is kept beside the data, so all instances on one server know it; while the server is away it is kept here, as is
/// what the request changes then, and handed over with it. A request that was begun on the server and is repeated here while that is
/// away is known again by the process that began it, among the last 10,000. A record belongs to one caller (an API key's name) of one tenant.
///
/// The record alone cannot promise one effect: a process may die between the effect and keeping the answer. So each record holds the
/// name of its operation (``OperationID``), the same for every attempt, and the services write that name in the step that has the
/// effect. An attempt has the record for ``Configuration/lease`` at most; after that a repetition is a new attempt at the same
/// operation: it finds the effect done and answers it. Within the lease it is answered "in progress".
///
/// ```swift
/// switch try await idempotency.begin(key: "order-7", of: "billing", content: digest) {
/// case .begun(let attempt):
///     try await idempotency.complete(attempt, with: try await work(once: attempt.operation))
/// case .answered(let bytes): return bytes
/// }
/// ```
public struct Idempotency: Sendable {
    public struct Configuration: Sendable {
        /// How long an attempt may take.
        public var lease: Duration = .seconds(60)
        /// How long records and answers are kept.
        public var retention: Duration = .seconds(24 * 3600)

        public init() {}
    }

    /// The right to have the effect.
    public struct Attempt: Sendable, Hashable {
        let key: Key
        let owner: Bytes
        /// What to do the work as: the same for all attempts.
        public let operation: OperationID
    }

    public enum Beginning: Sendable, Hashable {
        /// Nobody has answered: do it, then ``complete(_:with:)``, ``release(_:)`` or ``suspend(_:)``.
        case begun(Attempt)
        /// It was had; this was the answer.
        case answered(Bytes)
    }

    private let failover: Failover
    private let namespace: Namespace
    private let configuration: Configuration
    private let begun: BegunOperations

    /// One of these is made for a process; ``scoped(to:)`` gives others.
    public init(failover: Failover, namespace: Namespace, configuration: Configuration = Configuration()) {
        self.init(failover, namespace, configuration, BegunOperations())
        if failover.server == nil { return }
        let retention = configuration.retention
        let adopt: ReplayAction.Step = { (entry, store) throws(StoreError) in
            _ = try await store.run(
                Procedure(
                    IdempotencyProcedures.adopt, keys: entry.keys, arguments: entry.arguments + [Bytes(retention.milliseconds)]
                ) { $0 })
        }
        failover.outbox.register(
            ReplayAction(IdempotencyProcedures.adopt.identifier, endures: true, recall: adopt, carryOut: adopt))
    }

    private init(
        _ failover: Failover, _ namespace: Namespace, _ configuration: Configuration, _ begun: BegunOperations
    ) {
        self.failover = failover
        self.namespace = namespace
        self.configuration = configuration
        self.begun = begun
    }

    /// The same for one tenant.
    public func scoped(to tenant: String) -> Idempotency {
        Idempotency(failover, namespace.scoped(to: tenant), configuration, begun)
    }

    /// Begins a request, or answers what it was answered. One round trip. Outage: decided here, where what other processes have begun is not
    /// known; where the server fails this very call, refused.
    ///
    /// - Parameters:
    ///   - content: what the request is, or its digest: it must be the same each time.
    ///   - attempt: who tries, unique; for tests.
    ///   - operation: what the work is done as where this is the first attempt; for tests.
    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` where the server failed this very call; ``/HoldfastStore/ErrorCode/idempotencyMismatch`` where the key was used for another content, ``/HoldfastStore/ErrorCode/inProgress`` while another
    ///   attempt runs.
    public func begin(
        key: String, of caller: String, content: Bytes, attempt: UInt64 = .random(in: .min ... .max),
        operation: OperationID = .random()
    ) async throws(StoreError) -> Beginning {
        let key = namespace.key("idempotency:\(caller):\(key)")
        let owner = Bytes(String(attempt, radix: 16))
        let spans = [Bytes(configuration.lease.milliseconds), Bytes(configuration.retention.milliseconds)]
        let oldest = Timestamp(milliseconds: failover.time.now.milliseconds - configuration.retention.milliseconds)
        var wasAsked = false
        let reply = try await failover.perform(.localThenReplay) { (store, decider) async throws(StoreError) in
            // The server failed this very call: it may have the record, and the next call may well reach it.
            if decider.isLocal, wasAsked {
                throw StoreError(
                    .unavailable, "Whether the request was answered before cannot be asked now", field: "Idempotency-Key")
            }
            wasAsked = true
            let known = decider.isLocal ? begun.operation(of: key, content, notBefore: oldest) : nil
            let name = known ?? Bytes(operation.text)
            let reply = try await store.run(
                Procedure(IdempotencyProcedures.begin, keys: [key], arguments: [content, owner, name] + spans) { $0.elements })
            guard reply.first?.integer == 0, let name = reply.last?.bytes else { return reply }
            begun.note(key, content, operation: name, at: failover.time.now)
            if decider.isLocal { try await tell(key, content, name, answer: Bytes()) }
            return reply
        }.value
        switch (reply.first?.integer, reply.last?.bytes) {
        case (0, let name?):
            guard let operation = OperationID(name.lossyString, retention: configuration.retention) else { break }
            return .begun(Attempt(key: key, owner: owner, operation: operation))
        case (1, let answer?): return .answered(answer)
        case (2, _): throw StoreError(.idempotencyMismatch, field: "Idempotency-Key")
        case (3, _): throw StoreError(.inProgress, field: "Idempotency-Key")
        default: break
        }
        throw StoreError(.unexpectedReply, effect: .unknown, operation: IdempotencyProcedures.begin.identifier)
    }

    /// Keeps the answer; false where the attempt's lease had ended and nothing is kept. One round trip.
    @discardableResult
    public func complete(_ attempt: Attempt, with answer: Bytes) async throws(StoreError) -> Bool {
        try await failover.perform(.localThenReplay) { (store, decider) async throws(StoreError) in
            let content = decider.isLocal ? try await store(.hget(attempt.key, "content")) : nil
            let isKept = try await store.run(
                Procedure(
                    IdempotencyProcedures.complete, keys: [attempt.key],
                    arguments: [attempt.owner, answer, Bytes(configuration.retention.milliseconds)]
                ) { $0.integer.map { $0 == 1 } })
            if isKept, let content { try await tell(attempt.key, content, Bytes(attempt.operation.text), answer: answer) }
            return isKept
        }.value
    }

    /// Keeps a record for the server, with its answer where there is one yet.
    private func tell(_ key: Key, _ content: Bytes, _ operation: Bytes, answer: Bytes) async throws(StoreError) {
        try await failover.outbox.add(
            Outbox.Item(
                IdempotencyProcedures.adopt.identifier, keys: [key], arguments: [content, operation, answer],
                named: Self.name(key)))
    }

    private static func name(_ key: Key) -> Bytes { Bytes(Array("idempotency:".utf8) + Array(key.bytes)) }

    /// Forgets the request, after an attempt that had no effect: the key is free for anything. One round trip.
    @discardableResult
    public func release(_ attempt: Attempt) async throws(StoreError) -> Bool { try await release(attempt, forgetting: true) }

    /// Lets the next attempt begin at once, after one whose effect is unknown: the request and its operation stay. One round trip.
    @discardableResult
    public func suspend(_ attempt: Attempt) async throws(StoreError) -> Bool { try await release(attempt, forgetting: false) }

    private func release(_ attempt: Attempt, forgetting: Bool) async throws(StoreError) -> Bool {
        if forgetting { begun.forget(attempt.key) }
        return try await failover.perform(.localThenReplay) { (store, decider) async throws(StoreError) in
            if forgetting, decider.isLocal { try await failover.outbox.withdraw(named: Self.name(attempt.key)) }
            return try await store.run(
                Procedure(
                    IdempotencyProcedures.release, keys: [attempt.key], arguments: [attempt.owner, forgetting ? "1" : "0"]
                ) { $0.integer.map { $0 == 1 } })
        }.value
    }
}
