import Holdfast
import HoldfastStore

/// Agent Spy's and EpiSPY's cache examples, and DevCycle's comparison of speed and hit rate.
enum CacheDemo {
    struct User: Codable, Hashable, Sendable {
        var name: String
        var email: String
    }

    static func play(_ stage: DemoStage, _ journal: DemoJournal) async throws {
        try await basics(stage.cache, journal)
        try await computing(stage.cache, journal)
        try await invalidating(stage.cache, journal)
        try await isolating(stage.cache, journal)
        try await warming(stage.cache, journal)
    }

    private static func basics(_ cache: Cache, _ journal: DemoJournal) async throws {
        let john = User(name: "John", email: "john@example.com")
        try await cache.set("user:123", john, ttl: .seconds(300))
        let found = try await cache.get("user:123", as: User.self)
        journal.check("set and get user:123 as a typed value", found.value == john, john.name)
        let left = try await cache.ttl("user:123").value ?? .zero
        journal.check(
            "its time to live runs", left > .seconds(290) && left <= .seconds(300), "\(Int(left.seconds.rounded())) s left")
        try await cache.set("nobody", String?.none, ttl: .seconds(60))
        let nobody = try await cache.get("nobody", as: String?.self)
        journal.check("nil is a value and no miss", nobody == .hit(nil, from: nobody.source ?? .store))
        try await cache.delete("user:123")
        journal.check("deleted is deleted", try await cache.exists("user:123").value == false)
    }

    /// The reference systems' `@cached`: many callers, one computation.
    private static func computing(_ cache: Cache, _ journal: DemoJournal) async throws {
        let calls = Locked(0)
        let answers = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<100 {
                group.addTask {
                    try await cache.getOrSet("expensive:42", ttl: .seconds(300)) {
                        calls.withLock { $0 += 1 }
                        try await Task.sleep(for: .milliseconds(30))
                        return 42
                    }.value
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let count = calls.withLock(\.self)
        journal.check(
            "100 callers of one missing value cost one computation", answers == Array(repeating: 42, count: 100) && count == 1)
        let clock = ContinuousClock()
        let start = clock.now
        for _ in 0..<1000 { _ = try await cache.getOrSet("expensive:42") { 0 } }
        let each = (clock.now - start).seconds / 1000
        journal.check("the cached answer is faster than the 30 ms it took", each < 0.01, "\(Int(each * 1e9)) ns each")
        let rate = cache.statistics.total.hitRate ?? 0
        journal.check("statistics know the hit rate", rate > 0.5, "\(Int(rate * 100))%")
    }

    private static func invalidating(_ cache: Cache, _ journal: DemoJournal) async throws {
        try await cache.setMany(["report:1": "a", "report:2": "b", "other": "c"], ttl: .seconds(60))
        let removed = try await cache.invalidate("report:*").value
        let left = try await cache.getMany(["report:1", "report:2", "other"], as: String.self).map(\.value)
        journal.check("invalidating report:* removes what matches and nothing else", removed == 2 && left == [nil, nil, "c"])
    }

    private static func isolating(_ cache: Cache, _ journal: DemoJournal) async throws {
        let (sales, support) = (try cache.workspace("sales"), try cache.workspace("support"))
        try await sales.set("plan", "grow")
        let seen = try await support.get("plan", as: String.self).value
        try await sales.clear()
        let gone = try await sales.get("plan", as: String.self).value
        journal.check("workspaces do not see each other, and are cleared alone", seen == nil && gone == nil)
        let outbreaks = try cache.category(.outbreakData)
        try await outbreaks.set("region:eu", ["cases": 12])
        let left = try await outbreaks.ttl("region:eu").value ?? .zero
        journal.check("a category brings its time to live", left > .seconds(290) && left <= .seconds(300), "outbreak_data, 300 s")
    }

    private static func warming(_ cache: Cache, _ journal: DemoJournal) async throws {
        try await cache.warm(with: ["model:a": "ready", "model:b": "ready"], ttl: .seconds(60))
        let warm = try await cache.getMany(["model:a", "model:b"], as: String.self).compactMap(\.value)
        journal.check("warmed entries are there before they are asked for", warm == ["ready", "ready"])
    }
}
