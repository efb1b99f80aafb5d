import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

struct User: Codable, Sendable, Equatable {
    var name: String
    var age: Int
}

@Suite struct CacheTests {
    let time = ManualTime()
    let store: EmbeddedStore
    let cache: Cache

    init() {
        store = EmbeddedStore(time: time)
        cache = Cache(
            failover: Failover(local: store, time: time),
            configuration: CacheConfiguration(near: NearCacheConfiguration(entries: 0)))
    }

    let ada = User(name: "Ada", age: 36)

    @Test func aValueIsReadBackUntilItsTTLEnds() async throws {
        try await cache.set("user:123", ada, ttl: .seconds(300))
        #expect(try await cache.get("user:123").value == ada)
        #expect(try await cache.exists("user:123").value)
        time.advance(by: .seconds(100))
        #expect(try await cache.ttl("user:123").value == .seconds(200))
        time.advance(by: .seconds(200))
        #expect(try await cache.get("user:123", as: User.self).isMiss)
        #expect(try await cache.ttl("user:123").value == nil)
    }

    @Test func keysHaveTheReferencesPattern() async throws {
        try await cache.workspace("ws-1").set("user_profile", ada)
        #expect(try await store(.get(Key(raw: "holdfast:cache:ws-1:user_profile"))) != nil)
        try await cache.scoped(to: "acme").workspace("a:b").set("c{d}", ada)
        #expect(try await store(.get(Key(raw: "holdfast:t:acme:cache:a%3Ab:c%7Bd%7D"))) != nil)
    }

    @Test func nothingIsAValueAndNoMiss() async throws {
        try await cache.set("nobody", User?.none)
        let found = try await cache.get("nobody", as: User?.self)
        #expect(found == .hit(nil, from: .store))
        #expect(try await cache.get("unknown", as: User?.self).isMiss)
        #expect(try await cache.get("nobody", as: JSONValue.self).value == .null)
        await #expect(throws: StoreError.self) { try await cache.get("nobody", as: User.self) }
    }

    @Test func anOptionalAndItsTypeReadEachOther() async throws {
        try await cache.set("a", Optional(ada))
        #expect(try await cache.get("a").value == ada)
        #expect(try await cache.get("a", as: User?.self).value == .some(ada))
    }

    @Test func aValueReadAsAnotherTypeIsATypedError() async throws {
        try await cache.set("n", 5)
        for read in [
            { _ = try await cache.get("n", as: Double.self) }, { _ = try await cache.get("n", as: Int8.self) },
            { _ = try await cache.get("n", as: User.self) }, { _ = try await cache.get("n", as: String.self) },
        ] as [() async throws -> Void] {
            let error = await #expect(throws: StoreError.self) { try await read() }
            #expect(error?.code == .decodingFailed)
        }
        #expect(try await cache.get("n").value == 5)
    }

    @Test func jsonReadsEveryTypeAndEveryTypeReadsFittingJSON() async throws {
        try await cache.set("u", ada)
        #expect(try await cache.get("u").value == JSONValue.object(["name": "Ada", "age": 36]))
        try await cache.set("j", ["name": "Ada", "age": 36] as JSONValue)
        #expect(try await cache.get("j").value == ada)
        let error = await #expect(throws: StoreError.self) { try await cache.get("j", as: [Int].self) }
        #expect(error?.code == .decodingFailed)
    }

    @Test func aTTLOfZeroMeansDoNotKeep() async throws {
        try await cache.set("k", 1)
        try await cache.set("k", 2, ttl: .zero)
        #expect(try await cache.get("k", as: Int.self).isMiss)
        try await cache.setMany(["a": 1], ttl: .zero)
        #expect(try await !cache.exists("a").value)
    }

    @Test func withoutATTLTheCategorysOrTheDefaultHolds() async throws {
        try await cache.set("k", 1)
        #expect(try await cache.ttl("k").value == .seconds(3600))
        let outbreaks = try cache.category(.outbreakData)
        try await outbreaks.set("loc-1", 1)
        #expect(try await outbreaks.ttl("loc-1").value == .seconds(300))
        #expect(try await cache.get("outbreak_data:loc-1").value == 1)
        #expect(try cache.category(named: "model_inference").category?.ttl == .seconds(1800))
    }

    @Test func jitterOnlyShortens() async throws {
        let jittery = Cache(
            failover: Failover(local: store, time: time), configuration: CacheConfiguration(jitter: 0.5), random: { .max })
        try await jittery.set("k", 1, ttl: .seconds(100))
        #expect(try await jittery.ttl("k").value.map { (.seconds(50)...(.seconds(51))).contains($0) } == true)
    }

    @Test func severalAreReadAndWrittenTogether() async throws {
        try await cache.setMany(["a": 1, "b": 2])
        #expect(try await cache.getMany(["b", "x", "a"], as: Int.self).map(\.value) == [2, nil, 1])
        #expect(try await cache.getMany([], as: Int.self).isEmpty)
    }

    @Test func aDeletedEntryIsGone() async throws {
        try await cache.set("k", 1)
        #expect(try await cache.delete("k").value)
        #expect(try await !cache.delete("k").value)
        #expect(try await cache.get("k", as: Int.self).isMiss)
    }

    @Test func badInputNamesItsFieldAndWritesNothing() async throws {
        let cache = Cache(
            failover: Failover(local: store, time: time),
            configuration: CacheConfiguration(maximumKeyBytes: 10, maximumValueBytes: 1000, maximumBatch: 2))
        let cases: [(String, ErrorCode, () async throws -> Void)] = [
            ("key", .invalidArgument, { try await cache.set("", 1) }),
            ("key", .tooLarge, { try await cache.set("12345678901", 1) }),
            ("key", .tooLarge, { _ = try await cache.get("12345678901", as: Int.self) }),
            ("ttl", .invalidArgument, { try await cache.set("k", 1, ttl: .seconds(-1)) }),
            ("ttl", .invalidArgument, { try await cache.set("k", 1, ttl: .seconds(Int64.max)) }),
            ("value", .tooLarge, { try await cache.set("k", String(repeating: "x", count: 1000)) }),
            ("value", .invalidArgument, { try await cache.set("k", Double.nan) }),
            ("keys", .tooLarge, { try await cache.setMany(["a": 1, "b": 2, "c": 3]) }),
            ("value", .tooLarge, { try await cache.setMany(["a": "x", "b": String(repeating: "x", count: 1000)]) }),
            ("workspace", .invalidArgument, { _ = try cache.workspace("") }),
            ("category", .invalidArgument, { _ = try cache.category(CacheCategory("a:b", ttl: .seconds(1))) }),
            ("category", .notFound, { _ = try cache.category(named: "nope") }),
        ]
        for (field, code, call) in cases {
            let error = await #expect(throws: StoreError.self) { try await call() }
            #expect(error?.code == code && error?.field == field)
        }
        #expect(store.statistics.keys == 0)
    }

    @Test func whatANewerVersionWroteIsAMiss() async throws {
        try await cache.set("k", 1)
        let key = Key(raw: "holdfast:cache:default:k")
        _ = try await store(.setrange(key, 1, Bytes([99])))
        #expect(try await cache.get("k", as: Int.self).isMiss)
        _ = try await store(.set(key, "plain text"))
        await #expect(throws: StoreError.self) { try await cache.get("k", as: Int.self) }
    }

    @Test func tenantsWorkspacesAndPrefixesDoNotMeet() async throws {
        try await cache.set("k", 1)
        #expect(try await cache.scoped(to: "acme").get("k", as: Int.self).isMiss)
        #expect(try await cache.workspace("w").get("k", as: Int.self).isMiss)
        let other = Cache(failover: Failover(local: store, time: time), namespace: Namespace(prefix: "other:"))
        #expect(try await other.get("k", as: Int.self).isMiss)
    }

    @Test func theFacadeServesWithoutAnything() async throws {
        let state = AgentState.embedded()
        try await state.cache.set("greeting", "hello")
        #expect(try await state.cache.get("greeting").value == "hello")
        #expect(try await state.scoped(to: "acme").cache.get("greeting", as: String.self).isMiss)
        let running = Task { try await state.run() }
        running.cancel()
        try await running.value
    }
}

@Suite struct CacheKeyTests {
    /// "é" in one character and in two are different keys, near, in flight and in listings.
    @Test func keysAreComparedByTheirBytes() async throws {
        let cache = AgentState.embedded().cache
        let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
        try await cache.set(composed, "one")
        try await cache.set(decomposed, "two")
        #expect(try await cache.get(composed, as: String.self).value == "one")
        #expect(try await cache.get(decomposed, as: String.self).value == "two")
        async let first = cache.getOrSet("\(composed)!") { "a" }
        async let second = cache.getOrSet("\(decomposed)!") { "b" }
        let results = try await (first, second)
        #expect(results.0.value == "a" && results.1.value == "b")
        let category = try cache.category(CacheCategory.presets[0])
        try await category.set("\u{301}x", "three")
        let names = try await category.keys(matching: "*", cursor: nil, limit: 10).value.keys
        #expect(names.map { Array($0.utf8) } == [Array("\u{301}x".utf8)])
    }
}
