import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct RateLimitPlanTests {
    private let standard = RateLimitPlan(rules: [.ten(.fixedWindow)])

    private func fixture(_ change: (inout RateLimitPlan) -> Void) -> LimiterFixture {
        var plan = standard
        change(&plan)
        return LimiterFixture(RateLimiter.Configuration(plan: plan, denialMemory: .zero))
    }

    @Test(arguments: zip(RateLimitTier.all, [10, 20, 50, 100, 200, 1000]))
    func aTierMultipliesTheLimits(_ tier: RateLimitTier, _ limit: Int) async throws {
        let fixture = fixture { _ in }
        let decision = try await fixture.limiter.check(fixture.ann, tier: tier, cost: limit)
        #expect(decision.isAllowed && decision.limit == limit)
        #expect(try await !fixture.limiter.check(fixture.ann, tier: tier).isAllowed)
        #expect(RateLimitTier.named(tier.name) == tier)
    }

    @Test func anEndpointsOverrideStandsInPlaceOfTheRulesAndIsCountedByItsPattern() async throws {
        let fixture = fixture {
            $0.overrides = [.init("/search*", [RateLimit("search", .fixedWindow, limit: 2, per: .seconds(60))])]
        }
        for path in ["/search", "/search/a", "/search/b"] {
            let decision = try await fixture.limiter.check(fixture.ann, endpoint: path)
            #expect(decision.isAllowed == (path != "/search/b") && decision.rules.map(\.rule.name) == ["search"])
        }
        #expect(try await fixture.limiter.check(fixture.ann, endpoint: "/other").remaining == 9)
        #expect(try await fixture.limiter.check(fixture.ann).remaining == 8)
        try await fixture.limiter.reset(fixture.ann, endpoint: "/search/c")
        #expect(try await fixture.limiter.check(fixture.ann, endpoint: "/search").isAllowed)
    }

    @Test func whoIsOnTheBypassListIsNeitherLimitedNorCounted() async throws {
        let fixture = fixture { $0.bypass = [.ip("127.0.0.1")] }
        let subject = RateLimitSubject.user("ann").and(.ip("127.0.0.1"))
        for _ in 0..<20 {
            let decision = try await fixture.limiter.check(subject)
            #expect(decision.isAllowed && decision.reason == .bypassed && decision.rules.isEmpty)
        }
        #expect(try await fixture.contents().isEmpty)
        #expect(try await fixture.limiter.check(.user("ann").and(.ip("127.0.0.2"))).reason == .withinLimits)
    }

    @Test func whoIsOnTheBlockListIsDeniedEvenWhenBypassed() async throws {
        let fixture = fixture {
            $0.blocked = [.user("ann")]
            $0.bypass = [.user("ann")]
        }
        let decision = try await fixture.limiter.check(fixture.ann)
        #expect(!decision.isAllowed && decision.reason == .blocked && decision.retryAfter == nil)
        #expect(fixture.counting.calls == 0)
    }

    @Test func shadowModeReportsDenialsButNeverDenies() async throws {
        let fixture = fixture { $0.isShadow = true }
        for call in 1...15 {
            let decision = try await fixture.limiter.check(fixture.ann)
            #expect(decision.isAllowed && decision.wouldBeAllowed == (call <= 10))
        }
        let last = try await fixture.limiter.check(fixture.ann)
        #expect(last.reason == .limitExceeded && last.retryAfter != nil && last.remaining == 0)
    }

    @Test func aPlanThatIsSwitchedOffCountsNothing() async throws {
        let fixture = fixture { $0.isEnabled = false }
        #expect(try await fixture.limiter.check(fixture.ann, cost: 100).reason == .disabled)
        #expect(fixture.counting.calls == 0)
    }

    @Test func aBadRuleIsFoundBeforeAnythingIsServed() throws {
        try RateLimitPlan.standard().validate()
        var plan = standard
        plan.overrides = [
            .init("/x", [RateLimit("r", .tokenBucket, limit: 1, per: .seconds(400 * 86_400), burst: 1_000_000_000)])
        ]
        let error = #expect(throws: StoreError.self) { try plan.validate() }
        #expect(error?.field == "burst")
    }
}
