import HoldfastStore
import TestServers
import Testing

/// Hits and misses of the key space, counted as a real Redis counts them: what reads a key counts it, what writes does not.
@Suite struct KeyspaceHitTests {
    private static let preparation: [[Bytes]] = [
        ["FLUSHALL"], ["SET", "string", "text"], ["SET", "number", "1"], ["SET", "short", "x", "PX", "60000"],
        ["HSET", "hash", "a", "1", "b", "2"], ["RPUSH", "list", "a", "b", "c"], ["SADD", "set", "a", "b"],
        ["SADD", "other", "b", "c"], ["ZADD", "scores", "1", "a", "2", "b"],
    ]

    private static let programs: [[Bytes]] = [
        // Strings
        ["GET", "string"], ["GET", "none"], ["GET", "hash"], ["MGET", "string", "none", "hash", "string"],
        ["STRLEN", "string"], ["STRLEN", "none"], ["GETRANGE", "string", "0", "1"], ["GETEX", "string"], ["GETEX", "none"],
        ["GETEX", "short", "PERSIST"], ["GETSET", "string", "x"], ["GETSET", "none", "x"], ["GETDEL", "string"],
        ["GETDEL", "none"], ["SET", "string", "x"], ["SET", "none", "x"], ["SET", "string", "x", "GET"],
        ["SET", "none", "x", "GET"], ["SET", "string", "x", "NX"], ["SET", "none", "x", "XX"], ["SET", "short", "x", "KEEPTTL"],
        ["SETNX", "string", "x"], ["MSETNX", "string", "x", "none", "y"], ["INCR", "number"], ["INCR", "none"],
        ["DECRBY", "number", "3"], ["INCRBYFLOAT", "number", "0.5"], ["APPEND", "string", "x"], ["APPEND", "none", "x"],
        ["SETRANGE", "string", "1", "x"], ["SETRANGE", "none", "1", "x"],
        // Keys
        ["EXISTS", "string", "none", "string"], ["TOUCH", "string", "none"], ["TYPE", "string"], ["TYPE", "none"],
        ["TTL", "short"], ["PTTL", "none"], ["EXPIRETIME", "short"], ["EXPIRE", "string", "100"], ["EXPIRE", "none", "100"],
        ["EXPIRE", "short", "100", "GT"], ["PERSIST", "short"], ["PERSIST", "none"], ["DEL", "string", "none"],
        ["UNLINK", "string", "none"], ["RENAME", "string", "none"], ["RENAMENX", "string", "number"],
        ["COPY", "string", "none"], ["COPY", "none", "string"], ["COPY", "string", "number"], ["DBSIZE"], ["SCAN", "0"],
        ["RANDOMKEY"], ["KEYS", "*"],
        // Hashes
        ["HGET", "hash", "a"], ["HGET", "hash", "none"], ["HGET", "none", "a"], ["HMGET", "hash", "a", "none"],
        ["HGETALL", "none"], ["HEXISTS", "hash", "a"], ["HLEN", "hash"], ["HKEYS", "hash"], ["HVALS", "none"],
        ["HSTRLEN", "hash", "a"], ["HRANDFIELD", "hash"], ["HSCAN", "hash", "0"], ["HSCAN", "none", "0"],
        ["HSET", "hash", "a", "1"], ["HSET", "none", "a", "1"], ["HSETNX", "hash", "a", "1"], ["HDEL", "hash", "a"],
        ["HINCRBY", "hash", "a", "1"], ["HINCRBYFLOAT", "hash", "a", "1"],
        // Lists
        ["LLEN", "list"], ["LRANGE", "list", "0", "-1"], ["LINDEX", "none", "0"], ["LPOS", "list", "b"], ["LPUSH", "list", "x"],
        ["LPUSHX", "none", "x"], ["RPOP", "list"], ["RPOP", "none"], ["LSET", "list", "0", "x"], ["LREM", "list", "0", "a"],
        ["LTRIM", "list", "0", "0"], ["LINSERT", "list", "BEFORE", "b", "x"], ["LMOVE", "list", "none", "LEFT", "RIGHT"],
        ["LMOVE", "none", "list", "LEFT", "RIGHT"], ["LMPOP", "2", "none", "list", "LEFT"],
        // Sets
        ["SMEMBERS", "set"], ["SISMEMBER", "set", "a"], ["SMISMEMBER", "none", "a"], ["SCARD", "none"], ["SRANDMEMBER", "set"],
        ["SSCAN", "set", "0"], ["SADD", "set", "x"], ["SREM", "set", "a"], ["SPOP", "set"], ["SPOP", "none"],
        ["SMOVE", "set", "other", "a"], ["SMOVE", "none", "other", "a"], ["SUNION", "set", "none", "other"],
        ["SINTER", "set", "other"], ["SDIFF", "set", "other"], ["SINTERCARD", "2", "set", "other"],
        ["SUNIONSTORE", "none", "set", "other"], ["SINTERSTORE", "none", "set", "other"], ["SDIFFSTORE", "none", "set", "other"],
        // Sorted sets
        ["ZSCORE", "scores", "a"], ["ZSCORE", "none", "a"], ["ZMSCORE", "scores", "a", "x"], ["ZCARD", "scores"],
        ["ZCOUNT", "scores", "0", "9"], ["ZLEXCOUNT", "scores", "-", "+"], ["ZRANK", "scores", "a"], ["ZREVRANK", "scores", "b"],
        ["ZREVRANK", "none", "b"], ["ZRANGE", "scores", "0", "-1"], ["ZRANGEBYSCORE", "none", "0", "9"],
        ["ZRANDMEMBER", "scores"], ["ZSCAN", "scores", "0"], ["ZADD", "scores", "3", "c"], ["ZADD", "scores", "INCR", "3", "c"],
        ["ZINCRBY", "scores", "1", "a"], ["ZREM", "scores", "a"], ["ZREMRANGEBYSCORE", "scores", "0", "1"],
        ["ZREMRANGEBYRANK", "none", "0", "1"], ["ZPOPMIN", "scores"], ["ZPOPMAX", "none"], ["ZMPOP", "1", "scores", "MIN"],
        ["ZUNION", "2", "scores", "set"], ["ZINTER", "2", "scores", "none"], ["ZDIFF", "2", "scores", "set"],
        ["ZINTERCARD", "2", "scores", "set"], ["ZUNIONSTORE", "x", "2", "scores", "none"],
        ["ZRANGESTORE", "x", "scores", "0", "-1"], ["ZRANGESTORE", "x", "none", "0", "-1"],
    ]

    @Test func hitsAndMissesAreCountedAsRedisCountsThem() async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let port = redis.port
        try await ServedStore.with { served in
            let (ours, theirs) = (try served.connect(), try RawClient(port: port))
            for command in Self.programs {
                let counted = try [ours, theirs].map { client in
                    for command in Self.preparation { _ = try client.reply(to: command) }
                    let before = try Self.hits(client)
                    _ = try client.reply(to: command)
                    let after = try Self.hits(client)
                    return [after[0] - before[0], after[1] - before[1]]
                }
                #expect(counted[0] == counted[1], "\(command.map(\.lossyString)): ours [hits, misses], then Redis's")
            }
        }
    }

    @Test func aKeyWhoseTimeHasComeIsAMiss() async throws {
        try await ServedStore.with { served in
            let client = try served.connect()
            _ = try client.reply(to: ["SET", "k", "v", "PX", "1"])
            try await eventually("it is gone") { try client.reply(to: ["GET", "k"]) == Array("$-1\r\n".utf8) }
            #expect(try Self.hits(client)[1] > 0)
            _ = try client.reply(to: ["CONFIG", "RESETSTAT"])
            #expect(try Self.hits(client) == [0, 0])
        }
    }

    /// keyspace_hits and keyspace_misses, as INFO has them.
    private static func hits(_ client: RawClient) throws -> [Int] {
        let info = String(decoding: try client.reply(to: ["INFO", "stats"]), as: UTF8.self)
        return try ["keyspace_hits:", "keyspace_misses:"].map { name in
            let line = info.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name) }
            return try #require(line.flatMap { Int($0.dropFirst(name.count)) }, "INFO has no \(name)")
        }
    }
}

extension RawClient {
    /// The bytes of one command's reply.
    fileprivate func reply(to command: [Bytes]) throws -> [UInt8] {
        send(command)
        return try reply() ?? []
    }
}
