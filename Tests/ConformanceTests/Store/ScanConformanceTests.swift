import HoldfastStore
import TestServers
import Testing

/// Scans and namespaces mean the same on every store.
@Suite struct ScanConformanceTests {
    private func keys(_ pages: KeyPages) async throws -> [Key] {
        var keys: [Key] = []
        for try await page in pages { keys += page }
        return keys
    }

    @Test(arguments: Backend.available)
    func aScanFindsEveryKeyOfABigSet(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let all = (0..<5000).map { names.key("k:\(Int64($0))") }
        _ = try await store.pipeline(all.map { Command<Void>.set($0, "x") })
        let found = try await keys(store.scan(matching: names.glob(startingWith: "k:"), pageSize: 200))
        #expect(Set(found) == Set(all))
    }

    @Test(arguments: Backend.direct)
    func whatStaysIsFoundWhileOtherKeysComeAndGo(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let (stay, go) = ((0..<500).map { names.key("s:\(Int64($0))") }, (0..<500).map { names.key("g:\(Int64($0))") })
        _ = try await store.pipeline((stay + go).map { Command<Void>.set($0, "x") })
        var found: Set<Key> = []
        var leaving = go.makeIterator()
        var coming = 0
        for try await page in store.scan(matching: names.glob(startingWith: ""), pageSize: 50) {
            found.formUnion(page)
            // Others add to a shared server too: for ever it would not end.
            for _ in 0..<20 where coming < 2000 {
                if let key = leaving.next() { _ = try await store(.unlink([key])) }
                coming += 1
                try await store(.set(names.key("n:\(Int64(coming))"), "x"))
            }
        }
        #expect(found.isSuperset(of: stay))
    }

    @Test(arguments: Backend.available)
    func aScanCanBeOfOneType(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        try await store(.set(names.key("a"), "x"))
        #expect(try await store(.sadd(names.key("b"), "x")) == 1)
        let found = try await keys(store.scan(matching: names.glob(startingWith: ""), type: .set))
        #expect(Set(found) == [names.key("b")])
    }

    @Test(arguments: Backend.available)
    func aCancelledScanSaysSo(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let task = Task {
            // Cancelled before the first page is asked for.
            withUnsafeCurrentTask { $0?.cancel() }
            for try await _ in store.scan(matching: names.glob(startingWith: "")) {}
        }
        let error = await #expect(throws: StoreError.self) { try await task.value }
        #expect(error?.code == .cancelled)
    }

    @Test(arguments: Backend.available)
    func twoPrefixesAndTwoTenantsNeverMix(_ backend: Backend) async throws {
        let store = try await backend.store()
        let first = backend.namespace()
        // A prefix that is a glob, and one that begins as the other does.
        let spaces = [
            first, Namespace(prefix: first.prefix + "[a]*:"), Namespace(prefix: first.prefix + "*"), first.scoped(to: "acme"),
            first.scoped(to: "acme:b"),
        ]
        for (number, names) in spaces.enumerated() {
            for id in ["x", "a:b", "*", "{x}"] { try await store(.set(names.key("k:\(id)"), Bytes(Int64(number)))) }
        }
        for (number, names) in spaces.enumerated() {
            #expect(try await store(.get(names.key("k:\("a:b")"))) == Bytes(Int64(number)))
            let found = Set(try await keys(store.scan(matching: names.glob(startingWith: "k:"))))
            #expect(found == Set(["x", "a:b", "*", "{x}"].map { names.key("k:\($0)") }))
        }
    }
}
