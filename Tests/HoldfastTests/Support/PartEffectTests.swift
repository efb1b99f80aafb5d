import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// What consists of several steps and fails after the first says that it may have happened; what fails at the first, that it has not.
@Suite struct PartEffectTests {
    private let time = ManualTime()
    private let truth: EmbeddedStore

    init() { truth = EmbeddedStore(time: time) }

    private func cache(_ server: any Store, _ outage: OutageBehavior, room: Int = 100) -> Cache {
        let failover = Failover(
            server: server, local: EmbeddedStore(time: time),
            outbox: Outbox(configuration: .init(maximumEntries: room), time: time), time: time)
        return Cache(failover: failover, configuration: CacheConfiguration(outage: outage))
    }

    /// The server becomes full between two entries.
    @Test(arguments: [OutageBehavior.closed, .local], [0, 1, 2])
    func severalEntriesOfWhichSomeAreWritten(_ outage: OutageBehavior, written: Int) async throws {
        let cache = cache(AnsweringStore.full(truth, after: written), outage, room: outage == .closed ? 100 : 1)
        let error = await failure { try await cache.setMany(["a": 1, "b": 2, "c": 3]) }
        #expect(error?.code == (outage == .closed ? .outOfMemory : .outboxFull))
        #expect(error?.effect == (written == 0 ? StoreError.Effect.none : .unknown))
        #expect(truth.statistics.keys == written)
    }

    /// The caller is cancelled between two pages of a scan: of the leases, of which there are none, then of the entries.
    @Test func aPatternOfWhichSomeEntriesAreRemoved() async throws {
        let line = FaultyStore(truth)
        let cache = cache(line, .local)
        var (scans, effects) = (0, [StoreError.Effect]())
        while true {
            try await cache.setMany(Dictionary(uniqueKeysWithValues: (0..<900).map { ("\($0)", 1) }))
            scans += 1
            line.fail(call: line.calls + scans, with: StoreError(.cancelled))
            guard let error = await failure({ try await cache.invalidate("*") }) else { break }
            #expect(error.code == .cancelled)
            #expect(error.effect == (truth.statistics.keys == 900 ? StoreError.Effect.none : .unknown))
            effects.append(error.effect)
        }
        #expect(Set(effects) == [.none, .unknown])
    }

    @Test func aLogoutOfAllOfWhichSomeAreDone() async throws {
        let fleet = SessionFleet()
        let process = fleet.process()
        var effects: [StoreError.Effect] = []
        while true {
            for _ in 0..<3 { _ = try await process.sessions.create(userID: "u") }
            process.line.fail(call: process.line.calls + effects.count + 1, with: StoreError(.cancelled))
            guard let error = await failure({ try await process.sessions.revokeAll(userID: "u") }) else { break }
            effects.append(error.effect)
        }
        // The mark, the index, each session, their entries, and the index once more.
        #expect(effects.first == StoreError.Effect.none)
        #expect(effects.count > 5 && effects.dropFirst().allSatisfy { $0 == .unknown })
    }
}
