import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct RateLimitAlgorithmTests {
    @Test(arguments: RateLimit.Algorithm.allCases)
    func aLimitOfTenAdmitsTen(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        #expect(try await fixture.admitted(15, [.ten(algorithm)]) == 10)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func aDeniedCallChangesNothing(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        _ = try await fixture.admitted(9, [.ten(algorithm)])
        fixture.time.advance(by: .milliseconds(500))
        let before = try await fixture.contents()
        let denied = try await fixture.limiter.check([.ten(algorithm)], for: fixture.ann, cost: 5)
        #expect(!denied.isAllowed && denied.remaining == 1)
        #expect(try await fixture.contents() == before)
        #expect(before.count == 1)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func peekIsPureAndForetellsTheCheck(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        _ = try await fixture.admitted(7, [.ten(algorithm)])
        let before = try await fixture.contents()
        for cost in 0...12 {
            let peek = try await fixture.limiter.peek([RateLimitCharge(.ten(algorithm), for: fixture.ann, cost: cost)])
            #expect(peek.isAllowed == (cost <= 3), "cost \(cost)")
            #expect(peek.remaining == 3)
        }
        #expect(try await fixture.contents() == before)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func retryAfterIsTheFirstMomentThatAdmits(_ algorithm: RateLimit.Algorithm) async throws {
        for cost in [1, 3, 10] {
            for pause in [0, 1, 7_777, 39_999, 40_000, 61_234] {
                let fixture = LimiterFixture()
                _ = try await fixture.admitted(6, [.ten(algorithm)])
                fixture.time.advance(by: .milliseconds(pause))
                _ = try await fixture.admitted(10, [.ten(algorithm)])
                let denied = try await fixture.limiter.check([.ten(algorithm)], for: fixture.ann, cost: cost)
                let wait = try #require(denied.retryAfter, "cost \(cost), pause \(pause)")
                #expect(wait > .zero)
                fixture.time.advance(by: wait - .milliseconds(1))
                let charge = RateLimitCharge(.ten(algorithm), for: fixture.ann, cost: cost)
                #expect(try await !fixture.limiter.peek([charge]).isAllowed, "cost \(cost), pause \(pause), too early")
                fixture.time.advance(by: .milliseconds(1))
                #expect(try await fixture.limiter.check([charge]).isAllowed, "cost \(cost), pause \(pause)")
            }
        }
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func afterTheResetTimeTheStateIsGoneAndNotBefore(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        _ = try await fixture.admitted(4, [.ten(algorithm)])
        let state = try await fixture.limiter.peek([RateLimitCharge(.ten(algorithm), for: fixture.ann)])
        let reset = try #require(state.resetAfter)
        #expect(state.resetsAt == fixture.time.now + reset)
        fixture.time.advance(by: reset - .milliseconds(1))
        let almost = try await fixture.limiter.peek([RateLimitCharge(.ten(algorithm), for: fixture.ann)])
        #expect(almost.remaining ?? 10 < 10)
        #expect(try await fixture.contents().count == 1)
        fixture.time.advance(by: .milliseconds(1))
        let whole = try await fixture.limiter.peek([RateLimitCharge(.ten(algorithm), for: fixture.ann)])
        #expect(whole.remaining == 10 && whole.resetAfter == .zero)
        #expect(try await fixture.contents().isEmpty)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func weightsCountAsThatManyCalls(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        #expect(try await fixture.admitted(5, [.ten(algorithm)], cost: 4) == 2)
        #expect(try await fixture.admitted(5, [.ten(algorithm)], cost: 1) == 2)
        #expect(try await fixture.limiter.check([.ten(algorithm)], for: fixture.ann, cost: 0).isAllowed)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func aCostAboveTheCapacityIsDeniedForEver(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        let denied = try await fixture.limiter.check([.ten(algorithm)], for: fixture.ann, cost: 11)
        #expect(!denied.isAllowed && denied.reason == .costAboveLimit && denied.retryAfter == nil)
        #expect(try await fixture.contents().isEmpty)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func aRefundNeverExceedsTheCapacity(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        _ = try await fixture.admitted(6, [.ten(algorithm)])
        let partly = try await fixture.limiter.refund([RateLimitCharge(.ten(algorithm), for: fixture.ann, cost: 2)])
        #expect(partly.remaining == 6)
        let whole = try await fixture.limiter.refund([RateLimitCharge(.ten(algorithm), for: fixture.ann, cost: 1000)])
        #expect(whole.remaining == 10)
        #expect(try await fixture.admitted(15, [.ten(algorithm)]) == 10)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func recordChargesBeyondTheLimit(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        let state = try await fixture.limiter.record([RateLimitCharge(.ten(algorithm), for: fixture.ann, cost: 14)])
        #expect(state.remaining == 0)
        #expect(try await fixture.admitted(1, [.ten(algorithm)]) == 0)
        let refunded = try await fixture.limiter.refund([RateLimitCharge(.ten(algorithm), for: fixture.ann, cost: 5)])
        #expect(refunded.remaining == 1)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func theLargestNumbersStayExact(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        let huge = RateLimit("huge", algorithm, limit: 1_000_000_000, per: RateLimit.maximumWindow)
        let prime = RateLimit("prime", algorithm, limit: 999_999_937, per: RateLimit.maximumWindow - .milliseconds(1))
        for rule in [huge, prime] {
            let charge = RateLimitCharge(rule, for: fixture.ann, cost: 1_000_000_000)
            for _ in 0..<5 { _ = try await fixture.limiter.record([charge]) }
            #expect(try await !fixture.limiter.check([rule], for: fixture.ann).isAllowed)
            try await fixture.limiter.reset([charge])
            #expect(try await fixture.limiter.check([rule], for: fixture.ann, cost: rule.limit).isAllowed)
            #expect(try await !fixture.limiter.check([rule], for: fixture.ann).isAllowed)
        }
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func aChangedLimitGoesOnWithWhatWasConsumed(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        _ = try await fixture.admitted(10, [.ten(algorithm)])
        let raised = RateLimit("ten", algorithm, limit: 25, per: .seconds(60))
        let admitted = try await fixture.admitted(30, [raised])
        // A moment in time means fewer calls at a higher rate: GCRA keeps the moment.
        #expect(admitted == (algorithm == .gcra ? 0 : 15))
    }

    @Test func aChangedAlgorithmOrWindowNeverMeetsTheOldKey() async throws {
        let fixture = LimiterFixture()
        for algorithm in RateLimit.Algorithm.allCases {
            for window in [1, 60, 3600] {
                #expect(try await fixture.admitted(12, [.ten(algorithm, per: .seconds(window))]) == 10)
            }
        }
        let keys = try await fixture.contents()
        #expect(keys.count == 3 * RateLimit.Algorithm.allCases.count)
    }
}

@Suite struct RateLimitBoundaryTests {
    @Test func fixedWindowsBeginAtMultiplesOfTheWindow() async throws {
        let fixture = LimiterFixture()
        #expect(try await fixture.admitted(12, [.ten(.fixedWindow)]) == 10)
        fixture.time.advance(by: .milliseconds(39_999))
        #expect(try await fixture.admitted(1, [.ten(.fixedWindow)]) == 0)
        fixture.time.advance(by: .milliseconds(1))
        #expect(try await fixture.admitted(12, [.ten(.fixedWindow)]) == 10)
    }

    @Test func aSlidingCounterLetsTheEarlierWindowLeaveEvenly() async throws {
        let fixture = LimiterFixture()
        #expect(try await fixture.admitted(12, [.ten(.slidingCounter)]) == 10)
        // 40 s to the boundary, then half of the window: half of the ten still counts.
        fixture.time.advance(by: .seconds(70))
        #expect(try await fixture.admitted(12, [.ten(.slidingCounter)]) == 5)
    }

    @Test func aSlidingLogNeverAdmitsMoreInAnyWindow()
        async throws
    {
        let fixture = LimiterFixture()
        var admittedAt: [Timestamp] = []
        var random = RandomSource(seed: 7)
        for _ in 0..<400 {
            fixture.time.advance(by: .milliseconds(Int.random(in: 0...4000, using: &random)))
            if try await fixture.admitted(1, [.ten(.slidingLog)]) == 1 { admittedAt.append(fixture.time.now) }
        }
        for (index, moment) in admittedAt.enumerated() {
            let inWindow = admittedAt[index...].count { $0.milliseconds < moment.milliseconds + 60_000 }
            #expect(inWindow <= 10)
        }
        #expect(admittedAt.count > 60)
    }

    @Test(arguments: [RateLimit.Algorithm.tokenBucket, .gcra])
    func aBucketRefillsEvenlyWithoutLosingFractions(_ algorithm: RateLimit.Algorithm) async throws {
        // 7 a second is 142.857… ms a token. Asked every ms for an hour it must give exactly 7 a second.
        let fixture = LimiterFixture()
        let rule = RateLimit("seven", algorithm, limit: 7, per: .seconds(1), burst: 1)
        var admitted = 0
        for _ in 0..<20_000 {
            if try await fixture.limiter.check([rule], for: fixture.ann).isAllowed { admitted += 1 }
            fixture.time.advance(by: .milliseconds(1))
        }
        #expect(admitted == 140)
    }

    @Test(arguments: [RateLimit.Algorithm.tokenBucket, .gcra])
    func aBurstIsItsOwnCapacity(_ algorithm: RateLimit.Algorithm) async throws {
        let fixture = LimiterFixture()
        let rule = RateLimit("burst", algorithm, limit: 60, per: .seconds(60), burst: 3)
        #expect(try await fixture.admitted(5, [rule]) == 3)
        fixture.time.advance(by: .seconds(2))
        #expect(try await fixture.admitted(5, [rule]) == 2)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func aClockThatIsSetBackAdmitsNothingTwice(_ algorithm: RateLimit.Algorithm) async throws {
        // What servers do stands in the conformance tests.
        let fixture = LimiterFixture()
        _ = try await fixture.admitted(10, [.ten(algorithm)])
        fixture.time.stepWallClock(by: .seconds(-25))
        #expect(try await fixture.admitted(3, [.ten(algorithm)]) == 0)
    }
}
