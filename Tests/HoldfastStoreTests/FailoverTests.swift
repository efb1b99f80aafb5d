import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct ServerHealthTests {
    static let moment = Timestamp(milliseconds: 1000)
    let moment = Self.moment

    /// Every state with every event: what is not in the table changes nothing.
    @Test(arguments: [
        ServerHealth.State.up, .suspect(failures: 1), .suspect(failures: 2), .down(since: Self.moment),
        .probing(since: Self.moment, successes: 0), .probing(since: Self.moment, successes: 1), .returning(since: Self.moment),
    ])
    func theTransitionTableHolds(from state: ServerHealth.State) {
        let moment = Self.moment
        let events: [ServerHealth.Event] = [
            .succeeded(generation: 0), .failed(generation: 0, at: moment), .startFailed(at: moment), .probeBegan,
            .probeSucceeded, .probeFailed, .returned, .returnFailed,
        ]
        for event in events {
            let expected: ServerHealth.State =
                switch (state, event) {
                case (.up, .failed): .suspect(failures: 1)
                case (.suspect(1), .failed): .suspect(failures: 2)
                case (.suspect(2), .failed): .down(since: moment)
                case (.suspect, .succeeded): .up
                case (.up, .startFailed), (.suspect, .startFailed): .down(since: moment)
                case (.down, .probeBegan): .probing(since: moment, successes: 0)
                case (.probing(_, 0), .probeSucceeded): .probing(since: moment, successes: 1)
                case (.probing(_, 1), .probeSucceeded): .returning(since: moment)
                case (.probing, .probeFailed), (.returning, .returnFailed): .down(since: moment)
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

    @Test func resultsFromBeforeTheLastChangeOfSidesAreIgnored() {
        var health = health(in: .up)
        let before = health.generation
        _ = health.handle(.startFailed(at: moment))
        bringBack(&health)
        #expect(health.handle(.failed(generation: before, at: moment)) == nil)
        #expect(health.state == .up)
    }

    private func bringBack(_ health: inout ServerHealth) {
        for event in [.probeBegan, .probeSucceeded, .probeSucceeded, .returned] as [ServerHealth.Event] {
            _ = health.handle(event)
        }
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
                [.startFailed(at: moment), .probeBegan] + Array(repeating: .probeSucceeded, count: successes)
            case .returning: [.startFailed(at: moment), .probeBegan, .probeSucceeded, .probeSucceeded]
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
        let (changes, announce) = AsyncStream.makeStream(of: ServerHealth.Change.self)
        let failover = makeFailover(server) { announce.yield($0) }
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
            var seen = changes.makeAsyncIterator()
            #expect(await seen.next() == .wentDown(since: time.now))
            await time.advanceUntil(by: .milliseconds(100)) { failover.localSince == nil }
            if case .cameBack = await seen.next() {} else { Issue.record("no return was announced") }
            #expect(handedOver.withLock { $0 })
            group.cancelAll()
        }
    }
}
