import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

@Suite struct NearTableTests {
    struct Number: HashedKey, ExpressibleByIntegerLiteral {
        let value: Int
        var hash: Int { value }
        init(_ value: Int) { self.value = value }
        init(integerLiteral value: Int) { self.value = value }
    }

    @Test func itKeepsWithinItsLimits() {
        var table = NearTable<Number, Int>(maximumCount: 50, maximumBytes: 1000)
        var random = RandomSource(seed: 3)
        for _ in 0..<20_000 {
            let number = Int.random(in: 0..<200, using: &random)
            let key = Number(number)
            switch Int.random(in: 0..<10, using: &random) {
            case 0: table.remove(key)
            case 1...4: _ = table.use(key.hash, matches: { $0 == key }, holds: { $0 == number })
            default: table.insert(number, for: key, cost: Int.random(in: 1...99, using: &random))
            }
            #expect(table.count <= 50 && table.bytes <= 1000)
            #expect(table.peek(key).map { $0 == number } ?? true)
        }
        #expect(table.evictions > 0)
        table.removeAll { _ in true }
        #expect(table.count == 0 && table.bytes == 0)
    }

    @Test func aScanLeavesWhatIsInUse() {
        var table = NearTable<Number, Int>(maximumCount: 100, maximumBytes: .max)
        func use(_ key: Int) {
            let key = Number(key)
            _ = table.use(key.hash, matches: { $0 == key }, holds: { _ in true })
        }
        for round in 0..<3 {
            for key in 0..<50 {
                if round == 0 { table.insert(key, for: Number(key), cost: 1) } else { use(key) }
            }
        }
        for key in 1000..<11_000 { table.insert(key, for: Number(key), cost: 1) }
        let left = (0..<50).filter { table.peek(Number($0)) != nil }.count
        #expect(left == 50, "an LRU of this size would have none of them left")
    }

    @Test func aKeyThatComesBackSoonStaysLonger() {
        var table = NearTable<Number, Int>(maximumCount: 10, maximumBytes: .max)
        for key in 0..<15 { table.insert(key, for: Number(key), cost: 1) }
        #expect(table.peek(0) == nil)
        table.insert(0, for: 0, cost: 1)
        for key in 100..<130 { table.insert(key, for: Number(key), cost: 1) }
        #expect(table.peek(0) == 0)
    }

    @Test func whatIsTooLargeIsNotTaken() {
        var table = NearTable<Number, Int>(maximumCount: 10, maximumBytes: 100)
        table.insert(1, for: 1, cost: 10)
        table.insert(2, for: 1, cost: 11)
        #expect(table.peek(1) == nil)
    }
}

@Suite struct NearCacheTests {
    let time = ManualTime()
    let store: EmbeddedStore
    let cache: Cache
    let elsewhere: Cache

    init() {
        store = EmbeddedStore(time: time)
        cache = Cache(failover: Failover(local: store, time: time))
        elsewhere = Cache(failover: Failover(local: store, time: time))
    }

    @Test func aNearHitAsksNobody() async throws {
        let counting = FaultyStore(store)
        let cache = Cache(failover: Failover(local: counting, time: time))
        try await cache.set("k", 1)
        let calls = counting.calls
        #expect(try await cache.get("k", as: Int.self) == .hit(1, from: .near))
        #expect(try await cache.getMany(["k"], as: Int.self) == [.hit(1, from: .near)])
        #expect(counting.calls == calls)
    }

    /// The bound counts from when it was the store's value, not from when its reply came.
    @Test func aReplyThatComesLateIsNotServedLongerForIt() async throws {
        let cache = Cache(failover: Failover(local: LateStore(store, time, by: .seconds(3)), time: time))
        try await elsewhere.set("k", "old")
        #expect(try await cache.get("k") == .hit("old", from: .store))
        try await elsewhere.set("k", "new")
        time.advance(by: .milliseconds(1999))
        #expect(try await cache.get("k") == .hit("old", from: .near))
        time.advance(by: .milliseconds(1))
        #expect(try await cache.get("k") == .hit("new", from: .store))
    }

    /// Another job of the actor can only run where the one that is running gives it up.
    @MainActor @Test func aNearHitDoesNotLeaveTheCallersActor() async throws {
        try await cache.set("k", 1)
        for _ in 0..<1000 {
            var isLeft = false
            Task { @MainActor in isLeft = true }
            #expect(try await cache.get("k").value == 1)
            #expect(try await cache.getOrSet("k") { 2 }.value == 1)
            #expect(try await cache.getMany(["k"], as: Int.self).first?.value == 1)
            #expect(!isLeft)
            await Task.yield()
        }
    }

    @Test func whatOthersChangeIsSeenAfterTheNearTTL() async throws {
        try await cache.set("k", 1)
        try await elsewhere.set("k", 2)
        #expect(try await cache.get("k").value == 1)
        time.advance(by: .seconds(5))
        #expect(try await cache.get("k").value == 2)
    }

    @Test func aNearValueEndsWithItsEntry() async throws {
        try await elsewhere.set("k", 1, ttl: .milliseconds(300))
        #expect(try await cache.get("k").value == 1)
        time.advance(by: .milliseconds(300))
        #expect(try await cache.get("k", as: Int.self).isMiss)
    }

    @Test func ownChangesAreSeenAtOnce() async throws {
        for change in [
            { try await cache.set("k", 2) }, { try await cache.delete("k") }, { try await cache.setMany(["k": 2]) },
            { try await cache.invalidate("k*") }, { try await cache.clear() }, { try await cache.set("k", 2, ttl: .zero) },
            { try await cache.refresh("k") { 2 } },
        ] as [() async throws -> Any] {
            try await cache.set("k", 1)
            #expect(try await cache.get("k").value == 1)
            _ = try await change()
            #expect(try await cache.get("k", as: Int.self).value != 1)
        }
    }

    @Test func anotherTypeIsAnErrorFromTheNearCacheToo() async throws {
        try await cache.set("k", 1)
        let error = await #expect(throws: StoreError.self) { try await cache.get("k", as: String.self) }
        #expect(error?.code == .decodingFailed)
        #expect(try await cache.get("k").value == JSONValue.integer(1))
    }

    @Test func aCategorysEntryIsOneByBothItsNames() async throws {
        let memory = try cache.category(.agentMemory)
        try await memory.set("a", 1)
        #expect(try await cache.get("agent_memory:a", as: Int.self) == .hit(1, from: .near))
        try await cache.delete("agent_memory:a")
        #expect(try await memory.get("a", as: Int.self).isMiss)
    }

    @Test func workspacesThatOnlyLookAlikeAreTwo() async throws {
        let (one, other) = (try cache.workspace("caf\u{E9}"), try cache.workspace("cafe\u{301}"))
        try await one.set("k", 1)
        #expect(try await other.get("k", as: Int.self).isMiss)
        try await other.delete("k")
        #expect(try await one.get("k", as: Int.self) == .hit(1, from: .near))
    }

    @Test func aValueReadBeforeAChangeIsNotPutInAfterIt() throws {
        let near = NearCache(NearCacheConfiguration(), time: time)
        let place = CachePlace(namespace: Namespace(), workspace: "w")
        let scope = CacheScope(place: place, category: nil, counter: 0)
        func put(_ ticket: NearCache.Ticket) -> Bool {
            near.put(1, scope, "k", size: 1, life: nil, grace: .zero, ticket: ticket, from: .read)
            return near.find(scope, "k", ObjectIdentifier(Int.self)) != nil
        }
        #expect(put(near.ticket(scope, "k")))
        for change in [
            { near.change(space: scope.space, name: "k") }, { near.change(space: scope.space) { _ in true } },
            { near.removeAll() },
        ] {
            let ticket = near.ticket(scope, "k")
            change()
            #expect(!put(ticket))
        }
        // Two writers: nobody knows here whose value came last.
        let (first, second) = (near.ticket(scope, "k"), near.ticket(scope, "k"))
        near.finish(1, scope, "k", size: 1, life: nil, grace: .zero, ticket: first, from: .written)
        near.finish(2, scope, "k", size: 1, life: nil, grace: .zero, ticket: second, from: .written)
        #expect(near.find(scope, "k", ObjectIdentifier(Int.self)) == nil)
    }

    @Test func bytesAreKeptAsTheyAre() async throws {
        let bytes = Bytes([0, 255, 13, 10])
        try await cache.setBytes("b", bytes)
        #expect(try await cache.getBytes("b") == .hit(bytes, from: .near))
        #expect(try await elsewhere.getBytes("b") == .hit(bytes, from: .store))
        let error = await #expect(throws: StoreError.self) { try await elsewhere.get("b", as: String.self) }
        #expect(error?.code == .decodingFailed)
        #expect(try await elsewhere.entry("b").value?.payload == bytes)
    }

    /// Readers, fillers and invalidators on few keys; afterwards nothing near differs from the store.
    @Test func underConcurrencyNearAndStoreAgreeInTheEnd() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                group.addTask {
                    var random = RandomSource(seed: UInt64(worker))
                    for step in 0..<300 {
                        let key = "k\(Int.random(in: 0..<4, using: &random))"
                        switch Int.random(in: 0..<6, using: &random) {
                        case 0: try await cache.set(key, worker * 1000 + step)
                        case 1: try await cache.delete(key)
                        case 2: try await cache.invalidate("k*")
                        case 3: _ = try await cache.getOrSet(key) { worker * 1000 + step }
                        default: _ = try await cache.get(key, as: Int.self)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        for key in 0..<4 {
            let near = try await cache.get("k\(key)", as: Int.self).value
            #expect(near == (try await elsewhere.get("k\(key)", as: Int.self).value))
        }
    }
}
