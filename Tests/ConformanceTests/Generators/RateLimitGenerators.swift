import Holdfast
import HoldfastStore
import HoldfastTesting

/// All four modes over a few keys that every algorithm uses, so that they also meet each other's states.
let rateLimitGenerators: [ProcedureGenerator] = RateLimitProcedures.all.map { script in
    ProcedureGenerator(script) { g in
        let ids = g.pick([["a"], ["b"], ["c"], ["a", "b"], ["c", "d"], ["a", "b", "c"]])
        let (keys, terms) = (ids.map { g.names.key("rate:\($0)") }, ids.flatMap { _ in rateLimitTerms(&g) })
        guard g.chance(0.3) else { return (keys, terms) }
        let kept = g.chance(0.05) ? g.pick(["0", "x", "-1"]) : Bytes(Int64(g.int(1...60_000)))
        return (keys + [g.names.key("rate_once:\(g.id(of: 3))")], terms + [kept])
    }
}

/// One rule as it travels: algorithm, cost, capacity and the algorithm's three numbers.
private func rateLimitTerms(_ g: inout Generation) -> [Bytes] {
    if g.chance(0.02) { return ["nonsense", "1", "1", "1", "1", "1"] }
    if g.chance(0.02) { return ["fixed-window", "1", "1", "0", "1", "1"] }
    let cost = g.chance(0.05) ? 1_000_000_000 : g.int(0...6)
    let capacity = g.pick([1, 3, 10, 10, 10, 1_000_000_000])
    let algorithm = g.pick(RateLimit.Algorithm.allCases)
    let window = g.pick([7, 1000, 20_000, 60_000])
    let numbers: (Int, Int, Int) =
        switch algorithm {
        case .fixedWindow, .slidingLog: (window, 1, 1)
        case .slidingCounter: g.pick([(window, 1, window), (window, 7, (window + 6) / 7)])
        case .tokenBucket, .gcra: g.chance(0.5) ? (1000, 1, window) : (g.int(1...5000), g.int(1...70), window)
        }
    return [Bytes(algorithm.rawValue)] + [cost, capacity, numbers.0, numbers.1, numbers.2].map { Bytes(Int64($0)) }
}
