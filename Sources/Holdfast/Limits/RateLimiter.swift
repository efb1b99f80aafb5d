public import HoldfastStore

/// Decides whether something may happen now, by how much of it has happened.
///
///     let limiter = RateLimiter(failover)
///     let decision = try await limiter.check(.user("ann"), endpoint: "/api/v1/search")
///     guard decision.isAllowed else { return retryLater(decision.retryAfter) }
///
/// Each call is one atomic step and one round trip, however many rules it names, and goes by the store's clock. All rules must have
/// room, or nothing is charged: a denied call changes nothing in the store. A denial is remembered here for a moment, and the same
/// or a larger call is then denied without a trip (``Configuration/denialMemory``).
///
/// **Outages.** With ``OutageBehavior/local``, the default, each process goes on with its share of every limit, in its own store, and
/// charges what it admitted to the server when that is back. ``RateLimitDecision/by`` says who decided. What could not be kept for the
/// server is refused with ``/HoldfastStore/ErrorCode/outboxFull``, and nothing is decided. `docs/OUTAGES.md` says what reaches the server how.
///
/// Where the outbox has a folder, what was admitted outlives this process, so that its successor does not admit a share anew: calls with a
/// name at once, the sums of those without one within a second (``run()``). `kill -9` takes along the last second's, at most. Of several
/// limiters over one failover the first does so; the sums of the others end with the process.
public struct RateLimiter: Sendable {
    /// What a check does while the configured server is away.
    public enum OutageBehavior: String, Sendable, Hashable, Codable, CaseIterable {
        /// The same rules with max(1, ⌊limit / instances⌋), in this process. See ``Instances`` for how many there are.
        case local
        /// Everything is admitted, with ``RateLimitDecision/Reason/storeAway``.
        case open
        /// Everything is denied, with ``RateLimitDecision/Reason/storeAway``.
        case closed
    }

    public struct Configuration: Sendable {
        public var plan: RateLimitPlan
        public var outage: OutageBehavior
        /// For how long a denial is given again without asking, at most one second; zero to always ask.
        public var denialMemory: Duration
        /// How many denials are remembered.
        public var maximumEntries: Int

        public init(
            plan: RateLimitPlan = .standard(), outage: OutageBehavior = .local,
            denialMemory: Duration = .seconds(1), maximumEntries: Int = 10_000
        ) {
            self.plan = plan
            self.outage = outage
            self.denialMemory = min(denialMemory, .seconds(1))
            self.maximumEntries = maximumEntries
        }
    }

    public let configuration: Configuration
    public let namespace: Namespace
    /// Among how many processes a limit is divided while the server is away.
    public let instances: Instances
    let failover: Failover
    let denials: DenialMemory
    let consumption: LocalConsumption
    let answered: AnsweredMarkers

    /// - Parameter instances: how many processes share the server; by default one, as nobody counts them. ``AgentState`` has one for all.
    public init(
        _ failover: Failover, namespace: Namespace = Namespace(), configuration: Configuration = Configuration(),
        instances: Instances? = nil
    ) {
        self.failover = failover
        let instances = instances ?? Instances(failover: failover, namespace: namespace)
        self.instances = instances
        self.namespace = namespace
        self.configuration = configuration
        denials = DenialMemory(maximumAge: configuration.denialMemory, maximumEntries: configuration.maximumEntries)
        let consumption = LocalConsumption(
            maximumKeys: failover.outbox.configuration.maximumEntries, outbox: failover.outbox, time: failover.time)
        self.consumption = consumption
        let answered = AnsweredMarkers(time: failover.time)
        self.answered = answered
        if failover.server != nil {
            let (local, time) = (failover.local, failover.time)
            RateLimitReplay.register(in: failover.outbox, time: time) { [weak instances] in instances?.count ?? 1 }
            if consumption.isDurable {
                // Weakly, because it has the outbox that has this.
                failover.outbox.register(table: LocalConsumption.table) {
                    [weak consumption, weak instances] (rows, local) throws(StoreError) in
                    try await consumption?.restore(rows, into: local, sharedBy: instances?.count ?? 1)
                }
            }
            // What is given back may be part of a sum, which the server must have first: it takes back no more than is charged there.
            failover.outbox.register(before: RateLimitProcedures.refund.identifier) {
                [weak consumption, weak instances] (server) throws(StoreError) in
                guard let consumption, !consumption.isEmpty else { return true }
                return try await consumption.handOver(from: local, to: server, sharedBy: instances?.count ?? 1)
            }
            // Weakly, because it has the failover that has the hook.
            failover.whenServerReturns { [weak instances] (server) throws(StoreError) in
                try await consumption.handOver(from: local, to: server, sharedBy: instances?.count ?? 1)
            }
            failover.whileServerAnswers { [weak instances] (server) throws(StoreError) in
                try await answered.removeAll(on: server)
                if consumption.isEmpty { return }
                try await consumption.handOver(from: local, to: server, sharedBy: instances?.count ?? 1)
            }
        }
    }

    private init(_ other: RateLimiter, namespace: Namespace) {
        configuration = other.configuration
        failover = other.failover
        instances = other.instances
        denials = other.denials
        consumption = other.consumption
        answered = other.answered
        self.namespace = namespace
    }

    /// Writes down twice a second what was admitted here without a name since the last time, where the outbox has a folder; and once more
    /// when it is cancelled. ``AgentState/run()`` does it. No decision waits for it.
    public func run() async {
        guard failover.server != nil, consumption.isDurable else { return }
        var isOver = false
        while !isOver {
            isOver = (try? await failover.time.sleep(for: .milliseconds(500))) == nil
            // Its end does not reach the last one.
            await Task { await consumption.write(from: failover.local, sharedBy: instances.count) }.value
        }
    }

    /// The same limiter, counting for one tenant.
    public func scoped(to tenant: String) -> RateLimiter { RateLimiter(self, namespace: namespace.scoped(to: tenant)) }

    /// What was admitted here while the server was away, and is not charged to it yet: of calls without a name, of all tenants. Those
    /// with one are in ``/HoldfastStore/Failover/outbox``.
    public struct Backlog: Sendable, Hashable {
        /// How many rules' states wait, each of one subject.
        public let keys: Int
        /// The sum of their costs.
        public let units: Int
        /// Since when the one waits that waits longest; nil where none does. Of what an earlier process left, since it was last written down.
        public let oldest: Timestamp?
        /// How many units the server has been charged since the start.
        public let handedOver: Int
        /// How many keys' consumption was given up since the start: the server answered it with an error, and the outbox was full.
        public let lost: Int

        /// For how long the oldest has waited; zero where none waits.
        public func age(at now: Timestamp) -> Duration { max(.zero, oldest.map { now - $0 } ?? .zero) }
    }

    /// Looks at every key that waits.
    public var backlog: Backlog { consumption.backlog }

    /// How many denials are remembered at present; at most ``Configuration/maximumEntries``.
    public var rememberedDenials: Int { denials.count }

    // MARK: - By the plan

    /// Decides by the plan, and charges where it is allowed. One round trip.
    ///
    /// - Parameters:
    ///   - endpoint: for the plan's overrides.
    ///   - tier: by how much the plan's limits are multiplied.
    ///   - cost: what the call weighs, 0 to 1,000,000,000.
    ///   - operation: a name, under which it is charged at most once: when it comes again it gets the first decision. A denial
    ///     is not kept. It holds on the side that decided; see `docs/decisions/0007-idempotency.md`.
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming the field; the store's errors, unless they mean that the server is away.
    public func check(
        _ subject: RateLimitSubject, endpoint: String? = nil, tier: RateLimitTier = .free, cost: Int = 1,
        once operation: OperationID? = nil
    ) async throws(StoreError) -> RateLimitDecision {
        let charges = configuration.plan.charges(for: subject, endpoint: endpoint, tier: tier, cost: cost)
        return try await decide(.check, charges, [subject], once: operation)
    }

    /// What ``check(_:endpoint:tier:cost:once:)`` would answer, without charging. One round trip.
    public func peek(
        _ subject: RateLimitSubject, endpoint: String? = nil, tier: RateLimitTier = .free, cost: Int = 1
    ) async throws(StoreError) -> RateLimitDecision {
        let charges = configuration.plan.charges(for: subject, endpoint: endpoint, tier: tier, cost: cost)
        return try await decide(.peek, charges, [subject])
    }

    /// Forgets what the subject has consumed of the plan's rules, for this endpoint. See ``reset(_:)``.
    public func reset(_ subject: RateLimitSubject, endpoint: String? = nil) async throws(StoreError) {
        try await reset(configuration.plan.charges(for: subject, endpoint: endpoint))
    }

    // MARK: - By rules of the caller

    /// Decides by these rules alone, for one subject, and charges where all have room. One round trip.
    public func check(
        _ rules: [RateLimit], for subject: RateLimitSubject, cost: Int = 1, once operation: OperationID? = nil
    ) async throws(StoreError) -> RateLimitDecision {
        try await check(rules.map { RateLimitCharge($0, for: subject, cost: cost) }, once: operation)
    }

    /// Decides several rules, each with its subject and cost, and charges where all have room. One round trip.
    ///
    /// - Parameter charges: at most 16, no rule twice for one subject.
    public func check(
        _ charges: [RateLimitCharge], once operation: OperationID? = nil
    ) async throws(StoreError) -> RateLimitDecision {
        try await decide(.check, charges, charges.map(\.subject), once: operation)
    }

    /// What ``check(_:once:)`` would answer, without charging; never from memory. One round trip.
    public func peek(_ charges: [RateLimitCharge]) async throws(StoreError) -> RateLimitDecision {
        try await decide(.peek, charges, charges.map(\.subject))
    }

    /// Charges without deciding, for costs that are known only afterwards, such as a model's tokens. One round trip.
    ///
    /// Consumption may go above a limit; what a bucket owes is refilled first. Without the name of an operation it is
    /// not idempotent: where it throws with an unknown effect (``/HoldfastStore/StoreError/Effect/unknown``) it may have been charged.
    /// - Returns: the state afterwards; ``RateLimitDecision/isAllowed`` says whether there was room for it.
    /// - Throws: while the server is away ``/HoldfastStore/ErrorCode/unavailable``, unless that is decided here (``OutageBehavior/local``).
    @discardableResult
    public func record(
        _ charges: [RateLimitCharge], once operation: OperationID? = nil
    ) async throws(StoreError) -> RateLimitDecision {
        try await decide(.record, charges, charges.map(\.subject), once: operation)
    }

    /// Gives back what was charged, for calls that did not happen after all; never more than is charged. One round trip.
    ///
    /// Consumption that has left its window is not given back; window algorithms take from the newest first.
    @discardableResult
    public func refund(
        _ charges: [RateLimitCharge], once operation: OperationID? = nil
    ) async throws(StoreError) -> RateLimitDecision {
        defer { if let call = try? RateLimitCall(charges, in: namespace) { denials.forget(call.keys) } }
        return try await decide(.refund, charges, charges.map(\.subject), once: operation)
    }

    /// Forgets what was consumed of these rules, also what this process admitted by itself and has not charged yet. One round trip, behind
    /// what is being handed over, and none to tell other processes: they may repeat a denial from their memory for up to
    /// ``Configuration/denialMemory``.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` while the configured server is away, because it would not hold there.
    public func reset(_ charges: [RateLimitCharge]) async throws(StoreError) {
        let call = try RateLimitCall(charges, in: namespace)
        guard !call.keys.isEmpty else { return }
        _ = try await failover.perform(.fail) { (store, _) async throws(StoreError) -> Void in
            guard failover.server != nil else {
                _ = try await store(.del(call.keys))
                return
            }
            // Between two hand-overs: what one has under way would be charged after the deletion. Within this call, which the outbox has
            // gone before: its refunds wait for hand-overs.
            try await consumption.handOvers.perform { () async throws(StoreError) -> Void in
                _ = try await store(.del(call.keys))
                _ = try await failover.local(.del(call.keys))
                await consumption.forget(call.keys, from: failover.local, sharedBy: instances.count)
            }
        }
        denials.forget(call.keys)
    }
}
