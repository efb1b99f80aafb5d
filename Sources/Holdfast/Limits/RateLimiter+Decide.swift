import HoldfastStore

extension RateLimiter {
    private var plan: RateLimitPlan { configuration.plan }

    func decide(
        _ mode: RateLimitProcedures.Mode, _ charges: [RateLimitCharge], _ subjects: [RateLimitSubject],
        once operation: OperationID? = nil
    ) async throws(StoreError) -> RateLimitDecision {
        for subject in subjects { try subject.validate() }
        let call = try RateLimitCall(charges, in: namespace, once: operation)
        if let reason = plan.shortcut(for: subjects, hasRules: !charges.isEmpty) {
            return RateLimitDecision(reason, at: failover.time.now, by: failover.decider, isShadow: plan.isShadow)
        }
        // An operation with a name may have been admitted before the denial that is remembered.
        if mode == .check, !call.isNamed, let denial = denials.denial(of: call, by: failover.decider, at: failover.time.uptime) {
            return denial.inShadow(plan.isShadow)
        }
        let decision = try await ask(mode, call)
        if mode == .check, !decision.wouldBeAllowed, !decision.rules.isEmpty {
            denials.remember(decision, of: call, at: failover.time.uptime)
        }
        return decision.inShadow(plan.isShadow)
    }

    private func ask(_ mode: RateLimitProcedures.Mode, _ call: RateLimitCall) async throws(StoreError) -> RateLimitDecision {
        let decided: Decided<RateLimitAnswer>
        do throws(StoreError) {
            decided = try await failover.perform(configuration.outage == .local ? .local : .fail) {
                (store, decider) throws(StoreError) in
                try await store.run(
                    try call.procedure(mode.script, sharedBy: decider.isLocal ? instances.count : 1))
            }
        } catch {
            guard configuration.outage != .local, error.isOutage else { throw error }
            let now = failover.time.now
            return RateLimitDecision(
                .storeAway, at: now, by: .local(since: failover.localSince ?? now), isAllowed: configuration.outage == .open)
        }
        let decision = RateLimitDecision(decided.value.states, at: decided.value.at, by: decided.by)
        if decided.by.isLocal { keep(mode, call, decision) } else { await settle() }
        return decision
    }

    /// Notes what was decided here, for the server.
    private func keep(_ mode: RateLimitProcedures.Mode, _ call: RateLimitCall, _ decision: RateLimitDecision) {
        switch mode {
        case .peek: break
        case .check: if decision.wouldBeAllowed { consumption.add(call, in: namespace) }
        case .record: consumption.add(call, in: namespace)
        case .refund: consumption.add(call, in: namespace, sign: -1)
        }
    }

    /// Hands over what was decided here beside a server that is there: after a single failed call, or when a decision ended after the
    /// return hook. One call's worth at a time, so that nobody waits for all of it.
    private func settle() async {
        guard let server = failover.server, !consumption.isEmpty else { return }
        // The decision stands whatever becomes of this; what failed is kept for the next time.
        try? await consumption.handOver(from: failover.local, to: server, sharedBy: instances.count, limit: 1)
    }
}

extension RateLimitProcedures.Mode {
    var script: Script {
        switch self {
        case .check: RateLimitProcedures.check
        case .peek: RateLimitProcedures.peek
        case .record: RateLimitProcedures.record
        case .refund: RateLimitProcedures.refund
        }
    }
}

extension RateLimitDecision {
    /// What the rules' states mean.
    init(_ states: [RateLimitState], at moment: Timestamp, by decider: Decider, isRemembered: Bool = false) {
        let denied = states.filter { !$0.hasRoom }
        let reason: Reason =
            denied.isEmpty ? .withinLimits : denied.contains { $0.retryAfter == nil } ? .costAboveLimit : .limitExceeded
        self.init(
            isAllowed: denied.isEmpty, wouldBeAllowed: denied.isEmpty, reason: reason, rules: states, at: moment, by: decider,
            isRemembered: isRemembered)
    }

    /// A decision without asking any rule.
    init(_ reason: Reason, at moment: Timestamp, by decider: Decider, isAllowed: Bool? = nil, isShadow: Bool = false) {
        let allowed = isAllowed ?? (reason != .blocked)
        self.init(
            isAllowed: allowed || isShadow, wouldBeAllowed: allowed, reason: reason, rules: [], at: moment, by: decider,
            isRemembered: false)
    }

    func inShadow(_ isShadow: Bool) -> RateLimitDecision {
        guard isShadow, !isAllowed else { return self }
        return RateLimitDecision(
            isAllowed: true, wouldBeAllowed: wouldBeAllowed, reason: reason, rules: rules, at: at, by: by,
            isRemembered: isRemembered)
    }
}
