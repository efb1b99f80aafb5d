import Testing

@testable import HoldfastStore

/// The wire form of every command, and what the command table says about it.
@Suite struct WireTests {
    /// Commands that are read as another command with the same meaning and reply: an example of each, and what it becomes.
    static let aliases: [String: (line: String, becomes: String)] = [
        "SETEX": ("SETEX k 2 v", "SET k v PX 2000"),
        "PSETEX": ("PSETEX k 2 v", "SET k v PX 2"),
        "INCR": ("INCR k", "INCRBY k 1"),
        "DECR": ("DECR k", "DECRBY k 1"),
        "EXPIRE": ("EXPIRE k 2 NX", "PEXPIRE k 2000 NX"),
        "EXPIREAT": ("EXPIREAT k 2", "PEXPIREAT k 2000"),
        "RPOPLPUSH": ("RPOPLPUSH a b", "LMOVE a b RIGHT LEFT"),
        "ZREVRANGE": ("ZREVRANGE k 0 -1 WITHSCORES", "ZRANGE k 0 -1 REV WITHSCORES"),
        "ZRANGEBYSCORE": ("ZRANGEBYSCORE k (1 +inf LIMIT 1 2", "ZRANGE k (1.0 inf BYSCORE LIMIT 1 2"),
        "ZREVRANGEBYSCORE": ("ZREVRANGEBYSCORE k 5 (1", "ZRANGE k 5.0 (1.0 BYSCORE REV"),
        "ZRANGEBYLEX": ("ZRANGEBYLEX k - [b", "ZRANGE k - [b BYLEX"),
        "ZREVRANGEBYLEX": ("ZREVRANGEBYLEX k + (b", "ZRANGE k + (b BYLEX REV"),
    ]

    static func parse(_ line: String) throws -> HoldfastStore.Operation {
        try CommandTable.shared.operation(line.split(separator: " ").map { Bytes(String($0)) })
    }

    @Test func readingIsTheInverseOfWriting() throws {
        var sampler = Sampler(seed: 11)
        for sample in Sampler.all + Sampler.others {
            for _ in 0..<100 {
                let operation = sample(&sampler)
                let read = try CommandTable.shared.operation(operation.arguments)
                #expect(read == operation)
            }
        }
    }

    @Test func everyCommandHasASampleOrIsAnAlias() {
        var sampler = Sampler(seed: 12)
        var covered = Set(Self.aliases.keys)
        for sample in Sampler.all + Sampler.others { covered.insert(sample(&sampler).name) }
        #expect(covered == Set(CommandTable.shared.commands.map(\.name)))
    }

    @Test(arguments: aliases.keys) func anAliasIsReadAsTheCommandThatItStandsFor(_ name: String) throws {
        let alias = try #require(Self.aliases[name])
        let written = try Self.parse(alias.line).arguments.map(\.lossyString).joined(separator: " ")
        #expect(written == alias.becomes)
    }

    @Test func namesInTheTableAreUniqueAndInCapitals() {
        let names = CommandTable.shared.commands.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(names.allSatisfy { $0 == $0.uppercased() })
        #expect(CommandTable.shared["hGetAll"]?.name == "HGETALL")
    }

    @Test func theTablesDenyOOMAgreesWithWhatIsRefusedWhenMemoryIsFull() throws {
        var sampler = Sampler(seed: 13)
        for sample in Sampler.all + Sampler.others {
            let operation = sample(&sampler)
            let spec = try #require(CommandTable.shared[Bytes(operation.name)])
            #expect((operation.growth != nil) == spec.flags.contains(.denyOOM), "\(operation.name)")
        }
    }

    /// A command that the table calls read-only has no effects; one that has effects is called a write.
    @Test func onlyWritesHaveEffects() throws {
        var sampler = Sampler(seed: 14)
        var keyspace = Keyspace(seed: 15)
        keyspace.recordEffects()
        for _ in 0..<20_000 {
            let operation = sampler.operation()
            _ = keyspace.execute(operation)
            let spec = try #require(CommandTable.shared[Bytes(operation.name)])
            #expect(spec.flags.contains(.readOnly) != spec.flags.contains(.write))
            if !keyspace.takeEffects().isEmpty { #expect(spec.flags.contains(.write), "\(operation.name)") }
        }
    }

    @Test func keyPositionsNameTheKeysOfEveryFamily() throws {
        func keys(_ line: String) throws -> [String] { try Self.parse(line).keys.map(\.description) }
        #expect(try keys("MSET a 1 b 2") == ["a", "b"])
        #expect(try keys("LMPOP 2 a b LEFT COUNT 3") == ["a", "b"])
        #expect(try keys("SINTERCARD 2 a b LIMIT 1") == ["a", "b"])
        #expect(try keys("ZUNIONSTORE d 2 a b WEIGHTS 1 2") == ["d", "a", "b"])
        #expect(try keys("ZRANGESTORE d a 0 -1") == ["d", "a"])
        #expect(try keys("SDIFFSTORE d a b") == ["d", "a", "b"])
        #expect(try keys("ZRANGE a 0 -1") == ["a"])
    }

    @Test(arguments: [
        ("NOSUCH a b", "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("HSET k f", "ERR wrong number of arguments for 'hset' command"),
        ("HSET k f v g", "ERR wrong number of arguments for 'hset' command"),
        ("LPOP k -1", "ERR value is out of range, must be positive"),
        ("LPOS k e RANK 0", ListSearch.zeroRank.line),
        ("LINSERT k NEAR a b", "ERR syntax error"),
        ("LMPOP 0 k LEFT", "ERR numkeys should be greater than 0"),
        ("SINTERCARD 3 a b", "ERR Number of keys can't be greater than number of args"),
        ("ZADD k NX XX 1 a", "ERR XX and NX options at the same time are not compatible"),
        ("ZADD k GT LT 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("ZADD k INCR 1 a 2 b", "ERR INCR option supports a single increment-element pair"),
        ("ZADD k nan a", "ERR value is not a valid float"),
        ("ZCOUNT k a 1", "ERR min or max is not a float"),
        ("ZLEXCOUNT k a [b", "ERR min or max not valid string range item"),
        ("ZRANGE k 0 1 LIMIT 0 1", "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"),
        ("ZRANGE k - + BYLEX WITHSCORES", "ERR syntax error, WITHSCORES not supported in combination with BYLEX"),
        ("ZUNION 0 k", "ERR at least 1 input key is needed for 'zunion' command"),
        ("ZUNION 1 k WEIGHTS x", "ERR weight value is not a float"),
        ("SCAN x", "ERR invalid cursor"),
    ]) func mistakesGetRedissOwnError(_ line: String, _ error: String) {
        #expect(throws: ReplyError(error)) { try Self.parse(line) }
    }
}
