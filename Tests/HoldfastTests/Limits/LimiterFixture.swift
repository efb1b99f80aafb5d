import Holdfast
import HoldfastStore
import HoldfastTesting

/// A limiter over an embedded store whose clock stands still, 20 s into a minute and 800 s into an hour.
struct LimiterFixture {
    let time = ManualTime(now: Timestamp(milliseconds: 1_700_000_000_000))
    let store: EmbeddedStore
    let counting: FaultyStore
    let limiter: RateLimiter
    let ann = RateLimitSubject.user("ann")

    init(_ configuration: RateLimiter.Configuration = RateLimiter.Configuration(denialMemory: .zero)) {
        store = EmbeddedStore(time: time)
        counting = FaultyStore(store)
        limiter = RateLimiter(Failover(local: counting, time: time), configuration: configuration)
    }

    /// How many of so many calls are admitted.
    func admitted(_ count: Int, _ rules: [RateLimit], cost: Int = 1) async throws -> Int {
        var admitted = 0
        for _ in 0..<count where try await limiter.check(rules, for: ann, cost: cost).isAllowed { admitted += 1 }
        return admitted
    }

    /// Everything in the store: keys, values, expiries.
    func contents() async throws -> [String] {
        var lines: [String] = []
        var cursor = Bytes("0")
        repeat {
            guard let page = try await store(.raw("SCAN", cursor, "COUNT", "1000")).elements, let next = page[0].bytes,
                let keys = page[1].list
            else { break }
            cursor = next
            for key in keys {
                let value = try await store(.raw("TYPE", key)).bytes == "string" ? ["GET", key] : ["ZRANGE", key, "0", "-1"]
                lines.append("\(key) \(try await store(.raw(value))) \(try await store(.raw("PEXPIRETIME", key)))")
            }
        } while cursor != "0"
        return lines.sorted()
    }
}

extension RateLimit {
    static func ten(_ algorithm: Algorithm, per window: Duration = .seconds(60)) -> RateLimit {
        RateLimit("ten", algorithm, limit: 10, per: window)
    }
}
