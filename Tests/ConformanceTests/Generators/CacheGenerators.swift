import Holdfast
import HoldfastStore
import HoldfastTesting

/// Tokens from three, so that a fill often finds its own lease and often another's.
private func keysOfEntry(_ g: inout Generation) -> [Key] {
    let entry = g.names.key("cache:\(g.id(of: 2)):\(g.id())")
    return [entry, entry.companion("lease")]
}

private func span(_ g: inout Generation) -> Bytes {
    g.chance(0.1) ? g.pick(["0", "-1", "", "1.5", "01", "x", "9999999999999999"]) : Bytes(Int64(g.int(1...60_000)))
}

let cacheGenerators: [ProcedureGenerator] = [
    ProcedureGenerator(CacheProcedures.lookup) { g in
        (keysOfEntry(&g), [g.pick(["t1", "t2", "t3"]), span(&g), g.pick(["0", "1"])])
    },
    ProcedureGenerator(CacheProcedures.fill) { g in
        (keysOfEntry(&g), [g.pick(["t1", "t2", "t3"]), g.value(), span(&g)])
    },
]
