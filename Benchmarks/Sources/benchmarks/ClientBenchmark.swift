import ClientLoads
import HoldfastRedis
import HoldfastStore

/// The Redis client over one connection, beside what redis-benchmark, hiredis and redis-py (with hiredis) do in the same rounds.
enum ClientBenchmark: Benchmark {
    static let name = "client"

    private static let list = Key(raw: "bench:list")
    private static let elements = 1_000_000

    static func run(_ options: Options) async throws -> [Row] {
        let store = try RedisPeer.store()
        try await ClientLoad.prepare(store)
        try await RedisPeer.prepare(store)
        var rows = try await singles(store, options)
        rows += try await throughput(store, options)
        rows += try await longReply(store, options)
        await store.shutdown()
        return rows
    }

    /// One call after the other: medians of a round, the best round of each.
    private static func singles(_ store: RedisStore, _ options: Options) async throws -> [Row] {
        let count = options.count(20_000)
        var (one, onTheLoop, hiredis, python) = (Meter(), Meter(), Meter(), Meter())
        for _ in 0..<options.rounds {
            one.note(latencies: try await ClientLoad.oneTask.latencies(count, store))
            hiredis.note(nanoseconds: try RedisPeer.figures(of: "HOLDFAST_BENCH_HIREDIS", load: "one", count: count).median)
            onTheLoop.note(latencies: try await ClientLoad.onTheLoop.latencies(count, store))
            python.note(nanoseconds: try RedisPeer.figures(of: "HOLDFAST_BENCH_REDIS_PY", load: "one", count: count).median)
        }
        return [
            one.row("GET, 1 task, p50", against: ("hiredis", hiredis)),
            onTheLoop.row("GET, 1 task on the loop, p50", against: ("hiredis", hiredis)),
            python.row("redis-py, p50", against: ("hiredis", hiredis)),
        ]
    }

    private static func throughput(_ store: RedisStore, _ options: Options) async throws -> [Row] {
        let count = options.count(400_000)
        var (fifty, onTheLoop, batched) = (Meter(), Meter(), Meter())
        var (peerFifty, hiredis, python) = (Meter(), Meter(), Meter())
        for _ in 0..<options.rounds {
            try await fifty.round(operations: count) { try await ClientLoad.fiftyTasks.run(count, store) }
            peerFifty.note(perSecond: try RedisPeer.getsPerSecond(connections: 1, pipeline: 50))
            try await onTheLoop.round(operations: count) { try await ClientLoad.fiftyOnTheLoop.run(count, store) }
            try await batched.round(operations: count) { try await ClientLoad.pipelines.run(count, store) }
            hiredis.note(
                perSecond: try RedisPeer.figures(of: "HOLDFAST_BENCH_HIREDIS", load: "pipeline", count: count).perSecond)
            python.note(
                perSecond: try RedisPeer.figures(of: "HOLDFAST_BENCH_REDIS_PY", load: "pipeline", count: count / 4).perSecond)
        }
        return [
            fifty.row("GET, 50 tasks, one connection", against: ("redis-benchmark -c 1 -P 50", peerFifty)),
            onTheLoop.row("GET, 50 tasks on the loop", against: ("redis-benchmark -c 1 -P 50", peerFifty)),
            batched.row("GET, pipelines of 100", against: ("hiredis", hiredis)),
            python.row("redis-py, pipelines of 100", against: ("hiredis", hiredis)),
        ]
    }

    private static func longReply(_ store: RedisStore, _ options: Options) async throws -> [Row] {
        _ = try await store(.del([list]))
        let page = (0..<10_000).map { Bytes("element:\($0)") }
        for _ in 0..<(elements / page.count) { _ = try await store(.rpush(list, page)) }
        var (ours, python) = (Meter(), Meter())
        for _ in 0..<options.rounds {
            try await ours.round(operations: 1) {
                let read = try await store(.lrange(list, 0, -1))
                precondition(read.count == elements, "LRANGE answered \(read.count) elements")
            }
            python.note(perSecond: try RedisPeer.figures(of: "HOLDFAST_BENCH_REDIS_PY", load: "lrange", count: 1).perSecond)
        }
        _ = try await store(.del([list]))
        return [ours.row("LRANGE of 1,000,000", against: ("redis-py with hiredis", python))]
    }
}
