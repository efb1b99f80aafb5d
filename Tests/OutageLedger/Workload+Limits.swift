import Holdfast
public import HoldfastStore

extension Workload {
    static let rule = RateLimit("six", .fixedWindow, limit: 6, per: .seconds(60))

    /// Never exhausted, so that all that is charged can be counted.
    enum Meter: String, CaseIterable {
        /// By operations with a name.
        case named
        /// By calls without one.
        case unnamed
        /// Charged from the beginning, so that there is always something to be given back.
        case refunded
        case reset

        var rule: RateLimit { RateLimit(rawValue, .fixedWindow, limit: 1_000_000, per: .seconds(34_560_000)) }

        func charge(_ cost: Int = 1) -> RateLimitCharge { RateLimitCharge(rule, for: .user("metered"), cost: cost) }
    }

    /// Charges, as calls and by operations with a name, as each meter says.
    func check() async throws(StoreError) {
        let began = note { $0.now() }
        let (wasAway, generation) = (isAway, services.failover.health.generation)
        let backlog = services.limits.backlog
        let decision = try await services.limits.check([Self.rule], for: .user("shared"))
        let isSettled = wasAway && isAway && services.failover.health.generation == generation
        let admission = Ledger.Admission(at: uptime, charged: backlog.handedOver + backlog.lost, isKept: isSettled)
        note { $0.decided(decision, name, limit: Self.rule.limit, window: Self.rule.window, began: began, admission) }
    }

    func charge(_ operation: OperationID) async throws(StoreError) {
        try await changing(.named, .charge, isRepeated: true) { () throws(StoreError) in
            try await repeatedly { () throws(StoreError) in
                try await services.limits.record([Meter.named.charge()], once: operation)
            }.by
        }
    }

    func chargeUnnamed() async throws(StoreError) {
        try await changing(.unnamed, .charge, isSum: true) { () throws(StoreError) in
            try await services.limits.record([Meter.unnamed.charge()]).by
        }
    }

    /// A check that is decided here after its reply was lost may be charged or not; one that is decided here at once is.
    func checkUnnamed() async throws(StoreError) {
        let (wasAway, generation) = (services.failover.localSince != nil, services.failover.health.generation)
        let number = note { $0.begins(.charge, of: Meter.unnamed.rawValue, by: name, isSum: true) }
        let decision: RateLimitDecision
        do throws(StoreError) {
            decision = try await services.limits.check([Meter.unnamed.charge()])
        } catch {
            note { $0.ends(number, of: Meter.unnamed.rawValue, error.effect == .none ? .refused : .unknown) }
            throw error
        }
        if !decision.isAllowed { note { $0.violated("refused: \(name.name) was denied by \(decision)") } }
        let isSettled = wasAway && services.failover.localSince != nil && services.failover.health.generation == generation
        let isCertain = !decision.by.isLocal || isSettled
        note { $0.ends(number, of: Meter.unnamed.rawValue, isCertain ? .done(decision.by) : .unknown) }
    }

    func refund(_ operation: OperationID?) async throws(StoreError) {
        try await changing(.refunded, .charge, 2, isSum: operation == nil, isRepeated: operation != nil) {
            () throws(StoreError) in
            try await onceOr(operation) { () throws(StoreError) in
                try await services.limits.record([Meter.refunded.charge(2)], once: operation).by
            }
        }
        let back = operation.map { _ in OperationID(high: random(), low: random()) }
        try await changing(.refunded, .refund, isRepeated: operation != nil) { () throws(StoreError) in
            try await onceOr(operation) { () throws(StoreError) in
                try await services.limits.refund([Meter.refunded.charge()], once: back).by
            }
        }
    }

    func reset() async throws(StoreError) {
        try await changing(.reset, .charge, isSum: true) { () throws(StoreError) in
            try await services.limits.record([Meter.reset.charge()]).by
        }
        guard services.failover.localSince == nil else { return }
        try await changing(.reset, .reset) { () throws(StoreError) in
            try await services.limits.reset([Meter.reset.charge()])
            return .server
        }
    }

    /// What is there to be given back.
    public func prepare() async throws(StoreError) {
        try await changing(.refunded, .charge, 1000) { () throws(StoreError) in
            try await services.limits.record([Meter.refunded.charge(1000)], once: OperationID(high: random(), low: random())).by
        }
    }

    private func onceOr<Output>(
        _ operation: OperationID?, _ body: () async throws(StoreError) -> Output
    ) async throws(StoreError) -> Output {
        operation == nil ? try await body() : try await repeatedly(body)
    }

    /// - Parameter isRepeated: whether an attempt before the one that failed may have had its effect.
    private func changing(
        _ meter: Meter, _ change: Ledger.MeterChange, _ amount: Int = 1, isSum: Bool = false, isRepeated: Bool = false,
        _ body: () async throws(StoreError) -> Decider
    ) async throws(StoreError) {
        let number = note { $0.begins(change, of: meter.rawValue, amount, by: name, isSum: isSum) }
        do throws(StoreError) {
            let decider = try await body()
            note { $0.ends(number, of: meter.rawValue, .done(decider)) }
        } catch {
            note { $0.ends(number, of: meter.rawValue, error.effect == .none && !isRepeated ? .refused : .unknown) }
            throw error
        }
    }

    func examineLimits() async throws(StoreError) {
        for meter in Meter.allCases {
            let used = try await services.limits.peek([meter.charge(0)]).rules.first?.used ?? -1
            note { $0.metered(used, of: meter.rawValue, name) }
        }
    }
}
