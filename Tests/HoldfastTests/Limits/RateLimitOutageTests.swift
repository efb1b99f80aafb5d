import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

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
                failover, configuration: RateLimiter.Configuration(plan: plan, outage: outage, denialMemory: .zero),
                instances: Instances(failover: failover, configuration: .init(fixed: 4)))
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
            await waitUntilBack()
        }

        func waitUntilBack() async {
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

    /// The reply of each call of the hand-over is lost in turn, before and after its effect, until one goes through untouched.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func everyLostReplyOfTheHandOverIsMadeGood(_ moment: FaultyStore.Moment) async throws {
        let users = (0..<20).map { RateLimitSubject.user("\($0)") }
        var call = 0
        var isStruck = true
        while isStruck {
            call += 1
            let outage = Outage(RateLimit("ten", .slidingLog, limit: 10, per: .seconds(3600)))
            let tenant = outage.limiter.scoped(to: "acme")
            try await outage.cutOff()
            for user in users {
                for limiter in [outage.limiter, outage.limiter, tenant] {
                    #expect(try await limiter.check(user).isAllowed)
                }
            }
            outage.server.recover()
            let last = outage.server.calls + call
            outage.server.fail(call: last, with: StoreError(.connectionLost, effect: .unknown), moment)
            await outage.waitUntilBack()
            isStruck = outage.server.calls >= last
            for user in users {
                #expect(try await outage.other.peek(user).remaining == 8, "call \(call)")
                #expect(try await outage.other.scoped(to: "acme").peek(user).remaining == 9, "call \(call)")
            }
        }
        // A probe or two, and four batches: two of each tenant.
        #expect(call > 5)
    }

    /// The reply to the hand-over is lost, and this process goes on deciding before it can try again.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func whatIsConsumedBetweenTwoAttemptsIsChargedOnceToo(_ moment: FaultyStore.Moment) async throws {
        let outage = Outage(RateLimit("twenty", .slidingLog, limit: 20, per: .seconds(3600)))
        try await outage.cutOff()
        #expect(try await outage.admitted(3) == 3)
        let consumption = outage.limiter.consumption
        let local = outage.failover.local
        outage.server.fail(with: StoreError(.connectionLost, effect: .unknown), moment)
        await #expect(throws: StoreError.self) {
            try await consumption.handOver(from: local, to: outage.server, sharedBy: 4)
        }
        #expect(try await outage.admitted(10) == 2)
        await outage.comeBack()
        #expect(try await outage.other.peek(outage.ann).remaining == 15)
        #expect(consumption.isEmpty)
    }

    @Test func whatTheServerWillNeverTakeKeepsNothingElse() async throws {
        let outage = Outage(RateLimit("ten", .slidingLog, limit: 10, per: .seconds(3600)))
        try await outage.cutOff()
        #expect(try await outage.admitted(2) == 2)
        let key = Namespace().rateLimitKey(outage.limiter.configuration.plan.rules[0], outage.ann)
        _ = try await outage.serverStore(.set(key, "something else"))
        await outage.comeBack()
        #expect(outage.limiter.consumption.isEmpty)
    }

    @Test func theShareFollowsTheInstancesThatWereCounted() async throws {
        let time = ManualTime()
        let server = FaultyStore(EmbeddedStore(time: time))
        let failover = Failover(
            server: server, local: EmbeddedStore(time: time),
            configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
        let state = AgentState(failover: failover)
        for _ in 0..<3 { try await Instances(failover: failover).renew() }
        try await state.instances.renew()
        #expect(state.instances.count == 4)
        server.fail(with: StoreError(.connectionLost))
        let rule = RateLimit("twenty", .fixedWindow, limit: 20, per: .seconds(3600))
        #expect(try await state.scoped(to: "acme").limits.check([rule], for: .user("ann")).limit == 5)
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
