public import HoldfastStore

/// Lets a request be repeated safely: whoever comes first has its effect, and everybody gets its answer.
///
/// The record is kept beside the data, so all instances on one server know it; while the server is away it is kept here, as is
/// what the request changes then. A record belongs to one caller (an API key's name) of one tenant.
///
/// An attempt has the record for ``Configuration/lease`` at most. When its process dies in between, a repetition after that time is a
/// new attempt: the effect may then happen twice. Within the lease it is answered "in progress".
///
/// ```swift
/// switch try await idempotency.begin(key: "order-7", of: "billing", content: digest) {
/// case .begun(let attempt): try await idempotency.complete(attempt, with: try await work())
/// case .answered(let bytes): return bytes
/// }
/// ```
public struct Idempotency: Sendable {
    public struct Configuration: Sendable {
        /// How long an attempt may take.
        public var lease: Duration = .seconds(60)
        /// How long answers are kept.
        public var retention: Duration = .seconds(24 * 3600)

        public init() {}
    }

    /// The right to have the effect.
    public struct Attempt: Sendable, Hashable {
        let key: Key
        let owner: Bytes
    }

    public enum Beginning: Sendable, Hashable {
        /// Nobody has had the effect: have it, then ``complete(_:with:)`` or ``release(_:)``.
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
    /// - Throws: ``ErrorCode/idempotencyMismatch`` where the key was used for another content, ``ErrorCode/inProgress`` while another
    ///   attempt runs.
    public func begin(
        key: String, of caller: String, content: Bytes, attempt: UInt64 = .random(in: .min ... .max)
    ) async throws(StoreError) -> Beginning {
        let attempt = Attempt(
            key: namespace.key("idempotency:\(caller):\(key)"), owner: Bytes(String(attempt, radix: 16)))
        let reply = try await run(
            Procedure(
                IdempotencyProcedures.begin, keys: [attempt.key],
                arguments: [content, attempt.owner, Bytes(configuration.lease.milliseconds)]
            ) { $0.elements })
        switch (reply.first?.integer, reply.last?.bytes) {
        case (0, _): return .begun(attempt)
        case (1, let answer?): return .answered(answer)
        case (2, _): throw StoreError(.idempotencyMismatch, field: "Idempotency-Key")
        case (3, _): throw StoreError(.inProgress, field: "Idempotency-Key")
        default: throw StoreError(.unexpectedReply, effect: .unknown, operation: IdempotencyProcedures.begin.identifier)
        }
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

    /// Gives the right back, after an attempt that had no effect. One round trip.
    @discardableResult
    public func release(_ attempt: Attempt) async throws(StoreError) -> Bool {
        try await run(
            Procedure(IdempotencyProcedures.release, keys: [attempt.key], arguments: [attempt.owner]) {
                $0.integer.map { $0 == 1 }
            })
    }

    private func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        try await failover.perform(.local) { (store, _) async throws(StoreError) in try await store.run(procedure) }.value
    }
}
