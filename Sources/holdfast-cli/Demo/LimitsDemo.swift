import Holdfast
import HoldfastStore

/// The reference systems' rate limiting, with the one promise that they broke: never more than the limit.
enum LimitsDemo {
    static func play(_ stage: DemoStage, _ journal: DemoJournal) async throws {
        for algorithm in RateLimit.Algorithm.allCases {
            let rule = RateLimit("demo", algorithm, limit: 50, per: .seconds(3600))
            let admitted = try await callers(200, rule, stage.limiter)
            journal.check("200 callers at once, limit 50, \(algorithm.rawValue)", admitted == 50, "\(admitted) admitted")
        }
        try await headers(stage.limiter, journal)
        try await severalRules(stage.limiter, journal)
        try await tiers(stage.limiter, journal)
    }

    private static func callers(_ count: Int, _ rule: RateLimit, _ limiter: RateLimiter) async throws -> Int {
        let subject = RateLimitSubject.user("crowd-\(rule.algorithm.rawValue)")
        return try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<count { group.addTask { try await limiter.check([rule], for: subject).isAllowed } }
            return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
    }

    private static func headers(_ limiter: RateLimiter, _ journal: DemoJournal) async throws {
        let rule = RateLimit("api", .slidingCounter, limit: 1, per: .seconds(60))
        let subject = RateLimitSubject.user("ann")
        _ = try await limiter.check([rule], for: subject)
        let denied = try await limiter.check([rule], for: subject)
        let wait = denied.retryAfter ?? .zero
        journal.check(
            "a denial says how long to wait", !denied.isAllowed && wait > .zero && wait <= .seconds(120),
            "retry after \(Int(wait.seconds.rounded(.up))) s")
        let names = RateLimitHeaders.fields(for: denied).map { $0.name.lowercased() }
        journal.check("and has the HTTP fields for it", names.contains("retry-after") && names.contains("ratelimit"))
    }

    private static func severalRules(_ limiter: RateLimiter, _ journal: DemoJournal) async throws {
        let (user, tenant) = (RateLimitSubject.user("bob"), RateLimitSubject.tenant("acme"))
        let small = RateLimit("user", .fixedWindow, limit: 1, per: .seconds(3600))
        let large = RateLimit("tenant", .fixedWindow, limit: 100, per: .seconds(3600))
        let charges = [RateLimitCharge(small, for: user), RateLimitCharge(large, for: tenant)]
        _ = try await limiter.check(charges)
        _ = try await limiter.check(charges)
        let left = try await limiter.peek([RateLimitCharge(large, for: tenant)]).rules.first?.remaining
        journal.check(
            "a call that one of its rules denies is charged to none", left == 99, "tenant has \(left ?? -1) left")
        try await limiter.refund([RateLimitCharge(small, for: user)])
        let again = try await limiter.peek([RateLimitCharge(small, for: user)])
        journal.check("a refund makes room again", again.isAllowed)
    }

    private static func tiers(_ limiter: RateLimiter, _ journal: DemoJournal) async throws {
        let free = try await limiter.peek(.user("carol")).decisive?.limit ?? 0
        let pro = try await limiter.peek(.user("carol"), tier: .pro).decisive?.limit ?? 0
        journal.check("tier pro has ten times the free limit", free > 0 && pro == 10 * free, "\(free) and \(pro)")
    }
}
