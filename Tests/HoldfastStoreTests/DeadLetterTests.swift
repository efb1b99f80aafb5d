import HoldfastStore
import HoldfastTesting
import Testing

/// What is decided about dead letters while the folder fails.
@Suite struct DeadLetterTests {
    private let f: Counter

    init() { f = Counter() }

    private init(_ counter: Counter) { f = counter }

    /// An outbox with two dead letters, 1 and 2, of which the server would take both now.
    private func outbox(keptIn store: any Store) async throws -> Outbox {
        let outbox = f.outbox(keptIn: store)
        _ = try await f.truth(.set(Key(raw: "list"), "no list"))
        for number in 1...2 { try await outbox.add(Counter.item("\(number)")) }
        try await outbox.replay(on: f.server)
        _ = try await f.truth(.del([Key(raw: "list")]))
        // It hears of the letters in the background, and would take the failure that a test means for its own call.
        try await outbox.settleFolder()
        #expect(outbox.deadLetters().map(\.entry.number) == [1, 2] && outbox.isEmpty)
        return outbox
    }

    private func reloaded(_ store: any Store) async throws -> Outbox {
        let outbox = f.outbox(keptIn: store)
        try await outbox.load(into: EmbeddedStore(time: f.time))
        return outbox
    }

    private func letters(of outbox: Outbox) -> [String] {
        outbox.deadLetters().map { "\($0.entry.number) \($0.entry.arguments) \($0.code) \($0.died)" }
    }

    /// The folder refuses one call, before or after its effect: the letter is still there, here and in the folder, and is dropped or retried
    /// the second time, once.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect], [true, false])
    func aLetterStaysWhereTheFolderFails(_ moment: FaultyStore.Moment, _ isRetry: Bool) async throws {
        let kept = FaultyStore(EmbeddedStore(time: f.time))
        let outbox = try await outbox(keptIn: kept)
        func decide() async throws -> Bool { try await isRetry ? outbox.retry(1) : outbox.drop(1) }
        kept.fail(call: kept.calls + 1, with: StoreError(.storageFailed, effect: .unknown), moment)
        let error = await #expect(throws: StoreError.self) { _ = try await decide() }
        #expect(error?.code == .storageFailed)
        #expect(outbox.deadLetters().map(\.entry.number) == [1, 2] && outbox.isEmpty)
        try await outbox.settleFolder()
        #expect(!outbox.owesItsFolder)
        let successor = try await reloaded(kept)
        #expect(letters(of: successor) == letters(of: outbox) && successor.isEmpty)
        #expect(try await decide())
        #expect(try await !decide())
        #expect(outbox.deadLetters().map(\.entry.number) == [2] && outbox.entries().count == (isRetry ? 1 : 0))
        try await outbox.replay(on: f.server)
        #expect(try await f.list() == (isRetry ? ["1"] : []))
        try await outbox.settleFolder()
        let last = try await reloaded(kept)
        #expect(letters(of: last) == letters(of: outbox) && last.isEmpty)
    }

    /// A decision that could not be written is followed by one that can, before the folder was looked at again.
    @Test func theNextDecisionSettlesWhatTheLastHasLeft() async throws {
        let kept = FaultyStore(EmbeddedStore(time: f.time))
        let outbox = try await outbox(keptIn: kept)
        kept.fail(call: kept.calls + 1, with: StoreError(.storageFailed, effect: .unknown), .afterEffect)
        await #expect(throws: StoreError.self) { try await outbox.retry(1) }
        #expect(try await outbox.retry(2))
        #expect(!outbox.owesItsFolder)
        let successor = try await reloaded(kept)
        #expect(letters(of: successor) == letters(of: outbox) && successor.entries() == outbox.entries())
        try await successor.replay(on: f.server)
        #expect(try await f.list() == ["2"])
    }

    /// An entry is changed while the server refuses it, again and again: its last letter is there, and counts once.
    @Test func aLetterThatTakesThePlaceOfAnEarlierOneCountsOnce() async throws {
        let outbox = f.outbox()
        let list = Key(raw: "list")
        _ = try await f.truth(.set(list, "no list"))
        @Sendable func item(_ number: Int) -> Outbox.Item {
            Outbox.Item("test.add@1", keys: [list, Key(raw: "mark")], arguments: [Bytes("\(number)")], named: "n")
        }
        let count = Locked(0)
        let server = InterceptedStore(f.server) { _ throws(StoreError) in
            let number = count.withLock { count in
                count += 1
                return count
            }
            if number < 5 { try await outbox.add(item(number)) }
        }
        try await outbox.add(item(0))
        while !outbox.isEmpty { try await outbox.replay(on: server) }
        #expect(outbox.deadLetters().map(\.entry.arguments) == [["4"]])
        #expect(try await outbox.drop(1))
        #expect(outbox.status.bytes == 0)
    }

    /// Retried after four days, and handed over after four more: its marker, or a tombstone that it must meet, may have ended.
    @Test(arguments: [false, true]) func aLetterThatIsRetriedIsNoYounger(restarts: Bool) async throws {
        let kept = EmbeddedStore(time: f.time)
        let first = try await outbox(keptIn: kept)
        let accepted = first.deadLetters().map(\.entry.accepted)
        f.time.advance(by: .seconds(4 * 86_400))
        for number in [1, 2] as [Int64] { #expect(try await first.retry(number)) }
        #expect(first.entries().map(\.accepted) == accepted && first.status.oldest == accepted.first)
        f.time.advance(by: .seconds(4 * 86_400))
        let last = try await restarts ? reloaded(kept) : first
        try await last.replay(on: f.server)
        #expect(last.deadLetters().map(\.code) == ["too-old", "too-old"] && last.isEmpty)
        #expect(try await f.list() == [])
    }

    @Test func manyWhoRetryOneLetterRetryItOnce() async throws {
        let outbox = try await outbox(keptIn: EmbeddedStore(time: f.time))
        let retried = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<20 { group.addTask { try await outbox.retry(1) } }
            return try await group.reduce(into: 0) { if $1 { $0 += 1 } }
        }
        #expect(retried == 1 && outbox.entries().count == 1)
    }

    /// Every call to the disk fails in turn, until a drop and a retry pass untouched; then the disk is well again.
    @Test(arguments: SimulatedFolder.Failure.allCases)
    func everyCallOfTheDiskFailsInTurn(_ failure: SimulatedFolder.Failure) async throws {
        var call = 0
        var isTouched = true
        while isTouched {
            let f = Counter()
            let disk = SimulatedFolder()
            let journal = JournalConfiguration(sync: .always, retryInterval: .milliseconds(1))
            let kept = try await EmbeddedStore.open(in: disk, journal: journal)
            let outbox = try await DeadLetterTests(f).outbox(keptIn: kept)
            disk.fail(after: call, failure)
            let isDropped = try? await outbox.drop(1)
            #expect(outbox.deadLetters().map(\.entry.number) == (isDropped == true ? [2] : [1, 2]), "call \(call)")
            let isRetried = try? await outbox.retry(2)
            #expect(outbox.deadLetters().contains { $0.entry.number == 2 } == (isRetried != true), "call \(call)")
            #expect(outbox.entries().count == (isRetried == true ? 1 : 0), "call \(call)")
            isTouched = disk.failures > 0
            disk.heal()
            #expect(await f.time.advanceUntil(by: .seconds(1)) { kept.journalStatus?.failure == nil })
            try await outbox.settleFolder()
            // What was not dropped or retried is, and each once.
            if isDropped != true { #expect(try await outbox.drop(1), "call \(call)") }
            if isRetried != true { #expect(try await outbox.retry(2), "call \(call)") }
            let reopened = try await EmbeddedStore.open(in: disk.afterPowerFailure(seed: UInt64(call)), journal: journal)
            let successor = try await DeadLetterTests(f).reloaded(reopened)
            #expect(successor.deadLetters() == [] && successor.entries() == outbox.entries(), "call \(call)")
            try await successor.replay(on: f.server)
            #expect(try await f.list() == ["2"], "call \(call)")
            try await reopened.close()
            try await kept.close()
            call += 1
        }
        #expect(call > 2)
    }
}
