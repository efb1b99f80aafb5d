import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// A process whose wall clock is set while its server is away: what still counts, and what may have been done before, is told by the time
/// that has passed.
@Suite struct RateLimitClockTests {
    /// One of four processes, with a clock of its own; the server's goes on as time passes.
    private let time = ManualTime()
    private let serverTime = ManualTime()
    private let server: FaultyStore
    private let failover: Failover
    private let limiter: RateLimiter
    private let ann = RateLimitSubject.user("ann")
    private let lost = StoreError(.connectionLost, effect: .unknown)

    init() {
        server = FaultyStore(EmbeddedStore(time: serverTime))
        failover = Failover(
            server: server, local: EmbeddedStore(time: time), outbox: Outbox(time: time),
            configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
        limiter = RateLimiter(
            failover, configuration: .init(denialMemory: .zero),
            instances: Instances(failover: failover, configuration: .init(fixed: 4)))
    }

    private func pass(_ span: Duration) {
        time.advance(by: span)
        serverTime.advance(by: span)
    }

    private func cutOff() async {
        server.fail(with: StoreError(.connectionFailed))
        await failover.start()
    }

    /// What the server has charged when it is back.
    private func usedAtTheReturn(_ rule: RateLimit) async throws -> Int {
        server.recover()
        await time.letReturn(failover)
        let decision = try await limiter.peek([RateLimitCharge(rule, for: ann, cost: 0)])
        #expect(decision.by == .server && failover.outbox.isEmpty && limiter.consumption.isEmpty)
        return decision.rules[0].used
    }

    private static func rule(_ algorithm: RateLimit.Algorithm, _ limit: Int = 20, per window: Duration) -> RateLimit {
        RateLimit("rule", algorithm, limit: limit, per: window)
    }

    /// Of a call with a name and of the sum of those without one: five are admitted here.
    private func admitFive(_ rule: RateLimit, isNamed: Bool) async throws {
        for _ in 0..<5 {
            let decision = try await limiter.check([rule], for: ann, once: isNamed ? .random() : nil)
            #expect(decision.isAllowed && decision.by.isLocal)
        }
    }

    @Test(arguments: RateLimit.Algorithm.allCases, [true, false])
    func aClockThatIsSetForwardForgetsNoCharge(_ algorithm: RateLimit.Algorithm, isNamed: Bool) async throws {
        let rule = Self.rule(algorithm, per: .seconds(3600))
        await cutOff()
        try await admitFive(rule, isNamed: isNamed)
        time.stepWallClock(by: .seconds(3 * 3600))
        #expect(try await usedAtTheReturn(rule) == 5)
    }

    @Test(arguments: RateLimit.Algorithm.allCases, [true, false])
    func aClockThatIsSetBackKeepsNoChargeForLonger(_ algorithm: RateLimit.Algorithm, isNamed: Bool) async throws {
        let rule = Self.rule(algorithm, per: .seconds(60))
        await cutOff()
        try await admitFive(rule, isNamed: isNamed)
        time.stepWallClock(by: .seconds(-3600))
        pass(.seconds(150))
        #expect(try await usedAtTheReturn(rule) == 0)
    }

    /// The clock was an hour ahead, and is set right during the outage: the next windows of the local share begin when they should.
    @Test(arguments: [RateLimit.Algorithm.fixedWindow, .slidingLog, .slidingCounter])
    func theLocalShareGoesOnAfterAClockThatIsSetBack(_ algorithm: RateLimit.Algorithm) async throws {
        let rule = Self.rule(algorithm, per: .seconds(60))
        await cutOff()
        time.stepWallClock(by: .seconds(3600))
        try await admitFive(rule, isNamed: false)
        time.stepWallClock(by: .seconds(-3600))
        for _ in 0..<2 {
            try await admitFive(rule, isNamed: false)
            #expect(try await !limiter.check([rule], for: ann).isAllowed)
            pass(.seconds(120))
        }
    }

    /// The reply of a record is lost, and its marker has ended when the server is back; this process's clock says that it has not.
    @Test func aClockThatIsSetBackChargesNothingTwice() async throws {
        let rule = Self.rule(.slidingLog, 1_000_000, per: .seconds(3600))
        server.fail(with: lost, .afterEffect)
        try await limiter.record([RateLimitCharge(rule, for: ann, cost: 7)], once: .random(retention: .seconds(600)))
        time.stepWallClock(by: .seconds(-300))
        pass(.seconds(660))
        #expect(try await usedAtTheReturn(rule) == 7)
    }

    /// The clock is set while the call waits for its reply.
    @Test func aClockThatIsSetForwardDuringTheCallChargesNothingTwice() async throws {
        let rule = Self.rule(.slidingLog, 1_000_000, per: .seconds(3600))
        let base = EmbeddedStore(time: serverTime)
        let stepping = InterceptedStore(base) { [time, lost] (call) throws(StoreError) in
            guard case .procedure("limits.record@1") = call else { return }
            time.stepWallClock(by: .seconds(300))
            throw lost
        }
        let failover = Failover(server: stepping, local: EmbeddedStore(time: time), outbox: Outbox(time: time), time: time)
        let limiter = RateLimiter(failover, configuration: .init(denialMemory: .zero))
        let began = time.now
        try await limiter.record([RateLimitCharge(rule, for: ann, cost: 7)], once: .random(retention: .seconds(600)))
        let entry = try #require(failover.outbox.entries().first)
        // Until nine of the marker's ten minutes have passed, by the clock as it is now.
        #expect(entry.arguments[0].integer == (began + .seconds(300 + 540)).milliseconds)
    }

    /// A batch whose reply was lost, done again when its marker has ended.
    @Test func aClockThatIsSetBackDoesNotChargeABatchTwice() async throws {
        let rule = Self.rule(.slidingLog, per: .seconds(30 * 86_400))
        await cutOff()
        try await admitFive(rule, isNamed: false)
        server.fail(with: lost, .afterEffect)
        await #expect(throws: StoreError.self) {
            try await limiter.consumption.handOver(from: failover.local, to: server, sharedBy: 4)
        }
        time.stepWallClock(by: .seconds(-86_400))
        pass(.seconds(7 * 86_400 + 10))
        #expect(try await usedAtTheReturn(rule) == 5)
    }

    /// What was consumed in earlier windows of a long outage is not charged with the last, however the clock was set since.
    @Test(arguments: [7200, -7200]) func aClockThatIsSetMakesOneWindowNoLongerThanTwo(step: Int64) async throws {
        let rule = Self.rule(.fixedWindow, per: .seconds(60))
        await cutOff()
        for _ in 0..<10 {
            try await admitFive(rule, isNamed: false)
            pass(.seconds(60))
        }
        try await admitFive(rule, isNamed: false)
        time.stepWallClock(by: .seconds(step))
        #expect((5...10).contains(try await usedAtTheReturn(rule)))
    }
}
