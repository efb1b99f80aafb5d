public import HoldfastStore

/// What a customer pays for, as a multiple of the plan's rules. The set is open: `RateLimitTier("partner", multiplier: 30)`.
public struct RateLimitTier: Sendable, Hashable {
    public let name: String
    /// 1 to 1,000,000.
    public let multiplier: Int

    public init(_ name: String, multiplier: Int) {
        self.name = name
        self.multiplier = multiplier
    }

    public static let free = RateLimitTier("free", multiplier: 1)
    public static let starter = RateLimitTier("starter", multiplier: 2)
    public static let growth = RateLimitTier("growth", multiplier: 5)
    public static let pro = RateLimitTier("pro", multiplier: 10)
    public static let enterprise = RateLimitTier("enterprise", multiplier: 20)
    public static let unlimited = RateLimitTier("unlimited", multiplier: 100)

    public static let all: [RateLimitTier] = [.free, .starter, .growth, .pro, .enterprise, .unlimited]

    /// The built-in tier of this name.
    public static func named(_ name: String) -> RateLimitTier? { all.first { $0.name == name } }
}

/// Which rules hold for whom.
public struct RateLimitPlan: Sendable {
    /// Rules for the endpoints that match a pattern, in place of the plan's own.
    public struct Override: Sendable, Hashable {
        /// A glob (see ``/HoldfastStore/Glob``) that must match the whole endpoint, such as `/api/v1/search*`.
        public var endpoints: String
        public var rules: [RateLimit]

        public init(_ endpoints: String, _ rules: [RateLimit]) {
            self.endpoints = endpoints
            self.rules = rules
        }
    }

    /// False: everything is admitted and nothing counted.
    public var isEnabled = true
    /// What holds where no override does. Empty: everything is admitted.
    public var rules: [RateLimit]
    /// The first that matches holds. What is consumed is counted per subject and pattern, so that nobody escapes by varying a path.
    public var overrides: [Override] = []
    /// Subjects that are never limited. An entry matches every subject that contains all its parts.
    public var bypass: Set<RateLimitSubject> = []
    /// Subjects that are always denied; stronger than `bypass`.
    public var blocked: Set<RateLimitSubject> = []
    /// Decides, counts and reports, but never denies: for trying a plan on real traffic.
    public var isShadow = false

    public init(rules: [RateLimit]) { self.rules = rules }

    /// The configured default: a bucket against bursts and sliding windows per minute and per hour, decided in one call.
    ///
    /// - Parameters:
    ///   - perMinute: `RATE_LIMIT_REQUESTS_PER_MINUTE`; also the bucket's refill.
    ///   - perHour: `RATE_LIMIT_REQUESTS_PER_HOUR`.
    ///   - burst: `RATE_LIMIT_BURST_SIZE`, the bucket's capacity.
    public static func standard(perMinute: Int = 60, perHour: Int = 1000, burst: Int = 10) -> RateLimitPlan {
        RateLimitPlan(rules: [
            RateLimit("burst", .tokenBucket, limit: perMinute, per: .seconds(60), burst: burst),
            RateLimit("minute", .slidingCounter, limit: perMinute, per: .seconds(60)),
            RateLimit("hour", .slidingCounter, limit: perHour, per: .seconds(3600)),
        ])
    }

    /// Checks every rule, for configurations, before anything is served.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming the field.
    public func validate() throws(StoreError) {
        for rule in rules + overrides.flatMap(\.rules) { try rule.validate() }
    }

    /// What one call consumes of which rules.
    public func charges(
        for subject: RateLimitSubject, endpoint: String? = nil, tier: RateLimitTier = .free, cost: Int = 1
    ) -> [RateLimitCharge] {
        let override = endpoint.flatMap { endpoint in
            overrides.first { Glob($0.endpoints.utf8).matches(Array(endpoint.utf8)) }
        }
        let counted = override.map { subject.and(.endpoint($0.endpoints)) } ?? subject
        return (override?.rules ?? rules).map {
            RateLimitCharge($0.multiplied(by: tier.multiplier), for: counted, cost: cost)
        }
    }

    /// Why no rule needs to be asked, where none does.
    func shortcut(for subjects: [RateLimitSubject], hasRules: Bool) -> RateLimitDecision.Reason? {
        if !isEnabled { return .disabled }
        if subjects.contains(where: { Self.list(blocked, names: $0) }) { return .blocked }
        if subjects.contains(where: { Self.list(bypass, names: $0) }) { return .bypassed }
        return hasRules ? nil : .disabled
    }

    private static func list(_ list: Set<RateLimitSubject>, names subject: RateLimitSubject) -> Bool {
        if list.isEmpty { return false }
        return list.contains(subject) || list.contains { $0.parts.allSatisfy(subject.parts.contains) }
    }
}
