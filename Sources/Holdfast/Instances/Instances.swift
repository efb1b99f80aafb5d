public import HoldfastStore

/// How many processes share the configured server: what a limit is divided by while it is away.
///
/// Each process holds a lease there and renews it (``run()``); the answer says how many hold one. The server is away when the number is
/// needed, so it is remembered. It is the largest of the last renewals, as many as fit into a lease: when the server comes back after
/// an outage, or empty, the first process to renew would otherwise take itself for the only one, and admit all for itself should
/// the server go away again at once. So the number rises with the next renewal, and falls after a lease.
///
/// Until the first renewal it is what an earlier process has left in the folder of the outbox, else one; and where somebody has said how
/// many there are (`HOLDFAST_INSTANCES`) it is always that.
///
/// **Outages.** A lease is not renewed while the server is away; it ends there, and begins anew with the first renewal after the return.
public final class Instances: Sendable {
    public struct Configuration: Sendable, Hashable {
        /// How many there are, whatever the leases say; nil to count.
        public var fixed: Int?
        /// Without a renewal for so long a process counts as gone; at most a day.
        public var lease: Duration
        /// How often it is renewed.
        public var renewal: Duration

        public init(fixed: Int? = nil, lease: Duration = .seconds(30), renewal: Duration = .seconds(10)) {
            self.fixed = fixed.map { max(1, $0) }
            self.lease = min(max(lease, .milliseconds(1)), .milliseconds(InstanceProcedures.longestLease))
            self.renewal = max(renewal, .milliseconds(1))
        }
    }

    /// Where the number comes from.
    public enum Source: String, Sendable, Hashable, CaseIterable {
        /// Somebody said so.
        case configured
        /// The leases.
        case counted
        /// The leases, as an earlier process of this folder has last counted them.
        case remembered
        /// Nobody has been asked yet, or there is no server to share.
        case assumed
    }

    public let configuration: Configuration
    /// What this process is called among the others.
    public let id: String
    private let failover: Failover
    private let key: Key
    /// The answers of the last renewals.
    private let answers = Locked<[Int]>([])

    /// - Parameter id: of this process alone.
    public init(
        failover: Failover, namespace: Namespace = Namespace(), configuration: Configuration = Configuration(),
        id: String = String(UInt64.random(in: .min ... .max), radix: 36)
    ) {
        self.failover = failover
        self.configuration = configuration
        self.id = id
        key = Namespace(prefix: namespace.prefix).key("instances")
    }

    /// At least 1.
    public var count: Int { configuration.fixed ?? answers.withLock { $0.max() } ?? remembered ?? 1 }

    public var source: Source {
        if configuration.fixed != nil { return .configured }
        if answers.withLock({ !$0.isEmpty }) { return .counted }
        return remembered == nil ? .assumed : .remembered
    }

    private static let note = "instances"
    private static let actor = "holdfast.instances"

    /// As it was when it was last counted here, or by an earlier process.
    private var remembered: Int? { failover.outbox.note(Self.note)?.integer.map { max(1, Int($0)) } }

    /// Takes or renews the lease. One round trip.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` while the server is away; the store's errors. What was known stays.
    public func renew() async throws(StoreError) {
        let step = Procedure(
            InstanceProcedures.renew, keys: [key], arguments: [Bytes(id), Bytes(configuration.lease.milliseconds)]
        ) { $0.integer.map { Int($0) } }
        let count = try await failover.perform(.fail) { (store, _) throws(StoreError) in try await store.run(step) }.value
        let kept = Int(min(configuration.lease / configuration.renewal, 1000)) + 1
        let earlier = remembered
        let largest = answers.withLock { answers in
            // It counts as the renewal before the first.
            if answers.isEmpty, let earlier { answers.append(earlier) }
            answers.append(max(1, count))
            answers.removeFirst(max(0, answers.count - kept))
            return answers.max() ?? 1
        }
        guard largest != earlier else { return }
        // The lease must be renewed in time whatever the folder does, which is told later what it does not take now.
        try? await CallContext.within(.seconds(1), by: failover.time, as: Self.actor).run { () async throws(StoreError) in
            try await failover.outbox.write(note: Bytes(Int64(largest)), as: Self.note)
        }
    }

    /// Holds the lease until cancelled, and then gives it back, which takes a second at most.
    public func run() async {
        guard failover.server != nil else { return }
        repeat { try? await renew() } while (try? await failover.time.sleep(for: configuration.renewal)) != nil
        await leave()
    }

    /// From a task of its own, because the one that calls this has been cancelled.
    private func leave() async {
        let step = Procedure(InstanceProcedures.leave, keys: [key], arguments: [Bytes(id)]) { $0.integer }
        await Task { [failover] in
            let context = CallContext(actor: Self.actor, deadline: failover.time.uptime + .seconds(1))
            // A lease that cannot be given back ends by itself.
            _ = try? await context.run { () async throws(StoreError) in
                try await failover.perform(.fail) { (store, _) throws(StoreError) in try await store.run(step) }
            }
        }.value
    }
}
