import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct RateLimitHeadersTests {
    private func fields(_ decision: RateLimitDecision) -> [String: String] {
        Dictionary(uniqueKeysWithValues: RateLimitHeaders.fields(for: decision).map { ($0.name, $0.value) })
    }

    @Test func anAdmittedCallShowsTheDecisiveRuleAndAllPolicies() async throws {
        let fixture = LimiterFixture()
        fixture.time.advance(by: .milliseconds(1))
        let fields = fields(try await fixture.limiter.check(fixture.ann))
        #expect(fields["Retry-After"] == nil)
        #expect(fields["X-RateLimit-Limit"] == "10" && fields["X-RateLimit-Remaining"] == "9")
        // One token is back in a second: 1_700_000_001.001, rounded up.
        #expect(fields["X-RateLimit-Reset"] == "1700000002")
        #expect(fields["RateLimit-Policy"] == #""burst";q=10;w=10, "minute";q=60;w=60, "hour";q=1000;w=3600"#)
        // 20 s of the minute and 800 s of the hour have passed; a sliding counter is whole at the end of the next window.
        #expect(fields["RateLimit"] == #""burst";r=9;t=1, "minute";r=59;t=100, "hour";r=999;t=6400"#)
    }

    @Test func aDeniedCallSaysWhenToTryAgain() async throws {
        let fixture = LimiterFixture()
        _ = try await fixture.limiter.check(fixture.ann, cost: 10)
        fixture.time.advance(by: .milliseconds(100))
        let fields = fields(try await fixture.limiter.check(fixture.ann, cost: 3))
        #expect(fields["Retry-After"] == "3")
        #expect(fields["X-RateLimit-Remaining"] == "0")
        #expect(fields["RateLimit"]?.hasPrefix(#""burst";r=0;t=3, "#) == true)
    }

    @Test func aWaitBelowASecondIsStillASecond() async throws {
        let fixture = LimiterFixture()
        let rule = RateLimit("fast", .gcra, limit: 100, per: .seconds(1), burst: 1)
        _ = try await fixture.admitted(1, [rule])
        #expect(fields(try await fixture.limiter.check([rule], for: fixture.ann))["Retry-After"] == "1")
    }

    @Test func aCostThatCanNeverBeAdmittedHasNoRetryAfter() async throws {
        let fixture = LimiterFixture()
        #expect(fields(try await fixture.limiter.check(fixture.ann, cost: 11))["Retry-After"] == nil)
    }

    @Test func aBypassedCallHasNoFields() async throws {
        var plan = RateLimitPlan.standard()
        plan.bypass = [.user("ann")]
        let fixture = LimiterFixture(RateLimiter.Configuration(plan: plan))
        #expect(RateLimitHeaders.fields(for: try await fixture.limiter.check(fixture.ann)).isEmpty)
    }
}
