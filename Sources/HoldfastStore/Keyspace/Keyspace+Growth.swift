// How much memory an operation may need: what room is made for before it is carried out. Typed functions make no room, because a
// procedure must not be refused half-way; see `EmbeddedStore.run`.

extension Operation {
    /// At most how much memory it may add; nil where it needs none and is carried out even when memory is full. This agrees with
    /// the command table's `denyOOM`.
    ///
    /// What depends on other entries (a union, a copy) is 0 here, and room is made when the result is known.
    var growth: Int? {
        switch self {
        case .strings(let operation): operation.growth
        case .hashes(let operation): operation.growth
        case .lists(let operation): operation.growth
        case .sets(let operation): operation.growth
        case .sortedSets(let operation): operation.growth
        case .keys(.copy): 0
        // A raw command is looked at again when it has been read.
        case .keys, .pubSub, .server, .raw: nil
        }
    }
}

extension MemoryCost {
    /// A new string.
    static func string(_ key: Key, _ length: Int) -> Int { entry + bytes(key.bytes.count) + bytes(length) }

    /// Parts of a collection that may be new too: each costs `each` beside its bytes.
    static func parts(_ key: Key, of parts: [Bytes], each: Int) -> Int {
        parts.reduce(entry + bytes(key.bytes.count) + collection) { $0 + each + bytes($1.count) }
    }
}

extension StringOperation {
    fileprivate var growth: Int? {
        switch self {
        case .set(let key, let value, _), .setnx(let key, let value), .getset(let key, let value), .append(let key, let value):
            MemoryCost.string(key, value.count)
        case .mset(let pairs), .msetnx(let pairs):
            pairs.reduce(0) { $0 + MemoryCost.string($1.key, $1.value.count) }
        case .incrby(let key, _), .decrby(let key, _), .incrbyfloat(let key, _): MemoryCost.string(key, 32)
        // An offset that is out of range is refused later.
        case .setrange(let key, let offset, let value):
            MemoryCost.string(key, Int(clamping: min(max(0, offset), Int64(Keyspace.maximumStringLength))) + value.count)
        case .get, .getdel, .getex, .mget, .strlen, .getrange: nil
        }
    }
}

extension HashOperation {
    fileprivate var growth: Int? {
        switch self {
        case .hset(let key, let fields), .hmset(let key, let fields):
            fields.reduce(MemoryCost.parts(key, of: [], each: 0)) {
                $0 + MemoryCost.slot + MemoryCost.bytes($1.name.count) + MemoryCost.bytes($1.value.count)
            }
        case .hsetnx(let key, let field, let value):
            MemoryCost.parts(key, of: [field], each: MemoryCost.slot) + MemoryCost.bytes(value.count)
        case .hincrby(let key, let field, _), .hincrbyfloat(let key, let field, _):
            MemoryCost.parts(key, of: [field], each: MemoryCost.slot) + MemoryCost.bytes(32)
        case .hget, .hmget, .hgetall, .hdel, .hexists, .hlen, .hkeys, .hvals, .hstrlen, .hrandfield, .hscan: nil
        }
    }
}

extension ListOperation {
    fileprivate var growth: Int? {
        switch self {
        case .lpush(let key, let elements), .rpush(let key, let elements), .lpushx(let key, let elements),
            .rpushx(let key, let elements):
            MemoryCost.parts(key, of: elements, each: MemoryCost.element)
        case .lset(let key, _, let element), .linsert(let key, _, _, let element):
            MemoryCost.parts(key, of: [element], each: MemoryCost.element)
        // The element is there already; only a new list may come into being.
        case .lmove(_, let destination, _, _): MemoryCost.parts(destination, of: [], each: 0)
        case .lpop, .rpop, .llen, .lrange, .lindex, .lrem, .ltrim, .lpos, .lmpop: nil
        }
    }
}

extension SetOperation {
    fileprivate var growth: Int? {
        switch self {
        case .sadd(let key, let members): MemoryCost.parts(key, of: members, each: MemoryCost.slot)
        case .sunionstore, .sinterstore, .sdiffstore: 0
        case .srem, .smembers, .sismember, .smismember, .scard, .spop, .srandmember, .smove, .sunion, .sinter, .sdiff,
            .sintercard, .sscan:
            nil
        }
    }
}

extension SortedSetOperation {
    fileprivate var growth: Int? {
        let each = MemoryCost.slot + MemoryCost.ordered
        switch self {
        case .zadd(let key, let members, _):
            return members.reduce(MemoryCost.parts(key, of: [], each: 0)) { $0 + each + MemoryCost.bytes($1.member.count) }
        case .zaddincr(let key, let scored, _): return MemoryCost.parts(key, of: [scored.member], each: each)
        case .zincrby(let key, _, let member): return MemoryCost.parts(key, of: [member], each: each)
        case .zrangestore, .zunionstore, .zinterstore, .zdiffstore: return 0
        case .zrem, .zscore, .zmscore, .zcard, .zcount, .zlexcount, .zrank, .zrevrank, .zrange, .zremrangebyscore,
            .zremrangebyrank, .zremrangebylex, .zpopmin, .zpopmax, .zmpop, .zrandmember, .zunion, .zinter, .zdiff,
            .zintercard, .zscan:
            return nil
        }
    }
}

extension Procedure {
    /// What a procedure may add, taken as if each argument became a new member under a new key of its own.
    var growth: Int {
        let keys = keys.reduce(0) { $0 + MemoryCost.parts($1, of: [], each: 0) }
        return ownArguments.reduce(keys) { $0 + MemoryCost.slot + MemoryCost.ordered + MemoryCost.bytes($1.count) }
    }
}
