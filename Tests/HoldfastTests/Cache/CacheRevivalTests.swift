import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

/// What lies in this process's own store is older than what the server was told since: it must not be read.
@Suite struct CacheRevivalTests {
    private static let noneNear = CacheConfiguration(near: NearCacheConfiguration(entries: 0))

    /// A server without room refuses leases, fills and writes, and goes on to answer reads and to delete: it never counts as away.
    @Test func aServerThatIsFullBringsBackNothing() async throws {
        let time = ManualTime()
        let full = EmbeddedStore(.init(limits: .init(maximumBytes: 500)), time: time)
        _ = try await full(.set(Key(raw: "x"), "y"))
        let failover = Failover(server: full, local: EmbeddedStore(time: time), time: time)
        let cache = Cache(failover: failover)
        #expect(try await cache.getOrSet("k") { "old" }.value == "old")
        #expect(try await cache.delete("k").by == .server)
        #expect(try await cache.getOrSet("k") { "new" }.value == "new")
        #expect(failover.localSince == nil)
    }

    /// The lease and the fill fail, then all is well again, and then the server goes away.
    @Test func whatAPassingFailureLeftIsNotReadInTheNextOutage() async throws {
        let f = OutageFixture(Self.noneNear, failures: 5)
        f.faulty.fail(calls: [2, 3], with: StoreError(.connectionLost, effect: .unknown))
        #expect(try await f.cache.getOrSet("k") { "old" }.value == "old")
        f.faulty.recover()
        #expect(try await f.cache.set("k", "new").by == .server)
        await f.goDown()
        #expect(try await f.cache.get("k", as: String.self).isMiss)
        #expect(f.local.statistics.keys == 0)
    }

    /// The lease was given here, over a single failure; the entry is deleted on the server while the factory runs, and the outage begins.
    @Test func aFillThatBeganOverAFailureIsNotKeptInTheOutage() async throws {
        let f = OutageFixture(Self.noneNear, failures: 5)
        f.faulty.fail(calls: [2], with: StoreError(.connectionLost, effect: .unknown))
        _ = try await f.cache.getOrSet("k") {
            let deleted = try await f.cache.delete("k")
            #expect(deleted.by == .server)
            await f.goDown()
            return "old"
        }
        #expect(try await f.cache.get("k", as: String.self).isMiss)
    }

    /// The server is asked to change an entry, then it counts as away and the entry is filled here, and then its answer arrives.
    @Test(arguments: [true, false]) func whatTheServerDidAsTheOutageBeganHoldsHereToo(isDeletion: Bool) async throws {
        let f = OutageFixture(Self.noneNear)
        let hook = Locked<(@Sendable () async -> Void)?>(nil)
        let server = InterceptedStore(f.server) { (call) throws(StoreError) in
            guard case .batch = call, let action = hook.withLock({ $0.take() }) else { throw StoreError(.connectionFailed) }
            await action()
        }
        let failover = Failover(
            server: server, local: f.local, configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: f.time)
        let cache = Cache(failover: failover, configuration: Self.noneNear)
        hook.withLock {
            $0 = {
                await failover.start()
                _ = try? await cache.getOrSet("k") { "old" }
            }
        }
        if isDeletion {
            #expect(try await cache.delete("k").by == .server)
        } else {
            #expect(try await cache.set("k", "new").by == .server)
        }
        #expect(failover.localSince != nil)
        #expect(try await cache.get("k", as: String.self).isMiss)
    }

    /// As if a local decision had ended only after the hand-over: its entry is neither there, nor served where the factory fails.
    @Test func whatTheServerHasHeardOfIsNeitherThereNorStale() async throws {
        struct Broken: Error {}
        let f = OutageFixture(CacheConfiguration(failSafe: .seconds(60), near: NearCacheConfiguration(entries: 0)))
        let key = Key(raw: "holdfast:cache:default:k")
        await f.goDown()
        try await f.cache.set("k", "old", ttl: .seconds(10))
        #expect(try await f.cache.ttl("k").value == .seconds(10))
        let stored = try #require(try await f.local(.get(key)))
        await f.comeBack()
        try await f.local(.set(key, stored, expiration: .after(.seconds(70))))
        await f.goDown()
        #expect(try await !f.cache.exists("k").value)
        #expect(try await f.cache.ttl("k").value == nil)
        await #expect(throws: Broken.self) { try await f.cache.getOrSet("k") { () async throws -> String in throw Broken() } }
        // What is written now says something again, fresh and stale.
        try await f.cache.set("k", "new", ttl: .seconds(10))
        #expect(try await f.cache.exists("k").value)
        f.time.advance(by: .seconds(20))
        #expect(try await f.cache.getOrSet("k") { () async throws -> String in throw Broken() }.value == "new")
    }

    /// As if a local decision had ended only after the hand-over, and this process's clock was set back meanwhile.
    @Test func aClockThatIsSetBackDoesNotBringBackWhatTheServerHasHeardOf() async throws {
        let f = OutageFixture(Self.noneNear)
        let key = Key(raw: "holdfast:cache:default:k")
        await f.goDown()
        try await f.cache.set("k", "old")
        let stored = try #require(try await f.local(.get(key)))
        f.time.stepWallClock(by: .seconds(-300))
        await f.comeBack()
        try await f.local(.set(key, stored))
        await f.goDown()
        #expect(try await f.cache.get("k", as: String.self).isMiss)
        try await f.cache.set("k", "new")
        #expect(try await f.cache.get("k").value == "new")
    }
}
