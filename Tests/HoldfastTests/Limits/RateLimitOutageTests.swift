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

        init(
            _ rule: RateLimit = .ten(.fixedWindow), _ outage: RateLimiter.OutageBehavior = .local, keeping entries: Int = 100_000
        ) {
            let time = time
            serverStore = EmbeddedStore(time: time)
            server = FaultyStore(serverStore)
            failover = Failover(
                server: server, local: EmbeddedStore(time: time),
                outbox: Outbox(configuration: .init(maximumEntries: entries), time: time),
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

    @Test func sinceWhenSumsWaitAndHowMuchOfThemWasChargedIsTold() async throws {
        let outage = Outage(RateLimit("ten", .slidingLog, limit: 10, per: .seconds(3600)))
        #expect(outage.limiter.backlog.oldest == nil && outage.limiter.backlog.age(at: outage.time.now) == .zero)
        try await outage.cutOff()
        let start = outage.time.now
        #expect(try await outage.admitted(1) == 1)
        outage.time.advance(by: .seconds(30))
        // What is added to a sum makes it no younger; and a clock that is set makes it no older.
        #expect(try await outage.admitted(1) == 1)
        #expect(try await outage.limiter.check(.user("bob")).isAllowed)
        let waiting = outage.limiter.backlog
        #expect(waiting.keys == 2 && waiting.units == 3 && waiting.handedOver == 0 && waiting.oldest == start)
        outage.time.stepWallClock(by: .seconds(1000))
        #expect(outage.limiter.backlog.age(at: outage.time.now) == .seconds(30))
        outage.time.stepWallClock(by: .seconds(-1000))
        await outage.comeBack()
        let charged = outage.limiter.backlog
        #expect(charged.keys == 0 && charged.oldest == nil && charged.handedOver == 3 && charged.lost == 0)
    }

    /// One key of sixteen holds something else on the server.
    @Test func anErrorAboutOneKeyTakesNoOtherAlong() async throws {
        let outage = Outage(RateLimit("ten", .slidingLog, limit: 10, per: .seconds(3600)))
        let users = (0..<16).map { RateLimitSubject.user("\($0)") }
        try await outage.cutOff()
        for user in users { #expect(try await outage.limiter.check(user).isAllowed) }
        #expect(outage.limiter.backlog.keys == 16 && outage.limiter.backlog.units == 16)
        let key = Namespace().rateLimitKey(outage.limiter.configuration.plan.rules[0], users[3])
        _ = try await outage.serverStore(.set(key, "something else"))
        await outage.comeBack()
        for user in users where user != users[3] { #expect(try await outage.other.peek(user).remaining == 9) }
        let backlog = outage.limiter.backlog
        #expect(backlog.keys == 0 && backlog.units == 0 && backlog.lost == 0 && backlog.handedOver == 15)
        // The guilty one becomes a dead letter with the next call.
        _ = try await outage.limiter.peek(outage.ann)
        let letters = outage.failover.outbox.deadLetters()
        #expect(letters.map(\.code) == ["wrong-type"] && letters.first?.entry.keys.first == key)
        _ = try await outage.serverStore(.del([key]))
        #expect(try await outage.failover.outbox.retry(try #require(letters.first).entry.number))
        _ = try await outage.limiter.peek(outage.ann)
        #expect(try await outage.other.peek(users[3]).remaining == 9)
    }

    /// The reply of a batch is lost, and the next attempt is answered with an error that says nothing of the first.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func aBatchThatMayHaveBeenChargedKeepsItsName(_ moment: FaultyStore.Moment) async throws {
        let outage = Outage(Self.wide)
        let users = (0..<3).map { RateLimitSubject.user("\($0)") }
        try await outage.cutOff()
        for user in users { #expect(try await outage.limiter.check(user).isAllowed) }
        let consumption = outage.limiter.consumption
        func handOver() async throws {
            try await consumption.handOver(from: outage.failover.local, to: outage.server, sharedBy: 4)
        }
        outage.server.fail(with: StoreError(.connectionLost, effect: .unknown), moment)
        await #expect(throws: StoreError.self) { try await handOver() }
        outage.server.fail(with: StoreError(.commandFailed))
        try await handOver()
        #expect(consumption.isEmpty && outage.failover.outbox.status.backlog == 1)
        await outage.comeBack()
        for user in users { #expect(try await outage.other.peek(user).rules[0].used == 1) }
        #expect(outage.failover.outbox.isEmpty && outage.failover.outbox.deadLetters().isEmpty)
    }

    /// The first attempt may have been carried out, and was not; one of the keys holds something else on the server.
    @Test func aBatchThatTheServerNeverTakesIsOneDeadLetter() async throws {
        let outage = Outage(Self.wide)
        let users = (0..<3).map { RateLimitSubject.user("\($0)") }
        try await outage.cutOff()
        for user in users { #expect(try await outage.limiter.check(user).isAllowed) }
        let key = Namespace().rateLimitKey(Self.wide, users[1])
        _ = try await outage.serverStore(.set(key, "something else"))
        outage.server.recover()
        let lost = StoreError(.connectionLost, effect: .unknown)
        outage.server.fail(call: outage.server.calls + 1, with: lost)
        await #expect(throws: lost) {
            try await outage.limiter.consumption.handOver(from: outage.failover.local, to: outage.server, sharedBy: 4)
        }
        await outage.comeBack()
        _ = try await outage.limiter.peek(outage.ann)
        #expect(outage.limiter.consumption.isEmpty && outage.failover.outbox.isEmpty)
        let letters = outage.failover.outbox.deadLetters()
        #expect(letters.map(\.code) == ["wrong-type"] && letters.first?.entry.keys.count == 4)
        _ = try await outage.serverStore(.del([key]))
        #expect(try await outage.failover.outbox.retry(try #require(letters.first).entry.number))
        _ = try await outage.limiter.peek(outage.ann)
        for user in users { #expect(try await outage.other.peek(user).rules[0].used == 1) }
    }

    // MARK: - Calls whose reply was lost

    private static let wide = RateLimit("wide", .slidingLog, limit: 1_000_000, per: .seconds(3600))

    /// The first send of a record or refund, with and without a name, is lost before or after its effect, while the server is otherwise
    /// there, and while it goes away for good.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect], [true, false])
    func aChargeWhoseReplyWasLostIsChargedOnce(_ moment: FaultyStore.Moment, _ staysAway: Bool) async throws {
        for isNamed in [true, false] {
            let outage = Outage(Self.wide)
            let charge = [RateLimitCharge(Self.wide, for: outage.ann, cost: 1000)]
            let half = [RateLimitCharge(Self.wide, for: outage.ann, cost: 500)]
            let names = isNamed ? [OperationID(high: 1, low: 1), OperationID(high: 2, low: 2)] : []
            func lose() {
                let lost = StoreError(.connectionLost, effect: .unknown)
                if staysAway { return outage.server.fail(with: lost, moment) }
                outage.server.fail(call: outage.server.calls + 1, with: lost, moment)
            }
            func end() async throws {
                if staysAway {
                    _ = try await outage.limiter.peek(outage.ann)
                    #expect(outage.failover.localSince != nil)
                    await outage.comeBack()
                }
                _ = try await outage.limiter.peek(outage.ann)
            }
            lose()
            #expect(try await outage.limiter.record(charge, once: names.first).by.isLocal)
            try await end()
            #expect(try await outage.other.peek(outage.ann).rules[0].used == 1000, "named: \(isNamed)")
            lose()
            #expect(try await outage.limiter.refund(half, once: names.last).by.isLocal)
            try await end()
            #expect(try await outage.other.peek(outage.ann).rules[0].used == 500, "named: \(isNamed)")
            #expect(outage.failover.outbox.isEmpty && outage.limiter.consumption.isEmpty)
            // Whoever asks again, here or elsewhere, is known.
            if let name = names.first {
                try await outage.limiter.record(charge, once: name)
                try await outage.other.record(charge, once: name)
                #expect(try await outage.other.peek(outage.ann).rules[0].used == 500)
            }
        }
    }

    /// What is recorded may be more than this process's share, and more than the limit.
    @Test(arguments: RateLimit.Algorithm.allCases)
    func whatIsRecordedBeyondTheShareIsChargedInFull(_ algorithm: RateLimit.Algorithm) async throws {
        let rule = RateLimit("twenty", algorithm, limit: 20, per: .seconds(3600))
        let outage = Outage(rule)
        try await outage.cutOff()
        try await outage.limiter.record([RateLimitCharge(rule, for: outage.ann, cost: 1000)])
        await outage.comeBack()
        let wide = algorithm.hasBurst ? rule : RateLimit("twenty", algorithm, limit: 100_000, per: .seconds(3600))
        let state = try await outage.other.peek([RateLimitCharge(wide, for: outage.ann, cost: 0)]).rules[0]
        if algorithm.hasBurst {
            // 1000 tokens, of which 20 flow in per hour.
            #expect(state.resetAfter > .seconds(49 * 3600))
        } else {
            #expect(state.used == 1000)
        }
    }

    /// A check bears a name only where its caller gave one. Without, a charge that may be there is not charged again.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect], [true, false])
    func aCheckWhoseReplyWasLostIsChargedOnceAtMost(_ moment: FaultyStore.Moment, _ isNamed: Bool) async throws {
        let outage = Outage(Self.wide)
        let lost = StoreError(.connectionLost, effect: .unknown)
        outage.server.fail(call: 1, with: lost, moment)
        let decision = try await outage.limiter.check(outage.ann, once: isNamed ? .random() : nil)
        #expect(decision.isAllowed && decision.by.isLocal)
        _ = try await outage.limiter.peek(outage.ann)
        let expected = isNamed || moment == .afterEffect ? 1 : 0
        #expect(try await outage.other.peek(outage.ann).rules[0].used == expected)
    }

    /// The reply of each call of the hand-over of calls with names is lost in turn, and the calls are repeated while the server is away.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func namedCallsAreHandedOverUnderTheirNames(_ moment: FaultyStore.Moment) async throws {
        var call = 0
        var isStruck = true
        while isStruck {
            call += 1
            let outage = Outage(Self.wide)
            let names = (0..<3).map { OperationID(high: 7, low: $0) }
            try await outage.cutOff()
            for _ in 0..<2 {
                for name in names { #expect(try await outage.limiter.check(outage.ann, cost: 10, once: name).isAllowed) }
            }
            #expect(outage.failover.outbox.status.backlog == 3)
            outage.server.recover()
            let failing = outage.server.calls + call
            outage.server.fail(call: failing, with: StoreError(.connectionLost, effect: .unknown), moment)
            await outage.waitUntilBack()
            isStruck = outage.server.calls >= failing
            _ = try await outage.limiter.peek(outage.ann)
            #expect(try await outage.other.peek(outage.ann).rules[0].used == 30, "call \(call)")
            for name in names { _ = try await outage.other.check(outage.ann, cost: 10, once: name) }
            #expect(try await outage.other.peek(outage.ann).rules[0].used == 30, "call \(call)")
        }
        // A probe, and each of the three.
        #expect(call > 4)
    }

    /// Counts for a month.
    private static let long = RateLimit("long", .slidingLog, limit: 1_000_000, per: .seconds(30 * 86_400))

    /// An outage of six days: whether the server had charged it or not, it is charged once.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect], [true, false])
    func aChargeWhoseReplyWasLostIsChargedOnceAfterALongOutage(_ moment: FaultyStore.Moment, _ isRefund: Bool) async throws {
        let outage = Outage(Self.long)
        try await outage.limiter.record([RateLimitCharge(Self.long, for: outage.ann, cost: 100)])
        outage.server.fail(with: StoreError(.connectionLost, effect: .unknown), moment)
        let charge = [RateLimitCharge(Self.long, for: outage.ann, cost: 5)]
        #expect(try await (isRefund ? outage.limiter.refund(charge) : outage.limiter.record(charge)).by.isLocal)
        outage.time.advance(by: .seconds(6 * 86_400))
        _ = try await outage.limiter.peek(outage.ann)
        await outage.comeBack()
        _ = try await outage.limiter.peek(outage.ann)
        #expect(try await outage.other.peek(outage.ann).rules[0].used == (isRefund ? 95 : 105))
        #expect(outage.failover.outbox.isEmpty && outage.failover.outbox.deadLetters().isEmpty)
    }

    /// When its marker may be gone nobody can tell any more whether it was charged: whoever looks after the outbox is told so.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect], [true, false])
    func whatMayBeChargedIsADeadLetterOnceItsMarkerHasEnded(_ moment: FaultyStore.Moment, _ isNamed: Bool) async throws {
        let outage = Outage(Self.long)
        outage.server.fail(with: StoreError(.connectionLost, effect: .unknown), moment)
        let name = isNamed ? OperationID.random(retention: .seconds(3600)) : nil
        try await outage.limiter.record([RateLimitCharge(Self.long, for: outage.ann, cost: 5)], once: name)
        outage.time.advance(by: isNamed ? .seconds(3600) : .seconds(7 * 86_400 - 30))
        await outage.comeBack()
        _ = try await outage.limiter.peek(outage.ann)
        #expect(try await outage.other.peek(outage.ann).rules[0].used == (moment == .afterEffect ? 5 : 0))
        #expect(outage.failover.outbox.isEmpty && outage.failover.outbox.deadLetters().map(\.code) == ["too-old"])
    }

    /// What counts nothing any more is no loss.
    @Test func whatHasLeftItsWindowIsNoDeadLetter() async throws {
        let outage = Outage(Self.wide)
        outage.server.fail(with: StoreError(.connectionLost, effect: .unknown), .beforeEffect)
        let name = OperationID.random(retention: .seconds(3600))
        try await outage.limiter.record([RateLimitCharge(Self.wide, for: outage.ann, cost: 5)], once: name)
        outage.time.advance(by: .seconds(7200))
        await outage.comeBack()
        _ = try await outage.limiter.peek(outage.ann)
        #expect(outage.failover.outbox.isEmpty && outage.failover.outbox.deadLetters().isEmpty)
    }

    /// The marker of a charge without a name is of use until its caller is answered; the server is rid of it soon afterwards.
    @Test func aMarkerEndsWithItsAnswer() async throws {
        let outage = Outage(Self.long)
        let charge = [RateLimitCharge(Self.long, for: outage.ann, cost: 1)]
        for _ in 0..<10 { try await outage.limiter.record(charge) }
        try await outage.limiter.scoped(to: "acme").record(charge)
        let name = OperationID.random()
        try await outage.limiter.record(charge, once: name)
        outage.server.fail(call: outage.server.calls + 1, with: StoreError(.connectionLost, effect: .unknown), .afterEffect)
        #expect(try await outage.limiter.refund(charge).by.isLocal)
        #expect(try await outage.serverStore(.dbsize) == 2 + 13 && outage.limiter.answered.count == 11)
        // A call that fails leaves them for the next ping.
        _ = try await outage.limiter.peek(outage.ann)
        outage.server.fail(call: outage.server.calls + 2, with: StoreError(.timeout))
        let watch = Task { await outage.failover.run() }
        #expect(await outage.time.advanceUntil(by: .milliseconds(100)) { outage.limiter.answered.count == 0 })
        watch.cancel()
        await watch.value
        while try await outage.serverStore(.dbsize) > 2 + 2 { await Task.yield() }
        try await outage.other.record(charge, once: name)
        #expect(try await outage.other.peek(outage.ann).rules[0].used == 10)
    }

    /// Whoever leaves before the answer does not come again under a name that it does not know; what waits here does.
    @Test func theMarkerOfAChargeWhoseCallerHasLeftEnds() async throws {
        let outage = Outage(keeping: 1)
        let charge = [RateLimitCharge(Self.wide, for: outage.ann, cost: 1)]
        outage.server.fail(call: 1, with: StoreError(.deadlineExceeded, effect: .unknown), .afterEffect)
        await #expect(throws: StoreError.self) { try await outage.limiter.record(charge) }
        #expect(outage.limiter.answered.count == 1 && outage.failover.outbox.isEmpty)
        outage.server.fail(call: outage.server.calls + 1, with: StoreError(.connectionLost, effect: .unknown), .afterEffect)
        #expect(try await outage.limiter.record(charge).by.isLocal)
        #expect(outage.limiter.answered.count == 1 && outage.failover.outbox.status.backlog == 1)
    }

    /// Many charges between two pings do not wait for one.
    @Test func manyMarkersAreRemovedAtOnce() async throws {
        let outage = Outage(Self.wide)
        let charge = [RateLimitCharge(Self.wide, for: outage.ann, cost: 1)]
        for _ in 0..<AnsweredMarkers.batch { try await outage.limiter.record(charge) }
        while try await outage.serverStore(.dbsize) > 1 { await Task.yield() }
        #expect(outage.limiter.answered.count == 0)
    }

    @Test func whatIsGatheredIsBounded() async throws {
        let outage = Outage(Self.wide)
        outage.server.fail(with: StoreError(.connectionLost))
        for number in 0..<(AnsweredMarkers.maximum + 1000) {
            outage.limiter.answered.add(Key(raw: Bytes("\(number)")), on: outage.server)
        }
        #expect(outage.limiter.answered.count <= AnsweredMarkers.maximum)
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func namedConsumptionThatHasLeftItsWindowIsNotCharged(_ algorithm: RateLimit.Algorithm) async throws {
        let outage = Outage(RateLimit("hundred", algorithm, limit: 100, per: .seconds(60)))
        try await outage.cutOff()
        let name = OperationID(high: 1, low: 1)
        #expect(try await outage.limiter.check(outage.ann, cost: 5, once: name).isAllowed)
        outage.time.advance(by: .seconds(120))
        await outage.comeBack()
        #expect(try await outage.other.peek(outage.ann).rules[0].used == 0)
        _ = try await outage.other.check(outage.ann, cost: 5, once: name)
        #expect(try await outage.other.peek(outage.ann).rules[0].used == 0)
    }

    // MARK: - Refunds, bounds, restarts

    /// Charged on the server, partly given back there before the outage began, and the rest of it here.
    @Test(arguments: RateLimit.Algorithm.allCases)
    func aRefundOfWhatTheServerHadChargedReachesIt(_ algorithm: RateLimit.Algorithm) async throws {
        // So long a window that nothing flows back meanwhile.
        let rule = RateLimit("wide", algorithm, limit: 100_000, per: .seconds(30_000_000))
        let outage = Outage(rule)
        func charge(_ cost: Int) -> [RateLimitCharge] { [RateLimitCharge(rule, for: outage.ann, cost: cost)] }
        try await outage.limiter.record(charge(100))
        try await outage.cutOff()
        try await outage.limiter.refund(charge(30))
        try await outage.limiter.record(charge(7))
        try await outage.limiter.refund(charge(10))
        try await outage.limiter.record(charge(5))
        await outage.comeBack()
        #expect(try await outage.other.peek(outage.ann).rules[0].used == 72)
    }

    /// What is given back under a name is told by itself, and leaves less here; all that was consumed here is charged nevertheless.
    @Test(arguments: RateLimit.Algorithm.allCases)
    func aRefundWithANameTakesNothingFromTheSum(_ algorithm: RateLimit.Algorithm) async throws {
        let rule = RateLimit("wide", algorithm, limit: 100_000, per: .seconds(30_000_000))
        let outage = Outage(rule)
        func charge(_ cost: Int) -> [RateLimitCharge] { [RateLimitCharge(rule, for: outage.ann, cost: cost)] }
        try await outage.limiter.record(charge(100))
        try await outage.cutOff()
        try await outage.limiter.record(charge(20))
        try await outage.limiter.refund(charge(15), once: .random())
        try await outage.limiter.record(charge(5))
        try await outage.limiter.refund(charge(7))
        await outage.comeBack()
        #expect(try await outage.other.peek(outage.ann).rules[0].used == 103)
    }

    /// Admitted here without a name, and given back under one: the server has neither before the return.
    @Test(arguments: RateLimit.Algorithm.allCases)
    func aRefundWithANameOfWhatWasAdmittedHereIsNotLost(_ algorithm: RateLimit.Algorithm) async throws {
        let rule = RateLimit("wide", algorithm, limit: 100_000, per: .seconds(30_000_000))
        let outage = Outage(rule)
        try await outage.cutOff()
        #expect(try await outage.limiter.check(outage.ann, cost: 5).isAllowed)
        try await outage.limiter.refund([RateLimitCharge(rule, for: outage.ann, cost: 5)], once: .random())
        await outage.comeBack()
        #expect(try await outage.other.peek(outage.ann).rules[0].used == 0)
        #expect(outage.failover.outbox.isEmpty && outage.limiter.consumption.isEmpty)
    }

    /// The same, and the reply of each call of the hand-over is lost in turn: the refund never comes before the sum.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func aRefundWaitsForTheSumThatItGivesBack(_ moment: FaultyStore.Moment) async throws {
        var call = 0
        var isStruck = true
        while isStruck {
            call += 1
            let outage = Outage(Self.wide)
            func charge(_ cost: Int) -> [RateLimitCharge] { [RateLimitCharge(Self.wide, for: outage.ann, cost: cost)] }
            try await outage.cutOff()
            try await outage.limiter.record(charge(5))
            try await outage.limiter.refund(charge(3), once: OperationID(high: 1, low: 1))
            try await outage.limiter.record(charge(4))
            outage.server.recover()
            let failing = outage.server.calls + call
            outage.server.fail(call: failing, with: StoreError(.connectionLost, effect: .unknown), moment)
            await outage.waitUntilBack()
            isStruck = outage.server.calls >= failing
            _ = try await outage.limiter.peek(outage.ann)
            #expect(try await outage.other.peek(outage.ann).rules[0].used == 6, "call \(call)")
        }
        // A probe, the sum and the refund.
        #expect(call > 3)
    }

    /// The hand-over of a charge has failed once, in either way; then it is given back, and both reach the server.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func aRefundOfWhatIsOnItsWayIsExactToo(_ moment: FaultyStore.Moment) async throws {
        let outage = Outage(Self.wide)
        func charge(_ cost: Int) -> [RateLimitCharge] { [RateLimitCharge(Self.wide, for: outage.ann, cost: cost)] }
        try await outage.limiter.record(charge(100))
        try await outage.cutOff()
        try await outage.limiter.record(charge(20))
        outage.server.fail(with: StoreError(.connectionLost, effect: .unknown), moment)
        await #expect(throws: StoreError.self) {
            try await outage.limiter.consumption.handOver(
                from: outage.failover.local, to: outage.server, sharedBy: 4)
        }
        try await outage.limiter.refund(charge(15))
        await outage.comeBack()
        #expect(try await outage.other.peek(outage.ann).rules[0].used == 105)
    }

    @Test func whatCannotBeKeptIsRefused() async throws {
        let outage = Outage(keeping: 3)
        let users = (0..<5).map { RateLimitSubject.user("\($0)") }
        try await outage.cutOff()
        for user in users[..<3] { #expect(try await outage.limiter.check(user).isAllowed) }
        for user in users[3...] {
            let error = await #expect(throws: StoreError.self) { try await outage.limiter.check(user) }
            #expect(error?.code == .outboxFull)
        }
        // What is kept already goes on; and a refusal has consumed nothing.
        #expect(try await outage.limiter.check(users[0]).isAllowed)
        #expect(try await outage.limiter.peek(users[3]).rules[0].used == 0)
        // What has left its window needs no room.
        outage.time.advance(by: .seconds(120))
        #expect(try await outage.limiter.check(users[3]).isAllowed)
        await outage.comeBack()
        #expect(try await outage.other.peek(users[3]).rules[0].used == 1)
    }

    /// A named charge is accepted, the process dies, and its successor hands it over; and admits its share until then.
    @Test func aRestartDuringAnOutageKeepsNamedChargesAndTheShare() async throws {
        let time = ManualTime()
        let truth = EmbeddedStore(time: time)
        let rule = RateLimit("twenty", .slidingLog, limit: 20, per: .seconds(3600))
        func process(_ disk: SimulatedFolder) async throws -> (FaultyStore, AgentState) {
            let kept = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always))
            let line = FaultyStore(truth)
            let failover = Failover(
                server: line, local: EmbeddedStore(time: time), outbox: Outbox(keptIn: kept, time: time),
                configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
            let state = AgentState(failover: failover)
            try await failover.outbox.load(into: failover.local)
            return (line, state)
        }
        let disk = SimulatedFolder()
        let (line, first) = try await process(disk)
        for _ in 0..<3 { try await Instances(failover: Failover(local: truth, time: time)).renew() }
        try await first.instances.renew()
        #expect(first.instances.count == 4)
        line.fail(with: StoreError(.connectionFailed))
        let ann = RateLimitSubject.user("ann")
        let charge = [RateLimitCharge(rule, for: ann, cost: 2)]
        #expect(try await first.limits.record(charge, once: OperationID(high: 1, low: 1)).by.isLocal)

        let (secondLine, second) = try await process(disk.afterPowerFailure(seed: 1))
        secondLine.fail(with: StoreError(.connectionFailed))
        await second.failover.start()
        #expect(second.instances.count == 4 && second.instances.source == .remembered)
        let decision = try await second.limits.check([rule], for: ann)
        #expect(decision.limit == 5 && decision.rules[0].used == 3)
        secondLine.recover()
        let watch = Task { await second.failover.run() }
        await time.advanceUntil(by: .milliseconds(10)) { second.failover.localSince == nil }
        watch.cancel()
        let peek = try await second.limits.peek([RateLimitCharge(rule, for: ann, cost: 0)])
        #expect(peek.by == .server && peek.rules[0].used == 3)
        // The first renewal does not forget what the earlier process knew.
        time.advance(by: .seconds(60))
        try await second.instances.renew()
        #expect(second.instances.count == 4 && second.instances.source == .counted)
    }

    /// The server had done it and its reply was lost; the process dies, its successor is given it again, and the outage outlasts the name.
    @Test func whatMayHaveBeenChargedIsKnownToBeAfterARestart() async throws {
        let time = ManualTime()
        let truth = EmbeddedStore(time: time)
        let kept = EmbeddedStore(time: time)
        func process() async throws -> (FaultyStore, Failover, RateLimiter) {
            let line = FaultyStore(truth)
            let failover = Failover(
                server: line, local: EmbeddedStore(time: time), outbox: Outbox(keptIn: kept, time: time),
                configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
            let limiter = RateLimiter(failover)
            try await failover.outbox.load(into: failover.local)
            return (line, failover, limiter)
        }
        let ann = RateLimitSubject.user("ann")
        let charge = [RateLimitCharge(Self.long, for: ann, cost: 5)]
        let name = OperationID.random(retention: .seconds(3600))
        let (line, _, first) = try await process()
        line.fail(with: StoreError(.connectionLost, effect: .unknown), .afterEffect)
        #expect(try await first.record(charge, once: name).by.isLocal)

        let (secondLine, failover, second) = try await process()
        secondLine.fail(with: StoreError(.connectionFailed))
        await failover.start()
        #expect(try await second.record(charge, once: name).by.isLocal)
        time.advance(by: .seconds(7200))
        secondLine.recover()
        let watch = Task { await failover.run() }
        await time.advanceUntil(by: .milliseconds(10)) { failover.localSince == nil }
        watch.cancel()
        let peek = try await second.peek([RateLimitCharge(Self.long, for: ann, cost: 0)])
        #expect(peek.by == .server && peek.rules[0].used == 5)
        #expect(failover.outbox.isEmpty && failover.outbox.deadLetters().map(\.code) == ["too-old"])
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

    /// Calls that fail one by one are decided by the share of a process that takes itself for the only one; then the renewal of its lease,
    /// the first call that goes through, tells of three others, and only after it is charged what was admitted.
    @Test(arguments: RateLimit.Algorithm.allCases)
    func whatWasAdmittedIsChargedInFullWhenMoreInstancesAreKnownByThen(_ algorithm: RateLimit.Algorithm) async throws {
        let time = ManualTime()
        let truth = EmbeddedStore(time: time)
        let server = FaultyStore(truth)
        let failover = Failover(
            server: server, local: EmbeddedStore(time: time),
            configuration: .init(thresholds: .init(failures: 100, successes: 1)), time: time)
        let state = AgentState(failover: failover)
        for _ in 0..<3 { try await Instances(failover: Failover(local: truth, time: time)).renew() }
        let rule = RateLimit("twenty", algorithm, limit: 20, per: .seconds(3600))
        let ann = RateLimitSubject.user("ann")
        server.fail(with: StoreError(.connectionFailed))
        for _ in 0..<10 {
            let decision = try await state.limits.check([rule], for: ann)
            #expect(decision.isAllowed && decision.by.isLocal && decision.limit == 20)
        }
        server.recover()
        try await state.instances.renew()
        #expect(state.instances.count == 4)
        #expect(await failover.handOver())
        #expect(state.limits.backlog.keys == 0)
        let peek = try await state.limits.peek([RateLimitCharge(rule, for: ann, cost: 0)])
        #expect(peek.by == .server && peek.rules[0].used == 10)
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
        while outage.limiter.backlog.keys > 0 { await Task.yield() }
        #expect(try await outage.other.peek(outage.ann).remaining == 8)
    }

    /// Nobody waits for what is handed over beside a decision: neither for the server nor for a folder that hangs.
    @Test func aDecisionDoesNotWaitForWhatIsHandedOverBesideIt() async throws {
        let time = ManualTime()
        let truth = EmbeddedStore(time: time)
        let hangs = Locked(false)
        let (held, release) = AsyncStream<Void>.makeStream()
        let folder = InterceptedStore(EmbeddedStore(time: time)) { _ in
            if hangs.withLock({ $0 }) { for await _ in held {} }
        }
        let server = FaultyStore(truth)
        let failover = Failover(
            server: server, local: EmbeddedStore(time: time), outbox: Outbox(keptIn: folder, time: time), time: time)
        let limiter = RateLimiter(failover, configuration: .init(plan: RateLimitPlan(rules: [Self.wide]), denialMemory: .zero))
        let ann = RateLimitSubject.user("ann")
        server.fail(call: 1, with: StoreError(.timeout))
        #expect(try await limiter.check(ann).by.isLocal)
        await limiter.consumption.write(from: failover.local, sharedBy: 1)
        hangs.withLock { $0 = true }
        let decided = Locked<Decider?>(nil)
        let call = Task {
            let decision = try await limiter.check(ann)
            decided.withLock { $0 = decision.by }
        }
        for _ in 0..<10_000 where decided.withLock({ $0 == nil }) { try await Task.sleep(for: .milliseconds(1)) }
        #expect(decided.withLock { $0 } == .server)
        #expect(limiter.backlog.keys == 1, "the folder does not know under which name")
        release.finish()
        try await call.value
        while limiter.backlog.keys > 0 { await Task.yield() }
        #expect(try await limiter.peek(ann).rules[0].used == 2)
    }

    /// What a single failure left here is on its way to the server while its limit is reset.
    @Test func aResetIsNotOvertakenByWhatIsBeingHandedOver() async throws {
        let time = ManualTime()
        let truth = EmbeddedStore(time: time)
        let faulty = FaultyStore(truth)
        let isHeld = Locked(false)
        let (held, release) = AsyncStream<Void>.makeStream()
        let server = InterceptedStore(faulty) { (call) throws(StoreError) in
            guard case .procedure("limits.record@1") = call else { return }
            isHeld.withLock { $0 = true }
            for await _ in held {}
        }
        let failover = Failover(server: server, local: EmbeddedStore(time: time), time: time)
        let limiter = RateLimiter(failover, configuration: .init(plan: RateLimitPlan(rules: [Self.wide]), denialMemory: .zero))
        let ann = RateLimitSubject.user("ann")
        faulty.fail(call: 1, with: StoreError(.timeout))
        #expect(try await limiter.check(ann).by.isLocal)
        let handOver = Task { try await limiter.consumption.handOver(from: failover.local, to: server, sharedBy: 1) }
        while !isHeld.withLock({ $0 }) { await Task.yield() }
        let isReset = Locked(false)
        let reset = Task {
            try await limiter.reset(ann)
            isReset.withLock { $0 = true }
        }
        while limiter.consumption.handOvers.count < 2, !isReset.withLock({ $0 }) { await Task.yield() }
        release.finish()
        _ = try await handOver.value
        try await reset.value
        #expect(limiter.backlog.keys == 0 && limiter.backlog.handedOver == 1)
        let truly = RateLimiter(Failover(local: truth, time: time))
        #expect(try await truly.peek([RateLimitCharge(Self.wide, for: ann, cost: 0)]).rules[0].used == 0)
        #expect(try await limiter.peek(ann).rules[0].used == 0)
    }

    /// After single failures: the reset is behind the refund, which is behind the sum, and nobody waits for each other.
    @Test func aResetComesAfterARefundThatWaits() async throws {
        let time = ManualTime()
        let truth = EmbeddedStore(time: time)
        let server = FaultyStore(truth)
        let failover = Failover(server: server, local: EmbeddedStore(time: time), time: time)
        let limiter = RateLimiter(failover, configuration: .init(plan: RateLimitPlan(rules: [Self.wide]), denialMemory: .zero))
        let ann = RateLimitSubject.user("ann")
        let charge = [RateLimitCharge(Self.wide, for: ann, cost: 3)]
        server.fail(calls: [1, 2], with: StoreError(.timeout))
        #expect(try await limiter.check(ann, cost: 5).by.isLocal)
        #expect(try await limiter.refund(charge, once: .random()).by.isLocal)
        #expect(limiter.backlog.units == 5 && failover.outbox.status.backlog == 1)
        try await limiter.reset(ann)
        #expect(failover.outbox.isEmpty && limiter.consumption.isEmpty && limiter.backlog.handedOver == 5)
        #expect(try await limiter.peek(ann).rules[0].used == 0)
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
        for operation in [nil, OperationID.random()] {
            let charge = [RateLimitCharge(.ten(.fixedWindow), for: outage.ann)]
            await #expect(throws: StoreError.self) { try await outage.limiter.record(charge, once: operation) }
            await #expect(throws: StoreError.self) { try await outage.limiter.refund(charge, once: operation) }
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
