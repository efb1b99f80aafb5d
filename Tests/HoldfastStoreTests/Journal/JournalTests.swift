import HoldfastTesting
import Testing

@testable import HoldfastStore

/// What is written is what is loaded.
@Suite struct JournalTests {
    /// A random program, with the clock moving; its folder, opened again, makes the same key space.
    @Test(arguments: 0..<12) func aStoreOpenedAgainHoldsTheSame(_ seed: UInt64) async throws {
        let folder = SimulatedFolder()
        let time = ManualTime(now: Timestamp(milliseconds: 1_000_000))
        let sync = JournalConfiguration.Sync.allCases[Int(seed) % 3]
        var sampler = Sampler(seed: seed)
        for round in 0..<3 {
            let store = try await EmbeddedStore.open(in: folder, journal: JournalConfiguration(sync: sync), time: time)
            for step in 0..<200 {
                if step.isMultiple(of: 10) { time.advance(by: .milliseconds(500)) }
                if step == 100, round == 1 { store.rewriteJournal() }
                if step.isMultiple(of: 7) {
                    _ = try? await store.execute(Batch(.transaction, [sampler.operation(), sampler.operation()]))
                } else {
                    _ = try await store.execute(sampler.operation())
                }
            }
            let before = store.contents
            try await store.close()
            let again = try await EmbeddedStore.open(in: folder, time: time)
            #expect(again.contents == before)
            again.keyspace.withLock { $0.checkInvariants(evictable: { _ in false }) }
            try await again.close()
        }
    }

    @Test func aNewFolderHasRedissNames() async throws {
        let folder = SimulatedFolder()
        let store = try await EmbeddedStore.open(in: folder)
        _ = try await store(.set(Key(raw: "k"), "v"))
        try await store.close()
        #expect(
            try folder.names().sorted() == ["appendonly.aof.1.base.aof", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"])
        #expect(
            folder.text(of: "appendonly.aof.manifest")
                == "file appendonly.aof.1.base.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n")
        #expect(folder.text(of: "appendonly.aof.1.incr.aof") == resp("SET k v"))
    }

    @Test func severalEffectsOfOneStepStandInATransaction() async throws {
        let folder = SimulatedFolder()
        let store = try await EmbeddedStore.open(in: folder)
        _ = try await store.transaction(.set(Key(raw: "a"), Bytes("1")), .incr(Key(raw: "a")), .get(Key(raw: "a")))
        _ = try await store.transaction(.set(Key(raw: "b"), Bytes("1")), .get(Key(raw: "a")))
        try await store.close()
        #expect(
            folder.text(of: SimulatedFolder.firstIncrement)
                == resp("MULTI", "SET a 1", "SET a 2", "EXEC", "SET b 1"))
    }

    @Test func aProcedureIsOneTransaction() async throws {
        let script = Script("test.two", version: 1, lua: "return 1") { keyspace, keys, _, _ throws(ReplyError) in
            try keyspace.set(keys[0], Bytes("1"))
            try keyspace.set(keys[1], Bytes("2"))
            return .integer(1)
        }
        let folder = SimulatedFolder()
        let store = try await EmbeddedStore.open(in: folder, journal: JournalConfiguration(sync: .always))
        _ = try await store.run(Procedure(script, keys: [Key(raw: "a"), Key(raw: "b")], arguments: [], decode: { $0.integer }))
        #expect(folder.text(of: SimulatedFolder.firstIncrement) == resp("MULTI", "SET a 1", "SET b 2", "EXEC"))
        try await store.close()
    }

    /// Every length that a crash can leave: whole commands stay, the rest is cut off and counted, and the file can be gone on with.
    @Test func aTornEndIsCutOffAndToldOf() async throws {
        let whole = resp("SET a 1")
        let transaction = resp("MULTI", "SET b 2", "RPUSH l x y", "EXEC")
        let text = whole + transaction
        for length in (whole.utf8.count + 1)..<text.utf8.count {
            let folder = SimulatedFolder.holding(String(decoding: text.utf8.prefix(length), as: UTF8.self))
            let store = try await EmbeddedStore.open(in: folder)
            let cut = try #require(store.journalStatus?.load.cut)
            #expect(
                cut
                    == JournalLoad.Cut(
                        file: SimulatedFolder.firstIncrement, offset: whole.utf8.count, bytes: length - whole.utf8.count))
            #expect(try await store(.dbsize) == 1)
            _ = try await store(.set(Key(raw: "c"), "3"))
            try await store.close()
            #expect(folder.text(of: SimulatedFolder.firstIncrement) == whole + resp("SET c 3"))
        }
    }

    @Test func zerosAtTheEndAreATornEnd() async throws {
        let folder = SimulatedFolder.holding(resp("SET a 1") + String(repeating: "\0", count: 100_000))
        let store = try await EmbeddedStore.open(in: folder)
        #expect(store.journalStatus?.load.cut?.bytes == 100_000)
        try await store.close()
    }

    /// What is not understood is refused, named, and left as it is.
    @Test(arguments: [
        (resp("SET a 1", "XYZ 1 2"), "at byte 27: XYZ is not understood"),
        (resp("SET a 1", "SET a"), "at byte 27: SET is not understood"),
        (resp("SET a 1", "RPUSH a 1"), "at byte 27: RPUSH cannot be carried out (WRONGTYPE"),
        (resp("SELECT 0", "SELECT 3"), "SELECT is not understood"),
        (resp("EXEC"), "EXEC without MULTI"),
        (resp("MULTI", "MULTI"), "MULTI within MULTI"),
        (resp("SET a 1") + "garbage" + resp("SET b 1"), "at byte 27: no command stands there"),
        // A later page that was written without an earlier one, or a hole in what was synced: nobody can tell which.
        (resp("SET a 1") + String(repeating: "\0", count: 4096) + resp("SET b 1"), "at byte 27: no command stands there"),
        ("REDIS0010\u{1}\u{2}", "aof-use-rdb-preamble no"),
        ("*1\r\n$999999999999999\r\n", "a length of more than"),
        ("*0\r\n", "a command without a name"),
        ("*1\r\n$1\r\nab\r\n", "an argument that is longer"),
    ]) func whatIsNotUnderstoodIsRefusedAndLeftAlone(_ text: String, _ words: String) async throws {
        let folder = SimulatedFolder.holding(text)
        let error = await #expect(throws: StoreError.self) { try await EmbeddedStore.open(in: folder) }
        #expect(error?.code == .dataUnreadable)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        #expect(folder.text(of: SimulatedFolder.firstIncrement) == text)
    }

    @Test func aTornFileInFrontOfAnotherIsRefused() async throws {
        let folder = SimulatedFolder.holding(resp("SET a 1") + "*3\r\n")
        folder.put(
            Array((folder.text(of: "appendonly.aof.manifest") + "file appendonly.aof.2.incr.aof seq 2 type i\n").utf8),
            as: "appendonly.aof.manifest")
        folder.put(Array(resp("SET b 1").utf8), as: "appendonly.aof.2.incr.aof")
        let error = await #expect(throws: StoreError.self) { try await EmbeddedStore.open(in: folder) }
        #expect(error?.message.contains("files follow") == true)
    }

    @Test(arguments: ["file a seq 1", "file a/b seq 1 type i", "file a seq x type i", "file a seq 1 type q", "nonsense"])
    func aManifestThatIsNoneIsRefused(_ line: String) async throws {
        let folder = SimulatedFolder()
        folder.put(Array((line + "\n").utf8), as: "appendonly.aof.manifest")
        let error = await #expect(throws: StoreError.self) { try await EmbeddedStore.open(in: folder) }
        #expect(error?.code == .dataUnreadable)
    }

    @Test func filesWithoutAManifestAreNotWrittenOver() async throws {
        let folder = SimulatedFolder()
        folder.put(Array(resp("SET a 1").utf8), as: "appendonly.aof.1.base.aof")
        let error = await #expect(throws: StoreError.self) { try await EmbeddedStore.open(in: folder) }
        #expect(error?.code == .dataUnreadable)
    }

    /// Redis's time annotations, its SELECT, and names in any case.
    @Test func whatRedisWritesBesideDataIsRead() async throws {
        let folder = SimulatedFolder.holding(
            "#TS:1700000000\r\n" + resp("SELECT 0", "set a 1", "hmset h f v", "pexpireat a 99999999999999"))
        let store = try await EmbeddedStore.open(in: folder)
        #expect(try await store(.get(Key(raw: "a"))) == "1")
        #expect(try await store(.hget(Key(raw: "h"), "f")) == "v")
        try await store.close()
    }

    @Test func whatHasExpiredMeanwhileIsGone() async throws {
        let folder = SimulatedFolder()
        let time = ManualTime(now: Timestamp(milliseconds: 1_000_000))
        let store = try await EmbeddedStore.open(in: folder, time: time)
        _ = try await store(.set(Key(raw: "short"), "v", expiration: .after(.seconds(1))))
        _ = try await store(.set(Key(raw: "long"), "v", expiration: .after(.seconds(100))))
        try await store.close()
        time.advance(by: .seconds(50))
        let again = try await EmbeddedStore.open(in: folder, time: time)
        #expect(try await again(.get(Key(raw: "short"))) == nil)
        #expect(try await again.execute(.keys(.pttl(Key(raw: "long")))) == .integer(50_000))
        try await again.close()
    }

    @Test func aClosedStoreRefusesWritesAndAnswersReads() async throws {
        let store = try await EmbeddedStore.open(in: SimulatedFolder())
        _ = try await store(.set(Key(raw: "k"), "v"))
        try await store.close()
        let error = await #expect(throws: StoreError.self) { try await store(.set(Key(raw: "k"), "w")) }
        #expect(error?.code == .storageFailed && error?.effect == StoreError.Effect.none)
        #expect(try await store(.get(Key(raw: "k"))) == "v")
    }
}
