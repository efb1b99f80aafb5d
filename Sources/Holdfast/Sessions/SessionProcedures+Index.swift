public import HoldfastStore

extension SessionProcedures {
    /// Adds a session to its user's index and removes what has ended there; the index itself ends with its last entry.
    ///
    /// KEYS: the index. ARGV: the session's id; when it ends in any case, Unix milliseconds. Result: how many entries the index has.
    /// Cost: O(log entries + entries removed).
    public static let indexAdd = Script(
        "session.indexAdd", version: 1, isIdempotent: true,
        lua: """
            redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
            if tonumber(ARGV[3]) > now then redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2]) end
            local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
            if last[2] then redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2]))) end
            return redis.call('ZCARD', KEYS[1])
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        try store.zremrangebyscore(keys[0], .atMost(Double(now.milliseconds)))
        let ends = arguments[1].integer ?? 0
        if ends > now.milliseconds { try store.zadd(keys[0], arguments[0], Double(ends)) }
        if let last = try store.zrange(keys[0], SortedSetRange(.ranks(-1, -1))).first {
            store.expire(keys[0], at: Timestamp(milliseconds: Int64(last.score)))
        }
        return .integer(Int64(try store.zcard(keys[0])))
    }

    /// Removes the entries of an index that have ended. KEYS: the index. Result: how many. Cost: O(log entries + entries removed).
    public static let indexSweep = Script(
        "session.indexSweep", version: 1, isIdempotent: true, needsMemory: false,
        lua: """
            return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
            """
    ) { (store, keys, _, now) throws(ReplyError) in
        .integer(Int64(try store.zremrangebyscore(keys[0], .atMost(Double(now.milliseconds)))))
    }
}
