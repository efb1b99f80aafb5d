import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

/// A cache that is not to decide anything here while the server is away.
@Suite struct CacheClosedOutageTests {
    private static func fixture(failures: Int = 1) -> OutageFixture {
        OutageFixture(CacheConfiguration(outage: .closed), failures: failures)
    }

    private static func refusal(_ body: () async throws -> some Any) async -> ErrorCode? {
        do { _ = try await body() } catch { return (error as? StoreError)?.code }
        return nil
    }

    /// What does not only remove.
    enum Call: CaseIterable {
        case get, getVersioned, getBytes, getMany, exists, ttl, entry, keys, getOrSet, resolve, refresh
        case set, setBytes, setMany, setConditionally, warm, warmGroup

        func make(_ cache: Cache) async throws {
            switch self {
            case .get: _ = try await cache.get("k", as: Int.self)
            case .getVersioned: _ = try await cache.getVersioned("k", as: Int.self)
            case .getBytes: _ = try await cache.getBytes("none")
            case .getMany: _ = try await cache.getMany(["k", "none"], as: Int.self)
            case .exists: _ = try await cache.exists("k")
            case .ttl: _ = try await cache.ttl("k")
            case .entry: _ = try await cache.entry("k")
            case .keys: _ = try await cache.keys()
            case .getOrSet: _ = try await cache.getOrSet("k") { 2 }
            case .resolve: _ = try await cache.resolve("k") { 2 }
            case .refresh: try await cache.refresh("k") { 2 }
            case .set: try await cache.set("k", 2)
            case .setBytes: try await cache.setBytes("bytes", "2")
            case .setMany: try await cache.setMany(["k": 2, "l": 2])
            case .setConditionally: try await cache.set("k", 2, if: .present)
            case .warm: try await cache.warm(with: ["k": 2])
            case .warmGroup:
                try cache.registerWarmer("k", group: "group") { _ in 2 }
                #expect(try await cache.warm("group").warmed == ["k"])
            }
        }
    }

    @Test(arguments: Call.allCases) func aCallIsRefusedWhileTheServerIsAwayAndGoesOnWhenItIsBack(_ call: Call) async throws {
        let f = Self.fixture()
        try await f.cache.set("k", 1)
        await f.goDown()
        do {
            try await call.make(f.cache)
            Issue.record("it was decided here")
        } catch let error as StoreError { #expect(error.code == .unavailable && error.effect == .none) }
        #expect(f.local.statistics.keys == 0 && f.failover.outbox.isEmpty)
        await f.comeBack()
        try await call.make(f.cache)
        #expect(try await f.cache.keys().by == .server)
    }

    /// One failure is not enough to count as an outage: the call tells of its own.
    @Test(arguments: Call.allCases) func aCallThatFailsBeforeTheServerCountsAsAwaySaysWhatItMet(_ call: Call) async throws {
        let f = Self.fixture(failures: 1000)
        // Written by another process: nothing of it is near.
        try await f.elsewhere.set("k", 1)
        f.faulty.fail(with: StoreError(.timeout, effect: .unknown))
        do {
            try await call.make(f.cache)
            Issue.record("it was decided here")
        } catch let error as StoreError { #expect(error.code == .timeout && error.effect == .unknown) }
        #expect(f.local.statistics.keys == 0 && f.failover.outbox.isEmpty)
        f.faulty.recover()
        try await call.make(f.cache)
    }

    @Test func whatIsNearIsServedUntilTheServerCountsAsAwayAndNothingStale() async throws {
        let f = Self.fixture(failures: 2)
        try await f.cache.set("k", 1)
        f.faulty.fail(with: StoreError(.connectionFailed))
        #expect(try await f.cache.get("k", as: Int.self).value == 1)
        f.time.advance(by: .seconds(5))
        // The first failure, which does not make it away, and nothing stale all the same.
        #expect(await Self.refusal { try await f.cache.get("k", as: Int.self) } == .connectionFailed)
        #expect(f.failover.localSince == nil)
        f.faulty.recover()
        #expect(try await f.cache.get("k", as: Int.self).value == 1)
        f.faulty.fail(with: StoreError(.connectionFailed))
        for _ in 0..<2 { _ = try? await f.cache.exists("k") }
        #expect(f.failover.localSince != nil)
        #expect(await Self.refusal { try await f.cache.get("k", as: Int.self) } == .unavailable)
        await f.comeBack()
        #expect(try await f.cache.get("k", as: Int.self) == .hit(1, from: .store))
    }

    /// A server that is full counts as away, also where it still answers reads.
    @Test func theFactoryIsNotRunWhereTheServerIsFull() async throws {
        let f = Self.fixture(failures: 1000)
        f.faulty.fail(call: f.faulty.calls + 2, with: StoreError(.outOfMemory))
        let refusal = await Self.refusal {
            try await f.cache.getOrSet("k") {
                Issue.record("the factory ran")
                return 1
            }
        }
        #expect(refusal == .outOfMemory)
    }

    @Test func anOutageThatBeginsWhileTheFactoryRunsCostsTheKeepingOnly() async throws {
        let f = Self.fixture()
        let found = try await f.cache.resolve("k") {
            await f.goDown()
            return 1
        }
        #expect(found.value == 1)
        #expect(f.local.statistics.keys == 0 && f.failover.outbox.isEmpty)
    }

    /// A factory's failure is its own, an outage is everybody's.
    @Test func warmingThatAnOutageInterruptsSaysThatPartOfItMayBeDone() async throws {
        struct Broken: Error {}
        let f = Self.fixture()
        try f.cache.registerWarmer("broken", group: "group") { _ -> Int in throw Broken() }
        #expect(try await f.cache.warm("group").failed == ["broken"])
        try f.cache.registerWarmer("good", group: "group") { _ in 1 }
        try f.cache.registerWarmer("last", group: "group") { _ -> Int in throw StoreError(.connectionLost) }
        let error = await #expect(throws: StoreError.self) { try await f.cache.warm("group") }
        #expect(error?.code == .connectionLost && error?.effect == .unknown)
        #expect(try await f.elsewhere.get("good", as: Int.self).value == 1)
    }

    @Test func aServerThatRefusesUsIsNoFailureOfAFactory() async throws {
        let f = Self.fixture()
        try f.cache.registerWarmer("k", group: "group") { _ in
            Issue.record("the factory ran")
            return 1
        }
        f.faulty.fail(with: StoreError(.serverRefused))
        await f.failover.start()
        #expect(await Self.refusal { try await f.cache.warm("group") } == .serverRefused)
    }

    /// What only removes.
    enum Removal: CaseIterable {
        case delete, invalidate, category, clear, set, setMany

        func make(_ cache: Cache) async throws -> Decider {
            switch self {
            case .delete: try await cache.delete("model_inference:k").by
            case .invalidate: try await cache.invalidate("model*").by
            case .category: try await cache.invalidate(category: .modelInference).by
            case .clear: try await cache.clear().by
            case .set: try await cache.set("model_inference:k", 2, ttl: .zero).by
            case .setMany: try await cache.setMany(["model_inference:k": 2], ttl: .zero).by
            }
        }
    }

    @Test(arguments: Removal.allCases, [1, 1000])
    func whatOnlyRemovesIsAcceptedAndHandedOver(_ removal: Removal, failures: Int) async throws {
        let f = Self.fixture(failures: failures)
        try await f.cache.set("model_inference:k", 1)
        f.faulty.fail(with: StoreError(.connectionFailed))
        if failures == 1 { await f.failover.start() }
        #expect(try await removal.make(f.cache).isLocal)
        #expect(try await f.elsewhere.get("model_inference:k").value == 1, "the server has not heard of it")
        await #expect(throws: StoreError.self) { try await f.cache.get("model_inference:k", as: Int.self) }
        await f.comeBack()
        #expect(try await f.cache.get("model_inference:k", as: Int.self).value == nil)
        #expect(try await f.elsewhere.get("model_inference:k", as: Int.self).value == nil)
        #expect(f.failover.outbox.isEmpty)
    }

    @Test func withoutAServerItChangesNothing() async throws {
        let state = AgentState.embedded(configuration: .init(cache: CacheConfiguration(outage: .closed)))
        #expect(try await state.cache.set("k", 1).by == .server)
        #expect(try await state.cache.get("k").value == 1)
    }
}
