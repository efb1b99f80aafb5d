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
