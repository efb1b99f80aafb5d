import Holdfast
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

/// Pipelines, transactions and procedures mean the same on every store.
@Suite struct AtomicityConformanceTests {
    @Test(arguments: Backend.available)
    func aPipelineAnswersInOrderAndGoesOnAfterAnError(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.slotNamespace())
        let (a, n) = (names.key("a"), names.key("n"))
        let replies = try await store.execute(
            Batch(
                .pipeline,
                [.strings(.set(a, "x", SetOptions())), .strings(.incrby(a, 1)), .strings(.incrby(n, 2)), .strings(.get(a))]))
        #expect(replies == [.ok, .error(.notAnInteger), .integer(2), .bytes("x")])
        let error = await #expect(throws: StoreError.self) { try await store.pipeline(.incr(n), .incr(a)) }
        #expect(error?.code == .commandFailed)
        #expect(try await store(.get(n)) == "3")
        #expect(try await store.pipeline([Command<Int>]()) == [])
        #expect(try await store.pipeline((0..<500).map { _ in Command<Int>.incr(n) }).last == 503)
    }

    @Test(arguments: Backend.available)
    func aTransactionKeepsWhatSucceededBesideAnError(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.slotNamespace())
        let (a, n) = (names.key("a"), names.key("n"))
        try await store(.set(a, "text"))
        let replies = try await store.execute(
            Batch(.transaction, [.strings(.incrby(n, 1)), .strings(.incrby(a, 1)), .strings(.incrby(n, 1))]))
        #expect(replies == [.integer(1), .error(.notAnInteger), .integer(2)])
        let (text, number) = try await store.transaction(.get(a), .incr(n))
        #expect(text == "text" && number == 3)
    }

    @Test(arguments: Backend.available)
    func aTransactionWithAnUnknownCommandDoesNothing(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.slotNamespace())
        let key = names.key("a")
        for (command, code) in [(["NOSUCH"], ErrorCode.unknownCommand), (["GET"], .commandFailed)] as [([Bytes], ErrorCode)] {
            let batch = Batch(.transaction, [.strings(.set(key, "1", SetOptions())), .raw(command)])
            let error = await #expect(throws: StoreError.self) { try await store.execute(batch) }
            #expect(error?.code == code)
            #expect(error?.effect == StoreError.Effect.none)
        }
        #expect(try await store(.exists(key)) == false)
    }

    /// Adds one to each of two counters; nobody may ever see them differ.
    private static let twins = Script(
        "test.twins", version: 1,
        lua: """
            local first = redis.call('INCR', KEYS[1])
            local second = redis.call('INCR', KEYS[2])
            return {first, second, now}
            """
    ) { (store, keys, _, now) throws(ReplyError) in
        let first = try store.increment(keys[0], by: 1)
        return .array([.integer(first), .integer(try store.increment(keys[1], by: 1)), .integer(now.milliseconds)])
    }

    @Test(arguments: Backend.available)
    func proceduresAndTransactionsAreAtomic(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.slotNamespace())
        let keys = [names.key("{pair}:a"), names.key("{pair}:b")]
        try await withThrowingTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<25 {
                        let answer = try await store.run(Procedure(Self.twins, keys: keys, arguments: []) { $0.elements })
                        #expect(answer[0] == answer[1])
                        let (a, b) = try await store.transaction(.get(keys[0]), .get(keys[1]))
                        #expect(a == b)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await store(.get(keys[0])) == "200")
    }

    @Test(arguments: Backend.available)
    func aProcedureIsGivenItsTimeOrReadsTheStores(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.slotNamespace())
        let keys = [names.key("{t}:a"), names.key("{t}:b")]
        func time(_ now: Timestamp?) async throws -> Int64? {
            try await store.run(Procedure(Self.twins, keys: keys, arguments: [], now: now) { $0.elements?[2].integer })
        }
        let before = try await store(.time)
        let own = try #require(try await time(nil))
        let after = try await store(.time)
        #expect((before.milliseconds...after.milliseconds).contains(own))
        for given in [Int64(1_600_000_000_123), 16_000_000_000_123] {
            #expect(try await time(Timestamp(milliseconds: given)) == given)
        }
        // The store's own goes on as it was.
        #expect(try await store(.time).milliseconds < 16_000_000_000_123)
    }

    @Test(arguments: Backend.available)
    func compareAndSetChangesOnlyWhatIsAsExpected(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.slotNamespace())
        let key = names.key("a")
        #expect(try await store.compareAndSet(key, expected: "x", new: "y") == false)
        #expect(try await store.compareAndSet(key, expected: nil, new: "1", expiration: .after(.seconds(100))))
        #expect(try await store.compareAndSet(key, expected: nil, new: "2") == false)
        #expect(try await store.compareAndSet(key, expected: "1", new: "2"))
        #expect(try await store(.pttl(key)).remaining != nil)
        #expect(try await store.compareAndSet(key, expected: "2", new: "3", expiration: .never))
        #expect(try await store(.pttl(key)) == .forever)
        #expect(try await store.compareAndDelete(key, expected: "2") == false)
        #expect(try await store.compareAndDelete(key, expected: "3"))
        #expect(try await store.getAndSet(key, "4") == nil)
        #expect(try await store.getAndSet(key, "5", expiration: .after(.seconds(9))) == "4")
    }

    @Test(arguments: Backend.available)
    func oneOfManyWinsACompareAndSet(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.slotNamespace())
        let key = names.key("race")
        let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<50 {
                group.addTask { try await store.compareAndSet(key, expected: nil, new: Bytes(Int64(number))) }
            }
            return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(wins == 1)
    }

    @Test(arguments: Backend.available)
    func aCounterStopsAtItsCeiling(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.slotNamespace())
        let key = names.key("n")
        let admitted = try await withThrowingTaskGroup(of: Int?.self) { group in
            for _ in 0..<30 { group.addTask { try await store.increment(key, ceiling: 20, lifetime: .seconds(100)) } }
            return try await group.reduce(into: [Int]()) { if let value = $1 { $0.append(value) } }
        }
        #expect(admitted.sorted() == Array(1...20))
        #expect(try await store(.pttl(key)).remaining != nil)
        #expect(try await store.increment(key, by: -5, ceiling: 20) == 15)
        #expect(try await store.increment(key, by: 6, ceiling: 20) == nil)
        try await store(.set(key, "text"))
        let error = await #expect(throws: StoreError.self) { try await store.increment(key, ceiling: 20) }
        #expect(error?.code == .commandFailed)
        let invalid = await #expect(throws: StoreError.self) { try await store.increment(key, ceiling: .max) }
        #expect(invalid?.field == "ceiling")
    }
}
