import HoldfastStore

extension CommandGenerator {
    static let hashes: [CommandGenerator] = [
        CommandGenerator("HSET", weight: 6) { g in [g.key(.hash)] + g.fieldValues() },
        CommandGenerator("HMSET") { g in [g.key(.hash)] + g.fieldValues() },
        CommandGenerator("HSETNX") { g in [g.key(.hash), g.member(), g.value()] },
        CommandGenerator("HGET") { g in [g.key(.hash), g.member()] },
        CommandGenerator("HMGET") { g in [g.key(.hash)] + g.members() },
        CommandGenerator("HGETALL") { g in [g.key(.hash)] },
        CommandGenerator("HKEYS") { g in [g.key(.hash)] },
        CommandGenerator("HVALS") { g in [g.key(.hash)] },
        CommandGenerator("HLEN") { g in [g.key(.hash)] },
        CommandGenerator("HSTRLEN") { g in [g.key(.hash), g.member()] },
        CommandGenerator("HEXISTS") { g in [g.key(.hash), g.member()] },
        CommandGenerator("HDEL", weight: 3) { g in [g.key(.hash)] + g.members() },
        CommandGenerator("HINCRBY", weight: 2) { g in [g.key(.hash), g.member(), g.number()] },
        CommandGenerator("HINCRBYFLOAT", weight: 2) { g in [g.key(.hash), g.member(), g.floatAmount()] },
        CommandGenerator("HRANDFIELD") { g in
            [g.key(.hash)] + g.option([[Bytes(Int64(g.int(-5...5)))], [Bytes(Int64(g.int(-5...5))), "WITHVALUES"]])
        },
        CommandGenerator("HSCAN") { g in [g.key(.hash), "0"] + g.scanOptions() },
    ]
}

extension Generation {
    fileprivate mutating func fieldValues() -> [Bytes] { (0..<int(1...4)).flatMap { _ in [member(), value()] } }
}
