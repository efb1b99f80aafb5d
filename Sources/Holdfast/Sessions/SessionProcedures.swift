public import HoldfastStore

/// The atomic steps on one session.
///
/// All of them are given the session and its tombstone, which share a slot, and none brings a session back: only `create` and
/// `adopt` write to a key that is not there, and they refuse where a tombstone is. So whatever order a read, a change and a
/// deletion arrive in, what was deleted stays deleted.
///
/// Replies are lists of names and values by turns: the session's fields and `now`, the moment of the answer; or `refused` with a
/// reason (`version`, `field`, `size`, `fields`, `stones`, `kind`, `kept`, `damaged`). Null stands for "there is no such session". `damaged`: something
/// lies under the session's key that is none; only `delete` touches it.
///
/// An operation with a name (``OperationID``) gives a third key, its marker, in the session's slot. Where that is there the operation
/// was done, and the session is answered as it is; otherwise it is written with the effect.
///
/// Each data field begins with the 14 characters of its stamp: the millisecond in which it was changed, 13 digits, and a space. One that
/// was removed leaves its stamp behind, without JSON, so that a change made elsewhere before that does not bring it back
/// (``merge``). Of these the last ``maximumStones`` are kept, and all that the last removal left; in a process that is cut off all, up to
/// ``maximumStonesHere``.
public enum SessionProcedures {
    public static let all: [Script] = [
        create, adopt, read, extend, delete, update, append, merge, endBefore, indexAdd, indexRevoke, indexSweep,
    ]

    /// Reads the meta fields and says whether they are whole; ends the script with null where there is no session.
    static let present = """
        local meta = redis.pcall('HMGET', KEYS[1], 'expires', 'ends', 'idle', 'accessed', 'version')
        local isHash = not meta.err
        if not isHash then meta = {false, false, false, false, false} end
        local expires, ends, idle, accessed = tonumber(meta[1]), tonumber(meta[2]), tonumber(meta[3]), tonumber(meta[4])
        local isWhole = expires and ends and idle and accessed and meta[5]
        if isWhole and expires <= now or not isWhole and redis.call('EXISTS', KEYS[1]) == 0 then return false end

        """

    /// Defines for the scripts on an existing session: its meta fields, `slide` and `answer`; ends the script where there is none, or
    /// a damaged one.
    static let existing =
        present + """
            if not isWhole then return {'refused', 'damaged'} end
            local function text(number) return string.format('%.0f', number) end
            local function slide(span)
              expires = math.max(expires, math.min(now + span, ends))
              redis.call('HSET', KEYS[1], 'accessed', text(now), 'expires', text(expires))
              redis.call('PEXPIREAT', KEYS[1], text(expires))
            end
            -- An expiry that passes while the script runs removes the session at once.
            local function answer()
              local reply = redis.call('HGETALL', KEYS[1])
              if #reply == 0 then return false end
              reply[#reply + 1] = 'now'
              reply[#reply + 1] = text(now)
              return reply
            end
            local function isDone() return KEYS[3] and redis.call('EXISTS', KEYS[3]) == 1 end
            local function mark(kept)
              if KEYS[3] then redis.call('SET', KEYS[3], meta[5], 'PXAT', text(math.min(now + tonumber(kept), ends))) end
            end

            """

    /// Defines for the scripts that write whole sessions: as many fields at once as Lua can pass on to a command.
    static let writing = """
        local function write(fields, first)
          for i = first, #fields, 4000 do
            redis.call('HSET', KEYS[1], unpack(fields, i, math.min(i + 3999, #fields)))
          end
        end

        """

    /// Defines for the scripts that end sessions whether the session had an id before (`from`).
    static let hadBefore = """
        local function hadBefore(id)
          if not id or id == '' then return false end
          local from = redis.pcall('HGET', KEYS[1], 'from')
          if type(from) ~= 'string' then return false end
          for each in string.gmatch(from, '[^ ]+') do
            if each == id then return true end
          end
          return false
        end

        """

    /// KEYS: the session, its tombstone. ARGV: idle TTL and absolute TTL in milliseconds; then fields and values by turns.
    /// Result: the session; null where there is one or was one. Cost: O(fields).
    public static let create = Script(
        "session.create", version: 1,
        lua: """
            if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return false end
            local function text(number) return string.format('%.0f', number) end
            local ends = now + tonumber(ARGV[3])
            local expires = text(math.min(now + tonumber(ARGV[2]), ends))
            local fields = {'created', text(now), 'accessed', text(now), 'expires', expires, 'ends', text(ends), 'idle', ARGV[2],
              'version', '1'}
            local stamp = string.format('%013.0f ', now)
            for i = 4, #ARGV, 2 do
              fields[#fields + 1] = ARGV[i]
              fields[#fields + 1] = (string.sub(ARGV[i], 1, 2) == 'd:' and stamp or '') .. ARGV[i + 1]
            end
            redis.call('HSET', KEYS[1], unpack(fields))
            redis.call('PEXPIREAT', KEYS[1], expires)
            fields[#fields + 1] = 'now'
            fields[#fields + 1] = text(now)
            return fields
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        guard !store.exists(keys[0]), !store.exists(keys[1]) else { return .null }
        let ends = now + .milliseconds(arguments[1].integer ?? 0)
        let expires = min(now + .milliseconds(arguments[0].integer ?? 0), ends)
        var fields: [Bytes] = [
            "created", Bytes(now.milliseconds), "accessed", Bytes(now.milliseconds), "expires", Bytes(expires.milliseconds),
            "ends", Bytes(ends.milliseconds), "idle", arguments[0], "version", "1",
        ]
        for field in pairs(Array(arguments[2...])) {
            fields += [field.name, field.name.starts(with: "d:".utf8) ? stamped(field.value, now.milliseconds) : field.value]
        }
        try store.hset(keys[0], pairs(fields))
        store.expire(keys[0], at: expires)
        return Reply.list(fields + ["now", Bytes(now.milliseconds)])
    }

    /// Writes a session that exists elsewhere: under another id, or on the server that is away. KEYS: the new session, its tombstone.
    /// ARGV: when it expires, Unix milliseconds; how many versions more it has; then all its fields and values by turns, as stored.
    /// Result: the session; null where it has expired, or there is or was one of the new id. Cost: O(fields).
    public static let adopt = Script(
        "session.adopt", version: 1,
        lua: writing + """
            if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 or tonumber(ARGV[2]) <= now then return false end
            write(ARGV, 4)
            redis.call('HINCRBY', KEYS[1], 'version', ARGV[3])
            redis.call('PEXPIREAT', KEYS[1], ARGV[2])
            local reply = redis.call('HGETALL', KEYS[1])
            if #reply == 0 then return false end
            reply[#reply + 1] = 'now'
            reply[#reply + 1] = string.format('%.0f', now)
            return reply
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let expires = Timestamp(milliseconds: arguments[0].integer ?? 0)
        guard !store.exists(keys[0]), !store.exists(keys[1]), expires > now else { return .null }
        try store.hset(keys[0], pairs(Array(arguments[2...])))
        try store.hincrby(keys[0], "version", arguments[1].integer ?? 0)
        store.expire(keys[0], at: expires)
        return try fields(of: keys[0], in: &store, now)
    }

    /// KEYS: the session. ARGV: at most how often the access is written down, in milliseconds; empty for never.
    /// Result: the session, or null. Cost: O(fields).
    public static let read = Script(
        "session.read", version: 1, isIdempotent: true, needsMemory: false,
        lua: existing + """
            if ARGV[2] ~= '' and now - accessed >= math.min(tonumber(ARGV[2]), math.floor(idle / 10)) then slide(idle) end
            return answer()
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        guard var session = Existing(keys[0], in: &store, now) else { return absent(keys[0], in: &store) }
        if let interval = arguments[0].integer,
            now.milliseconds - session.accessed.milliseconds >= min(interval, session.idle / 10)
        {
            try session.slide(session.idle, in: &store)
        }
        return try fields(of: keys[0], in: &store, now)
    }

    /// KEYS: the session, its tombstone, for an operation with a name its marker. ARGV: from now on how long, in milliseconds, empty for
    /// its idle TTL; how long the marker is kept, in milliseconds.
    /// Result: the session, or null. Never ends it sooner, never later than in any case. Cost: O(fields).
    public static let extend = Script(
        "session.extend", version: 1, needsMemory: false,
        lua: existing + """
            if isDone() then return answer() end
            redis.call('HINCRBY', KEYS[1], 'version', 1)
            slide(tonumber(ARGV[2]) or idle)
            mark(ARGV[3])
            return answer()
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        guard var session = Existing(keys[0], in: &store, now) else { return absent(keys[0], in: &store) }
        if isDone(keys, in: &store) { return try fields(of: keys[0], in: &store, now) }
        try session.slide(arguments[0].integer ?? session.idle, in: &store)
        try store.hincrby(keys[0], "version", 1)
        try session.mark(keys, kept: arguments[1], in: &store)
        return try fields(of: keys[0], in: &store, now)
    }

    /// Ends a session and leaves a tombstone until the session would have ended in any case.
    /// KEYS: the session, its tombstone. ARGV: the expected version, or empty; how long a tombstone stays at most, milliseconds; what the
    /// tombstone says; 1 to leave one also where there is no session, because a copy may be somewhere else; an id that a session which
    /// had it before is spared for, or empty (optional).
    /// Result: `user`, empty where that cannot be read; `refused` with `version` or `kept`; or null. Cost: O(fields).
    ///
    /// A damaged session is at no version; without an expected one it is removed like any other.
    public static let delete = Script(
        "session.delete", version: 1, needsMemory: false,
        lua: hadBefore + """
            if ARGV[5] == '1' and redis.call('EXISTS', KEYS[1]) == 0 then
              redis.call('SET', KEYS[2], ARGV[4], 'PXAT', string.format('%.0f', now + tonumber(ARGV[3])))
              return false
            end

            """ + present + """
                if hadBefore(ARGV[6]) then return {'refused', 'kept'} end
                if ARGV[2] ~= '' and ARGV[2] ~= meta[5] then return {'refused', 'version', 'version', meta[5] or ''} end
                local user = isHash and redis.call('HGET', KEYS[1], 'user') or ''
                local last = now + tonumber(ARGV[3])
                if isWhole then last = math.min(ends, last) end
                redis.call('DEL', KEYS[1])
                redis.call('SET', KEYS[2], ARGV[4], 'PXAT', string.format('%.0f', last))
                return {'user', user}
                """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let last = now + .milliseconds(arguments[1].integer ?? 0)
        if arguments.count > 3, arguments[3] == "1", !store.exists(keys[0]) {
            try store.set(keys[1], arguments[2], expiry: last)
            return .null
        }
        let session = Existing(keys[0], in: &store, now)
        if session == nil, absent(keys[0], in: &store).isNull { return .null }
        if hadBefore(arguments.dropFirst(4).first, keys[0], in: &store) { return Reply.list(["refused", "kept"]) }
        let meta = (try? store.hmget(keys[0], ["version", "user"])) ?? [nil, nil]
        guard arguments[0].isEmpty || arguments[0] == meta[0] else {
            return Reply.list(["refused", "version", "version", meta[0] ?? ""])
        }
        store.delete(keys[0])
        try store.set(keys[1], arguments[2], expiry: session.map { min($0.ends, last) } ?? last)
        return Reply.list(["user", meta[1] ?? ""])
    }

    // MARK: - What the Swift twins share

    /// The twin of the Lua in ``existing``.
    struct Existing {
        let key: Key
        let now: Timestamp
        var expires: Timestamp
        let ends: Timestamp
        let idle: Int64
        let accessed: Timestamp
        let version: Bytes

        /// Nil where there is none or a damaged one; see ``absent(_:in:)``.
        init?(_ key: Key, in store: inout Keyspace, _ now: Timestamp) {
            guard let meta = try? store.hmget(key, SessionProcedures.metaFields), let expires = meta[0]?.integer,
                let ends = meta[1]?.integer, let idle = meta[2]?.integer,
                let accessed = meta[3]?.integer, let version = meta[4], expires > now.milliseconds
            else { return nil }
            self.key = key
            self.now = now
            self.expires = Timestamp(milliseconds: expires)
            self.ends = Timestamp(milliseconds: ends)
            self.idle = idle
            self.accessed = Timestamp(milliseconds: accessed)
            self.version = version
        }

        mutating func slide(_ span: Int64, in store: inout Keyspace) throws(ReplyError) {
            expires = max(expires, min(now + .milliseconds(span), ends))
            try store.hset(
                key,
                [
                    HashField("accessed", Bytes(now.milliseconds)), HashField("expires", Bytes(expires.milliseconds)),
                ])
            store.expire(key, at: expires)
        }

        func mark(_ keys: [Key], kept: Bytes, in store: inout Keyspace) throws(ReplyError) {
            guard keys.count > 2 else { return }
            try store.set(keys[2], version, expiry: min(now + .milliseconds(kept.integer ?? 0), ends))
        }

        func refused(_ reason: Bytes, _ more: [Bytes] = []) -> Reply {
            Reply.list(["refused", reason] + (reason == "version" ? ["version", version] : more))
        }
    }

    static let metaFields: [Bytes] = ["expires", "ends", "idle", "accessed", "version"]

    /// The reply where ``Existing`` found none: null, or that something else lies there.
    static func absent(_ key: Key, in store: inout Keyspace) -> Reply {
        guard store.exists(key) else { return .null }
        let meta = (try? store.hmget(key, metaFields)) ?? []
        let isWhole = meta.count == 5 && meta.prefix(4).allSatisfy { $0?.integer != nil } && meta[4] != nil
        return isWhole ? .null : Reply.list(["refused", "damaged"])
    }

    /// The twin of the Lua of this name.
    static func hadBefore(_ id: Bytes?, _ key: Key, in store: inout Keyspace) -> Bool {
        guard let id, !id.isEmpty, let from = try? store.hget(key, SessionFields.from) else { return false }
        return from.split(separator: UInt8(ascii: " ")).contains(id)
    }

    /// Whether the operation's marker is there.
    static func isDone(_ keys: [Key], in store: inout Keyspace) -> Bool { keys.count > 2 && store.exists(keys[2]) }

    // MARK: - Stamps

    /// How many stamps of removed fields a session keeps: the oldest make room.
    static let maximumStones = 256
    /// How many of them one that lies in a process that is cut off may have, where each is a change of which the server must hear: then
    /// removals are refused.
    static let maximumStonesHere = 4096
    static let stampLength = 14

    static func stamped(_ json: Bytes, _ stamp: Int64) -> Bytes {
        let digits = Array(String(max(0, stamp)).utf8)
        let padding = Array(repeating: UInt8(ascii: "0"), count: max(0, stampLength - 1 - digits.count))
        return Bytes(padding + digits + [UInt8(ascii: " ")] + Array(json))
    }

    static func pairs(_ flat: [Bytes]) -> [HashField] {
        stride(from: 0, to: flat.count - 1, by: 2).map { HashField(flat[$0], flat[$0 + 1]) }
    }

    static func fields(of key: Key, in store: inout Keyspace, _ now: Timestamp) throws(ReplyError) -> Reply {
        Reply.list(try store.hgetall(key).flatMap { [$0.name, $0.value] } + ["now", Bytes(now.milliseconds)])
    }
}

extension Reply {
    static func list(_ values: [Bytes]) -> Reply { .array(values.map(Reply.bytes)) }
}
