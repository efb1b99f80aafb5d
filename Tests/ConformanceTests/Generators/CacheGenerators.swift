import Holdfast
import HoldfastStore
import HoldfastTesting

/// Tokens from three, so that a fill often finds its own lease and often another's.
private func keysOfEntry(_ g: inout Generation) -> [Key] {
    let entry = g.names.key("cache:\(g.id(of: 2)):\(g.id())")
    return [entry, entry.companion("lease")]
}

/// One of three versions, as it stands in an entry.
private func stamp(_ g: inout Generation) -> Bytes { Bytes([0, 0, 0, 0, 0, 0, 0, UInt8(g.int(1...3))]) }

/// An entry with a version, sometimes with time for emergencies, whose expiry lies on either side of now.
private func envelope(_ g: inout Generation) -> Bytes {
    let expiry = withUnsafeBytes(of: g.moment().milliseconds.bigEndian) { Array($0) }
    let grace: [UInt8] = g.chance(0.5) ? [0, 0, 0, 0] : [0, 0, 1, 0]
    return Bytes([0xF5, 1, 0, 1] + Array(stamp(&g)) + expiry + grace + [0] + Array(g.value()))
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
    ProcedureGenerator(CacheProcedures.write) { g in
        let value = g.pick([Bytes(), g.value(), envelope(&g), envelope(&g)])
        return (keysOfEntry(&g), [g.pick(["absent", "present", "version"]), stamp(&g), value, span(&g)])
    },
]
