import HoldfastStore

extension CommandGenerator {
    static let lists: [CommandGenerator] = [
        CommandGenerator("LPUSH", weight: 3) { g in [g.key(.list)] + g.members() },
        CommandGenerator("RPUSH", weight: 3) { g in [g.key(.list)] + g.members() },
        CommandGenerator("LPUSHX") { g in [g.key(.list)] + g.members(1...2) },
        CommandGenerator("RPUSHX") { g in [g.key(.list)] + g.members(1...2) },
        CommandGenerator("LPOP", weight: 2) { g in [g.key(.list)] + g.option([[g.count()]]) },
        CommandGenerator("RPOP", weight: 2) { g in [g.key(.list)] + g.option([[g.count()]]) },
        CommandGenerator("LLEN") { g in [g.key(.list)] },
        CommandGenerator("LRANGE") { g in [g.key(.list), g.index(), g.index()] },
        CommandGenerator("LINDEX") { g in [g.key(.list), g.index()] },
        CommandGenerator("LSET") { g in [g.key(.list), g.index(), g.value()] },
        CommandGenerator("LINSERT") { g in
            [g.key(.list), g.pick(["BEFORE", "AFTER", "after", "BESIDE"]), g.member(), g.member()]
        },
        CommandGenerator("LREM") { g in [g.key(.list), g.index(), g.member()] },
        CommandGenerator("LTRIM") { g in [g.key(.list), g.index(), g.index()] },
        CommandGenerator("LPOS", weight: 2) { g in
            [g.key(.list), g.member()] + g.option([["RANK", Bytes(Int64(g.int(-3...3)))]]) + g.option([["COUNT", g.count()]])
                + g.option([["MAXLEN", g.count()]], share: 0.3)
        },
        CommandGenerator("LMOVE", weight: 2) { g in [g.key(.list), g.key(.list), g.side(), g.side()] },
        CommandGenerator("RPOPLPUSH") { g in [g.key(.list), g.key(.list)] },
        CommandGenerator("LMPOP") { g in
            let keys = g.keys(.list)
            return [Bytes(Int64(keys.count))] + keys + [g.side()] + g.option([["COUNT", g.count()]])
        },
    ]
}

extension Generation {
    mutating func count() -> Bytes { Bytes(Int64(chance(0.1) ? -1 : int(0...4))) }

    fileprivate mutating func side() -> Bytes { chance(0.03) ? "UP" : pick(["LEFT", "RIGHT", "left"]) }
}
