import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct InstancesTests {
    private let time = ManualTime()
    private let truth: EmbeddedStore
    private let server: FaultyStore

    init() {
        truth = EmbeddedStore(time: time)
        server = FaultyStore(truth)
    }

    /// A process of its own, which sees the one server.
    private func process(_ id: String, _ configuration: Instances.Configuration = .init()) -> (Failover, Instances) {
        let failover = Failover(
            server: server, local: EmbeddedStore(time: time),
            configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
        return (failover, Instances(failover: failover, configuration: configuration, id: id))
    }

    /// The number stays the same when the folder works again, so nobody writes it once more for its own sake.
    @Test func aFolderThatFailedMeanwhileIsToldTheNumberLater() async throws {
        let kept = EmbeddedStore(time: time)
        let folder = FaultyStore(kept)
        func process(keptIn folder: any Store) -> (Failover, Instances) {
            let failover = Failover(
                server: server, local: EmbeddedStore(time: time), outbox: Outbox(keptIn: folder, time: time), time: time)
            return (failover, Instances(failover: failover))
        }
        let (failover, a) = process(keptIn: folder)
        try await self.process("b").1.renew()
        folder.fail(with: StoreError(.storageFailed))
        try await a.renew()
        #expect(a.count == 2)
        folder.recover()
        try await a.renew()
        let watch = Task { await failover.run() }
        await time.advanceUntil(by: .milliseconds(100)) { time.uptime >= .seconds(3) && !failover.outbox.owesItsFolder }
        watch.cancel()
        await watch.value

        let (later, successor) = process(keptIn: kept)
        try await later.outbox.load(into: later.local)
        #expect(successor.count == 2 && successor.source == .remembered)
    }

    @Test func eachProcessCountsOnce() async throws {
        let processes = ["a", "b", "c"].map { process($0).1 }
        #expect(processes.allSatisfy { $0.count == 1 && $0.source == .assumed })
        for _ in 0..<2 { for one in processes { try await one.renew() } }
        #expect(processes.allSatisfy { $0.count == 3 && $0.source == .counted })
    }

    @Test func aProcessThatDiedIsCountedOutAfterItsLease() async throws {
        let (a, b) = (process("a").1, process("b").1)
        try await b.renew()
        for _ in 0..<3 {
            try await a.renew()
            #expect(a.count == 2)
            time.advance(by: .seconds(10))
        }
        // The lease has ended; what was known in the time of one is still remembered.
        for expected in [2, 2, 2, 1] {
            try await a.renew()
            #expect(a.count == expected)
            time.advance(by: .seconds(10))
        }
    }

    /// The longest: the other renews right before the lease ends, and goes by that answer until four more have come.
    @Test func aProcessThatDiedIsCountedForSeventySecondsAtMost() async throws {
        let (a, b) = (process("a").1, process("b").1)
        try await b.renew()
        time.advance(by: .milliseconds(9_999))
        for expected in [2, 2, 2, 2, 2, 2, 1] {
            try await a.renew()
            #expect(a.count == expected, "\(time.uptime) after its death")
            time.advance(by: .seconds(10))
        }
    }

    @Test func theNumberIsRememberedWhileTheServerIsAway() async throws {
        let (a, b) = (process("a").1, process("b").1)
        try await b.renew()
        try await a.renew()
        server.fail(with: StoreError(.connectionLost))
        for _ in 0..<10 {
            await #expect(throws: StoreError.self) { try await a.renew() }
            time.advance(by: .seconds(10))
        }
        #expect(a.count == 2)
    }

    /// All leases have ended in an outage: the first to come back is alone for a moment, and must not take everything for itself.
    @Test func theFirstToComeBackDoesNotTakeItselfForTheOnlyOne() async throws {
        let (a, b) = (process("a").1, process("b").1)
        try await b.renew()
        try await a.renew()
        time.advance(by: .seconds(3600))
        for _ in 0..<3 {
            try await a.renew()
            #expect(a.count == 2)
        }
        try await b.renew()
        #expect(b.count == 2)
    }

    @Test func aLeaseIsHeldWhileItRunsAndGivenBackAtTheEnd() async throws {
        let (_, a) = process("a")
        let key = Key(raw: "holdfast:instances")
        let running = Task { await a.run() }
        await time.advanceUntil(by: .seconds(1)) { a.source == .counted }
        #expect(try await truth(.zrange(key, 0, -1)) == ["a"])
        let calls = server.calls
        await time.advanceUntil(by: .seconds(1)) { server.calls > calls + 5 }
        #expect(try await truth(.zrange(key, 0, -1)) == ["a"])
        running.cancel()
        await running.value
        #expect(try await truth(.exists([key])) == 0)
    }

    @Test func theConfiguredNumberIsTheOneThatCounts() async throws {
        let (_, a) = process("a", .init(fixed: 7))
        #expect(a.count == 7 && a.source == .configured)
        try await a.renew()
        #expect(a.count == 7)
        #expect(try await truth(.zcard(Key(raw: "holdfast:instances"))) == 1)
    }
}
