import Holdfast
import HoldfastStore
import TestServers
import Testing

/// Expiries, and the manager that looks after them, mean the same on every store.
@Suite struct ExpiryConformanceTests {
    @Test(arguments: Backend.available)
    func anEntryEndsAtItsTime(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let (short, long) = (names.key("short"), names.key("long"))
        try await store(.set(short, "x", expiration: .after(.milliseconds(30))))
        try await store(.set(long, "x", expiration: .after(.seconds(1000))))
        try await eventually("the short one is gone") { try await store(.get(short)) == nil }
        #expect(try await store(.exists(short)) == false)
        #expect(try await store(.pttl(short)) == .noSuchKey)
        let left = try #require(try await store(.pttl(long)).remaining)
        #expect(left > .seconds(900) && left <= .seconds(1000))
    }

    @Test(arguments: Backend.available)
    func aMomentThatHasPassedRemoves(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let key = names.key("a")
        try await store(.set(key, "x"))
        #expect(try await store(.pexpireat(key, Timestamp(milliseconds: 1))))
        #expect(try await store(.exists(key)) == false)
        try await store(.set(key, "x"))
        #expect(try await store(.pexpire(key, .seconds(-1))))
        #expect(try await store(.get(key)) == nil)
    }

    @Test(arguments: Backend.available)
    func writingKeepsOrRemovesTheExpiryAsRedisDoes(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let key = names.key("n")
        try await store(.set(key, "1", expiration: .after(.seconds(100))))
        #expect(try await store(.incr(key)) == 2)
        #expect(try await store(.pttl(key)).remaining != nil)
        try await store(.set(key, "3", expiration: .keep))
        #expect(try await store(.pttl(key)).remaining != nil)
        #expect(try await store(.getex(key, .never)) == "3")
        #expect(try await store(.pttl(key)) == .forever)
        #expect(try await store(.pexpire(key, .seconds(9), if: .ifLater)) == false)
        #expect(try await store(.pexpire(key, .seconds(9), if: .ifEarlier)))
        #expect(try await store(.pexpire(key, .seconds(99), if: .ifAnyAndEarlier)) == false)
        try await store(.set(key, "4"))
        #expect(try await store(.pttl(key)) == .forever)
        #expect(try await store(.pexpire(key, .seconds(9), if: .ifAnyAndEarlier)) == false)
    }

    @Test(arguments: Backend.available)
    func theManagerSetsRefreshesAndPersists(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let manager = TTLManager(store: store, namespace: names)
        let key = names.key("a")
        #expect(try await manager.set(key, to: .seconds(9)) == false)
        try await store(.set(key, "x"))
        #expect(try await manager.refresh(key, to: .seconds(9)) == false)
        #expect(try await manager.timeToLive(key) == .forever)
        #expect(try await manager.set(key, to: .seconds(9)))
        #expect(try await manager.refresh(key, to: .seconds(900)))
        #expect(try #require(try await manager.timeToLive(key).remaining) > .seconds(800))
        #expect(try await manager.persist(key))
        #expect(try await manager.persist(key) == false)
    }

    @Test(arguments: Backend.available)
    func theManagerFindsAndSweepsWhatStaysForEver(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let tenant = names.scoped(to: "acme")
        let forever = (0..<60).map { names.key("cache:\(Int64($0))") }
        _ = try await store.pipeline(forever.map { Command<Void>.set($0, "x") })
        try await store(.set(names.key("cache:ending"), "x", expiration: .after(.seconds(500))))
        try await store(.set(names.key("other"), "x"))
        try await store(.set(tenant.key("cache:1"), "x"))
        let manager = TTLManager(store: store, namespace: names)
        let found = try await manager.keysWithoutTTL(startingWith: "cache:")
        #expect(Set(found.keys) == Set(forever) && found.isComplete)
        let some = try await manager.keysWithoutTTL(limit: 10)
        #expect(some.keys.count == 10 && !some.isComplete)
        #expect(try await manager.sweep(startingWith: "cache:", to: .seconds(700)) == 60)
        #expect(try await manager.sweep(startingWith: "cache:", to: .seconds(700)) == 0)
        #expect(try #require(try await store(.pttl(names.key("cache:ending"))).remaining) <= .seconds(500))
        #expect(try await store(.pttl(names.key("other"))) == .forever)
        #expect(try await store(.pttl(tenant.key("cache:1"))) == .forever)
    }

    @Test(arguments: Backend.available)
    func theManagerKeepsToItsNamespace(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let manager = TTLManager(store: store, namespace: names)
        for key in [names.scoped(to: "acme").key("a"), backend.namespace().key("a")] {
            let error = await #expect(throws: StoreError.self) { try await manager.persist(key) }
            #expect(error?.code == .wrongTenant)
        }
        let error = await #expect(throws: StoreError.self) { try await manager.set(names.key("a"), to: .microseconds(5)) }
        #expect(error?.field == "span")
    }
}
