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
        let sent = bearsName(mode) ? call.named(ownName, in: namespace) : call
        var attempt = Attempt(call: sent)
        do throws(StoreError) {
            decided = try await failover.perform(configuration.outage == .local ? .local : .fail) {
                (store, decider) throws(StoreError) in
                if decider.isLocal {
                    attempt.isOver = false
                    return try await decideHere(mode, call, after: attempt, in: store)
                }
                if sent.isNamed { attempt.began = failover.time.uptime }
                do throws(StoreError) {
                    return try await store.run(try sent.procedure(mode.script, sharedBy: 1))
                } catch {
                    attempt.mayHaveHappened = error.effect == .unknown
                    throw error
                }
            }
        } catch {
            // Its caller has left, and it goes no further under this name.
            if attempt.isOver, attempt.mayHaveHappened { forgetOwnMarker(of: sent, call) }
            // What is to be charged or given back has not been: no decision stands for that.
            guard configuration.outage != .local, error.isOutage, mode == .check || mode == .peek else { throw error }
            let now = failover.time.now
            return RateLimitDecision(
                .storeAway, at: now, by: .local(since: failover.localSince ?? now), isAllowed: configuration.outage == .open)
        }
        let decision = RateLimitDecision(decided.value.states, at: decided.value.at, by: decided.by)
        if !decided.by.isLocal {
            forgetOwnMarker(of: sent, call)
            handOverRest()
        }
        return decision
    }

    /// Whether a call bears a name from its first send on, also where its caller gave none: its reply may be lost before anybody knows
    /// that the server is away. Not checks: the marker would cost each of them a key on the server.
    private func bearsName(_ mode: RateLimitProcedures.Mode) -> Bool {
        (mode == .record || mode == .refund) && failover.server != nil && configuration.outage == .local
    }

    /// For a charge whose caller gave none; known for as long as an outage may last. The server is rid of it once the caller has its answer
    /// (``AnsweredMarkers``).
    private var ownName: OperationID { .random(retention: failover.outbox.configuration.longestOutage) }

    /// - Parameter call: as its caller gave it.
    private func forgetOwnMarker(of sent: RateLimitCall, _ call: RateLimitCall) {
        guard !call.isNamed, let marker = sent.marker, let server = failover.server else { return }
        answered.add(marker, on: server)
    }

    /// What has become of a call on the server before it is decided here.
    private struct Attempt {
        /// As it went there.
        let call: RateLimitCall
        /// By `uptime`.
        var began: Duration?
        var mayHaveHappened = false
        /// Whether it ends with the server's answer or the caller's patience, and is not decided here.
        var isOver = true
    }

    /// Decides by this process's share, and keeps what the server must hear.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/outboxFull`` where that cannot be kept: then nothing is decided.
    private func decideHere(
        _ mode: RateLimitProcedures.Mode, _ call: RateLimitCall, after attempt: Attempt, in store: any Store
    ) async throws(StoreError) -> RateLimitAnswer {
        let kept = keeping(mode, call, after: attempt)
        switch kept {
        case .nothing: break
        case .named(let call): try failover.outbox.checkRoom(named: RateLimitReplay.name(of: call))
        case .sum where mode == .refund: try failover.outbox.checkRoom()
        case .sum: try consumption.checkRoom(for: call, in: namespace)
        }
        let sharing = instances.count
        let answer = try await store.run(try call.procedure(mode.script, sharedBy: sharing))
        guard mode != .check || answer.states.allSatisfy(\.hasRoom) else { return answer }
        switch kept {
        case .nothing: break
        case .named(let call):
            if mode == .refund { consumption.note(takenBackBy: call, in: namespace) }
            try await handOverLater(mode, call, at: answer.at, sent: attempt.mayHaveHappened ? attempt.began : nil)
        case .sum where mode == .refund:
            let rest = consumption.takeBack(call, in: namespace)
            guard !rest.isEmpty else { break }
            let call = try RateLimitCall(rest, in: namespace, once: ownName)
            try await handOverLater(mode, call, at: answer.at, sent: nil)
        case .sum: consumption.add(call, in: namespace, at: answer.at, sharedBy: sharing)
        }
        return answer
    }

    /// In which form the server hears of a call that is decided here.
    private enum Keeping {
        case nothing
        /// As an operation of its own.
        case named(RateLimitCall)
        /// In one sum with others.
        case sum
    }

    private func keeping(_ mode: RateLimitProcedures.Mode, _ call: RateLimitCall, after attempt: Attempt) -> Keeping {
        if mode == .peek { return .nothing }
        if call.isNamed { return .named(call) }
        guard attempt.mayHaveHappened else { return .sum }
        // A check without a name that the server may have charged: rather once too few than twice.
        return attempt.call.isNamed ? .named(attempt.call) : .nothing
    }

    private func handOverLater(
        _ mode: RateLimitProcedures.Mode, _ call: RateLimitCall, at moment: Timestamp, sent: Duration?
    ) async throws(StoreError) {
        let outbox = failover.outbox
        let now = Moment(failover.time)
        try await outbox.add(try RateLimitReplay.item(mode, call, at: moment, now: now, sent: sent, in: outbox))
    }

    /// Begins to hand over what was decided here beside a server that is there: after a single failed call, or when a decision ended after
    /// the return hook. The decision stands whatever becomes of this; what fails is kept for the next time.
    private func handOverRest() {
        guard let server = failover.server, !consumption.isEmpty else { return }
        consumption.beginHandOver(from: failover.local, to: server, sharedBy: instances.count)
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
