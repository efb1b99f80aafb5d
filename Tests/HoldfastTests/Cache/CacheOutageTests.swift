import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct CacheOutageTests {
    @Test func aValueThatIsNearServesWhileTheServerIsAwayAndTellsItsAge() async throws {
        let f = OutageFixture()
        try await f.cache.set("k", 1, ttl: .seconds(60))
        await f.goDown()
        let since = try #require(f.failover.localSince)
        #expect(try await f.cache.get("k", as: Int.self) == .hit(1, from: .near))
        f.time.advance(by: .seconds(20))
        #expect(try await f.cache.get("k", as: Int.self) == .hit(1, from: .stale(age: .seconds(15), by: .local(since: since))))
        f.time.advance(by: .seconds(40))
        #expect(try await f.cache.get("k", as: Int.self).isMiss, "its own TTL has ended")
    }

    @Test func whileTheServerIsAwayTheFactoryFillsHere() async throws {
        let f = OutageFixture(CacheConfiguration(near: .init(entries: 0)))
        await f.goDown()
        let since = try #require(f.failover.localSince)
        #expect(try await f.cache.resolve("k") { 1 }.source == .factory(by: .local(since: since)))
        #expect(try await f.cache.resolve("k") { 2 }.source == .local(since: since))
        #expect(f.server.statistics.keys == 0)
    }

    @Test func noCallFailsBecauseTheServerIsAway() async throws {
        let f = OutageFixture()
        await f.goDown()
        try await f.cache.set("a", 1)
        try await f.cache.setMany(["b": 2])
        #expect(try await f.cache.getMany(["a", "b", "c"], as: Int.self).map(\.value) == [1, 2, nil])
        #expect(try await f.cache.exists("a").value)
        #expect(try await f.cache.delete("a").value)
        #expect(try await f.cache.invalidate("*").value == 1)
        #expect(try await f.cache.keys().by.isLocal)
    }

    @Test func whatIsKeptHereBeforeTheOutageIsDeclaredIsReadHere() async throws {
        let f = OutageFixture(CacheConfiguration(near: .init(entries: 0)), failures: 5)
        try await f.cache.set("k", "old")
        f.faulty.fail(with: StoreError(.connectionLost, effect: .unknown))
        #expect(try await f.cache.set("k", "new").by.isLocal)
        for _ in 0..<6 {
            f.time.advance(by: .milliseconds(10))
            #expect(try await f.cache.get("k", as: String.self).value == "new")
        }
        #expect(f.failover.localSince != nil)
    }

    @Test func whatWasKeptHereOverAPassingFailureIsNotBelievedInTheNextOne() async throws {
        let f = OutageFixture(CacheConfiguration(near: .init(entries: 0)), failures: 5)
        f.faulty.fail(with: StoreError(.connectionFailed))
        try await f.cache.set("k", "lost")
        f.faulty.recover()
        f.time.advance(by: .milliseconds(10))
        #expect(try await f.cache.get("k", as: String.self).isMiss, "the server has heard that its value is old")
        try await f.elsewhere.set("k", "newer")
        f.faulty.fail(with: StoreError(.connectionFailed))
        #expect(try await f.cache.get("k", as: String.self).isMiss)
        #expect(f.local.statistics.keys == 0)
    }

    /// What is done while the server is away to a key that has an old value on it.
    enum Change: CaseIterable {
        case delete, set, setMany, invalidate, category, clear

        func make(_ cache: Cache) async throws {
            switch self {
            case .delete: try await cache.delete("model_inference:k")
            case .set: try await cache.set("model_inference:k", "new")
            case .setMany: try await cache.setMany(["model_inference:k": "new"])
            case .invalidate: try await cache.invalidate("model*")
            case .category: try await cache.invalidate(category: .modelInference)
            case .clear: try await cache.clear()
            }
        }
    }

    @Test(arguments: Change.allCases)
    func noStaleValueSurvivesItsInvalidation(_ change: Change) async throws {
        let f = OutageFixture()
        try await f.cache.set("model_inference:k", "old")
        await f.goDown()
        try await change.make(f.cache)
        #expect(try await f.elsewhere.get("model_inference:k").value == "old", "the server has not heard of it")
        await f.comeBack()
        #expect(try await f.elsewhere.get("model_inference:k", as: String.self).value != "old")
        #expect(try await f.cache.get("model_inference:k", as: String.self).value != "old")
        #expect(f.local.statistics.keys == 0, "what was kept here is forgotten")
    }

    @Test func aFillOfAnotherProcessFromBeforeTheInvalidationIsRefusedAfterTheReturn() async throws {
        let f = OutageFixture()
        let value = try await f.elsewhere.getOrSet("k") {
            await f.goDown()
            try await f.cache.delete("k")
            await f.comeBack()
            return "old"
        }
        #expect(value.value == "old")
        #expect(try await f.elsewhere.get("k", as: String.self).isMiss)
    }

    @Test func aFillThatBeganBeforeTheOutageIsNotKeptAfterAnInvalidationInIt() async throws {
        let f = OutageFixture()
        _ = try await f.cache.getOrSet("k") {
            await f.goDown()
            try await f.cache.delete("k")
            await f.comeBack()
            return "old"
        }
        #expect(try await f.cache.get("k", as: String.self).isMiss)
        #expect(try await f.elsewhere.get("k", as: String.self).isMiss)
    }

    @Test func aFillThatBeganInTheOutageIsNotKeptAfterIt() async throws {
        let f = OutageFixture()
        await f.goDown()
        _ = try await f.cache.getOrSet("k") {
            await f.comeBack()
            try await f.elsewhere.set("k", "theirs")
            return "ours"
        }
        #expect(try await f.cache.get("k").value == "theirs")
    }

    /// The write fails once, which is not enough to count as an outage: nobody will tell of a return.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func aWriteThatFailedOnceReachesTheServerBeforeTheNextCall(_ moment: FaultyStore.Moment) async throws {
        let f = OutageFixture(failures: 5)
        try await f.cache.set("k", "old")
        f.faulty.fail(call: f.faulty.calls + 1, with: StoreError(.timeout, effect: .unknown), moment)
        try await f.cache.delete("k")
        #expect(f.failover.localSince == nil)
        #expect(try await f.cache.get("k", as: String.self).isMiss)
        #expect(try await f.elsewhere.get("k", as: String.self).isMiss)
    }

    @Test func whatASingleFailureLeftIsHandedOverAlsoWhereNobodyCallsAnyMore() async throws {
        let f = OutageFixture(failures: 5)
        try await f.cache.set("k", "old")
        f.faulty.fail(call: f.faulty.calls + 1, with: StoreError(.timeout, effect: .unknown))
        #expect(try await f.cache.delete("k").by.isLocal)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await f.failover.run() }
            await f.time.advanceUntil(by: .milliseconds(100)) { f.cache.pendingChanges == 0 }
            group.cancelAll()
        }
        #expect(try await f.elsewhere.get("k", as: String.self).isMiss)
    }

    /// The race that Failover.whenServerReturns tells of: the invalidation is decided here, and ends after the hand-over.
    @Test func anInvalidationThatEndsAfterTheReturnReachesTheServerAllTheSame() async throws {
        let f = OutageFixture()
        let scans = ScanHook()
        let failover = Failover(
            server: f.faulty, local: scans.store(over: f.local),
            configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: f.time)
        let cache = Cache(failover: failover)
        try await cache.set("users:1", "old")
        f.faulty.fail(with: StoreError(.connectionFailed))
        await failover.start()
        scans.before(scan: 1) {
            f.faulty.recover()
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await failover.run() }
                await f.time.advanceUntil(by: .milliseconds(100)) { failover.localSince == nil }
                group.cancelAll()
            }
        }
        #expect(try await cache.invalidate("users:*").by.isLocal)
        #expect(failover.localSince == nil)
        #expect(try await f.elsewhere.get("users:1", as: String.self).isMiss)
        #expect(try await cache.get("users:1", as: String.self).isMiss)
    }

    @Test func anEntryFromAnEarlierOutageIsNotBelievedInALaterOne() async throws {
        let f = OutageFixture(CacheConfiguration(near: .init(entries: 0)))
        await f.goDown()
        try await f.cache.set("k", "first")
        let stored = try await f.local(.get(Key(raw: "holdfast:cache:default:k")))
        await f.comeBack()
        // As if the local decision had ended only after the hand-over.
        try await f.local(.set(Key(raw: "holdfast:cache:default:k"), try #require(stored)))
        await f.goDown()
        #expect(try await f.cache.get("k", as: String.self).isMiss)
    }

    /// Others' hooks run after the cache's, and meanwhile it still decides here.
    @Test func whatWasDecidedHereDuringTheHandOverIsForgottenAtTheReturn() async throws {
        let f = OutageFixture()
        await f.goDown()
        f.failover.whenServerReturns { [cache = f.cache] (_) throws(StoreError) in
            _ = try? await cache.getOrSet("k") { "during the hand-over" }
        }
        await f.comeBack()
        try await f.elsewhere.set("k", "new")
        #expect(try await f.cache.get("k") == .hit("new", from: .store))
        try await f.cache.delete("k")
        await f.goDown()
        #expect(try await f.cache.get("k", as: String.self).isMiss)
    }

    @Test func aServerThatFailsDuringTheHandOverStaysDownAndNothingIsForgotten() async throws {
        let f = OutageFixture()
        try await f.cache.setMany(["a": 1, "b": 2])
        await f.goDown()
        try await f.cache.invalidate("*")
        // Two probes' worth of pings pass, then the first scan of the hand-over fails.
        f.faulty.fail(call: f.faulty.calls + 2, with: StoreError(.connectionLost, effect: .unknown))
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await f.failover.run() }
            await f.time.advanceUntil(by: .milliseconds(100)) { f.failover.localSince == nil }
            group.cancelAll()
        }
        #expect(try await f.elsewhere.keys().value.keys.isEmpty)
    }

    @Test func tooManyChangesCollapseIntoClearing() async throws {
        let f = OutageFixture()
        let other = try f.elsewhere.workspace("other")
        try await f.elsewhere.setMany(["1": 0, "unrelated": 0])
        try await other.set("kept", 0)
        await f.goDown()
        for batch in 0..<11 {
            try await f.cache.setMany(Dictionary(uniqueKeysWithValues: (0..<1000).map { ("\(batch * 1000 + $0)", 1) }))
        }
        await f.comeBack()
        #expect(try await f.elsewhere.keys().value.keys.isEmpty, "the whole workspace was cleared")
        #expect(try await other.get("kept").value == 0)
    }
}
