import Holdfast
import HoldfastRedis
import HoldfastStore
import TestServers
import Testing

/// Pages of lists on every kind of store: never more than asked for, nothing lost, nothing twice.
@Suite struct ListingConformanceTests {
    private func state(_ backend: Backend) async throws -> AgentState {
        AgentState(failover: Failover(local: try await backend.store()), namespace: backend.namespace())
    }

    /// The keys of all pages.
    private func pages(
        of cache: Cache, _ pattern: String, limit: Int, between: () async throws -> Void = {}
    ) async throws -> [String] {
        var (listed, cursor): ([String], String?) = ([], nil)
        for _ in 0..<100_000 {
            let page = try await cache.keys(matching: pattern, cursor: cursor, limit: limit).value
            #expect(page.keys.count <= limit)
            listed += page.keys
            guard let next = page.cursor else { return listed }
            cursor = next
            try await between()
        }
        throw StoreError(.internalError, "the listing does not end")
    }

    /// On servers that others use too, whose table may be reorganized meanwhile: nothing is lost.
    @Test(arguments: Backend.available, [1, 7, 1000])
    func pagesOfKeysAreBoundedAndComplete(_ backend: Backend, limit: Int) async throws {
        let cache = try await state(backend).cache
        let all = (0..<230).map { "k:\($0)" }
        try await cache.setMany(Dictionary(uniqueKeysWithValues: all.map { ($0, 1) }))
        try await cache.set("other", 1)
        #expect(Set(try await pages(of: cache, "k:*", limit: limit)) == Set(all))
    }

    /// On stores of its own nothing comes twice either, while keys go between the pages. So few keys that no table is reorganized.
    @Test func whatStaysIsListedOnceWhileOthersGo() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let redis = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)))
        for store in [EmbeddedStore(), redis] as [any Store] {
            for limit in [1, 2, 3, 10, 100] {
                let cache = try Cache(failover: Failover(local: store)).workspace("\(limit)")
                let staying = (0..<60).map { "stay:\($0)" }
                var going = (0..<40).map { "go:\($0)" }
                try await cache.setMany(Dictionary(uniqueKeysWithValues: (staying + going).map { ($0, 1) }))
                let listed = try await pages(of: cache, "*", limit: limit) {
                    if let last = going.popLast() { try await cache.delete(last) }
                }
                #expect(listed.filter { $0.hasPrefix("stay:") }.sorted() == staying.sorted(), "limit \(limit)")
                try await cache.clear()
            }
        }
        await redis.shutdown()
    }

    @Test(arguments: Backend.available)
    func sessionsOfOneMomentAreListedOnceWhileOthersGo(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let sessions = Sessions(failover: Failover(local: store), namespace: names)
        var ids: [SessionID] = []
        for _ in 0..<30 { ids.append(try await sessions.create(userID: "u").id) }
        // All end in the same millisecond.
        let index = names.key("user_sessions:\("u")")
        let end = try #require(try await sessions.get(ids[0]).value).ends
        _ = try await store(.zadd(index, ids.map { ScoredMember(Bytes($0.text), Double(end.milliseconds)) }))
        let (staying, going) = (ids.prefix(20), ids.suffix(10))
        var rest = Array(going)
        var (listed, cursor): ([SessionID], String?) = ([], nil)
        repeat {
            let page = try await sessions.list(userID: "u", limit: 3, cursor: cursor)
            #expect(page.sessions.count <= 3)
            for id in ids { #expect(page.cursor?.contains(id.text) != true, "a cursor is no secret") }
            listed += page.sessions.map(\.id).filter { staying.contains($0) }
            cursor = page.cursor
            for _ in 0..<2 { if let id = rest.popLast() { try await sessions.delete(id) } }
        } while cursor != nil
        #expect(Set(listed) == Set(staying) && listed.count == staying.count)
    }

    @Test func aCursorThatIsNoneIsRefused() async throws {
        let state = AgentState.embedded()
        for bad in ["", "x", "1.2", "1.x.k", "-1", "y.3x."] {
            let error = await #expect(throws: StoreError.self) { try await state.cache.keys(cursor: bad) }
            #expect(error?.field == "cursor", "\(bad)")
            let other = await #expect(throws: StoreError.self) { try await state.sessions.list(userID: "u", cursor: bad) }
            #expect(other?.field == "cursor", "\(bad)")
        }
        for limit in [0, -1, 1001] {
            let error = await #expect(throws: StoreError.self) { try await state.cache.keys(limit: limit) }
            #expect(error?.field == "limit")
        }
    }
}
