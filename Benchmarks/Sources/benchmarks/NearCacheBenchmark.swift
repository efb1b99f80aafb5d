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
        let count = options.count(2_000_000)
        var hit = Meter()
        var hits = 0
        for _ in 0..<(options.onlyCount == nil ? options.rounds : 1) {
            try await hit.round(operations: count) {
                for index in 0..<count {
                    if case .hit = try await cache.get(keys[index % 500], as: String.self) { hits += 1 }
                }
            }
        }
        let expected = count * (options.onlyCount == nil ? options.rounds : 1)
        precondition(hits == expected, "\(expected - hits) misses in a benchmark of hits")
        return [hit.row("near hit")]
    }
}
