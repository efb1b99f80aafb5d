public import HoldfastStore

/// The atomic steps of the cache: a miss is a lease.
///
/// Whoever is to fill an entry after a miss first gets a lease, a random token beside the entry. All who miss meanwhile share it. A
/// deletion, an invalidation and a plain write remove it, and a fill is carried out only while the lease still stands: so a slow
/// filler cannot bring back what was deleted, nor overwrite what was written, since it looked.
public enum CacheProcedures {
    public static let all: [Script] = [lookup, fill]

    /// The entry, and where there is none the lease of its miss, which is created where there was none yet.
    ///
    /// KEYS: the entry; its lease. ARGV: a fresh token; the lease's milliseconds; 1 for a lease even where there is an entry.
    /// Result: the entry or null; the token of the lease, empty where none was asked for. Cost: O(size of the value).
    public static let lookup = Script(
        "cache.lookup", version: 1, isIdempotent: true,
        lua: """
            if not string.match(ARGV[3], '^[1-9]%d*$') or #ARGV[3] > 15 then
              return redis.error_reply('ERR invalid lease time')
            end
            local value = redis.pcall('GET', KEYS[1])
            if type(value) == 'table' then return value end
            if value and ARGV[4] ~= '1' then return {value, ''} end
            local token = redis.pcall('GET', KEYS[2])
            if type(token) == 'table' then return token end
            if not token then
              token = ARGV[2]
              redis.call('SET', KEYS[2], token, 'PXAT', string.format('%.0f', now + tonumber(ARGV[3])))
            end
            return {value, token}
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let span = try milliseconds(arguments[1], "ERR invalid lease time")
        let value = try store.get(keys[0])
        if let value, arguments[2] != "1" { return .array([.bytes(value), .bytes(Bytes())]) }
        var token = arguments[0]
        if let present = try store.get(keys[1]) {
            token = present
        } else {
            try store.set(keys[1], token, expiry: now + span)
        }
        return .array([value.map(Reply.bytes) ?? .null, .bytes(token)])
    }

    /// Sets the entry and ends the lease, where the lease still stands.
    ///
    /// KEYS: the entry; its lease. ARGV: the lease's token; the value; how long it is kept, in milliseconds.
    /// Result: 1 where it was set, else 0. Cost: O(size of the value).
    public static let fill = Script(
        "cache.fill", version: 1, isIdempotent: true,
        lua: """
            if not string.match(ARGV[4], '^[1-9]%d*$') or #ARGV[4] > 15 then
              return redis.error_reply('ERR invalid expire time')
            end
            local token = redis.pcall('GET', KEYS[2])
            if type(token) == 'table' then return token end
            if token ~= ARGV[2] then return 0 end
            redis.call('DEL', KEYS[2])
            redis.call('SET', KEYS[1], ARGV[3], 'PXAT', string.format('%.0f', now + tonumber(ARGV[4])))
            return 1
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let span = try milliseconds(arguments[2], "ERR invalid expire time")
        guard try store.get(keys[1]) == arguments[0] else { return .integer(0) }
        store.delete(keys[1])
        try store.set(keys[0], arguments[1], expiry: now + span)
        return .integer(1)
    }

    /// Digits without a leading zero, below 10^15: what both twins read alike, and what is exact in Lua.
    private static func milliseconds(_ text: Bytes, _ error: String) throws(ReplyError) -> Duration {
        guard text.count <= 15, let number = text.integer, number > 0 else { throw ReplyError(error) }
        return .milliseconds(number)
    }
}

/// What a lookup found: the entry, and the lease where there was none or one was asked for all the same.
struct CacheLookup: Sendable {
    let bytes: Bytes?
    let token: Bytes
}

extension Procedure where Output == CacheLookup {
    static func cacheLookup(_ entry: Key, token: Bytes, leaseTime: Duration, evenWhenPresent: Bool) -> Self {
        Procedure(
            CacheProcedures.lookup, keys: [entry, CachePlace.lease(of: entry)],
            arguments: [token, Bytes(max(1, leaseTime.milliseconds)), evenWhenPresent ? "1" : "0"]
        ) { reply in
            guard let parts = reply.elements, parts.count == 2, let token = parts[1].bytes else { return nil }
            return CacheLookup(bytes: parts[0].bytes, token: token)
        }
    }
}

extension Procedure where Output == Bool {
    static func cacheFill(_ entry: Key, token: Bytes, value: Bytes, kept: Duration) -> Self {
        Procedure(
            CacheProcedures.fill, keys: [entry, CachePlace.lease(of: entry)],
            arguments: [token, value, Bytes(max(1, kept.milliseconds))]
        ) { $0.integer.map { $0 == 1 } }
    }
}
