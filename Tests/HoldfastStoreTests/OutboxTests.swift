import HoldfastTesting
import Testing

@testable import HoldfastStore

/// A server that counts: an additive action that bears a marker, as ``ReplayAction`` asks for, and one that the server refuses.
struct Counter {
    let time = ManualTime()
    let server: FaultyStore
    let truth: EmbeddedStore

    init() {
        truth = EmbeddedStore(time: time)
        server = FaultyStore(truth)
    }

    static let add = Script(
        "test.add", version: 1,
        lua: """
            if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
            redis.call('RPUSH', KEYS[1], ARGV[2])
            redis.call('SET', KEYS[2], 1)
            return 1
            """
    ) { (store, keys, arguments, _) throws(ReplyError) in
        if store.exists(keys[1]) { return .integer(0) }
        try store.rpush(keys[0], [arguments[0]])
        try store.set(keys[1], "1")
        return .integer(1)
    }

    func outbox(
        keptIn store: (any Store)? = nil, _ configuration: Outbox.Configuration = .init(),
        observer: @escaping @Sendable (DeadLetter) -> Void = { _ in }
    ) -> Outbox {
        let outbox = Outbox(keptIn: store, configuration: configuration, time: time, observer: observer)
        let carryOut: ReplayAction.Step = { (entry, store) throws(StoreError) in
            _ = try await store.run(
                Procedure(Self.add, keys: entry.keys, arguments: entry.arguments) { $0.integer })
        }
        outbox.register(ReplayAction("test.add@1", recall: carryOut, carryOut: carryOut))
        outbox.register(
            ReplayAction("test.set@1") { (entry, store) throws(StoreError) in
                _ = try await store(.set(entry.keys[0], entry.arguments[0]))
            })
        return outbox
    }

    static func item(_ text: String, to list: String = "list") -> Outbox.Item {
        let list = Key(raw: Bytes(list))
        return Outbox.Item(
            "test.add@1", keys: [list, Key(raw: Bytes("mark:\(text)"))], arguments: [Bytes(text)], about: list.bytes)
    }

    func list(_ name: String = "list") async throws -> [Bytes] { try await truth(.lrange(Key(raw: Bytes(name)), 0, -1)) }
}

private func key(_ name: String) -> Key { Key(raw: Bytes(name)) }

@Suite struct OutboxTests {
    private let f = Counter()
    private let lost = StoreError(.connectionLost, effect: .unknown)

    /// Two changes of one thing at once, of which the first cannot be kept.
    @Test func whatTakesThePlaceOfAnEntryThatFailsIsKept() async throws {
        let folder = FirstWriteHeld()
        let outbox = f.outbox(keptIn: folder)
        func item(_ text: String) -> Outbox.Item {
            Outbox.Item("test.set@1", keys: [key("k")], arguments: [Bytes(text)], named: "k")
        }
        let first = Task { try await outbox.add(item("first")) }
        await folder.isHeld()
        let second = Task { try await outbox.add(item("second")) }
        while outbox.state.withLock({ $0.revision }) < 2 { await Task.yield() }
        folder.failFirst()
        await #expect(throws: StoreError.self) { try await first.value }
        try await second.value
        #expect(!outbox.isEmpty && outbox.entries().map(\.arguments) == [["second"]])
        try await outbox.replay(on: f.server)
        #expect(try await f.truth(.get(key("k"))) == "second")
        #expect(outbox.isEmpty && outbox.status.backlog == 0)
    }

    @Test func entriesOfOneSubjectAreCarriedOutInOrder() async throws {
        let outbox = f.outbox()
        for number in 0..<1500 { try await outbox.add(Counter.item("\(number)", to: "list\(number % 3)")) }
        #expect(outbox.status.backlog == 1500)
        try await outbox.replay(on: f.server)
        for list in 0..<3 {
            #expect(try await f.list("list\(list)") == stride(from: list, to: 1500, by: 3).map { Bytes("\($0)") })
        }
        #expect(outbox.isEmpty && outbox.status.handedOver == 1500 && outbox.status.bytes == 0)
    }

    /// The first takes its time, and the fourth has a key in common with it, and one with the third.
    @Test func entriesThatShareAKeyAreCarriedOutInOrder() async throws {
        let outbox = f.outbox()
        let order = Locked<[Int64]>([])
        outbox.register(
            ReplayAction("test.note@1") { (entry, _) throws(StoreError) in
                if entry.number == 1 { for _ in 0..<1000 { await Task.yield() } }
                order.withLock { $0.append(entry.number) }
            })
        for keys in [["a"], ["b"], ["b", "c"], ["c", "a"], ["d"]] {
            try await outbox.add(Outbox.Item("test.note@1", keys: keys.map(key)))
        }
        try await outbox.replay(on: f.server)
        #expect(order.withLock { $0.filter { $0 < 5 } } == [1, 2, 3, 4])
        #expect(order.withLock { $0.count } == 5)
    }

    /// What must come before an entry is done before it; where it cannot be, the entry waits and nobody else does.
    @Test func whatMustComeBeforeAnEntryDoes() async throws {
        let outbox = f.outbox()
        let isPossible = Locked(false)
        outbox.register(before: "test.add@1") { (server) throws(StoreError) in
            guard isPossible.withLock({ $0 }) else { return false }
            _ = try await server(.rpush(key("list"), ["before"]))
            return true
        }
        try await outbox.add(Counter.item("added"))
        try await outbox.add(Outbox.Item("test.set@1", keys: [key("k")], arguments: ["set"]))
        try await outbox.replay(on: f.server)
        #expect(try await f.truth(.get(key("k"))) == "set")
        #expect(try await f.list() == [] && outbox.status.backlog == 1)
        isPossible.withLock { $0 = true }
        f.server.fail(call: f.server.calls + 1, with: lost)
        await #expect(throws: lost) { try await outbox.replay(on: f.server) }
        #expect(outbox.status.backlog == 1)
        try await outbox.replay(on: f.server)
        #expect(try await f.list() == ["before", "added"] && outbox.isEmpty)
    }

    /// The reply of each call is lost in turn, before and after its effect: every entry has its effect once, in order.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func eachLostReplyIsMadeGood(_ moment: FaultyStore.Moment) async throws {
        for call in 1...10 {
            let f = Counter()
            let outbox = f.outbox()
            for number in 0..<10 { try await outbox.add(Counter.item("\(number)")) }
            f.server.fail(call: call, with: lost, moment)
            await #expect(throws: lost) { try await outbox.replay(on: f.server) }
            #expect(outbox.status.backlog == 11 - call)
            f.server.recover()
            try await outbox.replay(on: f.server)
            #expect(try await f.list() == (0..<10).map { Bytes("\($0)") }, "call \(call)")
        }
    }

    /// The process dies at each call to the server in turn; what it kept in its folder goes on.
    @Test func whatWasAcceptedOutlivesTheProcess() async throws {
        for call in 1...6 {
            let f = Counter()
            let disk = SimulatedFolder()
            let kept = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always))
            let first = f.outbox(keptIn: kept)
            for number in 0..<5 { try await first.add(Counter.item("\(number)")) }
            f.server.die(afterCall: call)
            _ = try? await first.replay(on: f.server)
            // The power fails; nothing is closed.
            let reopened = try await EmbeddedStore.open(
                in: disk.afterPowerFailure(seed: UInt64(call)), journal: JournalConfiguration(sync: .always))
            let second = f.outbox(keptIn: reopened)
            let local = EmbeddedStore(time: f.time)
            try await second.load(into: local)
            #expect(second.status.isDurable)
            // What waits is seen here meanwhile.
            #expect(try await local(.llen(key("list"))) == second.status.backlog)
            f.server.recover()
            try await second.add(Counter.item("new"))
            try await second.replay(on: f.server)
            #expect(try await f.list() == ["0", "1", "2", "3", "4", "new"], "call \(call)")
            // It hears of the hand-over in the background.
            try await second.settleFolder()
            #expect(try await reopened(.exists(key("outbox:entries"))) == false)
            try await reopened.close()
            try await kept.close()
        }
    }

    @Test func aFullOutboxRefusesAndSaysSo() async throws {
        let outbox = f.outbox(.init(maximumEntries: 3))
        for number in 0..<3 { try await outbox.add(Counter.item("\(number)")) }
        let refusal = await #expect(throws: StoreError.self) { try await outbox.add(Counter.item("3")) }
        #expect(refusal?.code == .outboxFull && refusal?.effect == StoreError.Effect.none)
        #expect(outbox.status.refused == 1)
        #expect(throws: StoreError.self) { try outbox.checkRoom() }
        #expect(outbox.status.refused == 2)
        let small = f.outbox(.init(maximumBytes: 1000))
        await #expect(throws: StoreError.self) {
            try await small.add(Outbox.Item("test.set@1", keys: [key("k")], arguments: [Bytes(Array(repeating: 0, count: 1000))]))
        }
        try await outbox.replay(on: f.server)
        try await outbox.add(Counter.item("3"))
        #expect(outbox.status.backlog == 1)
    }

    @Test func aLaterEntryOfOneNameTakesThePlaceOfTheEarlier() async throws {
        let outbox = f.outbox(.init(maximumEntries: 2))
        func item(_ value: Bytes) -> Outbox.Item { .init("test.set@1", keys: [key("k")], arguments: [value], named: "k") }
        try await outbox.add(item("1"))
        try await outbox.add(Counter.item("a"))
        for value in ["2", "3"] { try await outbox.add(item(Bytes(value))) }
        #expect(outbox.entries().map(\.number) == [1, 2] && outbox.entries()[0].arguments == ["3"])
        try await outbox.replay(on: f.server)
        #expect(try await f.truth(.get(key("k"))) == "3")
        #expect(outbox.status.handedOver == 2)
    }

    /// What the server refuses does not hold the others up, is kept over a restart, and is retried or dropped by hand.
    @Test func whatTheServerRefusesBecomesADeadLetter() async throws {
        let kept = EmbeddedStore(time: f.time)
        let told = Locked<[String]>([])
        let outbox = f.outbox(keptIn: kept) { letter in told.withLock { $0.append(letter.code) } }
        _ = try await f.truth(.set(key("list"), "no list"))
        for number in 0..<2 { try await outbox.add(Counter.item("\(number)")) }
        try await outbox.add(Outbox.Item("test.unknown@7"))
        try await outbox.add(Counter.item("else", to: "other"))
        try await outbox.replay(on: f.server)
        #expect(try await f.list("other") == ["else"])
        #expect(told.withLock { $0 }.sorted() == ["unsupported-format", "wrong-type", "wrong-type"])
        // Which a hand-over does not wait for.
        try await outbox.settleFolder()

        let second = f.outbox(keptIn: kept)
        try await second.load(into: EmbeddedStore(time: f.time))
        let letters = second.deadLetters()
        #expect(letters.map(\.entry.number) == [1, 2, 3] && letters.map(\.code) == outbox.deadLetters().map(\.code))
        #expect(second.deadLetters(after: 1, limit: 1).map(\.entry.number) == [2])
        _ = try await f.truth(.del([key("list")]))
        #expect(try await second.retry(2))
        #expect(try await !second.retry(2))
        #expect(try await second.drop(3))
        #expect(try await !second.drop(3))
        try await second.replay(on: f.server)
        #expect(try await f.list() == ["1"])
        #expect(second.status.deadLetters == 1)
        try await second.settleFolder()

        let third = f.outbox(keptIn: kept)
        try await third.load(into: EmbeddedStore(time: f.time))
        #expect(third.deadLetters().map(\.entry.number) == second.deadLetters().map(\.entry.number) && third.isEmpty)
    }

    @Test func whatWaitedTooLongIsNotDoneButShown() async throws {
        let outbox = f.outbox()
        try await outbox.add(Counter.item("old"))
        f.time.advance(by: .seconds(7 * 86_400 + 1))
        try await outbox.add(Counter.item("new"))
        #expect(outbox.status.oldest == f.time.now + .seconds(-7 * 86_400 - 1))
        try await outbox.replay(on: f.server)
        #expect(try await f.list() == ["new"])
        #expect(outbox.deadLetters().map(\.code) == ["too-old"])
    }

    /// A wall clock that is set, forward and back, makes nothing older or younger; over a restart it is all there is.
    @Test(arguments: [8, -8]) func aClockThatIsSetMakesNothingOld(days: Int64) async throws {
        let kept = EmbeddedStore(time: f.time)
        let outbox = f.outbox(keptIn: kept)
        try await outbox.add(Counter.item("young"))
        f.time.advance(by: .seconds(86_400))
        f.time.stepWallClock(by: .seconds(days * 86_400))
        try await outbox.replay(on: f.server)
        #expect(try await f.list() == ["young"])
        try await outbox.settleFolder()
        try await outbox.add(Counter.item("old"))
        f.time.stepWallClock(by: .seconds(-days * 86_400))
        let second = f.outbox(keptIn: kept)
        try await second.load(into: EmbeddedStore(time: f.time))
        f.time.advance(by: .seconds(8 * 86_400))
        try await outbox.replay(on: f.server)
        #expect(outbox.deadLetters().map(\.code) == ["too-old"])
        // As far as the next process knows it was accepted eight days later, or earlier, than it was.
        try await second.replay(on: f.server)
        #expect(second.deadLetters().map(\.code) == (days < 0 ? ["too-old"] : []))
    }

    @Test func aRefusalOfCredentialsKeepsEverything() async throws {
        let outbox = f.outbox()
        try await outbox.add(Counter.item("0"))
        f.server.fail(with: StoreError(.serverRefused, "WRONGPASS invalid username-password pair"))
        await #expect(throws: StoreError.self) { try await outbox.replay(on: f.server) }
        #expect(outbox.status.backlog == 1)
        // Refused as a whole, whatever the words are.
        f.server.fail(with: StoreError(.serverRefused, "NOPERM this user has no permissions to run the 'hello' command"))
        await #expect(throws: StoreError.self) { try await outbox.replay(on: f.server) }
        #expect(outbox.status.backlog == 1 && outbox.status.deadLetters == 0)
    }

    /// Of one entry, by a server that takes the others: they do not wait behind it.
    @Test func aPermissionThatIsMissingForOneEntryMakesItADeadLetter() async throws {
        let outbox = f.outbox()
        try await outbox.add(Counter.item("0"))
        let refusal = ReplyError("NOPERM this user has no permissions to access one of the keys used as arguments")
        f.server.fail(call: 1, with: StoreError(refusal), .beforeEffect)
        try await outbox.add(Counter.item("1", to: "other"))
        try await outbox.replay(on: f.server)
        #expect(outbox.deadLetters().map(\.code) == ["permission-missing"])
        #expect(outbox.isEmpty && outbox.status.handedOver == 1)
    }

    /// What cannot be kept is not accepted, and what was accepted before stays as it was.
    @Test func aFolderThatFailsRefuses() async throws {
        let kept = FaultyStore(EmbeddedStore(time: f.time))
        let outbox = f.outbox(keptIn: kept)
        func item(_ value: Bytes) -> Outbox.Item { .init("test.set@1", keys: [key("k")], arguments: [value], named: "k") }
        try await outbox.add(item("1"))
        kept.fail(with: StoreError(.storageFailed))
        for item in [item("2"), Counter.item("0")] {
            let error = await #expect(throws: StoreError.self) { try await outbox.add(item) }
            #expect(error?.code == .storageFailed && error?.effect == .unknown)
        }
        kept.recover()
        // What was accepted is not lost with what was refused: "2" stands in its place, and may happen.
        #expect(outbox.entries().map(\.arguments) == [["2"]])
        try await outbox.replay(on: f.server)
        #expect(try await f.truth(.get(key("k"))) == "2")
        #expect(try await f.list() == [])
    }

    /// What a later start finds in a folder.
    private func found(in folder: any Store) async throws -> (entries: [OutboxEntry], letters: [Int64]) {
        let outbox = f.outbox(keptIn: folder)
        try await outbox.load(into: EmbeddedStore(time: f.time))
        return (outbox.entries(limit: .max), outbox.deadLetters().map(\.entry.number))
    }

    /// A disk that takes a write and loses the reply, and one that takes none; then it works again. What was refused is not carried out by
    /// a later start, however late.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func whatAFailingFolderWasToldIsForgottenThereToo(_ moment: FaultyStore.Moment) async throws {
        let folder = EmbeddedStore(time: f.time)
        let kept = FaultyStore(folder)
        let outbox = f.outbox(keptIn: kept)
        func item(_ value: Bytes) -> Outbox.Item { .init("test.set@1", keys: [key("k")], arguments: [value], named: "k") }
        try await outbox.add(item("1"))
        for item in [item("2"), Counter.item("0")] {
            switch moment {
            case .beforeEffect: kept.fail(with: StoreError(.storageFailed))
            case .afterEffect: kept.die(afterCall: kept.calls + 1, with: StoreError(.storageFailed, effect: .unknown))
            }
            await #expect(throws: StoreError.self) { try await outbox.add(item) }
        }
        kept.recover()
        try await outbox.add(Counter.item("3"))
        while outbox.owesItsFolder { await Task.yield() }
        let there = try await found(in: folder)
        #expect(
            there.entries.map(\.arguments) == [["2"], ["3"]] && there.entries.map(\.number) == outbox.entries().map(\.number))
    }

    /// The disk fails while entries are handed over: with the next that is kept the folder hears of it, and of dead letters.
    @Test func whatWasHandedOverIsForgottenOnceTheFolderWorksAgain() async throws {
        let folder = EmbeddedStore(time: f.time)
        let kept = FaultyStore(folder)
        let outbox = f.outbox(keptIn: kept)
        _ = try await f.truth(.set(key("text"), "no list"))
        for item in [Counter.item("1"), Counter.item("2", to: "text"), Counter.item("3")] { try await outbox.add(item) }
        kept.fail(with: StoreError(.storageFailed))
        try await outbox.replay(on: f.server)
        #expect(outbox.isEmpty && outbox.status.deadLetters == 1 && outbox.owesItsFolder)
        #expect(try await found(in: folder).entries.count == 3, "it could not be told")
        kept.recover()
        try await outbox.add(Counter.item("4"))
        while outbox.owesItsFolder { await Task.yield() }
        let there = try await found(in: folder)
        #expect(there.entries.map(\.arguments) == [["4"]] && there.letters == [2])
    }

    /// Where nothing is added any more, whoever watches the server tells the folder.
    @Test func theFolderIsToldAlsoWhereNothingIsAddedAnyMore() async throws {
        let folder = EmbeddedStore(time: f.time)
        let kept = FaultyStore(folder)
        let outbox = f.outbox(keptIn: kept)
        let failover = Failover(server: f.server, local: EmbeddedStore(time: f.time), outbox: outbox, time: f.time)
        for number in 0..<2000 { try await outbox.add(Counter.item("\(number)")) }
        kept.fail(with: StoreError(.storageFailed))
        try await outbox.replay(on: f.server)
        kept.recover()
        #expect(try await found(in: folder).entries.count == 2000)
        let watch = Task { await failover.run() }
        #expect(await f.time.advanceUntil(by: .milliseconds(100)) { !outbox.owesItsFolder })
        watch.cancel()
        await watch.value
        #expect(try await found(in: folder).entries.isEmpty)
    }

    /// A real journal whose disk is full for a while: what it could not sync stays in its memory and is written later, after the outbox
    /// has been refused to take it back.
    @Test func whatAFullDiskKeptInMemoryDoesNotHappenAfterARestart() async throws {
        let disk = SimulatedFolder()
        let journal = JournalConfiguration(sync: .always, retryInterval: .milliseconds(1))
        let folder = try await EmbeddedStore.open(in: disk, journal: journal)
        let outbox = f.outbox(keptIn: folder)
        try await outbox.add(Counter.item("accepted"))
        disk.fail(after: 0, .full)
        await #expect(throws: StoreError.self) { try await outbox.add(Counter.item("refused")) }
        disk.heal()
        while folder.journalStatus?.failure != nil { try await Task.sleep(for: .milliseconds(1)) }
        // It has come to be there.
        #expect(try await found(in: folder).entries.count == 2)
        try await outbox.settleFolder()
        try await folder.close()
        let again = try await EmbeddedStore.open(in: disk)
        #expect(try await found(in: again).entries.map(\.arguments) == [["accepted"]])
        try await again.close()
    }

    /// What is refused while the disk fails leaves nothing to remember, however often.
    @Test func refusalsOfAFailingFolderAreNotRemembered() async throws {
        let kept = FaultyStore(EmbeddedStore(time: f.time))
        let outbox = f.outbox(keptIn: kept)
        kept.fail(with: StoreError(.storageFailed))
        for number in 0..<10 { await #expect(throws: StoreError.self) { try await outbox.add(Counter.item("\(number)")) } }
        #expect(!outbox.owesItsFolder && outbox.status.bytes == 0)
    }

    @Test func aStateThatIsOlderDoesNotTakeThePlaceOfALaterOne() async throws {
        let outbox = f.outbox()
        for (value, rank) in [("2", 2), ("1", 1), ("3", 3)] as [(String, Int64)] {
            try await outbox.add(
                Outbox.Item("test.set@1", keys: [key("k")], arguments: [Bytes(value)], named: "k", rank: [rank]))
            #expect(outbox.entries().map(\.arguments) == [[value == "1" ? "2" : Bytes(value)]])
        }
    }

    /// The same after a restart.
    @Test func anOlderStateDoesNotTakeThePlaceOfOneThatAnEarlierProcessKept() async throws {
        let kept = EmbeddedStore(time: f.time)
        func item(_ value: String, _ rank: [Int64]) -> Outbox.Item {
            Outbox.Item("test.set@1", keys: [key("k")], arguments: [Bytes(value)], named: "k", rank: rank)
        }
        try await f.outbox(keptIn: kept).add(item("2", [1, -5, .max]))
        let outbox = f.outbox(keptIn: kept)
        try await outbox.load(into: EmbeddedStore(time: f.time))
        try await outbox.add(item("1", [1, -6]))
        #expect(outbox.entries().map(\.arguments) == [["2"]])
        try await outbox.add(item("3", [1, -5, .max]))
        #expect(outbox.entries().map(\.arguments) == [["3"]])
    }

    /// Written as versions without ranks and epochs wrote them.
    private func writeOld(_ number: Int64, _ action: Bytes, named name: Bytes, to folder: any Store) async throws {
        let fields: [Bytes] = ["1", Bytes(number), action, "subject", name, Bytes(f.time.now.milliseconds), "1", "k", "v"]
        _ = try await folder(.hset(Outbox.entriesKey, [HashField(Bytes(number), Bytes(ByteList.encode(fields)))]))
    }

    @Test func aFolderOfAnEarlierVersionIsRead() async throws {
        let kept = EmbeddedStore(time: f.time)
        try await writeOld(1, "test.set@1", named: "k", to: kept)
        try await writeOld(2, "session.merge@1", named: "session.merge:7:k", to: kept)
        try await writeOld(3, "session.delete@1", named: "session.merge:9:k:1", to: kept)
        try await writeOld(4, "session.delete@1", named: "", to: kept)
        let outbox = f.outbox(keptIn: kept)
        try await outbox.load(into: EmbeddedStore(time: f.time))
        #expect(outbox.entries().map(\.number) == [1, 2, 3, 4] && outbox.epoch == 9)
        #expect(outbox.entries()[0].arguments == ["v"] && outbox.entries()[0].keys == [key("k")])
        // It has no rank, so anything takes its place.
        try await outbox.add(Outbox.Item("test.set@1", keys: [key("k")], arguments: ["later"], named: "k", rank: [-1]))
        #expect(outbox.entries()[0].arguments == ["later"])
    }

    /// A name is its caller's, whatever it looks like: an epoch is not read out of it.
    @Test(arguments: ["user:42:x", "session.merge:42:x", "k:9223372036854775807:z"])
    func aNameIsNoEpoch(_ name: String) async throws {
        let kept = EmbeddedStore(time: f.time)
        try await writeOld(1, "test.set@1", named: Bytes(name), to: kept)
        try await f.outbox(keptIn: kept).add(
            Outbox.Item("test.set@1", keys: [key("l")], arguments: ["v"], named: Bytes("\(name):new")))
        let outbox = f.outbox(keptIn: kept)
        try await outbox.load(into: EmbeddedStore(time: f.time))
        #expect(outbox.epoch == 0)
        try await outbox.replay(on: f.server)
        #expect(outbox.isEmpty && outbox.epoch == 1)
    }

    /// Many change one entry at once, and the power fails: what is on the disk is what is in memory.
    @Test func manyWritersOfOneNameAgreeWithTheDisk() async throws {
        let disk = SimulatedFolder()
        let kept = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always))
        let outbox = f.outbox(keptIn: kept)
        try await withThrowingTaskGroup { group in
            for number in 0..<50 {
                group.addTask {
                    try await outbox.add(
                        Outbox.Item("test.set@1", keys: [key("k")], arguments: [Bytes("\(number)")], named: "k"))
                }
            }
            try await group.waitForAll()
        }
        let again = f.outbox(
            keptIn: try await EmbeddedStore.open(
                in: disk.afterPowerFailure(seed: 1), journal: JournalConfiguration(sync: .always)))
        try await again.load(into: EmbeddedStore(time: f.time))
        #expect(again.entries().map(\.arguments) == outbox.entries().map(\.arguments))
    }

    /// A server that fails: those that wait for a turn hear of it, and do not each wait for the same failure.
    @Test func whoWaitsForATurnThatFailsFailsToo() async throws {
        let outbox = f.outbox()
        try await outbox.add(Counter.item("0"))
        f.server.fail(with: lost)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<20 { group.addTask { await #expect(throws: lost) { try await outbox.replay(on: f.server) } } }
        }
        #expect(f.server.calls <= 20)
        f.server.recover()
        try await outbox.replay(on: f.server)
        #expect(try await f.list() == ["0"])
    }

    /// Many callers at once: one hands over, all wait for it, and nothing is done twice.
    @Test func manyCallersHandOverOnce() async throws {
        let outbox = f.outbox()
        for number in 0..<200 { try await outbox.add(Counter.item("\(number)")) }
        try await withThrowingTaskGroup { group in
            for _ in 0..<20 {
                group.addTask {
                    try await outbox.replay(on: f.server)
                    #expect(try await f.list().count == 200)
                }
            }
            try await group.waitForAll()
        }
        #expect(f.server.calls == 200)
    }

    /// Callers whose deadlines are shorter than what has to be done: each leaves at its own, and it is done once, not begun again by each.
    @Test func whatTakesLongerThanItsCallersGoesOnWithoutThem() async throws {
        let hold = Hold()
        let server = hold.store(over: f.server, call: 2)
        let outbox = f.outbox()
        for number in 0..<3 { try await outbox.add(Counter.item("\(number)")) }
        let cancelled = Task { try await outbox.replay(on: server) }
        await hold.isReached()
        cancelled.cancel()
        await #expect(throws: StoreError(.cancelled)) { try await cancelled.value }
        let left = Locked<[StoreError?]>([])
        func leave(_ deadline: Duration?, _ patience: Duration?) -> Task<Void, Never> {
            Task {
                let context = CallContext(deadline: deadline)
                let error = await #expect(throws: StoreError.self) {
                    try await context.run { () throws(StoreError) in try await outbox.replay(on: server, patience: patience) }
                }
                left.withLock { $0.append(error) }
            }
        }
        let callers = [leave(f.time.uptime + .milliseconds(100), nil), leave(nil, .milliseconds(200))]
        #expect(await f.time.advanceUntil(by: .milliseconds(50)) { left.withLock { $0.count } == 2 })
        for caller in callers { await caller.value }
        #expect(Set(left.withLock { $0 }.map { $0?.code }) == [.deadlineExceeded, .timeout])
        #expect(left.withLock { $0 }.allSatisfy { $0?.effect == StoreError.Effect.none })
        #expect(outbox.status.isReplaying)
        async let last: Void = outbox.replay(on: server)
        hold.release()
        try await last
        #expect(outbox.isEmpty)
        #expect(try await f.list() == ["0", "1", "2"])
        #expect(hold.calls == 3, "nothing was carried out twice")
    }
}

/// One call to a store that waits until the test lets it go on.
private final class Hold: Sendable {
    private let counted = Locked(0)
    private let (reached, reaching) = AsyncStream<Void>.makeStream()
    private let (released, releasing) = AsyncStream<Void>.makeStream()

    var calls: Int { counted.withLock { $0 } }
    func isReached() async { for await _ in reached {} }
    func release() { releasing.finish() }

    func store(over base: any Store, call number: Int) -> InterceptedStore {
        InterceptedStore(base) { _ in
            let call = self.counted.withLock { calls in
                calls += 1
                return calls
            }
            guard call == number else { return }
            self.reaching.finish()
            for await _ in self.released {}
        }
    }
}

@Suite struct FailoverOutboxTests {
    private let f = Counter()

    /// A hand-over that does not end: callers wait for it no longer than they are told to, then this process decides by itself.
    @Test func aHandOverThatTakesTooLongCountsAsAServerThatDoesNotAnswer() async throws {
        let hold = Hold()
        let server = hold.store(over: f.server, call: 1)
        let outbox = f.outbox()
        let failover = Failover(
            server: server, local: EmbeddedStore(time: f.time), outbox: outbox,
            configuration: .init(thresholds: .init(failures: 2), handOverPatience: .seconds(5)), time: f.time)
        try await outbox.add(Counter.item("0"))
        for failures in 1...2 {
            async let decided = failover.perform(.local) { (_, decider) throws(StoreError) in decider.isLocal }
            let end = f.time.uptime + .seconds(5)
            if failures == 1 { await hold.isReached() }
            #expect(await f.time.advanceUntil(by: .seconds(1)) { f.time.uptime >= end })
            #expect(try await decided.value)
        }
        #expect(failover.localSince != nil)
        hold.release()
        #expect(await f.time.advanceUntil(by: .milliseconds(1)) { outbox.isEmpty })
        #expect(try await f.list() == ["0"])
    }

    /// What is handed over before a call is none of that call's time: a server that is well stays trusted.
    @Test func aHandOverThatTakesItsTimeIsNoSlowCall() async throws {
        let server = InterceptedStore(f.server) { call in
            if case .procedure = call { f.time.advance(by: .seconds(2)) }
        }
        let outbox = f.outbox()
        let failover = Failover(
            server: server, local: EmbeddedStore(time: f.time), outbox: outbox,
            configuration: .init(thresholds: .init(failures: 1), slowCall: .milliseconds(250)), time: f.time)
        try await outbox.add(Counter.item("0"))
        let seen = try await failover.perform(.fail) { (store, _) throws(StoreError) in try await store(.llen(key("list"))) }
        #expect(seen == Decided(1, by: .server))
        #expect(failover.localSince == nil && failover.statistics.slowCalls == 0)
        // The call's own time still counts.
        let slow = try await failover.perform(.fail) { (store, _) throws(StoreError) in
            f.time.advance(by: .milliseconds(251))
            return try await store(.llen(key("list")))
        }
        #expect(slow.value == 1 && failover.statistics.slowCalls == 1 && failover.localSince != nil)
    }

    /// One call whose reply is lost, and no outage: the next call, of whatever kind, comes after what was accepted.
    @Test func afterASingleFailureTheNextCallComesSecond() async throws {
        let outbox = f.outbox()
        let failover = Failover(
            server: f.server, local: EmbeddedStore(time: f.time), outbox: outbox,
            configuration: .init(thresholds: .init(failures: 3)), time: f.time)
        func push(_ text: String) async throws -> Decided<Void> {
            let item = Counter.item(text)
            return try await failover.perform(.localThenReplay) { (store, decider) throws(StoreError) in
                if decider.isLocal { return try await outbox.add(item) }
                _ = try await store.run(Procedure(Counter.add, keys: item.keys, arguments: item.arguments) { $0.integer })
            }
        }
        f.server.fail(call: 1, with: StoreError(.timeout, effect: .unknown), .afterEffect)
        #expect(try await push("0").by.isLocal)
        #expect(failover.localSince == nil && outbox.status.backlog == 1)
        let epoch = outbox.epoch
        let seen = try await failover.perform(.fail) { (store, _) throws(StoreError) in try await store(.llen(key("list"))) }
        #expect(seen == Decided(1, by: .server))
        #expect(outbox.isEmpty && outbox.epoch == epoch + 1)
        #expect(try await !push("1").by.isLocal)
        #expect(try await f.list() == ["0", "1"])
    }

    /// In an outage everything is kept and handed over before the first call goes to the server again.
    @Test func theOutboxIsHandedOverBeforeAnythingElse() async throws {
        let outbox = f.outbox()
        let failover = Failover(
            server: f.server, local: EmbeddedStore(time: f.time), outbox: outbox, time: f.time)
        let order = Locked<[String]>([])
        failover.whenServerReturns { (server) throws(StoreError) in
            let count = try await server(.llen(key("list")))
            order.withLock { $0.append("hook sees \(count)") }
        }
        f.server.fail(with: StoreError(.connectionFailed))
        await failover.start()
        for number in 0..<3 { try await outbox.add(Counter.item("\(number)")) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await failover.run() }
            f.server.recover()
            #expect(await f.time.advanceUntil(by: .milliseconds(100)) { failover.localSince == nil })
            group.cancelAll()
        }
        #expect(order.withLock { $0 } == ["hook sees 3"])
        #expect(outbox.isEmpty)
    }
}

/// A place to keep entries whose first write hangs and then fails, with its effect.
private final class FirstWriteHeld: Store {
    private let inner = EmbeddedStore()
    private let held = Locked<CheckedContinuation<Void, Never>?>(nil)
    private let isFirst = Locked(true)

    func isHeld() async { while held.withLock({ $0 == nil }) { await Task.yield() } }

    func failFirst() { held.withLock { $0 }?.resume() }

    func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        let holds = isFirst.withLock { isFirst in
            defer { isFirst = false }
            return isFirst
        }
        let reply = try await inner.execute(operation)
        guard holds else { return reply }
        await withCheckedContinuation { continuation in held.withLock { $0 = continuation } }
        throw StoreError(.storageFailed, effect: .unknown)
    }

    func execute(_ batch: Batch) async throws(StoreError) -> [Reply] { try await inner.execute(batch) }

    func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output { try await inner.run(procedure) }

    func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result { try await inner.withSubscription(to: channels, whenFull: overflow, body) }
}
