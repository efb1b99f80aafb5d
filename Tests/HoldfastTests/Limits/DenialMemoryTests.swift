import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct DenialMemoryTests {
    private let fixture = LimiterFixture(RateLimiter.Configuration(plan: RateLimitPlan(rules: [.ten(.fixedWindow)])))

    private func calls(_ body: () async throws -> Void) async throws -> Int {
        let before = fixture.counting.calls
        try await body()
        return fixture.counting.calls - before
    }

    @Test func aRepeatedDenialCostsNoTripForASecond() async throws {
        _ = try await fixture.limiter.check(fixture.ann, cost: 10)
        let first = try await fixture.limiter.check(fixture.ann)
        #expect(!first.isAllowed && !first.isRemembered && first.retryAfter == .seconds(40))
        let asked = try await calls {
            fixture.time.advance(by: .milliseconds(900))
            let again = try await fixture.limiter.check(fixture.ann)
            #expect(!again.isAllowed && again.isRemembered && again.retryAfter == .milliseconds(39_100))
            #expect(again.resetsAt == first.resetsAt)
        }
        #expect(asked == 0)
        fixture.time.advance(by: .milliseconds(101))
        #expect(try await !fixture.limiter.check(fixture.ann).isRemembered)
    }

    @Test func aSmallerCallIsStillAskedAndALargerOneIsNot() async throws {
        _ = try await fixture.limiter.check(fixture.ann, cost: 7)
        #expect(try await !fixture.limiter.check(fixture.ann, cost: 5).isAllowed)
        #expect(try await fixture.limiter.check(fixture.ann, cost: 6).isRemembered)
        #expect(try await fixture.limiter.check(fixture.ann, cost: 3).isAllowed)
    }

    @Test func aDenialIsNeverGivenAgainAfterItsRetryMoment() async throws {
        let rule = RateLimit("fast", .tokenBucket, limit: 10, per: .seconds(1), burst: 1)
        #expect(try await fixture.limiter.check([rule], for: fixture.ann).isAllowed)
        #expect(try await fixture.limiter.check([rule], for: fixture.ann).retryAfter == .milliseconds(100))
        fixture.time.advance(by: .milliseconds(99))
        #expect(try await fixture.limiter.check([rule], for: fixture.ann).isRemembered)
        fixture.time.advance(by: .milliseconds(1))
        #expect(try await fixture.limiter.check([rule], for: fixture.ann).isAllowed)
    }

    @Test func resetRefundAndAHigherTierAreNotHeldUp() async throws {
        func exhaust() async throws {
            _ = try await fixture.limiter.check(fixture.ann, cost: 10)
            #expect(try await !fixture.limiter.check(fixture.ann).isAllowed)
        }
        try await exhaust()
        #expect(try await fixture.limiter.check(fixture.ann, tier: .pro).isAllowed)
        try await fixture.limiter.reset(fixture.ann)
        try await exhaust()
        try await fixture.limiter.refund([RateLimitCharge(.ten(.fixedWindow), for: fixture.ann)])
        #expect(try await fixture.limiter.check(fixture.ann).isAllowed)
    }

    @Test func theMemoryIsBounded() async throws {
        let small = LimiterFixture(
            RateLimiter.Configuration(plan: RateLimitPlan(rules: [.ten(.fixedWindow)]), maximumEntries: 10))
        for user in 0..<100 {
            #expect(try await !small.limiter.check(.user("\(user)"), cost: 11).isAllowed)
            #expect(small.limiter.rememberedDenials <= 10)
        }
        #expect(try await small.limiter.check(.user("99"), cost: 11).isRemembered)
    }
}
