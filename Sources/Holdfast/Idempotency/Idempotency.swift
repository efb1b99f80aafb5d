public import HoldfastStore

/// Lets a request be repeated safely: it has one effect, and everybody who repeats it gets its answer.
///
/// The record is kept beside the data, so all instances on one server know it; while the server is away it is kept here, as is
/// what the request changes then, and handed over with it. A request that was begun on the server and is repeated here while that is
/// away is known again by the process that began it, among the last 10,000. This is so whatever the guarded feature does then
/// (``OutageBehavior``), for it does not know which that is: where the feature refuses, the request is released, and the record is taken back. A record belongs to one caller (an API key's name) of one tenant.
///
/// The record alone cannot promise one effect: a process may die between the effect and keeping the answer. So each record holds the
/// name of its operation (``OperationID``), the same for every attempt, and the services write that name in the step that has the
/// effect. An attempt has the record for ``Configuration/lease`` at most; after that a repetition is a new attempt at the same
/// operation: it finds the effect done and answers it. Within the lease it is answered "in progress".
///
/// ```swift
/// switch try await idempotency.begin(key: "order-7", of: "billing", content: digest).value {
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
        IdempotencyReplay.register(in: failover, lease: configuration.lease, retention: configuration.retention)
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

    /// Begins a request, or answers what it was answered. One round trip. Outage: decided here once the server counts as away, where what
    /// other processes have begun is not known; where it fails this very call, or does not take what waits for it, refused.
    ///
    /// - Parameters:
    ///   - content: what the request is, or its digest: it must be the same each time.
    ///   - attempt: who tries, unique; for tests.
    ///   - operation: what the work is done as where this is the first attempt; for tests.
    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` where the server failed this very call; ``/HoldfastStore/ErrorCode/outboxFull`` or
    ///   ``/HoldfastStore/ErrorCode/storageFailed`` where it is away and the record cannot be kept for it, and then the key is as it was; ``/HoldfastStore/ErrorCode/idempotencyMismatch`` where the key was used for another content, ``/HoldfastStore/ErrorCode/inProgress`` while another
    ///   attempt runs.
    public func begin(
        key: String, of caller: String, content: Bytes, attempt: UInt64 = .random(in: .min ... .max),
        operation: OperationID = .random()
    ) async throws(StoreError) -> Decided<Beginning> {
        let key = namespace.key("idempotency:\(caller):\(key)")
        let owner = Bytes(String(attempt, radix: 16))
        var wasAsked = false
        let decided = try await failover.perform(.localThenReplay) { (store, decider) async throws(StoreError) in
            guard decider.isLocal else {
                wasAsked = true
                let reply = try await take(key, content, owner, operation, isFresh: true, in: store)
                if let name = reply.begun { begun.note(key, content, operation: name, at: failover.time.uptime) }
                return reply
            }
            // The server failed this very call, or would not take what waits for it: it may have the record, and the next call may well
            // reach it.
            guard !wasAsked, failover.localSince != nil else {
                throw StoreError(
                    .unavailable, "Whether the request was answered before cannot be asked now", field: "Idempotency-Key")
            }
            return try await beginHere(key, content, owner, operation)
        }
        let reply = decided.value
        switch (reply.first?.integer, reply.last?.bytes) {
        case (0, let name?):
            guard let operation = OperationID(name.lossyString, retention: configuration.retention) else { break }
            return Decided(.begun(Attempt(key: key, owner: owner, operation: operation)), by: decided.by)
        case (1, let answer?): return Decided(.answered(answer), by: decided.by)
        case (2, _): throw StoreError(.idempotencyMismatch, field: "Idempotency-Key")
        case (3, _): throw StoreError(.inProgress, field: "Idempotency-Key")
        default: break
        }
        throw StoreError(.unexpectedReply, effect: .unknown, operation: IdempotencyProcedures.begin.identifier)
    }

    /// While the server is away, and kept for it.
    private func beginHere(
        _ key: Key, _ content: Bytes, _ owner: Bytes, _ operation: OperationID
    ) async throws(StoreError) -> [Reply] {
        let now = Moment(failover.time)
        let known = begun.operation(of: key, content, notBefore: now.uptime - configuration.retention).flatMap {
            OperationID($0.lossyString, retention: configuration.retention)
        }
        let reply = try await take(key, content, owner, known ?? operation, isFresh: known == nil, in: failover.local)
        guard let name = reply.begun else { return reply }
        begun.note(key, content, operation: name, at: now.uptime)
        // Nobody else draws it.
        let isFirst = name == Bytes(operation.text)
        let lease = IdempotencyReplay.Lease(owner: owner, until: now.wall + configuration.lease, isFirst: isFirst)
        do throws(StoreError) {
            try await failover.outbox.add(IdempotencyReplay.record(key, content, name, lease))
        } catch {
            // A folder that takes its time would have it kept all the same.
            if error.effect == .unknown { _ = try? await withdraw(key, name, owner) }
            if (try? await give(key, owner, forgetting: true, in: failover.local)) == 2 { begun.forget(key) }
            throw error
        }
        return reply
    }

    private func take(
        _ key: Key, _ content: Bytes, _ owner: Bytes, _ operation: OperationID, isFresh: Bool, in store: any Store
    ) async throws(StoreError) -> [Reply] {
        let spans = [Bytes(configuration.lease.milliseconds), Bytes(configuration.retention.milliseconds)]
        return try await store.run(
            Procedure(
                IdempotencyProcedures.begin, keys: [key],
                arguments: [content, owner, Bytes(operation.text)] + spans + [isFresh ? "1" : "0"]
            ) { $0.elements })
    }

    /// Keeps the answer; false where the attempt's lease had ended and nothing is kept. One round trip.
    @discardableResult
    public func complete(_ attempt: Attempt, with answer: Bytes) async throws(StoreError) -> Decided<Bool> {
        try await failover.perform(.localThenReplay) { (store, decider) async throws(StoreError) in
            let content = decider.isLocal ? try await store(.hget(attempt.key, "content")) : nil
            let isKept = try await keep(answer, of: attempt, in: store)
            if isKept, let content {
                try await failover.outbox.add(
                    IdempotencyReplay.record(attempt.key, content, Bytes(attempt.operation.text), answer: answer))
            }
            if !decider.isLocal {
                await settleHere { (local) throws(StoreError) in _ = try await keep(answer, of: attempt, in: local) }
            }
            return isKept
        }
    }

    private func keep(_ answer: Bytes, of attempt: Attempt, in store: any Store) async throws(StoreError) -> Bool {
        try await store.run(
            Procedure(
                IdempotencyProcedures.complete, keys: [attempt.key],
                arguments: [attempt.owner, answer, Bytes(configuration.retention.milliseconds)]
            ) { $0.integer.map { $0 == 1 } })
    }

    /// Does to the record that was made here, in an outage that has ended since, what the server has done to its own: what is left of it
    /// would speak for the key in the next outage. It changes nothing where the attempt has no record here.
    private func settleHere(_ body: (_ local: any Store) async throws(StoreError) -> Void) async {
        guard failover.server != nil else { return }
        try? await body(failover.local)
    }

    /// Forgets the request, after an attempt that had no effect: the key is free for anything, unless an earlier attempt may have had
    /// one. One round trip. While the server is away it holds here at once, and there once what waits is handed over.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/outboxFull`` or ``/HoldfastStore/ErrorCode/storageFailed`` where the server has the record, is away and
    ///   cannot be told later: the request stays, and another attempt at it may begin.
    @discardableResult
    public func release(_ attempt: Attempt) async throws(StoreError) -> Decided<Bool> {
        try await release(attempt, forgetting: true)
    }

    /// Lets the next attempt begin at once, after one whose effect is unknown: the request and its operation stay. One round trip.
    /// Where the record waits for a server that is away, that learns of it as far as it is not on its way; the lease ends it otherwise.
    @discardableResult
    public func suspend(_ attempt: Attempt) async throws(StoreError) -> Decided<Bool> {
        try await release(attempt, forgetting: false)
    }

    private func release(_ attempt: Attempt, forgetting: Bool) async throws(StoreError) -> Decided<Bool> {
        let (key, owner) = (attempt.key, attempt.owner)
        let done = try await failover.perform(.localThenReplay) { (store, decider) async throws(StoreError) in
            if decider.isLocal {
                do throws(StoreError) {
                    try await forgetting ? takeBack(attempt) : freeWaiting(attempt)
                } catch {
                    _ = try? await give(key, owner, forgetting: false, in: store)
                    throw error
                }
            }
            let done = try await give(key, owner, forgetting: forgetting, in: store)
            if !decider.isLocal {
                await settleHere { (local) throws(StoreError) in
                    _ = try await give(key, owner, forgetting: forgetting, in: local)
                }
            }
            return done
        }
        if done.value == 2 { begun.forget(key) }
        return done.map { $0 > 0 }
    }

    /// - Returns: what ``IdempotencyProcedures/release`` answers.
    private func give(_ key: Key, _ owner: Bytes, forgetting: Bool, in store: any Store) async throws(StoreError) -> Int64 {
        try await store.run(
            Procedure(IdempotencyProcedures.release, keys: [key], arguments: [owner, forgetting ? "1" : "0"]) { $0.integer })
    }

    /// Keeps the server from getting a record that is to be forgotten, or lets it forget the record after it got it. First that and then
    /// here: the next request under this key would otherwise wait behind a record that the server still has.
    private func takeBack(_ attempt: Attempt) async throws(StoreError) {
        let isTaken = try await withdraw(attempt.key, Bytes(attempt.operation.text), attempt.owner)
        if !isTaken { try await failover.outbox.add(IdempotencyReplay.release(attempt.key, attempt.owner)) }
    }

    /// Takes a record that waits for the server back, where this attempt made it and nobody has begun to carry it out; whether that was so.
    @discardableResult
    private func withdraw(_ key: Key, _ operation: Bytes, _ owner: Bytes) async throws(StoreError) -> Bool {
        try await failover.outbox.withdraw(named: IdempotencyReplay.name(key, operation)) { IdempotencyReplay.isFirst(owner, $0) }
    }

    /// Changes a record that waits so that the server gets it without its attempt. What cannot be told ends with the lease.
    private func freeWaiting(_ attempt: Attempt) async throws(StoreError) {
        let operation = Bytes(attempt.operation.text)
        guard failover.outbox.contains(named: IdempotencyReplay.name(attempt.key, operation)),
            let content = try await failover.local(.hget(attempt.key, "content"))
        else { return }
        try? await failover.outbox.add(IdempotencyReplay.record(attempt.key, content, operation))
    }
}

extension [Reply] {
    /// The name of the operation, where an attempt has begun.
    fileprivate var begun: Bytes? { first?.integer == 0 ? last?.bytes : nil }
}
