import HoldfastStore

extension CommandGenerator {
    static let sortedSets: [CommandGenerator] = sortedSetWrites + sortedSetReads + lexical

    private static let sortedSetWrites: [CommandGenerator] = [
        CommandGenerator("ZADD", weight: 8) { g in
            let flags = g.option([["NX"], ["XX"], ["GT"], ["LT"], ["XX", "GT"], ["NX", "GT"], ["lt", "xx"]], share: 0.35)
            let change = g.option([["CH"], ["INCR"]], share: 0.25)
            let pairs = change == ["INCR"] && g.chance(0.9) ? 1 : g.int(1...4)
            return [g.key(.sortedSet)] + flags + change + (0..<pairs).flatMap { _ in [g.score(), g.member()] }
        },
        CommandGenerator("ZINCRBY", weight: 2) { g in [g.key(.sortedSet), g.score(), g.member()] },
        CommandGenerator("ZREM", weight: 2) { g in [g.key(.sortedSet)] + g.members() },
        CommandGenerator("ZPOPMIN") { g in [g.key(.sortedSet)] + g.option([[g.count()]]) },
        CommandGenerator("ZPOPMAX") { g in [g.key(.sortedSet)] + g.option([[g.count()]]) },
        CommandGenerator("ZMPOP") { g in
            [g.key(.sortedSet)].counted + [g.pick(["MIN", "MAX", "max"])] + g.option([["COUNT", g.count()]])
        },
        CommandGenerator("ZREMRANGEBYRANK") { g in [g.key(.sortedSet), g.index(), g.index()] },
        CommandGenerator("ZREMRANGEBYSCORE") { g in [g.key(.sortedSet), g.scoreBound(), g.scoreBound()] },
        CommandGenerator("ZRANGESTORE") { g in [g.key(.sortedSet), g.key(.sortedSet)] + g.range(allowsScores: false) },
        CommandGenerator("ZUNIONSTORE") { g in [g.key(.sortedSet)] + g.aggregate() },
        CommandGenerator("ZINTERSTORE") { g in [g.key(.sortedSet)] + g.aggregate() },
        CommandGenerator("ZDIFFSTORE") { g in [g.key(.sortedSet)] + g.keys(.sortedSet).counted },
    ]

    private static let sortedSetReads: [CommandGenerator] = [
        CommandGenerator("ZSCORE") { g in [g.key(.sortedSet), g.member()] },
        CommandGenerator("ZMSCORE") { g in [g.key(.sortedSet)] + g.members() },
        CommandGenerator("ZCARD") { g in [g.key(.sortedSet)] },
        CommandGenerator("ZCOUNT") { g in [g.key(.sortedSet), g.scoreBound(), g.scoreBound()] },
        CommandGenerator("ZRANK") { g in [g.key(.sortedSet), g.member()] },
        CommandGenerator("ZREVRANK") { g in [g.key(.sortedSet), g.member()] },
        CommandGenerator("ZRANGE", weight: 4) { g in [g.key(.sortedSet)] + g.range(allowsScores: true) },
        CommandGenerator("ZREVRANGE") { g in [g.key(.sortedSet), g.index(), g.index()] + g.option([["WITHSCORES"]]) },
        CommandGenerator("ZRANGEBYSCORE", weight: 2) { g in
            [g.key(.sortedSet), g.scoreBound(), g.scoreBound()] + g.option([["WITHSCORES"]]) + g.limit()
        },
        CommandGenerator("ZREVRANGEBYSCORE") { g in
            [g.key(.sortedSet), g.scoreBound(), g.scoreBound()] + g.option([["WITHSCORES"]]) + g.limit()
        },
        CommandGenerator("ZRANDMEMBER") { g in
            [g.key(.sortedSet)] + g.option([[Bytes(Int64(g.int(-5...5)))], [Bytes(Int64(g.int(-5...5))), "WITHSCORES"]])
        },
        CommandGenerator("ZUNION") { g in g.aggregate() + g.option([["WITHSCORES"]]) },
        CommandGenerator("ZINTER") { g in g.aggregate() + g.option([["WITHSCORES"]]) },
        CommandGenerator("ZDIFF") { g in g.keys(.sortedSet).counted + g.option([["WITHSCORES"]]) },
        CommandGenerator("ZINTERCARD") { g in g.keys(.sortedSet).counted + g.option([["LIMIT", g.count()]]) },
        CommandGenerator("ZSCAN") { g in [g.key(.sortedSet), "0"] + g.scanOptions() },
    ]

    private static let lexical: [CommandGenerator] = [
        CommandGenerator("ZADD", weight: 2) { g in [g.key(.lexical)] + (0..<g.int(1...4)).flatMap { _ in ["0", g.member()] } },
        CommandGenerator("ZLEXCOUNT") { g in [g.key(.lexical), g.lexBound(), g.lexBound()] },
        CommandGenerator("ZRANGEBYLEX") { g in [g.key(.lexical), g.lexBound(), g.lexBound()] + g.limit() },
        CommandGenerator("ZREVRANGEBYLEX") { g in [g.key(.lexical), g.lexBound(), g.lexBound()] + g.limit() },
        CommandGenerator("ZREMRANGEBYLEX") { g in [g.key(.lexical), g.lexBound(), g.lexBound()] },
        CommandGenerator("ZRANGE") { g in
            [g.key(.lexical), g.lexBound(), g.lexBound(), "BYLEX"] + g.option([["REV"]]) + g.limit()
        },
    ]
}

extension [Bytes] {
    /// The keys with their number in front.
    fileprivate var counted: [Bytes] { [Bytes(Int64(count))] + self }
}

extension Generation {
    fileprivate mutating func scoreBound() -> Bytes {
        let bound = score()
        return chance(0.3) ? Bytes("(" + bound.lossyString) : chance(0.03) ? "[1" : bound
    }

    fileprivate mutating func lexBound() -> Bytes {
        switch int(0...9) {
        case 0...1: "-"
        case 2...3: "+"
        case 4...6: Bytes("[" + member().lossyString)
        case 7...8: Bytes("(" + member().lossyString)
        default: member()
        }
    }

    fileprivate mutating func limit() -> [Bytes] {
        option([["LIMIT", Bytes(Int64(int(-1...3))), Bytes(Int64(int(-1...4)))]], share: 0.35)
    }

    fileprivate mutating func range(allowsScores: Bool) -> [Bytes] {
        let scores = allowsScores ? option([["WITHSCORES"]]) : []
        switch int(0...2) {
        case 0: return [index(), index()] + option([["REV"]], share: 0.4) + scores
        case 1: return [scoreBound(), scoreBound(), "BYSCORE"] + option([["REV"]], share: 0.4) + limit() + scores
        default: return [index(), index()] + limit() + scores
        }
    }

    fileprivate mutating func aggregate() -> [Bytes] {
        let kinds: [KeyKind] = [.sortedSet, .sortedSet, .set]
        let keys = (0..<int(1...3)).map { _ in key(pick(kinds)) }
        let weights = option([["WEIGHTS"] + keys.map { _ in pick(["1", "2", "0.5", "-1", "0"]) }], share: 0.4)
        return keys.counted + weights + option([["AGGREGATE", pick(["SUM", "MIN", "MAX", "max", "AVG"])]], share: 0.4)
    }
}
