import HoldfastStore
import HoldfastTesting
import Testing

/// Many tasks on one store at once: what `scripts/tsan` runs under the thread sanitizer, and counts that only add up when
/// operations are atomic.
@Suite struct ConcurrencyTests {
    private let names = Namespace(prefix: "race:")

    @Test func countersAddUp() async throws {
        let store = EmbeddedStore()
        try await inParallel { task in
            for step in 0..<200 {
                _ = try await store.pipeline(.incr(names.key("n")), .hincrby(names.key("h"), Bytes("f"), 1))
                _ = try await store.transaction(.incr(names.key("a")), .incr(names.key("b")))
                _ = try await store(.zadd(names.key("z"), Bytes(Int64(task * 1000 + step)), Double(step)))
                _ = store.statistics
            }
        }
        #expect(try await store(.get(names.key("n"))) == "1600")
        #expect(try await store(.hget(names.key("h"), "f")) == "1600")
        #expect(try await store(.get(names.key("a"))) == store(.get(names.key("b"))))
        #expect(try await store(.zcard(names.key("z"))) == 1600)
    }

    @Test func expiringEvictingAndScanningDisturbNobody() async throws {
        let time = ManualTime()
        let limits = Keyspace.Limits(maximumBytes: 400_000, policy: .allKeysLRU)
        let store = EmbeddedStore(EmbeddedStore.Configuration(limits: limits), time: time)
        let reaper = Task { try await store.removeExpiredEntries() }
        try await inParallel { task in
            for step in 0..<200 {
                let key = names.key("k:\(Int64(task)):\(Int64(step))")
                try await store(.set(key, Bytes([UInt8](repeating: 1, count: 200)), expiration: .after(.milliseconds(50))))
                if step.isMultiple(of: 20) {
                    time.advance(by: .milliseconds(10))
                    for try await page in store.scan(pageSize: 100) { _ = page.count }
                }
            }
        }
        reaper.cancel()
        _ = try? await reaper.value
        #expect(store.statistics.usedBytes <= 400_000)
    }

    @Test func subscribersComeAndGoWhileOthersPublish() async throws {
        let store = EmbeddedStore()
        let channel = names.channel("news")
        try await inParallel { task in
            for _ in 0..<50 {
                if task.isMultiple(of: 2) {
                    _ = try await store(.publish(channel, "x"))
                } else {
                    try await store.withSubscription(to: [.channel(channel)]) { subscription async throws in
                        _ = try await store(.publish(channel, "own"))
                        var iterator = subscription.makeAsyncIterator()
                        #expect(await iterator.next() != nil)
                    }
                }
            }
        }
        #expect(try await store(.publish(channel, "late")) == 0)
    }

    private func inParallel(_ body: @escaping @Sendable (Int) async throws -> Void) async throws {
        try await withThrowingTaskGroup { group in
            for task in 0..<8 { group.addTask { try await body(task) } }
            try await group.waitForAll()
        }
    }
}
