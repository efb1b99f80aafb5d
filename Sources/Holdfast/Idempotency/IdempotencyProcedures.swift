public import HoldfastStore

/// The atomic steps of ``Idempotency``. A record is a hash: `content` (what the request was), `operation` (its name), `owner` and `until`
/// (which attempt has it, and until when, Unix milliseconds), `first` (the attempt that drew the operation's name) and, once it is
/// answered, `answer`.
public enum IdempotencyProcedures {
    public static let all: [Script] = [begin, complete, release, adopt]

    /// KEYS: the record. ARGV: the content; the attempt; the operation's name, where there is no record yet; the lease and how long the
    /// record is kept, both in milliseconds; 1 where the name is fresh, 0 where an earlier attempt may have had its effect under it.
    /// Result: [0, operation] where the attempt has it now, [1, answer] where it is answered, [2] where its content is another, [3]
    /// where another attempt has it. Cost: O(1).
    public static let begin = Script(
        "idempotency.begin", version: 1, isIdempotent: true,
        lua: """
            local lease, kept = tonumber(ARGV[5]), tonumber(ARGV[6])
            local function isSpan(span) return span and span > 0 and span < 9007199254740992 end
            if not (isSpan(lease) and isSpan(kept)) then return redis.error_reply('ERR invalid lease') end
            local found = redis.pcall('HMGET', KEYS[1], 'content', 'operation', 'owner', 'until', 'answer')
            if found.err then return found end
            if found[1] and found[1] ~= ARGV[2] then return {2} end
            if found[5] then return {1, found[5]} end
            if found[1] and found[3] ~= ARGV[3] and now < (tonumber(found[4]) or 0) then return {3} end
            local operation = found[2] or ARGV[4]
            redis.call('HSET', KEYS[1], 'content', ARGV[2], 'operation', operation, 'owner', ARGV[3],
              'until', string.format('%.0f', now + lease))
            if not found[1] then
              if ARGV[7] == '1' then redis.call('HSET', KEYS[1], 'first', ARGV[3]) end
              redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + kept))
            end
            return {0, operation}
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let spans = 1..<Int64(9_007_199_254_740_992)
        guard let lease = arguments[3].integer, let kept = arguments[4].integer, spans.contains(lease), spans.contains(kept)
        else { throw ReplyError("ERR invalid lease") }
        let found = try store.hmget(keys[0], ["content", "operation", "owner", "until", "answer"])
        if let content = found[0], content != arguments[0] { return .array([.integer(2)]) }
        if let answer = found[4] { return .array([.integer(1), .bytes(answer)]) }
        if found[0] != nil, found[2] != arguments[1], now.milliseconds < found[3]?.integer ?? 0 {
            return .array([.integer(3)])
        }
        let operation = found[1] ?? arguments[2]
        try store.hset(
            keys[0],
            [
                HashField("content", arguments[0]), HashField("operation", operation), HashField("owner", arguments[1]),
                HashField("until", Bytes((now + .milliseconds(lease)).milliseconds)),
            ])
        if found[0] == nil {
            if arguments[5] == "1" { try store.hset(keys[0], [HashField("first", arguments[1])]) }
            store.expire(keys[0], at: now + .milliseconds(kept))
        }
        return .array([.integer(0), .bytes(operation)])
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

    /// A record is forgotten only by the attempt that drew its operation's name: an earlier one may have had its effect under it.
    ///
    /// KEYS: the record. ARGV: the attempt; 1 to forget the request, 0 to let another attempt begin.
    /// Result: 2 where the attempt had it, unanswered, and it is forgotten; 1 where another attempt may begin now; else 0. Cost: O(1).
    public static let release = Script(
        "idempotency.release", version: 1, isIdempotent: true, needsMemory: false,
        lua: """
            local found = redis.pcall('HMGET', KEYS[1], 'owner', 'answer', 'first')
            if found.err then return found end
            if found[1] ~= ARGV[2] or found[2] then return 0 end
            if ARGV[3] == '1' and found[3] == ARGV[2] then
              redis.call('DEL', KEYS[1])
              return 2
            end
            redis.call('HDEL', KEYS[1], 'owner', 'until')
            return 1
            """
    ) { (store, keys, arguments, _) throws(ReplyError) in
        let found = try store.hmget(keys[0], ["owner", "answer", "first"])
        guard found[0] == arguments[0], found[1] == nil else { return .integer(0) }
        if arguments[1] == "1", found[2] == arguments[0] {
            store.delete(keys[0])
            return .integer(2)
        }
        _ = try store.hdel(keys[0], ["owner", "until"])
        return .integer(1)
    }

    /// Brings a record that was made while the server was away. What is there already stays, but for an answer that it has not got yet.
    ///
    /// KEYS: the record. ARGV: the content; the operation's name; the answer, empty for none yet; the attempt that has it, empty for
    /// none; for how long still, in milliseconds; 1 where that attempt drew the name; how long the record is kept, in milliseconds.
    /// Result: 1 where something was written, else 0. Cost: O(size of the answer).
    public static let adopt = Script(
        "idempotency.adopt", version: 1, isIdempotent: true,
        lua: """
            local left, span = tonumber(ARGV[6]), tonumber(ARGV[8])
            local function isSpan(span) return span and span > 0 and span < 9007199254740992 end
            if not isSpan(span) then return redis.error_reply('ERR invalid time to keep') end
            if ARGV[5] ~= '' and not isSpan(left) then return redis.error_reply('ERR invalid lease') end
            local found = redis.pcall('HMGET', KEYS[1], 'content', 'operation', 'answer')
            if found.err then return found end
            if found[1] then
              if ARGV[4] == '' or found[3] or found[1] ~= ARGV[2] or found[2] ~= ARGV[3] then return 0 end
              redis.call('HSET', KEYS[1], 'answer', ARGV[4])
              return 1
            end
            redis.call('HSET', KEYS[1], 'content', ARGV[2], 'operation', ARGV[3])
            if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'answer', ARGV[4]) end
            if ARGV[5] ~= '' then
              redis.call('HSET', KEYS[1], 'owner', ARGV[5], 'until', string.format('%.0f', now + left))
              if ARGV[7] == '1' then redis.call('HSET', KEYS[1], 'first', ARGV[5]) end
            end
            redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + span))
            return 1
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let spans = 1..<Int64(9_007_199_254_740_992)
        let (owner, left, span) = (arguments[3], arguments[4].integer ?? 0, arguments[6].integer ?? 0)
        guard spans.contains(span) else { throw ReplyError("ERR invalid time to keep") }
        guard owner.isEmpty || spans.contains(left) else { throw ReplyError("ERR invalid lease") }
        let found = try store.hmget(keys[0], ["content", "operation", "answer"])
        if found[0] != nil {
            let isSame = found[0] == arguments[0] && found[1] == arguments[1]
            guard !arguments[2].isEmpty, found[2] == nil, isSame else { return .integer(0) }
            try store.hset(keys[0], [HashField("answer", arguments[2])])
            return .integer(1)
        }
        var fields = [HashField("content", arguments[0]), HashField("operation", arguments[1])]
        if !arguments[2].isEmpty { fields.append(HashField("answer", arguments[2])) }
        if !owner.isEmpty {
            let until = (now + .milliseconds(left)).milliseconds
            fields += [HashField("owner", owner), HashField("until", Bytes(until))]
            if arguments[5] == "1" { fields.append(HashField("first", owner)) }
        }
        try store.hset(keys[0], fields)
        store.expire(keys[0], at: now + .milliseconds(span))
        return .integer(1)
    }
}
