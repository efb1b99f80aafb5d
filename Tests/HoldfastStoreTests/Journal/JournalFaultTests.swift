import HoldfastTesting
import Testing

@testable import HoldfastStore

/// Every call to the disk fails in turn, once for each way to fail, until a whole scenario passes untouched.
@Suite struct JournalFaultTests {
    static let configuration = JournalConfiguration(sync: .always, retryInterval: .milliseconds(1))

    /// Opens, writes, rewrites, writes. Meanwhile the disk fails from call n on; then it is well again, and all must be.
    @Test(arguments: SimulatedFolder.Failure.allCases)
    func everyCallFailsInTurn(_ failure: SimulatedFolder.Failure) async throws {
        var call = 0
        while true {
            let disk = SimulatedFolder()
            let ledger = JournalLedger()
            let wasTouched = try await play(disk, ledger, failingAfter: call, failure)
            if !wasTouched { break }
            call += 1
        }
        // Fewer calls than these cannot do what the scenario does.
        #expect(call > 30)
    }

    private func play(
        _ disk: SimulatedFolder, _ ledger: JournalLedger, failingAfter call: Int, _ failure: SimulatedFolder.Failure
    ) async throws -> Bool {
        let name = "\(failure) at call \(call)"
        disk.fail(after: call, failure)
        guard let store = try await open(disk, name) else { return true }
        for number in 0..<4 { await ledger.write("\(number)", to: store) }
        store.rewriteJournal()
        for number in 4..<8 { await ledger.write("\(number)", to: store) }
        if disk.failures == 0 { try await eventually("the rewrite") { store.journalStatus?.rewrites == 1 || disk.failures > 0 } }
        for number in 8..<10 { await ledger.write("\(number)", to: store) }
        // Reads go on, and know what was refused.
        #expect(try await store(.exists([Key(raw: "none")])) == 0)
        #expect(JournalRemains(store).faults(ledger.now) == [], "\(name), in memory")

        // A power failure at the worst moment: nothing acknowledged is missing, nothing torn.
        for seed in 0..<4 {
            let remains = try await disk.afterPowerFailure(seed: UInt64(seed)).remains("\(name), power failure \(seed)")
            if let remains { #expect(remains.faults(ledger.now) == [], "\(name), power failure \(seed)") }
        }

        let wasTouched = disk.failures > 0
        disk.heal()
        try await eventually("\(name): recovery") { store.journalStatus?.failure == nil }
        try await eventually("\(name): a write") {
            await ledger.write("last", to: store)
            return ledger.now.acknowledged.contains("last")
        }
        let before = JournalRemains(store)
        try await store.close()
        let after = try await disk.remains(name)
        #expect(after == before, "\(name): the file and the memory")
        #expect(after?.faults(ledger.now.without("last")) == [], "\(name), afterwards")
        let lost = try await disk.afterPowerFailure(seed: 9).remains("\(name), power failure at the end")
        #expect(lost == before, "\(name): a power failure at the end")
        return wasTouched
    }

    /// The store, or nil where the disk failed already; then it opens when that is over, with nothing in it.
    private func open(_ disk: SimulatedFolder, _ name: String) async throws -> EmbeddedStore? {
        do throws(StoreError) {
            return try await EmbeddedStore.open(in: disk, journal: Self.configuration)
        } catch {
            #expect([.storageFailed, .dataUnreadable].contains(error.code), "\(name): \(error)")
            disk.heal()
            let remains = try await disk.remains(name)
            #expect(remains?.order == [])
            return nil
        }
    }

    @Test func aFullDiskIsToldAsRedisTellsIt() async throws {
        let disk = SimulatedFolder()
        let events = Locked<[JournalEvent]>([])
        let store = try await EmbeddedStore.open(in: disk, journal: Self.configuration) { event in
            events.withLock { $0.append(event) }
        }
        let key = Key(raw: "k")
        _ = try await store(.set(key, "1"))
        disk.fail(after: 0, .full)
        let first = await #expect(throws: StoreError.self) { try await store(.set(key, "2")) }
        #expect(first?.code == .storageFailed && first?.effect == .unknown)
        let reply = try await store.execute(.strings(.set(key, "3", SetOptions())))
        #expect(reply == .error(ReplyError("MISCONF Errors writing to the AOF file: No space left on device")))
        let second = await #expect(throws: StoreError.self) { try await store(.set(key, "3")) }
        #expect(second?.code == .storageFailed && second?.effect == StoreError.Effect.none)
        #expect(try await store(.get(key)) == "2")
        #expect(store.journalStatus?.failure?.number == 28)
        disk.heal()
        try await eventually("recovery") { store.journalStatus?.failure == nil }
        try await eventually("a write") { (try? await store(.set(key, "4"))) != nil }
        #expect(events.withLock { $0.map(\.isFailure) } == [true, false])
        try await store.close()
        let again = try await EmbeddedStore.open(in: disk)
        #expect(try await again(.get(key)) == "4")
        try await again.close()
    }

    /// With everysec nobody waits for the disk, so the first who hear of it are those who come next.
    @Test func withEverysecLaterWritesAreRefused() async throws {
        let disk = SimulatedFolder()
        let configuration = JournalConfiguration(sync: .everysec, retryInterval: .milliseconds(1))
        let store = try await EmbeddedStore.open(in: disk, journal: configuration)
        disk.fail(after: 0, .full)
        try await eventually("refusal") { (try? await store(.incr(Key(raw: "n")))) == nil }
        let accepted = try await store(.get(Key(raw: "n")))
        #expect(try await store(.get(Key(raw: "n"))) == accepted)
        disk.heal()
        try await eventually("recovery") { store.journalStatus?.failure == nil }
        try await store.close()
        let again = try await EmbeddedStore.open(in: disk)
        #expect(try await again(.get(Key(raw: "n"))) == accepted)
        try await again.close()
    }

    @Test func aRewriteThatFailsLeavesTheOldFilesValid() async throws {
        let disk = SimulatedFolder()
        let store = try await EmbeddedStore.open(in: disk, journal: Self.configuration)
        for number in 0..<100 { _ = try await store(.set(Key(raw: Bytes(Int64(number))), "v")) }
        let before = store.contents
        // The increment is made; the base, whose opening needs room, is not.
        disk.fail(after: 1, .full)
        store.rewriteJournal()
        try await eventually("the failure") {
            store.journalStatus?.lastRewriteFailure != nil || store.journalStatus?.failure != nil
        }
        disk.heal()
        try await eventually("recovery") { store.journalStatus?.failure == nil }
        #expect(store.journalStatus?.rewrites == 0)
        #expect(store.contents == before)
        try await store.close()
        let again = try await EmbeddedStore.open(in: disk)
        #expect(again.contents == before)
        try await again.close()
    }
}

extension JournalEvent {
    fileprivate var isFailure: Bool {
        if case .failed = self { return true }
        return false
    }
}

extension JournalLedger.Entries {
    /// Without a write that was tried more than once, and so was refused and acknowledged.
    fileprivate func without(_ id: String) -> Self {
        var rest = self
        rest.refused.remove(id)
        rest.unknown.remove(id)
        return rest
    }
}
