public import HoldfastStore

/// The atomic steps of ``Instances``: a sorted set of the processes by the moment at which their leases end, Unix milliseconds, by the
/// server's clock. It expires with the last.
public enum InstanceProcedures {
    public static let all: [Script] = [renew, leave]

    /// The longest lease: a day, in milliseconds.
    static let longestLease: Int64 = 86_400_000

    /// Takes or renews a lease.
    ///
    /// KEYS: the set. ARGV: the process; the lease in milliseconds. Result: how many processes hold one, this one included.
    /// Cost: O(log processes + leases that have ended).
    public static let renew = Script(
        "instances.renew", version: 1, isIdempotent: true,
        lua: """
            local lease = tonumber(ARGV[3])
            if not (lease and lease > 0 and lease <= \(longestLease)) then return redis.error_reply('ERR invalid lease') end
            redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
            redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), ARGV[2])
            local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
            redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2])))
            return redis.call('ZCARD', KEYS[1])
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        guard let lease = arguments[1].integer, (1...longestLease).contains(lease) else { throw ReplyError("ERR invalid lease") }
        try store.zremrangebyscore(keys[0], .atMost(Double(now.milliseconds)))
        try store.zadd(keys[0], arguments[0], Double(now.milliseconds + lease))
        if let last = try store.zrange(keys[0], SortedSetRange(.ranks(-1, -1))).first {
            store.expire(keys[0], at: Timestamp(milliseconds: Int64(last.score)))
        }
        return .integer(Int64(try store.zcard(keys[0])))
    }

    /// Gives a lease back. KEYS: the set. ARGV: the process. Result: how many processes still hold one. Cost: as ``renew``.
    public static let leave = Script(
        "instances.leave", version: 1, isIdempotent: true, needsMemory: false,
        lua: """
            redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
            redis.call('ZREM', KEYS[1], ARGV[2])
            return redis.call('ZCARD', KEYS[1])
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        try store.zremrangebyscore(keys[0], .atMost(Double(now.milliseconds)))
        try store.zrem(keys[0], [arguments[0]])
        return .integer(Int64(try store.zcard(keys[0])))
    }
}
