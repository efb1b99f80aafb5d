import HoldfastTesting
import Testing

@testable import HoldfastStore

/// Every call to the disk fails in turn, once for each way to fail, until a whole scenario passes untouched.
@Suite struct JournalFaultTests {
    static let configuration = JournalConfiguration(sync: .always, retryInterval: .milliseconds(1))

    /// What a start finds.
    enum Beginning: CaseIterable {
        case nothing
        /// A base, increments, a file that should have been removed, and an end that was torn.
        case past

        var disk: SimulatedFolder {
            let disk = SimulatedFolder()
            if self == .nothing { return disk }
            func write(_ id: String) -> String { resp("MULTI", "SET a:\(id) 1", "SET b:\(id) 2", "RPUSH order \(id)", "EXEC") }
            let files = [
                ("appendonly.aof.2.base.aof", "b", write("base")), ("appendonly.aof.1.incr.aof", "h", write("history")),
                ("appendonly.aof.2.incr.aof", "i", write("first")),
                ("appendonly.aof.3.incr.aof", "i", write("second") + write("torn").dropLast(9)),
            ]
            let lines = files.map { name, kind, _ in "file \(name) seq \(name.split(separator: ".")[2]) type \(kind)\n" }
            disk.put(Array(lines.joined().utf8), as: SimulatedFolder.manifest)
            for (name, _, text) in files { disk.put(Array(text.utf8), as: name) }
            return disk
        }

        var writes: [String] { self == .nothing ? [] : ["base", "first", "second"] }
    }

    struct Scenario: CustomTestStringConvertible {
        let beginning: Beginning
        let failure: SimulatedFolder.Failure
        let sync: JournalConfiguration.Sync

        static let all = Beginning.allCases.flatMap { beginning in
            SimulatedFolder.Failure.allCases.flatMap { failure in
                [.always, .everysec, .no].map { Scenario(beginning: beginning, failure: failure, sync: $0) }
            }
        }

        var testDescription: String { "\(beginning), \(failure), \(sync)" }
        var configuration: JournalConfiguration { JournalConfiguration(sync: sync, retryInterval: .milliseconds(1)) }
    }

    /// Opens, writes, rewrites, writes. Meanwhile the disk fails from call n on; then it is well again, and all must be.
    @Test(arguments: Scenario.all) func everyCallFailsInTurn(_ scenario: Scenario) async throws {
        var call = 0
        while true {
            let ledger = JournalLedger()
            for id in scenario.beginning.writes { ledger.acknowledge(id) }
            let wasTouched = try await play(scenario, scenario.beginning.disk, ledger, failingAfter: call)
            if !wasTouched { break }
            call += 1
        }
        // Fewer calls than these cannot do what the scenario does. Where nobody waits for the disk, many writes may be one call.
        #expect(call > (scenario.sync == .always ? 30 : 15))
    }

    private func play(
        _ scenario: Scenario, _ disk: SimulatedFolder, _ ledger: JournalLedger, failingAfter call: Int
    ) async throws -> Bool {
        let name = "\(scenario.testDescription) at call \(call)"
        disk.fail(after: call, scenario.failure)
        guard let store = try await open(disk, scenario, name) else { return true }
        for number in 0..<4 { await ledger.write("\(number)", to: store) }
        store.rewriteJournal()
        for number in 4..<8 { await ledger.write("\(number)", to: store) }
        if disk.failures == 0 { try await eventually("the rewrite") { store.journalStatus?.rewrites == 1 || disk.failures > 0 } }
        for number in 8..<10 { await ledger.write("\(number)", to: store) }
        // Reads go on, and know what was refused.
        #expect(try await store(.exists([Key(raw: "none")])) == 0)
        #expect(JournalRemains(store).faults(ledger.now) == [], "\(name), in memory")

        // A power failure at the worst moment. With always nothing acknowledged is missing, otherwise only the end; nothing is torn, and what
        // the start had read is there in any case.
        for seed in 0..<4 {
            let remains = try await disk.afterPowerFailure(seed: UInt64(seed)).remains("\(name), power failure \(seed)")
            guard let remains else { continue }
            if scenario.sync == .always {
                #expect(remains.faults(ledger.now) == [], "\(name), power failure \(seed)")
            } else {
                #expect(
                    remains.isWhole && JournalRemains(store).order.starts(with: remains.order), "\(name), power failure \(seed)")
                #expect(remains.order.starts(with: scenario.beginning.writes), "\(name), power failure \(seed)")
            }
        }

        // Where nobody waits for the disk it may not have been called yet for what was written.
        if scenario.sync != .always { try? await store.sync() }
        disk.heal()
        let wasTouched = disk.failures > 0
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

    /// The store, or nil where the disk failed already; then it opens when that is over, with what was in it.
    private func open(_ disk: SimulatedFolder, _ scenario: Scenario, _ name: String) async throws -> EmbeddedStore? {
        do throws(StoreError) {
            return try await EmbeddedStore.open(in: disk, journal: scenario.configuration)
        } catch {
            #expect([.storageFailed, .dataUnreadable].contains(error.code), "\(name): \(error)")
            disk.heal()
            let remains = try await disk.remains(name)
            #expect(remains?.order == scenario.beginning.writes && remains?.isWhole == true, "\(name)")
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

    /// The disk works again just when the folder is closed: what was refused before is written, and nothing is accepted any more.
    @Test func aFolderThatIsBeingClosedAcceptsNothingWhenTheDiskWorksAgain() async throws {
        let disk = SimulatedFolder()
        let opened = Locked<EmbeddedStore?>(nil)
        let refusals = Locked<[ReplyError?]>([])
        // So long that only closing makes it try again.
        let configuration = JournalConfiguration(sync: .everysec, retryInterval: .seconds(3600))
        let store = try await EmbeddedStore.open(in: disk, journal: configuration) { event in
            guard event == .recovered, let store = opened.withLock({ $0 }) else { return }
            refusals.withLock { $0.append(store.keyspace.withLock { $0.log.refusal }) }
        }
        opened.withLock { $0 = store }
        disk.fail(after: 0, .full)
        try await eventually("refusal") { (try? await store(.incr(Key(raw: "n")))) == nil }
        let accepted = try await store(.get(Key(raw: "n")))
        disk.heal()
        try await store.close()
        #expect(refusals.withLock { $0 } == [.folderIsClosed])
        let reply = try await store.execute(Operation.raw(["INCR", "n"]))
        #expect(reply == .error(.folderIsClosed))
        let again = try await EmbeddedStore.open(in: disk)
        #expect(try await again(.get(Key(raw: "n"))) == accepted)
        try await again.close()
        opened.withLock { $0 = nil }
    }

    /// Writers go on until they are refused, while the disk works again and the folder is closed: what they were told is in the files.
    @Test func whatIsAcknowledgedWhileTheFolderIsClosedIsWritten() async throws {
        for _ in 0..<20 {
            let disk = SimulatedFolder()
            let configuration = JournalConfiguration(sync: .everysec, retryInterval: .milliseconds(1))
            let store = try await EmbeddedStore.open(in: disk, journal: configuration)
            disk.fail(after: 0, .full)
            try await eventually("refusal") { (try? await store(.incr(Key(raw: "n")))) == nil }
            let isOver = Locked(false)
            let writers = (0..<4).map { number in
                Task { () -> Int in
                    var last = 0
                    while !isOver.withLock({ $0 }) {
                        if let count = try? await store(.incr(Key(raw: Bytes(Int64(number))))) { last = count }
                        await Task.yield()
                    }
                    return last
                }
            }
            disk.heal()
            try await store.close()
            isOver.withLock { $0 = true }
            let again = try await EmbeddedStore.open(in: disk)
            for (number, writer) in writers.enumerated() {
                let last = await writer.value
                let kept = try await again(.get(Key(raw: Bytes(Int64(number)))))
                #expect(kept == (last == 0 ? nil : Bytes(Int64(last))))
            }
            try await again.close()
        }
    }

    // MARK: - Settings

    @Test(arguments: [
        (100, 0, 50, 99, false), (100, 0, 50, 100, true), (0, 0, 1, 1_000_000, false), (100, 1000, 1, 999, false),
        (100, 1000, 1, 1000, true), (100, 0, 0, 1, true), (.max, 0, 2, 1_000_000, false), (100, 0, .max, .max, false),
        (1, 0, 0, .max, false), (100, 0, .max, 0, false),
    ])
    func aRewriteIsDueOnceTheFilesHaveGrown(percentage: Int, minimum: Int, base: Int, size: Int, isDue: Bool) {
        let configuration = JournalConfiguration(rewritePercentage: percentage, rewriteMinimumSize: minimum)
        #expect(configuration.isRewriteDue(from: base, to: size) == isDue)
    }

    @Test(arguments: [
        ("rewritePercentage", JournalConfiguration(rewritePercentage: -1)),
        ("rewritePercentage", JournalConfiguration(rewritePercentage: .max)),
        ("rewriteMinimumSize", JournalConfiguration(rewriteMinimumSize: -1)),
        ("retryInterval", JournalConfiguration(retryInterval: .seconds(-1))),
        ("maximumPending", JournalConfiguration(maximumPending: -1)),
    ])
    func aSettingOutOfItsRangeIsNamed(field: String, configuration: JournalConfiguration) async {
        let error = await #expect(throws: StoreError.self) {
            try await EmbeddedStore.open(in: SimulatedFolder(), journal: configuration)
        }
        #expect(error?.code == .invalidArgument && error?.field == field)
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
