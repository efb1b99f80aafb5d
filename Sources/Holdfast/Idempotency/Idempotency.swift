public import HoldfastStore

/// Lets a request be repeated safely: it has one effect, and everybody who repeats it gets its answer.
///
/// The record is kept beside the data, so all instances on one server know it; while the server is away it is kept here, as is
/// what the request changes then. A record belongs to one caller (an API key's name) of one tenant.
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

    public init(failover: Failover, namespace: Namespace, configuration: Configuration = Configuration()) {
        self.failover = failover
        self.namespace = namespace
        self.configuration = configuration
    }

    /// The same for one tenant.
    public func scoped(to tenant: String) -> Idempotency {
        Idempotency(failover: failover, namespace: namespace.scoped(to: tenant), configuration: configuration)
    }

    /// Begins a request, or answers what it was answered. One round trip. Outage: decided here.
    ///
    /// - Parameters:
    ///   - content: what the request is, or its digest: it must be the same each time.
    ///   - attempt: who tries, unique; for tests.
    ///   - operation: what the work is done as where this is the first attempt; for tests.
    /// - Throws: ``/HoldfastStore/ErrorCode/idempotencyMismatch`` where the key was used for another content, ``/HoldfastStore/ErrorCode/inProgress`` while another
    ///   attempt runs.
    public func begin(
        key: String, of caller: String, content: Bytes, attempt: UInt64 = .random(in: .min ... .max),
        operation: OperationID = .random()
    ) async throws(StoreError) -> Beginning {
        let key = namespace.key("idempotency:\(caller):\(key)")
        let owner = Bytes(String(attempt, radix: 16))
        let arguments = [
            content, owner, Bytes(operation.text), Bytes(configuration.lease.milliseconds),
            Bytes(configuration.retention.milliseconds),
        ]
        let reply = try await run(
            Procedure(IdempotencyProcedures.begin, keys: [key], arguments: arguments) { $0.elements })
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
        try await run(
            Procedure(
                IdempotencyProcedures.complete, keys: [attempt.key],
                arguments: [attempt.owner, answer, Bytes(configuration.retention.milliseconds)]
            ) { $0.integer.map { $0 == 1 } })
    }

    /// Forgets the request, after an attempt that had no effect: the key is free for anything. One round trip.
    @discardableResult
    public func release(_ attempt: Attempt) async throws(StoreError) -> Bool { try await release(attempt, forgetting: true) }

    /// Lets the next attempt begin at once, after one whose effect is unknown: the request and its operation stay. One round trip.
    @discardableResult
    public func suspend(_ attempt: Attempt) async throws(StoreError) -> Bool { try await release(attempt, forgetting: false) }

    private func release(_ attempt: Attempt, forgetting: Bool) async throws(StoreError) -> Bool {
        try await run(
            Procedure(
                IdempotencyProcedures.release, keys: [attempt.key], arguments: [attempt.owner, forgetting ? "1" : "0"]
            ) { $0.integer.map { $0 == 1 } })
    }

    private func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        try await failover.perform(.local) { (store, _) async throws(StoreError) in try await store.run(procedure) }.value
    }
}
