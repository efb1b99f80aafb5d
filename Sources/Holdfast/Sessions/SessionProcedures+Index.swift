public import HoldfastStore

extension SessionProcedures {
    /// Adds a session to its user's index and removes what has ended there; the index itself ends with its last entry.
    ///
    /// KEYS: the index; the mark of its revocation. ARGV: the session's id; when it ends in any case, Unix milliseconds; when it was created,
    /// empty for one that need not fear a revocation. Result: how many entries the index has; -1, and nothing is done, where all of the
    /// user's sessions were revoked after this one was created and it is not in the index. Cost: O(log entries + entries removed).
    public static let indexAdd = Script(
        "session.indexAdd", version: 1, isIdempotent: true,
        lua: """
            local revoked = redis.pcall('GET', KEYS[2])
            if type(revoked) == 'table' then return revoked end
            local created = tonumber(ARGV[4])
            if created and created < (tonumber(revoked) or 0) then
              local present = redis.pcall('ZSCORE', KEYS[1], ARGV[2])
              if type(present) == 'table' then return present end
              if not present then return -1 end
            end
            local ended = redis.pcall('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
            if type(ended) == 'table' then return ended end
            if tonumber(ARGV[3]) > now then redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2]) end
            local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
            if last[2] then redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2]))) end
            return redis.call('ZCARD', KEYS[1])
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let revoked = try store.get(keys[1])?.integer ?? 0
        if let created = arguments[2].integer, created < revoked, try store.zscore(keys[0], arguments[0]) == nil {
            return .integer(-1)
        }
        try store.zremrangebyscore(keys[0], .atMost(Double(now.milliseconds)))
        let ends = arguments[1].integer ?? 0
        if ends > now.milliseconds { try store.zadd(keys[0], arguments[0], Double(ends)) }
        if let last = try store.zrange(keys[0], SortedSetRange(.ranks(-1, -1))).first {
            store.expire(keys[0], at: Timestamp(milliseconds: Int64(last.score)))
        }
        return .integer(Int64(try store.zcard(keys[0])))
    }

    /// Notes that all sessions of a user were revoked: those that were created before and are not in the index cannot come into it any
    /// more.
    ///
    /// KEYS: the mark of the revocation. ARGV: when it was decided, Unix milliseconds, at the latest now, empty for now; how long the mark stays, in
    /// milliseconds. Result: the moment that counts, the latest of all. Cost: O(1).
    public static let indexRevoke = Script(
        "session.indexRevoke", version: 1, isIdempotent: true,
        lua: """
            local revoked = redis.pcall('GET', KEYS[1])
            if type(revoked) == 'table' then return revoked end
            local moment = math.max(tonumber(revoked) or 0, math.min(now, tonumber(ARGV[2]) or now))
            redis.call('SET', KEYS[1], string.format('%.0f', moment), 'PXAT', string.format('%.0f', now + tonumber(ARGV[3])))
            return moment
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let decided = min(now.milliseconds, arguments[0].integer ?? now.milliseconds)
        let moment = max(try store.get(keys[0])?.integer ?? 0, decided)
        try store.set(keys[0], Bytes(moment), expiry: now + .milliseconds(arguments[1].integer ?? 0))
        return .integer(moment)
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
