public import HoldfastStore

extension SessionProcedures {
    /// Brings a session as it is in a process that was cut off together with the server's.
    ///
    /// Of each data field the later change counts, by its stamp; the session lives as long as the longer-lived of the two allows; a
    /// tombstone wins over everything. Messages are not merged, they are appended by themselves. A session that the server does not have
    /// is written as it is. Doing it again changes nothing.
    ///
    /// KEYS: the session, its tombstone. ARGV: fields and values by turns, as stored. Result: 1; 0 where the session has been ended or has
    /// expired; `refused` with `damaged`. Cost: O(fields).
    public static let merge = Script(
        "session.merge", version: 1, isIdempotent: true,
        lua: """
            if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
            local function mine(name)
              for i = #ARGV - 1, 2, -2 do
                if ARGV[i] == name then return ARGV[i + 1] end
              end
              return nil
            end
            if redis.call('EXISTS', KEYS[1]) == 0 then
              local expires = mine('expires')
              if not (tonumber(expires) and tonumber(expires) > now) then return 0 end
              redis.call('HSET', KEYS[1], unpack(ARGV, 2))
              redis.call('PEXPIREAT', KEYS[1], expires)
              return 1
            end
            local function text(number) return string.format('%.0f', number) end
            local meta = redis.pcall('HMGET', KEYS[1], 'expires', 'ends', 'accessed', 'version', 'size', 'fields', 'stones')
            if meta.err then return {'refused', 'damaged'} end
            local expires, ends, accessed, version = tonumber(meta[1]), tonumber(meta[2]), tonumber(meta[3]), tonumber(meta[4])
            if not (expires and ends and accessed and version) then return {'refused', 'damaged'} end
            local size, number, stones = tonumber(meta[5]) or 0, tonumber(meta[6]) or 0, tonumber(meta[7]) or 0
            local set = {}
            for i = 2, #ARGV, 2 do
              local name, value = ARGV[i], ARGV[i + 1]
              if string.sub(name, 1, 2) == 'd:' and #value >= 14 then
                local old = redis.call('HGET', KEYS[1], name) or ''
                if string.sub(old, 1, 13) < string.sub(value, 1, 13) then
                  if #old > 14 then
                    size = size - #name - #old + 14
                    number = number - 1
                  elseif #old == 14 then
                    stones = stones - 1
                  end
                  if #value > 14 then
                    size = size + #name + #value - 14
                    number = number + 1
                  else
                    stones = stones + 1
                  end
                  set[#set + 1] = name
                  set[#set + 1] = value
                end
              end
            end
            expires = math.max(expires, math.min(tonumber(mine('expires')) or 0, ends))
            accessed = math.max(accessed, tonumber(mine('accessed')) or 0)
            version = math.max(version, tonumber(mine('version')) or 0)
            if #set > 0 then version = version + 1 end
            redis.call('HSET', KEYS[1], 'expires', text(expires), 'accessed', text(accessed), 'version', text(version),
              'size', text(size), 'fields', text(number), 'stones', text(stones), unpack(set))
            redis.call('PEXPIREAT', KEYS[1], text(expires))
            return 1
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        if store.exists(keys[1]) { return .integer(0) }
        let fields = pairs(arguments)
        let mine = Dictionary(fields.map { ($0.name, $0.value) }) { _, last in last }
        guard store.exists(keys[0]) else {
            guard let expires = mine["expires"]?.integer, expires > now.milliseconds else { return .integer(0) }
            try store.hset(keys[0], fields)
            store.expire(keys[0], at: Timestamp(milliseconds: expires))
            return .integer(1)
        }
        guard let meta = try? store.hmget(keys[0], ["expires", "ends", "accessed", "version"]).map({ $0?.integer }),
            let expires = meta[0], let ends = meta[1], let accessed = meta[2], let version = meta[3]
        else { return Reply.list(["refused", "damaged"]) }
        var totals = try Totals(keys[0], in: &store)
        var set: [HashField] = []
        for field in fields where field.name.starts(with: "d:".utf8) && field.value.count >= stampLength {
            let old = try store.hget(keys[0], field.name) ?? Bytes()
            guard old.prefix(stampLength - 1) < field.value.prefix(stampLength - 1) else { continue }
            totals.count(field.name, old, by: -1)
            totals.count(field.name, field.value, by: 1)
            set.append(field)
        }
        let latest = max(version, mine["version"]?.integer ?? 0) + (set.isEmpty ? 0 : 1)
        let longest = max(expires, min(mine["expires"]?.integer ?? 0, ends))
        try store.hset(
            keys[0],
            [
                HashField("expires", Bytes(longest)),
                HashField("accessed", Bytes(max(accessed, mine["accessed"]?.integer ?? 0))),
                HashField("version", Bytes(latest)),
            ] + totals.hashFields + set)
        store.expire(keys[0], at: Timestamp(milliseconds: longest))
        return .integer(1)
    }
}

extension SessionProcedures.Totals {
    /// Adds a stored field, or takes it off; one that is not there has no bytes.
    fileprivate mutating func count(_ name: Bytes, _ value: Bytes, by sign: Int) {
        let length = SessionProcedures.stampLength
        if value.count > length {
            size += sign * (name.count + value.count - length)
            fields += sign
        } else if value.count == length {
            stones += sign
        }
    }
}
