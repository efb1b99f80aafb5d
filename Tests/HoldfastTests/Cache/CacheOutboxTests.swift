import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// What the cache keeps for the server while that is away.
@Suite struct CacheOutboxTests {
    private let time = ManualTime()

    private func place(_ workspace: String, tenant: String? = nil) -> CachePlace {
        CachePlace(namespace: Namespace(prefix: "p:", tenant: tenant), workspace: workspace)
    }

    @Test func everyChangeIsReadAsItWasWritten() async throws {
        let outbox = Outbox(time: time)
        let changes: [CacheChange] = [
            .entry(place("w"), "k"), .entry(place("w", tenant: "t"), "k"), .entry(place("w", tenant: ""), "k"),
            .pattern(place("w"), "k*"), .workspace(place("w")), .everything(prefix: "p:"),
        ]
        for change in changes { try await outbox.add(Outbox.Item(change)) }
        #expect(outbox.entries().compactMap(CacheChange.init) == changes)
        #expect(outbox.count(of: CacheOutbox.action) == changes.count)
    }

    @Test func aChangeThatHappensAgainIsOneEntry() async throws {
        let cache = CacheOutbox(Outbox(time: time))
        for _ in 0..<5 { try await cache.add([.entry(place("w"), "k")]) }
        #expect(cache.count == 1)
    }

    @Test func tooManyBecomeTheirWorkspacesAndThenEverything() async throws {
        let cache = CacheOutbox(Outbox(time: time), limit: 8)
        for number in 0..<9 { try await cache.add([.entry(place("w\(number % 2)"), "\(number)")]) }
        #expect(Set(cache.outbox.entries().compactMap(CacheChange.init)) == [.workspace(place("w0")), .workspace(place("w1"))])
        try await cache.add([.entry(place("w0"), "more")])
        #expect(cache.count == 2)
        for number in 2..<9 { try await cache.add([.entry(place("w\(number)"), "k")]) }
        #expect(cache.outbox.entries().compactMap(CacheChange.init) == [.everything(prefix: "p:")])
        try await cache.add([.entry(place("w9"), "k"), .pattern(place("w1"), "*")])
        #expect(cache.count == 1)
    }

    /// Invalidations that were accepted while the server was away, in a process that died before it was back, or at one call after the other of
    /// the hand-over, until that passes untouched.
    @Test func anInvalidationOutlivesTheProcess() async throws {
        var (call, isUntouched) = (0, false)
        while !isUntouched {
            let (server, disk) = (EmbeddedStore(time: time), SimulatedFolder())
            let (first, line, failover) = try await process(on: server, disk)
            for key in ["a", "b", "c", "d"] { try await first.set(key, "old") }
            line.fail(with: StoreError(.connectionFailed))
            await failover.start()
            #expect(try await first.delete("a").by.isLocal)
            #expect(try await first.invalidate("b*").by.isLocal)
            #expect(try await first.set("c", "new").by.isLocal)
            #expect(first.pendingChanges == 3)
            if call > 0 {
                let last = line.calls + call
                line.die(afterCall: last)
                _ = try? await failover.outbox.replay(on: line)
                isUntouched = line.calls < last
            }

            let (second, _, restarted) = try await process(on: server, disk.afterPowerFailure(seed: UInt64(call)))
            #expect(restarted.localSince == nil && (call > 0 || second.pendingChanges == 3), "call \(call)")
            for key in ["a", "b", "c"] { #expect(try await second.get(key, as: String.self).isMiss, "call \(call), \(key)") }
            #expect(try await second.get("d", as: String.self).value == "old", "call \(call)")
            #expect(second.pendingChanges == 0, "call \(call)")
            call += 1
        }
        // At least one call for each of the three.
        #expect(call > 4)
    }

    private func process(on server: EmbeddedStore, _ disk: SimulatedFolder) async throws -> (Cache, FaultyStore, Failover) {
        let kept = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always))
        let line = FaultyStore(server)
        let failover = Failover(
            server: line, local: EmbeddedStore(time: time), outbox: Outbox(keptIn: kept, time: time),
            configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
        let cache = Cache(failover: failover, configuration: CacheConfiguration(near: .init(entries: 0)))
        try await failover.outbox.load(into: failover.local)
        return (cache, line, failover)
    }

    @Test func aChangeThatCannotBeKeptIsRefusedAndNotMade() async throws {
        let line = FaultyStore(EmbeddedStore(time: time))
        let outbox = Outbox(configuration: .init(maximumEntries: 1), time: time)
        let failover = Failover(server: line, local: EmbeddedStore(time: time), outbox: outbox, time: time)
        let cache = Cache(failover: failover)
        line.fail(with: StoreError(.connectionFailed))
        await failover.start()
        try await cache.set("a", 1)
        let error = await #expect(throws: StoreError.self) { try await cache.set("b", 1) }
        #expect(error?.code == .outboxFull)
        #expect(try await cache.get("b", as: Int.self).isMiss)
    }
}
