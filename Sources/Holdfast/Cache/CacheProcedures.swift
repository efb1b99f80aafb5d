public import HoldfastStore

/// The atomic steps of the cache: a miss is a lease.
///
/// Whoever is to fill an entry after a miss first gets a lease, a random token beside the entry. All who miss meanwhile share it. A
/// deletion, an invalidation and a plain write remove it, and a fill is carried out only while the lease still stands: so a slow
/// filler cannot bring back what was deleted, nor overwrite what was written, since it looked.
public enum CacheProcedures {
    public static let all: [Script] = [lookup, fill, write]

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

    /// Sets or removes the entry and ends the lease, where the entry is as expected.
    ///
    /// An entry past its TTL that is only kept for emergencies counts as absent.
    ///
    /// KEYS: the entry; its lease. ARGV: `absent`, `present` or `version`; the version, 8 bytes; the value, empty to remove; how long it
    /// is kept, in milliseconds. Result: 1 where it was done, else 0. Cost: O(size of the value).
    public static let write = Script(
        "cache.write", version: 1,
        lua: """
            if not string.match(ARGV[5], '^[1-9]%d*$') or #ARGV[5] > 15 then
              return redis.error_reply('ERR invalid expire time')
            end
            local head = redis.pcall('GETRANGE', KEYS[1], 0, 23)
            if type(head) == 'table' then return head end
            local function word(at)
              local a, b, c, d = string.byte(head, at, at + 3)
              return ((a * 256 + b) * 256 + c) * 256 + d
            end
            local isThere = #head > 0
            if #head == 24 and word(21) > 0 then
              local expiry = word(13) * 4294967296 + word(17)
              if expiry > 0 and now >= expiry then isThere = false end
            end
            local holds = isThere
            if ARGV[2] == 'absent' then holds = not isThere end
            if ARGV[2] == 'version' then holds = isThere and string.sub(head, 5, 12) == ARGV[3] end
            if not holds then return 0 end
            redis.call('DEL', KEYS[2])
            if ARGV[4] == '' then
              redis.call('DEL', KEYS[1])
            else
              redis.call('SET', KEYS[1], ARGV[4], 'PXAT', string.format('%.0f', now + tonumber(ARGV[5])))
            end
            return 1
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let span = try milliseconds(arguments[3], "ERR invalid expire time")
        let head = Array(try store.get(keys[0])?.prefix(Envelope.fixedHeaderSize) ?? Bytes())
        // In doubles, as Lua counts.
        func word(_ at: Int) -> Double { head[at..<(at + 4)].reduce(0) { $0 * 256 + Double($1) } }
        var isThere = !head.isEmpty
        if head.count == Envelope.fixedHeaderSize, word(20) > 0 {
            let expiry = word(12) * 4_294_967_296 + word(16)
            if expiry > 0, Double(now.milliseconds) >= expiry { isThere = false }
        }
        let holds =
            switch arguments[0] {
            case "absent": !isThere
            case "version": isThere && Bytes(Array(head.dropFirst(4).prefix(8))) == arguments[1]
            default: isThere
            }
        guard holds else { return .integer(0) }
        store.delete(keys[1])
        if arguments[2].isEmpty {
            store.delete(keys[0])
        } else {
            try store.set(keys[0], arguments[2], expiry: now + span)
        }
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

    /// - Parameter value: nil to remove the entry.
    static func cacheWrite(_ entry: Key, if condition: CacheCondition, value: Bytes?, kept: Duration) -> Self {
        let (word, version): (Bytes, Bytes) =
            switch condition {
            case .absent: ("absent", Bytes())
            case .present: ("present", Bytes())
            case .version(let version): ("version", version.bytes)
            }
        return Procedure(
            CacheProcedures.write, keys: [entry, CachePlace.lease(of: entry)],
            arguments: [word, version, value ?? Bytes(), Bytes(max(1, kept.milliseconds))]
        ) { $0.integer.map { $0 == 1 } }
    }
}
