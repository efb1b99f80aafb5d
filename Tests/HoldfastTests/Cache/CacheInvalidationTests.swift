import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct CacheInvalidationTests {
    let store = EmbeddedStore()
    let cache: Cache

    init() { cache = Cache(failover: Failover(local: store)) }

    private func keys(_ cache: Cache) async throws -> [String] {
        var (found, cursor) = (Set<String>(), String?.none)
        repeat {
            let page = try await cache.keys(cursor: cursor).value
            found.formUnion(page.keys)
            cursor = page.cursor
        } while cursor != nil
        return found.sorted()
    }

    @Test(arguments: [
        ("users:*", ["a", "users", "user{1}"]), ("users?1", ["a", "users", "users:22", "user{1}"]),
        ("users:[0-9]", ["a", "users", "users:22", "user{1}"]), ("*", []), ("*2", ["a", "users", "users:1", "user{1}"]),
        ("user{1}", ["a", "users", "users:1", "users:22"]), ("nobody*", ["a", "user{1}", "users", "users:1", "users:22"]),
        (#"users\:1"#, ["a", "users", "users:22", "user{1}"]), ("a", ["users", "users:1", "users:22", "user{1}"]),
    ])
    func patternsMeanWhatCallersWrite(_ pattern: String, _ left: [String]) async throws {
        try await cache.setMany(["users:1": 1, "users:22": 2, "users": 3, "a": 4, "user{1}": 5])
        try await cache.workspace("other").set("users:1", 6)
        let removed = try await cache.invalidate(pattern).value
        #expect(removed == 5 - left.count)
        #expect(try await keys(cache) == left.sorted())
        #expect(try await cache.getMany(["users:1"], as: Int.self)[0].value == (left.contains("users:1") ? 1 : nil))
        #expect(try await cache.workspace("other").get("users:1").value == 6)
    }

    @Test func clearingAWorkspaceLeavesTheOthers() async throws {
        try await cache.set("k", 1)
        let other = try cache.workspace("default2")
        try await other.set("k", 2)
        #expect(try await cache.clear().value == 1)
        #expect(try await cache.get("k", as: Int.self).isMiss)
        #expect(try await other.get("k").value == 2)
    }

    @Test func aCategoryIsInvalidatedByItself() async throws {
        let risks = try cache.category(.riskAssessment)
        try await risks.set("a", 1)
        try await cache.set("risk", 2)
        try await cache.category(.outbreakData).set("a", 3)
        #expect(try await cache.invalidate(category: .riskAssessment).value == 1)
        #expect(try await risks.get("a", as: Int.self).isMiss)
        #expect(try await cache.getMany(["risk", "outbreak_data:a"], as: Int.self).map(\.value) == [2, 3])
        #expect(try await cache.category(.outbreakData).clear().value == 1)
    }

    @Test func aListingPagesThroughAllKeysOfTheView() async throws {
        let names = (0..<500).map { "key:\($0)" }
        try await cache.setMany(Dictionary(uniqueKeysWithValues: names.map { ($0, 1) }))
        try await cache.workspace("w").set("key:x", 1)
        #expect(try await keys(cache) == names.sorted())
        #expect(try await keys(try cache.category(CacheCategory("key", ttl: .seconds(1)))).isEmpty == false)
        #expect(try await cache.keys(matching: "key:49?", limit: 1000).value.keys.count == 10)
        await #expect(throws: StoreError.self) { try await cache.keys(limit: 0) }
        await #expect(throws: StoreError.self) { try await cache.keys(cursor: "x") }
    }

    @Test func badPatternsAreNamed() async throws {
        for pattern in ["", String(repeating: "*", count: 2000)] {
            let error = await #expect(throws: StoreError.self) { try await cache.invalidate(pattern) }
            #expect(error?.field == "pattern")
        }
    }

    @Test func warmingComputesWhatIsRegistered() async throws {
        struct Broken: Error {}
        let calls = Locked<[String]>([])
        try cache.category(.outbreakData).registerWarmer("loc-1") { cache in
            calls.withLock { $0.append("\(cache.tenant ?? "-")/\(cache.workspace)") }
            return 1
        }
        try cache.registerWarmer("stats", group: "dashboard") { _ in 2 }
        try cache.registerWarmer("broken", group: "dashboard") { _ -> Int in throw Broken() }
        #expect(cache.warmGroups == ["dashboard", "outbreak_data"])

        #expect(try await cache.scoped(to: "acme").warm("outbreak_data").warmed == ["outbreak_data:loc-1"])
        #expect(calls.withLock { $0 } == ["acme/default"])
        let left = try await cache.scoped(to: "acme").category(.outbreakData).ttl("loc-1").value
        #expect((.seconds(200)...(.seconds(300))).contains(left ?? .zero))
        #expect(try await cache.category(.outbreakData).get("loc-1", as: Int.self).isMiss)

        let report = try await cache.warm("dashboard")
        #expect(report.warmed == ["stats"] && report.failed == ["broken"])
        #expect(try await cache.get("stats").value == 2)
        let error = await #expect(throws: StoreError.self) { try await cache.warm("nope") }
        #expect(error?.code == .notFound && error?.field == "group")
        try await cache.warm(with: ["given": 7])
        #expect(try await cache.get("given").value == 7)
    }

    @Test func statisticsCountByCategory() async throws {
        // Near values of a slow run must not end of themselves.
        let time = ManualTime()
        let cache = Cache(failover: Failover(local: EmbeddedStore(time: time), time: time))
        let risks = try cache.category(.riskAssessment)
        _ = try await risks.get("a", as: Int.self)
        _ = try await risks.getOrSet("a") { 1 }
        _ = try await risks.get("a", as: Int.self)
        _ = try await cache.get("b", as: Int.self)
        let statistics = cache.statistics
        #expect(statistics.categories["risk_assessment"]?.misses == 2)
        #expect(statistics.categories["risk_assessment"]?.nearHits == 1)
        #expect(statistics.categories["risk_assessment"]?.fills == 1)
        #expect(statistics.total.misses == 3)
        #expect(statistics.total.hitRate == 0.25)
    }
}
