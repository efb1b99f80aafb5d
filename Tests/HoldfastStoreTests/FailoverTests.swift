import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct ServerHealthTests {
    static let wall = Timestamp(milliseconds: 1000)
    static let moment = Moment(wall: wall, uptime: .zero)
    let moment = Self.moment

    /// Every state with every event: what is not in the table changes nothing.
    @Test(arguments: [
        ServerHealth.State.up, .suspect(failures: 1), .suspect(failures: 2), .down(since: Self.wall),
        .probing(since: Self.wall, successes: 0), .probing(since: Self.wall, successes: 1), .returning(since: Self.wall),
    ])
    func theTransitionTableHolds(from state: ServerHealth.State) {
        let (wall, moment) = (Self.wall, Self.moment)
        let events: [ServerHealth.Event] = [
            .succeeded(generation: 0), .failed(generation: 0, at: moment), .pingFailed(generation: 0, at: moment),
            .deadlineEnded(generation: 0, at: moment), .startFailed(at: moment), .probeBegan, .probeSucceeded(at: moment),
            .probeFailed, .returned(at: moment), .returnFailed,
        ]
        for event in events {
            let expected: ServerHealth.State =
                switch (state, event) {
                case (.up, .failed), (.up, .pingFailed): .suspect(failures: 1)
                case (.suspect(1), .failed), (.suspect(1), .pingFailed): .suspect(failures: 2)
                case (.suspect(2), .failed), (.suspect(2), .pingFailed): .down(since: wall)
                case (.suspect, .succeeded): .up
                case (.up, .startFailed), (.suspect, .startFailed): .down(since: wall)
                case (.down, .probeBegan): .probing(since: wall, successes: 0)
                case (.probing(_, 0), .probeSucceeded): .probing(since: wall, successes: 1)
                case (.probing(_, 1), .probeSucceeded): .returning(since: wall)
                case (.probing, .probeFailed), (.returning, .returnFailed): .down(since: wall)
                case (.returning, .returned): .up
                default: state
                }
            var health = health(in: state)
            let change = health.handle(event)
            #expect(health.state == expected, "\(state) on \(event)")
            let sidesBefore = self.health(in: state).localSince != nil
            #expect((change != nil) == (sidesBefore != (health.localSince != nil)), "a change of sides is told, nothing else is")
        }
    }

    /// Deadlines count from a ping that failed until the server answers.
    @Test func deadlinesCountWhileTheServerIsSilent() {
        let ended = ServerHealth.Event.deadlineEnded(generation: 0, at: moment)
        var health = health(in: .suspect(failures: 1))
        for _ in 0..<10 { #expect(health.handle(ended) == nil && health.state == .suspect(failures: 1)) }
        _ = health.handle(.pingFailed(generation: 0, at: moment))
        _ = health.handle(.succeeded(generation: 0))
        #expect(health.handle(ended) == nil && health.state == .up && !health.isSilent)
        _ = health.handle(.pingFailed(generation: 0, at: moment))
        #expect(health.handle(ended) == nil && health.state == .suspect(failures: 2))
        #expect(health.handle(.deadlineEnded(generation: 1, at: moment)) == nil, "of another side")
        #expect(health.handle(ended) == .wentDown(since: moment.wall))
        bringBack(&health)
        #expect(!health.isSilent)
    }

    @Test func resultsFromBeforeTheLastChangeOfSidesAreIgnored() {
        var health = health(in: .up)
        let before = health.generation
        _ = health.handle(.startFailed(at: moment))
        bringBack(&health)
        #expect(health.handle(.failed(generation: before, at: moment)) == nil)
        #expect(health.state == .up)
    }

    /// A server that is away after `rest` of being up, and the span for which it then answers until it is trusted.
    private func flap(_ health: inout ServerHealth, after rest: Duration, _ uptime: inout Duration) -> Duration {
        uptime += rest
        _ = health.handle(.startFailed(at: at(uptime)))
        let start = uptime
        _ = health.handle(.probeBegan)
        while case .probing = health.state {
            _ = health.handle(.probeSucceeded(at: at(uptime)))
            if case .probing = health.state { uptime += .milliseconds(500) }
        }
        _ = health.handle(.returned(at: at(uptime)))
        return uptime - start
    }

    private func at(_ uptime: Duration) -> Moment { .init(wall: Self.wall, uptime: uptime) }

    private var flapper: ServerHealth {
        ServerHealth(thresholds: .init(failures: 1, successes: 1, trust: .seconds(1)...(.seconds(10)), calm: .seconds(60)))
    }

    @Test func aServerThatFlapsMustAnswerForLongerEachTimeUpToABound() {
        var (health, uptime) = (flapper, Duration.zero)
        let spans = (0..<7).map { _ in flap(&health, after: .seconds(5), &uptime) }
        #expect(spans == [.zero, .seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(10), .seconds(10)])
    }

    @Test func aCalmTimeForgivesAllFlaps() {
        var (health, uptime) = (flapper, Duration.zero)
        for _ in 0..<5 { _ = flap(&health, after: .seconds(1), &uptime) }
        #expect(flap(&health, after: .seconds(59), &uptime) == .seconds(10))
        #expect(flap(&health, after: .seconds(60), &uptime) == .zero)
        #expect(flap(&health, after: .seconds(1), &uptime) == .seconds(1))
    }

    @Test func aProbeThatFailsBeginsTheTimeOfTrustAgain() {
        var (health, uptime) = (flapper, Duration.zero)
        for _ in 0..<3 { _ = flap(&health, after: .seconds(1), &uptime) }
        _ = health.handle(.startFailed(at: at(uptime)))
        for second in 0..<4 {
            _ = health.handle(.probeBegan)
            _ = health.handle(.probeSucceeded(at: at(uptime + .seconds(second))))
            #expect(health.pauseBeforeProbe(at: at(uptime + .seconds(second))) == .seconds(4))
            _ = health.handle(.probeFailed)
        }
        #expect(health.localSince != nil)
    }

    private func bringBack(_ health: inout ServerHealth) {
        let events: [ServerHealth.Event] = [
            .probeBegan, .probeSucceeded(at: moment), .probeSucceeded(at: moment), .returned(at: moment),
        ]
        for event in events { _ = health.handle(event) }
    }

    /// Walks to a state by events, as there is no other way.
    private func health(in state: ServerHealth.State) -> ServerHealth {
        var health = ServerHealth(thresholds: .init(failures: 3, successes: 2))
        let path: [ServerHealth.Event] =
            switch state {
            case .up: []
            case .suspect(let failures): Array(repeating: .failed(generation: 0, at: moment), count: failures)
            case .down: [.startFailed(at: moment)]
            case .probing(_, let successes):
                [.startFailed(at: moment), .probeBegan] + Array(repeating: .probeSucceeded(at: moment), count: successes)
            case .returning:
                [.startFailed(at: moment), .probeBegan, .probeSucceeded(at: moment), .probeSucceeded(at: moment)]
            }
        for event in path { _ = health.handle(event) }
        #expect(health.state == state)
        return health
    }
}

@Suite struct FailoverTests {
    let time = ManualTime()
    let names = Namespace(prefix: "failover:")

    private func makeFailover(_ server: FaultyStore, observer: @escaping Failover.Observer = { _ in }) -> Failover {
        Failover(
            server: server, local: EmbeddedStore(time: time),
            configuration: .init(thresholds: .init(failures: 2, successes: 2)), time: time, observer: observer)
    }

    @Test func withoutAServerTheEmbeddedStoreDecides() async throws {
        let failover = Failover(local: EmbeddedStore(time: time), time: time)
        let decided = try await failover.perform(.fail) { store, _ throws(StoreError) in try await store(.incr(names.key("n"))) }
        #expect(decided == Decided(1, by: .server))
    }

    @Test func withoutAServerNoFailureMakesAnOutage() async throws {
        let failover = Failover(
            local: EmbeddedStore(time: time), configuration: .init(thresholds: .init(failures: 1)), time: time)
        let failure = StoreError(.connectionLost, "of another store", effect: .unknown)
        for _ in 1...2 {
            await #expect(throws: failure) {
                try await failover.perform(.local) { _, _ throws(StoreError) -> Int in throw failure }
            }
        }
        #expect(failover.status == .embedded)
        #expect(failover.health.state == .up)
        #expect(failover.statistics == Failover.Statistics())
    }

    @Test func aFailingServerIsLeftAfterTheThresholdAndPoliciesDecide() async throws {
        let server = FaultyStore(EmbeddedStore(time: time))
        let failover = makeFailover(server)
        server.fail(with: StoreError(.connectionLost, effect: .unknown))
        for _ in 1...2 {
            await #expect(throws: StoreError.self) {
                try await failover.perform(.fail) { store, _ throws(StoreError) in try await store(.ping) }
            }
        }
        #expect(failover.localSince == time.now)
        let callsBefore = server.calls
        let decided = try await failover.perform(.local) { store, _ throws(StoreError) in try await store(.incr(names.key("n"))) }
        #expect(decided == Decided(1, by: .local(since: time.now)))
        await #expect(
            throws: StoreError(.unavailable, "The configured server has been away since \(time.now.rfc3339)")
        ) {
            try await failover.perform(.fail) { store, _ throws(StoreError) in try await store(.ping) }
        }
        #expect(server.calls == callsBefore)
    }

    /// The server may have done it, and this process cannot: the caller must not take that for "nothing happened".
    @Test(arguments: [StoreError.Effect.none, .unknown])
    func aRefusalHereDoesNotHideWhatTheServerMayHaveDone(_ effect: StoreError.Effect) async throws {
        let server = FaultyStore(EmbeddedStore(time: time))
        let failover = makeFailover(server)
        server.fail(call: 1, with: StoreError(.connectionLost, effect: effect))
        let error = await #expect(throws: StoreError.self) {
            try await failover.perform(.localThenReplay) { store, decider throws(StoreError) in
                if decider.isLocal { throw StoreError(.unavailable) }
                try await store(.ping)
            }
        }
        #expect(error?.code == .unavailable && error?.effect == effect)
    }

    @Test func aCallersErrorIsNoOutage() async throws {
        let server = FaultyStore(EmbeddedStore(time: time))
        let failover = makeFailover(server)
        _ = try await server(.set(names.key("s"), "text"))
        for _ in 1...5 {
            _ = try? await failover.perform(.local) { store, _ throws(StoreError) in try await store(.incr(names.key("s"))) }
        }
        #expect(failover.health.state == .up)
    }

    @Test func aRefusalOfCredentialsIsNoOutageAndIsShown() async throws {
        let server = FaultyStore(EmbeddedStore(time: time))
        let failover = makeFailover(server)
        server.fail(with: StoreError(.serverRefused))
        #expect(await failover.start() != nil)
        #expect(failover.localSince == nil)
        await #expect(throws: StoreError.self) {
            try await failover.perform(.local) { store, _ throws(StoreError) in try await store(.ping) }
        }
        server.recover()
        #expect(await failover.start() == nil)
    }

    @Test func itStartsLocallyWithoutItsServerAndMovesOverWhenItAppears() async {
        let server = FaultyStore(EmbeddedStore(time: time))
        let observed = Locked<[Failover.Status]>([])
        let failover = makeFailover(server) { status in observed.withLock { $0.append(status) } }
        var seen = failover.changes.makeAsyncIterator()
        #expect(await seen.next() == .server, "the latest first")
        let handedOver = Locked(false)
        failover.whenServerReturns { _ throws(StoreError) in
            #expect(failover.localSince != nil, "calls must not reach the server before the hand-over")
            handedOver.withLock { $0 = true }
        }
        server.fail(with: StoreError(.connectionFailed))
        await failover.start()
        #expect(failover.localSince != nil)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await failover.run() }
            server.recover()
            let since = time.now
            #expect(await seen.next() == .local(since: since))
            await time.advanceUntil(by: .milliseconds(100)) { failover.localSince == nil }
            #expect(await seen.next() == .server)
            #expect(handedOver.withLock { $0 })
            group.cancelAll()
            await group.waitForAll()
            #expect(await seen.next() == nil, "the sequence ends with the watching")
            #expect(observed.withLock { $0 } == [.local(since: since), .server], "once each, in order")
        }
        #expect(failover.statistics.outages == 1 && failover.statistics.returns == 1)
    }

    @Test func aSlowCallCountsWhereThatIsConfigured() async throws {
        for limit in [nil, Duration.milliseconds(100)] {
            let failover = Failover(
                server: EmbeddedStore(time: time), local: EmbeddedStore(time: time),
                configuration: .init(thresholds: .init(failures: 2), slowCall: limit), time: time)
            for _ in 0..<2 {
                let decided = try await failover.perform(.local) { store, _ throws(StoreError) in
                    time.advance(by: .milliseconds(101))
                    return try await store(.incr(names.key("n")))
                }
                #expect(decided.by == .server, "what came late was done all the same")
            }
            #expect((failover.localSince != nil) == (limit != nil))
            #expect(failover.statistics.slowCalls == (limit == nil ? 0 : 2))
        }
    }

    @Test func anErrorThatComesLateCountsAndACancellationDoesNot() async {
        let failover = Failover(
            server: EmbeddedStore(time: time), local: EmbeddedStore(time: time),
            configuration: .init(thresholds: .init(failures: 1), slowCall: .milliseconds(100)), time: time)
        for code in [ErrorCode.cancelled, .deadlineExceeded] {
            #expect(failover.status == .server)
            await #expect(throws: StoreError.self) {
                try await failover.perform(.local) { _, _ throws(StoreError) in
                    time.advance(by: .seconds(1))
                    throw StoreError(code)
                }
            }
        }
        #expect(failover.localSince != nil)
    }

    @Test func aServerThatFlapsIsLeftAloneForLonger() async {
        let server = FaultyStore(EmbeddedStore(time: time))
        let failover = Failover(
            server: server, local: EmbeddedStore(time: time), configuration: .init(thresholds: .init(failures: 1)), time: time)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await failover.run() }
            var away: [Duration] = []
            for _ in 0..<4 {
                server.fail(with: StoreError(.connectionLost))
                await time.advanceUntil(by: .milliseconds(50)) { failover.localSince != nil }
                server.recover()
                let start = time.uptime
                await time.advanceUntil(by: .milliseconds(50)) { failover.localSince == nil }
                away.append(time.uptime - start)
            }
            group.cancelAll()
            #expect(away[1] >= .seconds(1) && away[2] >= .seconds(2) && away[3] >= .seconds(4), "\(away)")
            #expect(away[0] < .seconds(1) && away[3] < .seconds(8), "\(away)")
        }
    }

    @Test func aRefusalIsAnnouncedOnceAndItsEndToo() async {
        let server = FaultyStore(EmbeddedStore(time: time))
        let observed = Locked<[Failover.Status]>([])
        let failover = makeFailover(server) { status in observed.withLock { $0.append(status) } }
        server.fail(with: StoreError(.serverRefused))
        for _ in 0..<3 { await failover.start() }
        server.recover()
        await failover.start()
        #expect(observed.withLock { $0 } == [.refused(StoreError(.serverRefused)), .server])
        #expect(failover.statistics.refusals == 1)
    }

    @Test func aReaderThatDoesNotReadKeepsTheLatestChanges() async {
        let server = FaultyStore(EmbeddedStore(time: time))
        let failover = makeFailover(server)
        var slow: AsyncStream<Failover.Status>? = failover.changes
        for _ in 0..<20 {
            server.fail(with: StoreError(.serverRefused))
            await failover.start()
            server.recover()
            await failover.start()
        }
        var last = failover.changes.makeAsyncIterator()
        #expect(await last.next() == .server)
        var kept = 0
        var read = slow?.makeAsyncIterator()
        while kept < 16, await read?.next() != nil { kept += 1 }
        #expect(kept == 16)
        slow = nil
    }

    @Test func twoWatchersProbeOneAtATime() async {
        let (isAway, underWay, most) = (Locked(true), Locked(0), Locked(0))
        // Each call takes a few turns of its task.
        let server = InterceptedStore(EmbeddedStore(time: time)) { _ throws(StoreError) in
            let count = underWay.withLock { underWay in
                underWay += 1
                return underWay
            }
            most.withLock { $0 = max($0, count) }
            for _ in 0..<5 { await Task.yield() }
            underWay.withLock { $0 -= 1 }
            if isAway.withLock({ $0 }) { throw StoreError(.connectionFailed) }
        }
        let failover = Failover(
            server: server, local: EmbeddedStore(time: time), configuration: .init(thresholds: .init(failures: 1)), time: time)
        await failover.start()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 { group.addTask { await failover.run() } }
            isAway.withLock { $0 = false }
            await time.advanceUntil(by: .milliseconds(50)) { failover.localSince == nil }
            group.cancelAll()
        }
        #expect(most.withLock { $0 } == 1)
    }
}
