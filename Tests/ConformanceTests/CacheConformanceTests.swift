import Holdfast
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

/// The cache's promises on every kind of store: what the embedded tests prove for one interleaving, with real round trips.
@Suite struct CacheConformanceTests {
    private func caches(_ backend: Backend) async throws -> (one: Cache, other: Cache) {
        let (store, names) = (try await backend.store(), backend.namespace())
        func cache() -> Cache {
            Cache(
                failover: Failover(local: store), namespace: names,
                configuration: CacheConfiguration(near: NearCacheConfiguration(entries: 0)))
        }
        return (cache(), cache())
    }

    @Test(arguments: Backend.available)
    func valuesTTLsAndTypesAreKept(_ backend: Backend) async throws {
        let (one, other) = try await caches(backend)
        try await one.set("user:1", ["name": "Ada"], ttl: .seconds(300))
        #expect(try await other.get("user:1").value == ["name": "Ada"])
        let left = try #require(try await other.ttl("user:1").value)
        #expect((.seconds(200)...(.seconds(300))).contains(left))
        let error = await #expect(throws: StoreError.self) { try await other.get("user:1", as: Int.self) }
        #expect(error?.code == .decodingFailed)
        try await one.set("nobody", Int?.none)
        #expect(try await other.getMany(["nobody", "unknown"], as: Int?.self).map { $0.source != nil } == [true, false])
        #expect(try await one.delete("user:1").value)
        #expect(try await !other.exists("user:1").value)
    }

    @Test(arguments: Backend.available)
    func ofWritersAtOneVersionOneWins(_ backend: Backend) async throws {
        let (one, other) = try await caches(backend)
        /// How many of twenty concurrent writers in two processes were not refused.
        func winners(_ condition: CacheCondition) async throws -> Int {
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        do {
                            return try await (number % 2 == 0 ? one : other).set("k", number, if: condition).isKept
                        } catch let error as StoreError where error.code == .preconditionFailed {
                            return false
                        }
                    }
                }
                return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
        }
        await #expect(throws: StoreError.self) { try await one.set("k", 0, if: .present) }
        await #expect(throws: StoreError.self) { try await one.delete("k", if: .present) }
        #expect(try await winners(.absent) == 1)
        let read = try #require(try await other.getVersioned("k", as: Int.self).value)
        #expect(try await winners(.version(read.version)) == 1)
        #expect(try await winners(.version(read.version)) == 0)
        #expect(try await winners(.present) == 20)
        let last = try #require(try await other.getVersioned("k", as: Int.self).value)
        await #expect(throws: StoreError.self) { try await one.delete("k", if: .version(read.version)) }
        #expect(try await one.delete("k", if: .version(last.version)).value)
        #expect(try await !other.exists("k").value)
        // A TTL of zero is a conditional deletion.
        let kept = try await one.set("k", 1)
        await #expect(throws: StoreError.self) { try await one.set("k", 2, ttl: .zero, if: .version(last.version)) }
        let version = try #require(kept.version)
        #expect(try await !one.set("k", 2, ttl: .zero, if: .version(version)).isKept)
        #expect(try await !other.exists("k").value)
    }

    @Test(arguments: Backend.available)
    func whatIsOnlyKeptForEmergenciesCountsAsAbsent(_ backend: Backend) async throws {
        let cache = Cache(
            failover: Failover(local: try await backend.store()), namespace: backend.namespace(),
            configuration: CacheConfiguration(failSafe: .seconds(3600), near: NearCacheConfiguration(entries: 0)))
        let old = try #require(try await cache.set("k", 1, ttl: .milliseconds(1)).version)
        try await eventually("the entry's TTL ends") { try await cache.get("k", as: Int.self).isMiss }
        await #expect(throws: StoreError.self) { try await cache.set("k", 2, if: .version(old)) }
        await #expect(throws: StoreError.self) { try await cache.set("k", 2, if: .present) }
        #expect(try await cache.set("k", 2, if: .absent).isKept)
    }

    @Test(arguments: Backend.available)
    func patternsMeanTheSameEverywhere(_ backend: Backend) async throws {
        let (one, other) = try await caches(backend)
        try await one.setMany(["users:1": 1, "users:22": 2, "users": 3, "user{1}": 4, "a*b": 5])
        try await one.workspace("w").set("users:1", 6)
        #expect(try await other.invalidate("users?1").value == 1)
        #expect(try await other.invalidate("user{?}").value == 1)
        #expect(try await other.invalidate(#"a\*b"#).value == 1)
        #expect(Set(try await other.keys(limit: 1000).value.keys).isSubset(of: ["users", "users:22"]))
        #expect(try await other.clear().value == 2)
        #expect(try await one.workspace("w").get("users:1").value == 6)
    }

    @Test(arguments: Backend.available)
    func aLateFillerDoesNotBringBackWhatWasInvalidated(_ backend: Backend) async throws {
        let (one, other) = try await caches(backend)
        for change in [
            { try await other.delete("k") }, { try await other.invalidate("k*") }, { try await other.clear() },
        ] as [@Sendable () async throws -> Any] {
            _ = try await one.getOrSet("k") {
                _ = try await change()
                return "old"
            }
            #expect(try await other.get("k", as: String.self).isMiss)
        }
        _ = try await one.getOrSet("k") {
            try await other.set("k", "written")
            return "old"
        }
        #expect(try await other.get("k").value == "written")
    }

    /// Sources change and are invalidated while others fill: afterwards no cache has an older value than its source.
    @Test(arguments: Backend.available)
    func whateverTheInterleavingNoStaleValueSurvives(_ backend: Backend) async throws {
        let (one, other) = try await caches(backend)
        let source = Locked([0, 0, 0])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<6 {
                group.addTask {
                    var random = RandomSource(seed: UInt64(worker))
                    for _ in 0..<60 {
                        let place = Int.random(in: 0..<3, using: &random)
                        if Int.random(in: 0..<4, using: &random) > 0 {
                            _ = try await (worker % 2 == 0 ? one : other).getOrSet("key:\(place)") {
                                let value = source.withLock { $0[place] }
                                await Task.yield()
                                return value
                            }
                        } else {
                            source.withLock { $0[place] += 1 }
                            if worker < 3 {
                                try await one.invalidate("key:*")
                            } else {
                                try await other.delete("key:\(place)")
                            }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        for place in 0..<3 {
            let value = try await one.get("key:\(place)", as: Int.self).value
            #expect(value == nil || value == source.withLock { $0[place] })
        }
    }
}
