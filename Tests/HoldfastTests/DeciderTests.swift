import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

/// Each result says who decided: the server, or this process because that is away.
@Suite struct DeciderTests {
    /// An operation of the cache, and who it says has decided.
    private typealias Look = @Sendable (Cache) async throws -> Decider

    private static let looks: [(name: String, look: Look)] = [
        ("get, a hit", { try await $0.get("k", as: Int.self).by }),
        ("get, a miss", { try await $0.get("none", as: Int.self).by }),
        ("getVersioned", { try await $0.getVersioned("k", as: Int.self).by }), ("getBytes", { try await $0.getBytes("none").by }),
        ("getMany, a hit", { try await $0.getMany(["k", "none"], as: Int.self)[0].by }),
        ("getMany, a miss", { try await $0.getMany(["k", "none"], as: Int.self)[1].by }),
        ("exists", { try await $0.exists("k").by }), ("ttl", { try await $0.ttl("k").by }),
        ("entry", { try await $0.entry("k").by }), ("keys", { try await $0.keys().by }),
        ("getOrSet, a hit", { try await $0.getOrSet("k") { 2 }.by }),
        ("getOrSet, a miss", { try await $0.getOrSet("filled") { 2 }.by }),
        ("getOrSet, not kept", { try await $0.getOrSet("unkept", ttl: .zero) { 2 }.by }),
        ("resolve", { try await $0.resolve("resolved") { 2 }.by }), ("refresh", { try await $0.refresh("refreshed") { 2 }.by }),
        ("warm", { try await $0.warm("group").by }), ("warm with", { try await $0.warm(with: ["w": 1]).by }),
        ("set", { try await $0.set("s", 1).by }), ("setMany", { try await $0.setMany(["m": 1]).by }),
        ("delete", { try await $0.delete("s").by }), ("invalidate", { try await $0.invalidate("m").by }),
        ("clear", { try await $0.workspace("other").clear().by }),
    ]

    /// With a near cache too: what this process has decided is told apart from what was the server's.
    @Test(arguments: [0, 1000]) func everyOperationOfTheCacheSaysWhoDecided(near entries: Int) async throws {
        let f = OutageFixture(CacheConfiguration(near: .init(entries: entries)))
        try f.cache.registerWarmer("warmed", group: "group") { _ in 1 }
        for _ in 0..<2 {
            try await f.cache.set("k", 1)
            for (name, look) in Self.looks { #expect(try await look(f.cache) == .server, "\(name)") }
            await f.goDown()
            let local = Decider.local(since: try #require(f.failover.localSince))
            try await f.cache.set("k", 1)
            try await f.cache.invalidate("*ed")
            for (name, look) in Self.looks { #expect(try await look(f.cache) == local, "\(name)") }
            await f.comeBack()
        }
    }

    /// Near is what the server had, also while it is away.
    @Test func aNearCopyIsTheServersUntilItIsStale() async throws {
        let f = OutageFixture()
        try await f.cache.set("k", 1)
        await f.goDown()
        #expect(try await f.cache.getOrSet("k") { 2 } == Decided(1, by: .server))
        f.time.advance(by: .seconds(5))
        #expect(try await f.cache.getOrSet("k") { 2 } == Decided(1, by: f.failover.decider))
        #expect(try await f.cache.resolve("k") { 2 }.source == .stale(age: .zero, by: f.failover.decider))
    }

    /// The miss was the server's, the keeping is not.
    @Test func whatIsComputedIsByWhoeverKeepsIt() async throws {
        let f = OutageFixture()
        let found = try await f.cache.resolve("k") {
            await f.goDown()
            return 1
        }
        // The lease is on the server, so nobody keeps it.
        #expect(found.source == .factory(by: .server))
        let inOutage = try await f.cache.resolve("l") { 1 }
        #expect(inOutage.source == .factory(by: f.failover.decider) && inOutage.by.isLocal)
    }

    @Test func everyOperationOnSessionsSaysWhoDecided() async throws {
        let f = OutageFixture()
        let sessions = Sessions(failover: f.failover)
        let message = NewSessionMessage(role: "user", content: "hello")
        let id = try await sessions.create(userID: "u", kind: .conversation).id
        func deciders() async throws -> Set<Decider> {
            [
                try await sessions.create(userID: "u").by, try await sessions.get(id).by,
                try #require(try await sessions.get(id).value).by,
                try await sessions.update(id, set: ["a": 1]).by, try await sessions.append([message], to: id).by,
                try await sessions.extend(id).by, try await sessions.delete(.random()).by,
                try await sessions.revokeAll(userID: "v").by,
            ]
        }
        #expect(try await deciders() == [.server])
        #expect(try await sessions.count(userID: "u").by == .server)
        #expect(try await sessions.list(userID: "u").by == .server)
        #expect(try await sessions.rotate(sessions.create(userID: "u").id).by == .server)
        await f.goDown()
        #expect(try await deciders() == [f.failover.decider])
        await f.comeBack()
        #expect(try await deciders() == [.server])
    }

    @Test func everyOperationOfIdempotencySaysWhoDecided() async throws {
        let f = OutageFixture()
        let service = Idempotency(failover: f.failover, namespace: Namespace())
        func deciders(_ name: String) async throws -> Set<Decider> {
            var found: Set<Decider> = []
            for key in ["complete", "release", "suspend"].map({ $0 + name }) {
                let begun = try await service.begin(key: key, of: "me", content: "x")
                guard case .begun(let attempt) = begun.value else { throw StoreError(.conflict) }
                found.insert(begun.by)
                switch key {
                case "complete" + name: found.insert(try await service.complete(attempt, with: "done").by)
                case "release" + name: found.insert(try await service.release(attempt).by)
                default: found.insert(try await service.suspend(attempt).by)
                }
            }
            let answered = try await service.begin(key: "complete" + name, of: "me", content: "x")
            #expect(answered.value == .answered("done"))
            return found.union([answered.by])
        }
        #expect(try await deciders("1") == [.server])
        await f.goDown()
        #expect(try await deciders("2") == [f.failover.decider])
        await f.comeBack()
        #expect(try await deciders("3") == [.server])
        #expect(try await service.begin(key: "complete2", of: "me", content: "x") == Decided(.answered("done"), by: .server))
    }
}
