import Holdfast
import HoldfastRedis
import HoldfastStore

/// One of several processes that call one limiter at once: a program for tests.
///
/// `limit-caller <socket> <prefix> <processes> <calls> <window in s>`. For each algorithm it waits until all processes are ready, makes its
/// calls at once, and leaves how many were admitted in the hash `<prefix>admitted`.
@main struct LimitCaller {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 6, let processes = Int(arguments[3]), let calls = Int(arguments[4]),
            let window = Int(arguments[5])
        else { throw StoreError.invalid("arguments", "socket, prefix, processes, calls, window") }
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: arguments[1])))
        let names = Namespace(prefix: arguments[2])
        let limiter = RateLimiter(
            Failover(local: store), namespace: names, configuration: RateLimiter.Configuration(denialMemory: .zero))
        for algorithm in RateLimit.Algorithm.allCases {
            let rule = RateLimit("fifty", algorithm, limit: 50, per: .seconds(window))
            try await waitForAll(processes, store, names.key("ready:\(algorithm.rawValue)"))
            let admitted = try await admitted(of: calls, limiter, rule)
            _ = try await store(
                .raw("HINCRBY", names.key("admitted").bytes, Bytes(algorithm.rawValue), Bytes(Int64(admitted))))
        }
        await store.shutdown()
    }

    private static func admitted(of calls: Int, _ limiter: RateLimiter, _ rule: RateLimit) async throws -> Int {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<calls { group.addTask { try await limiter.check([rule], for: .user("shared")).isAllowed } }
            var admitted = 0
            for try await isAllowed in group where isAllowed { admitted += 1 }
            return admitted
        }
    }

    private static func waitForAll(_ processes: Int, _ store: RedisStore, _ key: Key) async throws {
        var ready = try await store(.incr(key))
        let end = ContinuousClock.now + .seconds(30)
        while ready < processes {
            guard ContinuousClock.now < end else { throw StoreError(.timeout, "The other processes did not come") }
            try await Task.sleep(for: .milliseconds(1))
            ready = Int(try await store(.get(key))?.integer ?? 0)
        }
    }
}
