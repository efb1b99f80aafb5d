import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct RateLimiterTests {
    @Test func severalRulesAreChargedTogetherOrNotAtAll() async throws {
        let fixture = LimiterFixture()
        let (wide, narrow) = (RateLimit("wide", .fixedWindow, limit: 100, per: .seconds(60)), RateLimit.ten(.tokenBucket))
        #expect(try await fixture.admitted(12, [wide, narrow]) == 10)
        let charges = [wide, narrow].map { RateLimitCharge($0, for: fixture.ann) }
        let state = try await fixture.limiter.peek(charges)
        #expect(state.rules.map(\.remaining) == [90, 0])
        #expect(state.decisive?.rule.name == "ten")
        #expect(fixture.counting.calls == 13)
    }

    @Test func oneCallMayChargeDifferentSubjectsAndCosts() async throws {
        let fixture = LimiterFixture()
        let charges = [
            RateLimitCharge(.ten(.fixedWindow), for: .user("ann")),
            RateLimitCharge(.ten(.fixedWindow), for: .ip("10.0.0.1"), cost: 4),
            RateLimitCharge(.ten(.fixedWindow), for: RateLimitSubject.user("ann").and(.endpoint("/search")), cost: 2),
        ]
        #expect(try await fixture.limiter.check(charges).rules.map(\.remaining) == [9, 6, 8])
        #expect(try await fixture.limiter.check(charges).rules.map(\.remaining) == [8, 2, 6])
        let denied = try await fixture.limiter.check(charges)
        #expect(denied.rules.map(\.remaining) == [8, 2, 6] && denied.rules.map(\.hasRoom) == [true, false, true])
        #expect(denied.decisive?.subject == .ip("10.0.0.1"))
    }

    @Test func subjectsOfDifferentKindsAndOddNamesNeverMeet() async throws {
        let fixture = LimiterFixture()
        let subjects: [RateLimitSubject] = [
            .user("a"), .ip("a"), .key("a"), .endpoint("a"), .tenant("a"), .id("a"), .user("a:b"),
            RateLimitSubject.user("a").and(.user("b")), RateLimitSubject.user("a").and(.endpoint("b")), .user("{a}"), .user("ü%"),
        ]
        for subject in subjects {
            #expect(try await fixture.limiter.check([.ten(.fixedWindow)], for: subject, cost: 10).isAllowed)
        }
        #expect(try await fixture.contents().count == subjects.count)
    }

    @Test func theKeyIsTheReferencePatternWithWhatKeepsRulesApart() async throws {
        let fixture = LimiterFixture()
        let subject = RateLimitSubject.user("ann").and(.endpoint("/api/v1/search"))
        _ = try await fixture.limiter.scoped(to: "acme").check([.ten(.slidingCounter)], for: subject)
        let key = try await fixture.contents().first?.prefix { $0 != " " }
        #expect(key == "holdfast:t:acme:rate:ann:/api/v1/search:{acme}:user+endpoint:ten:sliding-counter:60000")
    }

    @Test func tenantsAreCountedApart() async throws {
        let fixture = LimiterFixture()
        for limiter in [fixture.limiter, fixture.limiter.scoped(to: "a"), fixture.limiter.scoped(to: "b")] {
            #expect(try await limiter.check([.ten(.fixedWindow)], for: fixture.ann, cost: 10).isAllowed)
            #expect(try await !limiter.check([.ten(.fixedWindow)], for: fixture.ann).isAllowed)
        }
    }

    @Test func resetForgetsWhatWasConsumed() async throws {
        let fixture = LimiterFixture(RateLimiter.Configuration())
        #expect(try await fixture.limiter.check(fixture.ann, cost: 10).isAllowed)
        #expect(try await !fixture.limiter.check(fixture.ann).isAllowed)
        try await fixture.limiter.reset(fixture.ann)
        #expect(try await fixture.limiter.check(fixture.ann, cost: 10).isAllowed)
    }

    @Test func theStandardPlanIsABucketAndTwoWindowsInOneCall() async throws {
        let fixture = LimiterFixture()
        let first = try await fixture.limiter.check(fixture.ann)
        #expect(first.rules.map(\.rule.name) == ["burst", "minute", "hour"])
        #expect(first.rules.map(\.remaining) == [9, 59, 999])
        #expect(fixture.counting.calls == 1)
        for _ in 0..<9 { _ = try await fixture.limiter.check(fixture.ann) }
        let denied = try await fixture.limiter.check(fixture.ann)
        #expect(!denied.isAllowed && denied.decisive?.rule.name == "burst" && denied.retryAfter == .seconds(1))
    }

    @Test func twoHundredTasksGetExactlyTheLimitOfFifty() async throws {
        for algorithm in RateLimit.Algorithm.allCases {
            let fixture = LimiterFixture()
            let rule = RateLimit("fifty", algorithm, limit: 50, per: .seconds(3600))
            let admitted = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<200 {
                    group.addTask { try await fixture.limiter.check([rule], for: fixture.ann).isAllowed }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(admitted == 50, "\(algorithm)")
        }
    }

    @Test(arguments: [
        ("limit", RateLimit("r", .fixedWindow, limit: 0, per: .seconds(1))),
        ("limit", RateLimit("r", .fixedWindow, limit: 1_000_000_001, per: .seconds(1))),
        ("window", RateLimit("r", .gcra, limit: 1, per: .microseconds(999))),
        ("window", RateLimit("r", .gcra, limit: 1, per: .seconds(401 * 86_400))),
        ("burst", RateLimit("r", .tokenBucket, limit: 1, per: .seconds(1), burst: 0)),
        ("burst", RateLimit("r", .tokenBucket, limit: 1, per: .seconds(400 * 86_400), burst: 1_000_000_000)),
        ("name", RateLimit("", .fixedWindow, limit: 1, per: .seconds(1))),
        ("name", RateLimit("a\"b", .fixedWindow, limit: 1, per: .seconds(1))),
    ])
    func aRuleOutOfRangeNamesItsField(_ field: String, _ rule: RateLimit) async throws {
        let fixture = LimiterFixture()
        let error = await #expect(throws: StoreError.self) { try await fixture.limiter.check([rule], for: fixture.ann) }
        #expect(error?.code == .invalidArgument && error?.field == field)
    }

    @Test func callsOutOfRangeNameTheirField() async throws {
        let fixture = LimiterFixture()
        func field(_ charges: [RateLimitCharge]) async -> String? {
            await #expect(throws: StoreError.self) { try await fixture.limiter.check(charges) }?.field
        }
        let rule = RateLimit.ten(.fixedWindow)
        #expect(await field([RateLimitCharge(rule, for: .user("ann"), cost: -1)]) == "cost")
        #expect(await field([RateLimitCharge(rule, for: .user("ann"), cost: 1_000_000_001)]) == "cost")
        #expect(await field([RateLimitCharge(rule, for: .user(""))]) == "user")
        #expect(await field([RateLimitCharge(rule, for: .ip(String(repeating: "x", count: 513)))]) == "ip")
        #expect(await field([RateLimitCharge(rule, for: .user("ann")), RateLimitCharge(rule, for: .user("ann"))]) == "rules")
        let many = (0..<17).map { RateLimitCharge(rule, for: .user("\($0)")) }
        #expect(await field(many) == "rules")
        #expect(fixture.counting.calls == 0)
    }

    @Test func aKeyOfAnotherTypeIsATypedErrorAndStaysAsItIs() async throws {
        let fixture = LimiterFixture()
        let key = Bytes("holdfast:rate:ann:{default}:user:ten:fixed-window:60000")
        _ = try await fixture.store(.raw("SADD", key, "x"))
        let error = await #expect(throws: StoreError.self) {
            try await fixture.limiter.check([.ten(.fixedWindow)], for: fixture.ann)
        }
        #expect(error?.code == .wrongType)
    }
}
