import HoldfastStore

extension CommandGenerator {
    static let sets: [CommandGenerator] = [
        CommandGenerator("SADD", weight: 6) { g in [g.key(.set)] + g.members() },
        CommandGenerator("SREM", weight: 2) { g in [g.key(.set)] + g.members() },
        CommandGenerator("SCARD") { g in [g.key(.set)] },
        CommandGenerator("SISMEMBER") { g in [g.key(.set), g.member()] },
        CommandGenerator("SMISMEMBER") { g in [g.key(.set)] + g.members() },
        CommandGenerator("SMEMBERS") { g in [g.key(.set)] },
        CommandGenerator("SMOVE") { g in [g.key(.set), g.key(.set), g.member()] },
        CommandGenerator("SPOP") { g in [g.key(.set)] + g.option([[g.count()]]) },
        CommandGenerator("SRANDMEMBER") { g in [g.key(.set)] + g.option([[Bytes(Int64(g.int(-5...5)))]]) },
        CommandGenerator("SINTER") { g in g.keys(.set) },
        CommandGenerator("SUNION") { g in g.keys(.set) },
        CommandGenerator("SDIFF") { g in g.keys(.set) },
        CommandGenerator("SINTERSTORE") { g in [g.key(.set)] + g.keys(.set) },
        CommandGenerator("SUNIONSTORE") { g in [g.key(.set)] + g.keys(.set) },
        CommandGenerator("SDIFFSTORE") { g in [g.key(.set)] + g.keys(.set) },
        CommandGenerator("SINTERCARD") { g in
            let keys = g.keys(.set)
            return [Bytes(Int64(keys.count))] + keys + g.option([["LIMIT", g.count()]])
        },
        CommandGenerator("SSCAN") { g in [g.key(.set), "0"] + g.scanOptions() },
    ]
}
