import Holdfast
import HoldfastRedis
import HoldfastStore

/// A limit check of each algorithm, in the process and on a server.
enum LimitsBenchmark: Benchmark {
    static let name = "limits"

    static func run(_ options: Options) async throws -> [Row] {
        var rows: [Row] = []
        let embedded = RateLimiter(Failover(local: EmbeddedStore()))
        for algorithm in RateLimit.Algorithm.allCases {
            let row = try await row(
                "\(algorithm.rawValue), embedded", embedded, algorithm, count: options.count(100_000), tasks: 1, options)
            rows.append(row)
            if options.onlyCount != nil { return rows }
        }
        let server = try RedisPeer.store()
        let remote = RateLimiter(Failover(server: server, local: EmbeddedStore()))
        var peer = Meter()
        try await RedisPeer.prepare(server)
        for _ in 0..<options.rounds { peer.note(perSecond: try RedisPeer.getsPerSecond(connections: 1, pipeline: 50)) }
        rows.append(peer.row("redis-benchmark GET -c 1 -P 50"))
        for algorithm in RateLimit.Algorithm.allCases {
            var row = try await row(
                "\(algorithm.rawValue), Redis, 50 tasks", remote, algorithm, count: options.count(50_000), tasks: 50, options)
            row.peer = "redis-benchmark GET"
            row.ratio = row.perSecond / peer.best
            rows.append(row)
        }
        await server.shutdown()
        return rows
    }

    private static func row(
        _ name: String, _ limiter: RateLimiter, _ algorithm: RateLimit.Algorithm, count: Int, tasks: Int, _ options: Options
    ) async throws -> Row {
        // Nothing is denied: a denial is remembered and would be answered without the store.
        let rule = RateLimit("bench", algorithm, limit: 1_000_000_000, per: .seconds(3600))
        var meter = Meter()
        for _ in 0..<options.rounds {
            try await meter.round(operations: count) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for task in 0..<tasks {
                        group.addTask {
                            let subject = RateLimitSubject.user("user-\(task)")
                            for _ in 0..<(count / tasks) { _ = try await limiter.check([rule], for: subject) }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
        return meter.row(name)
    }
}
