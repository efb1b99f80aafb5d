import HoldfastRedis
import HoldfastStore

/// GETs of 32 bytes over one connection of the Redis client: one task, 50 tasks, pipelines of 100. Each beside what
/// `redis-benchmark` does with one connection and as many commands in flight.
enum ClientBenchmark: Benchmark {
    static let name = "client"

    private static let key = Key(raw: "bench:client")

    static func run(_ options: Options) async throws -> [Row] {
        let store = try RedisPeer.store()
        try await store(.set(key, Bytes([UInt8](repeating: UInt8(ascii: "x"), count: 32))))
        if let count = options.onlyCount {
            try await inTasks(50, count, store)
            return []
        }
        var (one, fifty, batched) = (Meter(), Meter(), Meter())
        var (peerOne, peerFifty, peerHundred) = (Meter(), Meter(), Meter())
        for _ in 0..<options.rounds {
            let singles = options.count(20_000)
            try await one.round(operations: singles) { try await inTasks(1, singles, store) }
            peerOne.note(perSecond: try RedisPeer.getsPerSecond(connections: 1, pipeline: 1))
            let many = options.count(400_000)
            try await fifty.round(operations: many) { try await inTasks(50, many, store) }
            peerFifty.note(perSecond: try RedisPeer.getsPerSecond(connections: 1, pipeline: 50))
            try await batched.round(operations: many) { try await inPipelines(many / 100, store) }
            peerHundred.note(perSecond: try RedisPeer.getsPerSecond(connections: 1, pipeline: 100))
        }
        await store.shutdown()
        return [
            one.row("GET, 1 task", against: ("redis-benchmark -c 1 -P 1", peerOne)),
            fifty.row("GET, 50 tasks, one connection", against: ("redis-benchmark -c 1 -P 50", peerFifty)),
            batched.row("GET, pipelines of 100", against: ("redis-benchmark -c 1 -P 100", peerHundred)),
        ]
    }

    private static func inTasks(_ tasks: Int, _ operations: Int, _ store: RedisStore) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<tasks {
                group.addTask {
                    for _ in 0..<(operations / tasks) { _ = try await store(.get(key)) }
                }
            }
            try await group.waitForAll()
        }
    }

    private static func inPipelines(_ pipelines: Int, _ store: RedisStore) async throws {
        let commands = [Command<Bytes?>](repeating: .get(key), count: 100)
        for _ in 0..<pipelines { _ = try await store.pipeline(commands) }
    }
}
