import HoldfastStore

extension CommandGenerator {
    static let strings: [CommandGenerator] = [
        CommandGenerator("GET", weight: 2) { g in [g.key(.string)] },
        CommandGenerator("SET", weight: 8) { g in
            [g.key(.string), g.value()] + g.option([["NX"], ["XX"]], share: 0.3) + g.option([["GET"]], share: 0.2)
                + g.expiration(keeping: "KEEPTTL")
        },
        CommandGenerator("SETEX") { g in [g.key(.string), g.span(scale: 1), g.value()] },
        CommandGenerator("PSETEX") { g in [g.key(.string), g.span(scale: 1000), g.value()] },
        CommandGenerator("SETNX") { g in [g.key(.string), g.value()] },
        CommandGenerator("GETDEL") { g in [g.key(.string)] },
        CommandGenerator("GETEX", weight: 2) { g in [g.key(.string)] + g.expiration(keeping: "PERSIST") },
        CommandGenerator("GETSET") { g in [g.key(.string), g.value()] },
        CommandGenerator("MGET") { g in g.keys(.string, 1...4) },
        CommandGenerator("MSET") { g in g.pairs() },
        CommandGenerator("MSETNX") { g in g.pairs() },
        CommandGenerator("INCR") { g in [g.key(.string)] },
        CommandGenerator("INCRBY", weight: 2) { g in [g.key(.string), g.number()] },
        CommandGenerator("DECR") { g in [g.key(.string)] },
        CommandGenerator("DECRBY") { g in [g.key(.string), g.number()] },
        CommandGenerator("INCRBYFLOAT", weight: 2) { g in
            [g.key(.string), g.floatAmount()]
        },
        CommandGenerator("APPEND") { g in [g.key(.string), g.value()] },
        CommandGenerator("STRLEN") { g in [g.key(.string)] },
        CommandGenerator("GETRANGE") { g in [g.key(.string), g.index(), g.index()] },
        CommandGenerator("SUBSTR") { g in [g.key(.string), g.index(), g.index()] },
        CommandGenerator("SETRANGE") { g in [g.key(.string), g.chance(0.1) ? g.index() : Bytes(Int64(g.int(0...12))), g.value()]
        },
    ]
}

extension Generation {
    /// Amounts are doubles here and long doubles in Redis, so those that differ are left out.
    mutating func floatAmount() -> Bytes { pick([score(), Bytes(Int64(int(-1000...1000))), "0.25", "-0.1", "1e10", "5.0e3"]) }

    fileprivate mutating func pairs() -> [Bytes] { (0..<int(1...3)).flatMap { _ in [key(.string), value()] } }

    /// A span that is valid most of the time; long enough that nothing ends on a server while the program runs.
    mutating func span(scale: Int) -> Bytes {
        chance(0.1) ? pick(["0", "-1", Bytes(Int64.max), Bytes(Int64.min), "abc"]) : Bytes(Int64(int(1...90) * scale))
    }

    fileprivate mutating func expiration(keeping word: Bytes) -> [Bytes] {
        let moment = moment().milliseconds
        return option([
            ["EX", span(scale: 1)], ["PX", span(scale: 1000)], ["px", Bytes(Int64(int(1...60_000)))],
            ["EXAT", Bytes(moment / 1000)], ["PXAT", Bytes(moment)], ["PXAT", Bytes(moment)], [word],
        ])
    }
}
