public import HoldfastStore

extension SessionProcedures {
    /// Brings a session as it is in a process that was cut off together with the server's.
    ///
    /// Of each data field the later change counts, by its stamp; the session lives as long as the longer-lived of the two allows; a
    /// tombstone wins over everything, one of ``endBefore`` over what was created until its moment. Messages are not merged, they are appended by themselves. A session that the server does not have
    /// is written as it is, and ends when it ends in any case at the latest: no tombstone of it stays longer. Doing it again changes nothing. It is among its user's when it is brought, so it is not `pending` any more.
    ///
    /// KEYS: the session, its tombstone. ARGV: fields and values by turns, as stored. Result: 1; 0 where the session has been ended or has
    /// expired; `refused` with `damaged`. Cost: O(fields).
    public static let merge = Script(
        "session.merge", version: 2, isIdempotent: true,
        lua: writing + """
            local function text(number) return string.format('%.0f', number) end
            local function mine(name)
              for i = #ARGV - 1, 2, -2 do
                if ARGV[i] == name then return ARGV[i + 1] end
              end
              return nil
            end
            local stone = redis.pcall('GET', KEYS[2])
            if stone then
              local moment = type(stone) == 'string' and tonumber(string.match(stone, '^before:(%d+)$'))
              local created = tonumber(mine('created'))
              if not (moment and created and created > moment) then
                if moment then redis.call('SET', KEYS[2], 'deleted', 'KEEPTTL') end
                return 0
              end
            end
            if redis.call('EXISTS', KEYS[1]) == 0 then
              local wanted = tonumber(mine('expires'))
              local expires = wanted and math.min(wanted, tonumber(mine('ends')) or wanted)
              if not (expires and expires > now) then return 0 end
              if stone then redis.call('DEL', KEYS[2]) end
              write(ARGV, 2)
              if expires < wanted then redis.call('HSET', KEYS[1], 'expires', text(expires)) end
              redis.call('PEXPIREAT', KEYS[1], text(expires))
              return 1
            end
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
            local longest = math.max(expires, math.min(tonumber(mine('expires')) or 0, ends))
            local used = tonumber(mine('accessed')) or 0
            local isExtended = longest > expires and longest > used + (tonumber(mine('idle')) or 0)
            expires = longest
            accessed = math.max(accessed, used)
            version = math.max(version, tonumber(mine('version')) or 0)
            if #set > 0 or isExtended then version = version + 1 end
            redis.call('HSET', KEYS[1], 'expires', text(expires), 'accessed', text(accessed), 'version', text(version),
              'size', text(size), 'fields', text(number), 'stones', text(stones))
            write(set, 1)
            redis.call('HDEL', KEYS[1], 'pending')
            redis.call('PEXPIREAT', KEYS[1], text(expires))
            return 1
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let fields = pairs(arguments)
        let mine = Dictionary(fields.map { ($0.name, $0.value) }) { _, last in last }
        if store.exists(keys[1]) {
            let moment = (try? store.get(keys[1]))?.flatMap(momentBefore)
            guard let moment, let created = mine["created"]?.integer, created > moment else {
                if moment != nil { try store.set(keys[1], "deleted", expiry: store.expiry(of: keys[1]) ?? nil) }
                return .integer(0)
            }
        }
        guard store.exists(keys[0]) else {
            guard let expires = mine["expires"]?.integer.map({ min($0, mine["ends"]?.integer ?? $0) }), expires > now.milliseconds
            else { return .integer(0) }
            store.delete(keys[1])
            try store.hset(keys[0], fields + [HashField("expires", Bytes(expires))])
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
        let longest = max(expires, min(mine["expires"]?.integer ?? 0, ends))
        let used = mine["accessed"]?.integer ?? 0
        let isExtended = longest > expires && longest > used + (mine["idle"]?.integer ?? 0)
        let latest = max(version, mine["version"]?.integer ?? 0) + (set.isEmpty && !isExtended ? 0 : 1)
        try store.hset(
            keys[0],
            [
                HashField("expires", Bytes(longest)),
                HashField("accessed", Bytes(max(accessed, used))),
                HashField("version", Bytes(latest)),
            ] + totals.hashFields + set)
        try store.hdel(keys[0], [SessionFields.pending])
        store.expire(keys[0], at: Timestamp(milliseconds: longest))
        return .integer(1)
    }
}

extension SessionProcedures {
    /// Ends a session that was not created after a revocation. Where it is not there it may be on its way, behind its index entry: the
    /// tombstone that is left then says until which creation it holds (`before:` and the moment), and ``merge`` goes by it. So the two meet
    /// in the session's slot, whichever comes first.
    ///
    /// KEYS: the session, its tombstone. ARGV: the moment, Unix milliseconds; how long a tombstone stays at most, milliseconds; an id that a
    /// session which had it before is spared for, or empty (optional).
    /// Result: 1 where it was ended, 0 where it stays or is not there. Cost: O(fields).
    public static let endBefore = Script(
        "session.endBefore", version: 1, isIdempotent: true, needsMemory: false,
        lua: hadBefore + """
            local function text(number) return string.format('%.0f', number) end
            local last = text(now + tonumber(ARGV[3]))
            if redis.call('EXISTS', KEYS[1]) == 0 then
              local stone = redis.pcall('GET', KEYS[2])
              local moment = not stone and 0 or type(stone) == 'string' and tonumber(string.match(stone, '^before:(%d+)$'))
              if moment then redis.call('SET', KEYS[2], 'before:' .. text(math.max(moment, tonumber(ARGV[2]))), 'PXAT', last) end
              return 0
            end
            local created = redis.pcall('HGET', KEYS[1], 'created')
            created = type(created) == 'string' and tonumber(created)
            if created and created > tonumber(ARGV[2]) or hadBefore(ARGV[4]) then return 0 end
            redis.call('DEL', KEYS[1])
            redis.call('SET', KEYS[2], 'deleted', 'PXAT', last)
            return 1
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let (moment, last) = (arguments[0].integer ?? 0, now + .milliseconds(arguments[1].integer ?? 0))
        guard store.exists(keys[0]) else {
            let before = store.exists(keys[1]) ? (try? store.get(keys[1]))?.flatMap(momentBefore) : 0
            if let before { try store.set(keys[1], Bytes("before:\(max(before, moment))"), expiry: last) }
            return .integer(0)
        }
        if let created = (try? store.hget(keys[0], "created"))?.flatMap(\.integer), created > moment { return .integer(0) }
        if hadBefore(arguments.dropFirst(2).first, keys[0], in: &store) { return .integer(0) }
        store.delete(keys[0])
        try store.set(keys[1], "deleted", expiry: last)
        return .integer(1)
    }

    /// Until which creation a tombstone holds; nil for one that holds in any case.
    static func momentBefore(_ stone: Bytes) -> Int64? {
        let word = Bytes("before:")
        return stone.starts(with: word) ? stone.dropFirst(word.count).integerWithZeros : nil
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
