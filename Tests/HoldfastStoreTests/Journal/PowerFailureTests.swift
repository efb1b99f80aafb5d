import HoldfastTesting
import Testing

@testable import HoldfastStore

/// What a disk has when the power fails while many write.
@Suite struct PowerFailureTests {
    /// Eight writers, rewrites among them, and the power failing again and again: whatever was acknowledged before is there.
    @Test(arguments: 0..<6) func withAlwaysNothingAcknowledgedIsMissing(_ seed: UInt64) async throws {
        let disk = SimulatedFolder()
        let ledger = JournalLedger()
        let store = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always))
        try await withThrowingTaskGroup { group in
            for writer in 0..<8 {
                group.addTask {
                    for number in 0..<12 {
                        await ledger.write("\(writer).\(number)", to: store)
                        if writer == 0, number.isMultiple(of: 4) { store.rewriteJournal() }
                    }
                }
            }
            group.addTask {
                for failure in 0..<12 {
                    // First what is known, then the power fails.
                    let known = ledger.now
                    let remains = try await disk.afterPowerFailure(seed: seed * 100 + UInt64(failure)).remains(
                        "failure \(failure)")
                    if let remains { #expect(remains.faults(known) == [], "failure \(failure)") }
                }
            }
            try await group.waitForAll()
        }
        #expect(ledger.now.acknowledged.count == 96)
        try await store.close()
        let remains = try await disk.afterPowerFailure(seed: seed).remains("at the end")
        #expect(remains?.faults(ledger.now) == [])
    }

    /// With everysec the end may be missing, but only the end, and never a part of a transaction; what was synced is there.
    @Test(arguments: [JournalConfiguration.Sync.everysec, .no], 0..<6)
    func otherwiseOnlyTheEndIsMissing(_ sync: JournalConfiguration.Sync, _ seed: UInt64) async throws {
        let disk = SimulatedFolder()
        let ledger = JournalLedger()
        let store = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: sync))
        var synced = ledger.now
        for number in 0..<60 {
            await ledger.write("\(number)", to: store)
            if number == 30 {
                try await store.sync()
                synced = ledger.now
            }
            if number == 40 { store.rewriteJournal() }
            guard number.isMultiple(of: 6) else { continue }
            let remains = try await disk.afterPowerFailure(seed: seed * 100 + UInt64(number)).remains("after \(number)")
            guard let remains else { continue }
            #expect(remains.isWhole)
            #expect(remains.order == (0..<remains.order.count).map(String.init), "a gap")
            #expect(synced.acknowledged.isSubset(of: remains.order))
        }
        try await store.close()
        #expect(try await disk.afterPowerFailure(seed: seed).remains("at the end")?.order == (0..<60).map(String.init))
    }

    /// Killed in a rotation: the manifest names the new increment already, and the old one has an end that was not synced. The next start
    /// reads all of it, and the power fails after that: what was read and built on is there, and the folder can be read.
    @Test func whatAStartHasReadOfAnEarlierIncrementIsOnTheDisk() async throws {
        for seed in 0..<20 as Range<UInt64> {
            let disk = SimulatedFolder()
            disk.put(
                Array("file appendonly.aof.1.incr.aof seq 1 type i\nfile appendonly.aof.2.incr.aof seq 2 type i\n".utf8),
                as: SimulatedFolder.manifest)
            disk.put(Array(resp("RPUSH order 0").utf8), as: SimulatedFolder.firstIncrement)
            disk.put([], as: "appendonly.aof.2.incr.aof")
            let old = try disk.open(SimulatedFolder.firstIncrement, .existing)
            var position = 0
            try old.append(Array(resp("RPUSH order 1", "RPUSH order 2").utf8), from: &position, at: try old.size())
            let killed = disk.afterProcessDeath()

            let store = try await EmbeddedStore.open(in: killed, journal: JournalConfiguration(sync: .always))
            let order = Key(raw: "order")
            #expect(try await store(.lrange(order, 0, -1)) == ["0", "1", "2"])
            _ = try await store(.rpush(order, ["3"]))
            let after = try await EmbeddedStore.open(in: killed.afterPowerFailure(seed: seed))
            #expect(try await after(.lrange(order, 0, -1)) == ["0", "1", "2", "3"], "seed \(seed)")
            try await after.close()
            try await store.close()
        }
    }

    /// The same wherever the process is killed: at each call to the disk in turn, while it writes and rewrites.
    @Test(arguments: [JournalConfiguration.Sync.always, .everysec, .no])
    func aStartAfterAKillAtAnyCallBuildsOnNothingThatCanBeLost(_ sync: JournalConfiguration.Sync) async throws {
        var call = 1
        while true {
            let (disk, ledger, killed) = (SimulatedFolder(), JournalLedger(), Locked<SimulatedFolder?>(nil))
            disk.before(call: call) { disk in killed.withLock { $0 = disk.afterProcessDeath() } }
            let store = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: sync))
            for number in 0..<6 {
                await ledger.write("\(number)", to: store)
                if number == 3 { store.rewriteJournal() }
            }
            try await eventually("the rewrite") { store.journalStatus?.rewrites == 1 }
            try await store.close()
            guard let killed = killed.withLock({ $0 }) else { break }

            let next = try await EmbeddedStore.open(in: killed, journal: JournalConfiguration(sync: .always))
            await ledger.write("next", to: next)
            let seen = JournalRemains(next)
            #expect(seen.isWhole && seen.order.last == "next")
            for seed in 0..<4 as Range<UInt64> {
                let remains = try await killed.afterPowerFailure(seed: seed).remains("killed at call \(call), seed \(seed)")
                #expect(remains == seen, "killed at call \(call), seed \(seed)")
            }
            try await next.close()
            call += 1
        }
        // Fewer calls than these cannot do what the scenario does.
        #expect(call > 15)
    }

    /// Many who wait for the disk share one fsync.
    @Test func concurrentWritersShareASync() async throws {
        let disk = SlowDisk()
        let store = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always))
        let before = store.journalStatus?.syncs ?? 0
        // The first is on the disk's hands until all others have come.
        disk.hold()
        await withTaskGroup { group in
            for number in 0..<100 {
                group.addTask { _ = try? await store(.set(Key(raw: Bytes(Int64(number))), "v")) }
            }
            while (try? await store(.dbsize)) != 100 { await Task.yield() }
            disk.release()
        }
        let syncs = (store.journalStatus?.syncs ?? 0) - before
        #expect((1...2).contains(syncs), "\(syncs)")
        try await store.close()
    }
}

/// A disk whose syncs wait while they are held.
private final class SlowDisk: DataFolder {
    private let folder = SimulatedFolder()
    fileprivate let isHeld = Locked(false)
    fileprivate let bell = Doorbell()

    func hold() { isHeld.withLock { $0 = true } }
    func release() {
        isHeld.withLock { $0 = false }
        bell.ring()
    }

    func open(_ name: String, _ mode: DataFileMode) throws(DataFileError) -> any DataFile {
        SlowFile(disk: self, file: try folder.open(name, mode))
    }
    func names() throws(DataFileError) -> [String] { try folder.names() }
    func rename(_ old: String, to new: String) throws(DataFileError) { try folder.rename(old, to: new) }
    func remove(_ name: String) throws(DataFileError) { try folder.remove(name) }
    func sync() throws(DataFileError) { try folder.sync() }
}

private struct SlowFile: DataFile {
    let disk: SlowDisk
    let file: any DataFile

    func size() throws(DataFileError) -> Int { try file.size() }
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DataFileError) -> Int {
        try file.read(into: buffer, at: offset)
    }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(DataFileError) -> Int { try file.write(bytes, at: offset) }
    func truncate(to size: Int) throws(DataFileError) { try file.truncate(to: size) }
    func sync() throws(DataFileError) {
        while disk.isHeld.withLock({ $0 }) { disk.bell.wait(atMost: .seconds(1)) }
        try file.sync()
    }
}
