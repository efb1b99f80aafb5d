import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct RateLimitOutageTests {
    /// A server that can be cut off, and a process that is one of four.
    private struct Outage {
        let time = ManualTime()
        let serverStore: EmbeddedStore
        let server: FaultyStore
        let failover: Failover
        let limiter: RateLimiter
        /// Another process, which is never cut off.
        let other: RateLimiter
        let ann = RateLimitSubject.user("ann")

        init(_ rule: RateLimit = .ten(.fixedWindow), _ outage: RateLimiter.OutageBehavior = .local) {
            let time = time
            serverStore = EmbeddedStore(time: time)
            server = FaultyStore(serverStore)
            failover = Failover(
                server: server, local: EmbeddedStore(time: time),
                configuration: Failover.Configuration(thresholds: .init(failures: 2, successes: 1)), time: time)
            let plan = RateLimitPlan(rules: [rule])
            limiter = RateLimiter(
                failover, configuration: RateLimiter.Configuration(plan: plan, outage: outage, instances: 4, denialMemory: .zero))
            other = RateLimiter(
                Failover(local: serverStore, time: time),
                configuration: RateLimiter.Configuration(plan: plan, denialMemory: .zero))
        }

        func cutOff() async throws {
            server.fail(with: StoreError(.connectionLost))
            for _ in 0..<2 { _ = try await limiter.peek(ann) }
            #expect(failover.localSince != nil)
        }

        func comeBack() async {
            server.recover()
            let watch = Task { await failover.run() }
            await time.advanceUntil(by: .milliseconds(10)) { failover.localSince == nil }
            watch.cancel()
        }

        func admitted(_ count: Int) async throws -> Int {
            var admitted = 0
            for _ in 0..<count where try await limiter.check(ann).isAllowed { admitted += 1 }
            return admitted
        }
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func aCutOffInstanceAdmitsItsShareAndSaysSo(_ algorithm: RateLimit.Algorithm) async throws {
        let outage = Outage(RateLimit("twenty", algorithm, limit: 20, per: .seconds(3600)))
        #expect(try await outage.limiter.check(outage.ann).by == .server)
        try await outage.cutOff()
        let decision = try await outage.limiter.check(outage.ann)
        #expect(decision.isAllowed && decision.by.isLocal && decision.limit == 5)
        #expect(try await outage.admitted(10) == 4)
    }

    @Test func aShareIsNeverNothing() async throws {
        let outage = Outage(RateLimit("two", .fixedWindow, limit: 2, per: .seconds(3600)))
        try await outage.cutOff()
        #expect(try await outage.admitted(5) == 1)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func whatWasAdmittedLocallyIsChargedToTheServer(_ algorithm: RateLimit.Algorithm) async throws {
        let outage = Outage(RateLimit("twenty", algorithm, limit: 20, per: .seconds(3600)))
        #expect(try await outage.admitted(6) == 6)
        try await outage.cutOff()
        #expect(try await outage.admitted(10) == 5)
        await outage.comeBack()
        #expect(try await outage.other.peek(outage.ann).remaining == 9)
        let decision = try await outage.limiter.check(outage.ann)
        #expect(decision.by == .server && decision.remaining == 8)
    }

    @Test func anOutageThatComesAndGoesOpensOneShareOnly() async throws {
        let outage = Outage(RateLimit("twenty", .slidingCounter, limit: 20, per: .seconds(3600)))
        for expected in [5, 0, 0] {
            try await outage.cutOff()
            #expect(try await outage.admitted(10) == expected)
            await outage.comeBack()
        }
        #expect(try await outage.other.peek(outage.ann).remaining == 15)
    }

    @Test func whatHasLeftItsWindowIsNotCharged() async throws {
        let outage = Outage()
        try await outage.cutOff()
        #expect(try await outage.admitted(3) == 2)
        outage.time.advance(by: .seconds(120))
        await outage.comeBack()
        #expect(try await outage.other.peek(outage.ann).remaining == 10)
    }

    @Test func aSingleLostCallIsChargedByTheNextThatReachesTheServer() async throws {
        let outage = Outage()
        outage.server.fail(call: 1, with: StoreError(.timeout))
        #expect(try await outage.limiter.check(outage.ann).by.isLocal)
        #expect(outage.failover.localSince == nil)
        #expect(try await outage.limiter.check(outage.ann).by == .server)
        #expect(try await outage.other.peek(outage.ann).remaining == 8)
    }

    @Test(arguments: [RateLimiter.OutageBehavior.open, .closed])
    func openAdmitsAndClosedDeniesWhileTheServerIsAway(_ behavior: RateLimiter.OutageBehavior) async throws {
        let outage = Outage(.ten(.fixedWindow), behavior)
        #expect(try await outage.limiter.check(outage.ann).by == .server)
        outage.server.fail(with: StoreError(.connectionLost))
        for _ in 0..<30 {
            let decision = try await outage.limiter.check(outage.ann)
            #expect(decision.isAllowed == (behavior == .open))
            #expect(decision.reason == .storeAway && decision.by.isLocal)
        }
        await outage.comeBack()
        #expect(try await outage.limiter.check(outage.ann).remaining == 8)
    }

    @Test func aResetThatCannotReachTheServerIsUnavailable() async throws {
        let outage = Outage()
        try await outage.cutOff()
        let error = await #expect(throws: StoreError.self) { try await outage.limiter.reset(outage.ann) }
        #expect(error?.code == .unavailable)
    }

    @Test func refusedCredentialsAreNoOutage() async throws {
        let outage = Outage()
        outage.server.fail(with: StoreError(.serverRefused))
        let error = await #expect(throws: StoreError.self) { try await outage.limiter.check(outage.ann) }
        #expect(error?.code == .serverRefused)
    }
}
