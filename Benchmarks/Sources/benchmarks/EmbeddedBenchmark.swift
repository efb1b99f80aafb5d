import HoldfastStore

/// The store in this process, through its seam.
enum EmbeddedBenchmark: Benchmark {
    static let name = "embedded"

    static func run(_ options: Options) async throws -> [Row] {
        let store = EmbeddedStore()
        let names = Namespace(prefix: "bench:")
        let keys = (0..<1000).map { names.key("key:\(Int64($0))") }
        for key in keys { try await store(.set(key, Bytes([UInt8](repeating: 7, count: 32)))) }
        let count = options.count(500_000)
        var (get, set, incr) = (Meter(), Meter(), Meter())
        for _ in 0..<options.rounds {
            try await get.round(operations: count) {
                for index in 0..<count { _ = try await store(.get(keys[index % 1000])) }
            }
            if options.onlyCount != nil { break }
            let value = Bytes([UInt8](repeating: 8, count: 32))
            try await set.round(operations: count) {
                for index in 0..<count { try await store(.set(keys[index % 1000], value)) }
            }
            let counter = names.key("counter")
            try await incr.round(operations: count) {
                for _ in 0..<count { _ = try await store(.incr(counter)) }
            }
        }
        if options.onlyCount != nil { return [get.row("GET")] }
        return [get.row("GET"), set.row("SET"), incr.row("INCR")]
    }
}
