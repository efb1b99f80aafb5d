import ClientLoads
import Holdfast
import HoldfastRedis
import HoldfastStore

/// How fast what was decided while the server was away is handed over.
enum HandOverBenchmark: Benchmark {
    static let name = "hand-over"

    static func run(_ options: Options) async throws -> [Row] {
        let redis = try RedisPeer.store()
        var (charges, sessions) = (Meter(), Meter())
        for _ in 0..<options.rounds {
            try await replayCharges(options.count(50_000), on: redis, &charges)
            try await replaySessions(options.count(10_000), on: redis, &sessions)
        }
        await redis.shutdown()
        return [
            charges.row("replay: limits.record with its marker, on Redis"),
            sessions.row("replay: sessions created while it was away, on Redis"),
        ]
    }

    /// Additive entries, each with a marker that the server looks for and writes.
    private static func replayCharges(_ count: Int, on redis: RedisStore, _ meter: inout Meter) async throws {
        let outbox = Outbox()
        outbox.register(
            ReplayAction("bench.record@1") { (entry, store) throws(StoreError) in
                _ = try await store.run(
                    Procedure(RateLimitProcedures.record, keys: entry.keys, arguments: entry.arguments) { $0.elements?.count })
            })
        let run = UInt64.random(in: .min ... .max)
        for number in 0..<count {
            let keys = ["bench:\(run):\(number % 1000)", "bench:once:\(run):\(number)"].map { Key(raw: Bytes($0)) }
            let rule: [Bytes] = ["fixed-window", "1", "1000000000", "3600000", "1", "1"]
            try await outbox.add(Outbox.Item("bench.record@1", keys: keys, arguments: rule + ["60000"]))
        }
        try await meter.round(operations: count) { try await outbox.replay(on: redis) }
        precondition(outbox.isEmpty && outbox.status.deadLetters == 0)
    }

    private static func replaySessions(_ count: Int, on redis: RedisStore, _ meter: inout Meter) async throws {
        let server = SwitchedStore(redis)
        server.isThere = false
        let failover = Failover(server: server, local: EmbeddedStore())
        let sessions = Sessions(
            failover: failover, namespace: Namespace(prefix: "bench:\(UInt64.random(in: .min ... .max)):"))
        await failover.start()
        for number in 0..<count { _ = try await sessions.create(userID: "user-\(number % 1000)", ttl: .seconds(60)) }
        let waiting = failover.outbox.status.backlog
        precondition(waiting >= count)
        try await meter.round(operations: waiting) { try await failover.outbox.replay(on: redis) }
        precondition(failover.outbox.isEmpty && failover.outbox.status.deadLetters == 0)
    }
}
