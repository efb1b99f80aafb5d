import HoldfastStore

/// What the runner must know of commands to compare their answers.
enum CommandTraits {
    /// How much the order of a reply's elements says.
    enum Order {
        case exact
        /// The elements stand in any order.
        case elements
        /// Keys and values by turns (in RESP2), or pairs; the pairs stand in any order.
        case pairs
    }

    static func order(_ name: String) -> Order {
        switch name {
        case "SMEMBERS", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS": .elements
        case "HGETALL": .pairs
        default: .exact
        }
    }

    /// Whether the answer depends on chance.
    static func isRandom(_ name: String) -> Bool {
        ["SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER", "RANDOMKEY"].contains(name)
    }

    static func isScan(_ name: String) -> Bool { ["SCAN", "HSCAN", "SSCAN", "ZSCAN"].contains(name) }

    /// Whether Redis looks at the entry, or at options, before it has read all arguments, so that something else than the wrong
    /// argument is answered. The embedded store reads all arguments first, and always refuses what is malformed.
    static func judgesInAnotherOrder(_ name: String) -> Bool {
        isScan(name) || ["ZUNION", "ZINTER", "ZDIFF"].contains { name.hasPrefix($0) }
            || ["GETEX", "LINDEX", "LSET", "ZINCRBY", "INCRBYFLOAT"].contains(name)
    }

    /// Whether carrying it out or reading its answer needs the clock.
    static func dependsOnTime(_ command: [Bytes]) -> Bool {
        switch command[0].lossyString.uppercased() {
        case "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "TTL", "PTTL", "SETEX", "PSETEX", "GETEX": true
        case "SET": command.dropFirst(3).contains { ["EX", "PX", "EXAT", "PXAT"].contains($0.lossyString.uppercased()) }
        default: false
        }
    }
}
