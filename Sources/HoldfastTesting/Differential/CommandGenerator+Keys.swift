import HoldfastStore

extension CommandGenerator {
    static let keys: [CommandGenerator] = [
        CommandGenerator("DEL", weight: 3) { g in (0..<g.int(1...2)).map { _ in g.anyKey() } },
        CommandGenerator("UNLINK") { g in [g.anyKey()] },
        CommandGenerator("EXISTS") { g in (0..<g.int(1...3)).map { _ in g.anyKey() } },
        CommandGenerator("TOUCH") { g in (0..<g.int(1...2)).map { _ in g.anyKey() } },
        CommandGenerator("TYPE") { g in [g.anyKey()] },
        CommandGenerator("EXPIRE", weight: 2) { g in [g.anyKey(), g.expireSpan(scale: 1)] + g.expireOptions() },
        CommandGenerator("PEXPIRE", weight: 2) { g in [g.anyKey(), g.expireSpan(scale: 1000)] + g.expireOptions() },
        CommandGenerator("EXPIREAT", weight: 2) { g in [g.anyKey(), Bytes(g.moment().milliseconds / 1000)] + g.expireOptions() },
        CommandGenerator("PEXPIREAT", weight: 4) { g in [g.anyKey(), Bytes(g.moment().milliseconds)] + g.expireOptions() },
        CommandGenerator("TTL", weight: 2) { g in [g.anyKey()] },
        CommandGenerator("PTTL", weight: 2) { g in [g.anyKey()] },
        CommandGenerator("EXPIRETIME") { g in [g.anyKey()] },
        CommandGenerator("PEXPIRETIME") { g in [g.anyKey()] },
        CommandGenerator("PERSIST", weight: 2) { g in [g.anyKey()] },
        CommandGenerator("RENAME") { g in g.twoOfOneKind() },
        CommandGenerator("RENAMENX") { g in g.twoOfOneKind() },
        CommandGenerator("COPY") { g in g.twoOfOneKind() + g.option([["REPLACE"]]) },
        CommandGenerator("RANDOMKEY") { _ in [] },
        CommandGenerator("SCAN", weight: 2) { g in
            ["0"] + g.scanOptions(glob: g.names.prefix) + g.option([["TYPE", g.type()]], share: 0.3)
        },
    ]

    static let server: [CommandGenerator] = [
        CommandGenerator("PING") { g in g.option([["hello"]]) },
        CommandGenerator("ECHO") { g in [g.value()] },
        CommandGenerator("DBSIZE") { _ in [] },
        CommandGenerator("PUBLISH") { g in [Bytes("nobody-\(g.names.prefix)"), g.value()] },
        CommandGenerator("SPUBLISH") { g in [Bytes("nobody-\(g.names.prefix)"), g.value()] },
    ]
}

extension Generation {
    fileprivate mutating func expireSpan(scale: Int) -> Bytes {
        chance(0.15) ? pick(["0", "-1", Bytes(Int64.max), Bytes(Int64.min), "1.5"]) : Bytes(Int64(int(1...90) * scale))
    }

    fileprivate mutating func expireOptions() -> [Bytes] {
        option(
            [["NX"], ["XX"], ["GT"], ["LT"], ["gt"], ["XX", "GT"], ["XX", "LT"], ["NX", "XX"], ["GT", "LT"], ["ZZ"]], share: 0.4)
    }

    /// Lexical sorted sets stay among themselves, so that their scores stay equal.
    fileprivate mutating func twoOfOneKind() -> [Bytes] {
        if chance(0.2) { return [key(.lexical), key(.lexical)] }
        let kind = pick(KeyKind.free)
        return [key(kind), key(chance(0.8) ? kind : pick(KeyKind.free))]
    }

    fileprivate mutating func type() -> Bytes { pick(["string", "hash", "list", "set", "zset", "ZSET", "nosuchtype"]) }

    mutating func scanOptions(glob prefix: String = "") -> [Bytes] {
        let globs = ["*", prefix + "*a*", prefix + "?:[a-c]", "[^z]*", "*\\*", "long*", "*[1-3]", "**", glob(), glob(), glob()]
        return option([["MATCH", Bytes(pick(globs))]]) + option([["COUNT", Bytes(Int64(int(1...20)))]])
    }

    /// A glob out of the characters that mean something, for matching exactly as Redis does.
    private mutating func glob() -> String {
        (0..<int(1...6)).map { _ in pick(["*", "?", "[", "]", "^", "-", "\\", "a", "b", "c", "d", ":", "1", "[a-c]", "[^b]"]) }
            .joined()
    }
}
