public import HoldfastStore

/// The atomic steps of ``Idempotency``. A record is a hash: `content` (what the request was), `owner` (which attempt has it) and, once
/// it is answered, `answer`.
public enum IdempotencyProcedures {
    public static let all: [Script] = [begin, complete, release]

    /// KEYS: the record. ARGV: the content; the attempt; the lease in milliseconds.
    /// Result: [0] where the attempt has it now, [1, answer] where it is answered, [2] where its content is another, [3] where another
    /// attempt has it. Cost: O(1).
    public static let begin = Script(
        "idempotency.begin", version: 1, isIdempotent: true,
        lua: """
            local lease = tonumber(ARGV[4])
            if not (lease and lease > 0 and lease < 9007199254740992) then return redis.error_reply('ERR invalid lease') end
            local found = redis.pcall('HMGET', KEYS[1], 'content', 'owner', 'answer')
            if found.err then return found end
            if not found[1] then
              redis.call('HSET', KEYS[1], 'content', ARGV[2], 'owner', ARGV[3])
              redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + lease))
              return {0}
            end
            if found[1] ~= ARGV[2] then return {2} end
            if found[3] then return {1, found[3]} end
            if found[2] == ARGV[3] then return {0} end
            return {3}
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let lease = arguments[2].integer ?? 0
        guard (1..<9_007_199_254_740_992).contains(lease) else { throw ReplyError("ERR invalid lease") }
        let found = try store.hmget(keys[0], ["content", "owner", "answer"])
        guard let content = found[0] else {
            try store.hset(keys[0], [HashField("content", arguments[0]), HashField("owner", arguments[1])])
            store.expire(keys[0], at: now + .milliseconds(lease))
            return .array([.integer(0)])
        }
        if content != arguments[0] { return .array([.integer(2)]) }
        if let answer = found[2] { return .array([.integer(1), .bytes(answer)]) }
        return .array([.integer(found[1] == arguments[1] ? 0 : 3)])
    }

    /// KEYS: the record. ARGV: the attempt; the answer; how long it is kept, in milliseconds.
    /// Result: 1 where the attempt still had it, else 0. Cost: O(size of the answer).
    public static let complete = Script(
        "idempotency.complete", version: 1, isIdempotent: true,
        lua: """
            local span = tonumber(ARGV[4])
            if not (span and span > 0 and span < 9007199254740992) then return redis.error_reply('ERR invalid time to keep') end
            local owner = redis.pcall('HGET', KEYS[1], 'owner')
            if type(owner) == 'table' then return owner end
            if owner ~= ARGV[2] then return 0 end
            redis.call('HSET', KEYS[1], 'answer', ARGV[3])
            redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + span))
            return 1
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let span = arguments[2].integer ?? 0
        guard (1..<9_007_199_254_740_992).contains(span) else { throw ReplyError("ERR invalid time to keep") }
        guard try store.hget(keys[0], "owner") == arguments[0] else { return .integer(0) }
        try store.hset(keys[0], "answer", arguments[1])
        store.expire(keys[0], at: now + .milliseconds(span))
        return .integer(1)
    }

    /// KEYS: the record. ARGV: the attempt. Result: 1 where the attempt had it, unanswered, and it is gone now, else 0. Cost: O(1).
    public static let release = Script(
        "idempotency.release", version: 1, isIdempotent: true,
        lua: """
            local found = redis.pcall('HMGET', KEYS[1], 'owner', 'answer')
            if found.err then return found end
            if found[1] ~= ARGV[2] or found[2] then return 0 end
            return redis.call('DEL', KEYS[1])
            """
    ) { (store, keys, arguments, _) throws(ReplyError) in
        let found = try store.hmget(keys[0], ["owner", "answer"])
        guard found[0] == arguments[0], found[1] == nil else { return .integer(0) }
        return .integer(store.delete(keys[0]) ? 1 : 0)
    }
}
