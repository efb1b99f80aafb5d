import Holdfast
import HoldfastStore

/// A value that this process has just read: no trip, no decoding.
enum NearCacheBenchmark: Benchmark {
    static let name = "near-cache"

    static func run(_ options: Options) async throws -> [Row] {
        let cache = AgentState.embedded().cache
        let keys = (0..<500).map { "user:\($0)" }
        for key in keys { try await cache.set(key, "value of \(key)", ttl: .seconds(3600)) }
        // What is asked for is near from the second time on.
        for key in keys { _ = try await cache.get(key, as: String.self) }
        // Many short rounds, for the best is what counts: one that nothing interrupted.
        let count = options.count(100_000)
        var (get, getOrSet) = (Meter(), Meter())
        var hits = 0
        let rounds = options.onlyCount == nil ? 20 * options.rounds : 1
        for _ in 0..<rounds {
            try await get.round(operations: count) {
                for index in 0..<count {
                    if case .hit = try await cache.get(keys[index % 500], as: String.self) { hits += 1 }
                }
            }
            if options.onlyCount != nil { break }
            try await getOrSet.round(operations: count) {
                for index in 0..<count { _ = try await cache.getOrSet(keys[index % 500]) { "a miss" } }
            }
        }
        precondition(hits == count * rounds, "\(count * rounds - hits) misses in a benchmark of hits")
        if options.onlyCount != nil { return [get.row("near hit")] }
        return [get.row("near hit"), getOrSet.row("near hit by getOrSet")]
    }
}
