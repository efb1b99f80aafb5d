public import HoldfastStore

extension SessionProcedures {
    /// Sets and removes data fields where the expectations hold; all or nothing.
    ///
    /// KEYS: the session. ARGV: bytes and fields allowed; the expected version, or empty; a count and that many fields with their
    /// expected values, empty for absent (JSON is never empty); a count and that many fields with their new values; a count and that
    /// many fields to remove; at how many stamps of removed fields a further removal is refused (optional). Without that the oldest of them
    /// make room beyond ``maximumStones``, never one that this call leaves. What is removed leaves its stamp also where it is not there: it may
    /// have been set earlier on the other side of a partition. Fields stand with their `d:`; none stands twice among the changes.
    /// Result: the session; `refused` with `version`, `field`, `size`, `fields` or `stones`; or null. Cost: O(fields), and O(log stamps) for
    /// each stamp where they make room.
    public static let update = Script(
        "session.update", version: 2,
        lua: existing + """
            if ARGV[4] ~= '' and ARGV[4] ~= meta[5] then return {'refused', 'version', 'version', meta[5]} end
            local at = 5
            local function count()
              at = at + 1
              return tonumber(ARGV[at - 1])
            end
            for _ = 1, count() do
              if string.sub(redis.call('HGET', KEYS[1], ARGV[at]) or '', 15) ~= ARGV[at + 1] then
                return {'refused', 'field', 'field', ARGV[at]}
              end
              at = at + 2
            end
            local totals = redis.call('HMGET', KEYS[1], 'size', 'fields', 'stones')
            local size, number, stones = tonumber(totals[1]) or 0, tonumber(totals[2]) or 0, tonumber(totals[3]) or 0
            local function stamp(old) return string.format('%013.0f ', math.max(now, (tonumber(string.sub(old, 1, 13)) or 0) + 1)) end
            local set, changed, added = {}, {}, 0
            for _ = 1, count() do
              local name, value = ARGV[at], ARGV[at + 1]
              local old = redis.call('HGET', KEYS[1], name) or ''
              if #old > 14 then
                size = size - #old + 14 + #value
              else
                size = size + #name + #value
                number = number + 1
                if #old == 14 then stones = stones - 1 end
              end
              changed[name] = true
              set[#set + 1] = name
              set[#set + 1] = stamp(old) .. value
              at = at + 2
            end
            for _ = 1, count() do
              local name = ARGV[at]
              local old = redis.call('HGET', KEYS[1], name) or ''
              if #old > 14 then
                size = size - #old + 14 - #name
                number = number - 1
              end
              if #old ~= 14 then
                stones = stones + 1
                added = added + 1
              end
              changed[name] = true
              set[#set + 1] = name
              set[#set + 1] = stamp(old)
              at = at + 1
            end
            local most = tonumber(ARGV[at])
            if size > tonumber(ARGV[2]) then return {'refused', 'size'} end
            if number > tonumber(ARGV[3]) then return {'refused', 'fields'} end
            if most and added > 0 and stones > most then return {'refused', 'stones'} end
            if not most and added > 0 and stones > 256 then
              local old = {}
              local fields = redis.call('HGETALL', KEYS[1])
              for i = 1, #fields, 2 do
                local name = fields[i]
                if string.sub(name, 1, 2) == 'd:' and #fields[i + 1] == 14 and not changed[name] then
                  old[#old + 1] = fields[i + 1] .. name
                end
              end
              -- By bytes, whatever the server's locale.
              local function isBefore(a, b)
                for i = 1, math.min(#a, #b) do
                  local x, y = string.byte(a, i), string.byte(b, i)
                  if x ~= y then return x < y end
                end
                return #a < #b
              end
              table.sort(old, isBefore)
              for i = 1, math.min(#old, stones - 256) do
                redis.call('HDEL', KEYS[1], string.sub(old[i], 15))
                stones = stones - 1
              end
            end
            redis.call('HSET', KEYS[1], 'size', size, 'fields', number, 'stones', stones, unpack(set))
            redis.call('HINCRBY', KEYS[1], 'version', 1)
            slide(idle)
            return answer()
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        guard var session = Existing(keys[0], in: &store, now) else { return absent(keys[0], in: &store) }
        guard arguments[2].isEmpty || arguments[2] == session.version else { return session.refused("version") }
        var rest = arguments[3...]
        for (name, expected) in takePairs(&rest) {
            guard json(try store.hget(keys[0], name)) == expected else { return session.refused("field", ["field", name]) }
        }
        var totals = try Totals(keys[0], in: &store)
        var set: [HashField] = []
        func stamp(_ json: Bytes, over old: Bytes) -> Bytes {
            stamped(json, max(now.milliseconds, (old.prefix(stampLength - 1).integerWithZeros ?? 0) + 1))
        }
        for (name, value) in takePairs(&rest) {
            let old = try store.hget(keys[0], name) ?? Bytes()
            if old.count > stampLength {
                totals.size += value.count - (old.count - stampLength)
            } else {
                totals.size += name.count + value.count
                totals.fields += 1
                if old.count == stampLength { totals.stones -= 1 }
            }
            set.append(HashField(name, stamp(value, over: old)))
        }
        let kept = totals.stones
        for name in takeNames(&rest) {
            let old = try store.hget(keys[0], name) ?? Bytes()
            if old.count > stampLength {
                totals.size -= name.count + old.count - stampLength
                totals.fields -= 1
            }
            if old.count != stampLength { totals.stones += 1 }
            set.append(HashField(name, stamp(Bytes(), over: old)))
        }
        if totals.size > arguments[0].integer ?? 0 { return session.refused("size") }
        if totals.fields > arguments[1].integer ?? 0 { return session.refused("fields") }
        if totals.stones > kept {
            if let most = rest.first?.integer {
                if totals.stones > Int(most) { return session.refused("stones") }
            } else if totals.stones > maximumStones {
                let old = try oldestStones(keys[0], except: set, totals.stones - maximumStones, in: &store)
                if !old.isEmpty { try store.hdel(keys[0], old) }
                totals.stones -= old.count
            }
        }
        try store.hset(keys[0], totals.hashFields + set)
        try store.hincrby(keys[0], "version", 1)
        try session.slide(session.idle, in: &store)
        return try Self.fields(of: keys[0], in: &store, now)
    }

    /// Appends messages to a conversation and drops the oldest ones beyond its window, or beyond the bytes allowed.
    ///
    /// KEYS: the session, its tombstone, for an operation with a name its marker. ARGV: bytes allowed; how long the marker is kept, in
    /// milliseconds; then the messages, as JSON.
    /// Result: the session; `refused` with `kind` (no conversation) or `size` (the new ones alone are too large); or null.
    /// Cost: O(fields + messages).
    public static let append = Script(
        "session.append", version: 1,
        lua: existing + """
            if isDone() then return answer() end
            local numbers = redis.call('HMGET', KEYS[1], 'window', 'first', 'next', 'size')
            local window, size = tonumber(numbers[1]), tonumber(numbers[4]) or 0
            if not window then return {'refused', 'kind'} end
            local first, following = tonumber(numbers[2]) or 0, tonumber(numbers[3]) or 0
            local behind = following + #ARGV - 3
            local set = {'next', text(behind)}
            for i = 4, #ARGV do
              local number = following + i - 4
              if number >= behind - window then
                local name, value = 'm:' .. text(number), text(now) .. ' ' .. ARGV[i]
                size = size + #name + #value
                set[#set + 1] = name
                set[#set + 1] = value
              end
            end
            local dropped = {}
            while first < following and (behind - first > window or size > tonumber(ARGV[2])) do
              local name = 'm:' .. text(first)
              size = size - #name - redis.call('HSTRLEN', KEYS[1], name)
              dropped[#dropped + 1] = name
              first = first + 1
            end
            if size > tonumber(ARGV[2]) then return {'refused', 'size'} end
            if first == following then first = math.max(first, behind - window) end
            redis.call('HSET', KEYS[1], 'first', text(first), 'size', text(size), unpack(set))
            if #dropped > 0 then redis.call('HDEL', KEYS[1], unpack(dropped)) end
            redis.call('HINCRBY', KEYS[1], 'version', 1)
            mark(ARGV[3])
            slide(idle)
            return answer()
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        guard var session = Existing(keys[0], in: &store, now) else { return absent(keys[0], in: &store) }
        if isDone(keys, in: &store) { return try Self.fields(of: keys[0], in: &store, now) }
        let numbers = try store.hmget(keys[0], ["window", "first", "next", "size"]).map { $0?.integer }
        guard let window = numbers[0] else { return session.refused("kind") }
        var (first, following, size) = (numbers[1] ?? 0, numbers[2] ?? 0, numbers[3] ?? 0)
        let (allowed, added) = (arguments[0].integer ?? 0, arguments[2...])
        let behind = following + Int64(added.count)
        var set: [HashField] = []
        for (number, message) in zip(following..., added) where number >= behind - window {
            let field = HashField(messageName(number), Bytes(Array("\(now.milliseconds) ".utf8) + Array(message)))
            size += Int64(field.name.count + field.value.count)
            set.append(field)
        }
        var dropped: [Bytes] = []
        while first < following, behind - first > window || size > allowed {
            let name = messageName(first)
            size -= Int64(name.count + (try store.hget(keys[0], name)?.count ?? 0))
            dropped.append(name)
            first += 1
        }
        guard size <= allowed else { return session.refused("size") }
        if first == following { first = max(first, behind - window) }
        let fields = [
            HashField("first", Bytes(first)), HashField("size", Bytes(size)), HashField("next", Bytes(behind)),
        ]
        try store.hset(keys[0], fields + set)
        if !dropped.isEmpty { try store.hdel(keys[0], dropped) }
        try store.hincrby(keys[0], "version", 1)
        try session.mark(keys, kept: arguments[1], in: &store)
        try session.slide(session.idle, in: &store)
        return try Self.fields(of: keys[0], in: &store, now)
    }

    // MARK: - What the Swift twins share

    struct Totals {
        var size: Int
        var fields: Int
        var stones: Int

        init(_ key: Key, in store: inout Keyspace) throws(ReplyError) {
            let totals = try store.hmget(key, ["size", "fields", "stones"]).map { Int($0?.integer ?? 0) }
            (size, fields, stones) = (totals[0], totals[1], totals[2])
        }

        var hashFields: [HashField] {
            [
                HashField("size", Bytes(Int64(size))), HashField("fields", Bytes(Int64(fields))),
                HashField("stones", Bytes(Int64(stones))),
            ]
        }
    }

    /// The removed fields with the oldest stamps, but for those that are written anyway.
    private static func oldestStones(
        _ key: Key, except written: [HashField], _ count: Int, in store: inout Keyspace
    ) throws(ReplyError) -> [Bytes] {
        let changed = Set(written.map(\.name))
        let old = try store.hgetall(key).filter { field in
            field.name.starts(with: "d:".utf8) && field.value.count == stampLength && !changed.contains(field.name)
        }
        return old.sorted { ($0.value, $0.name) < ($1.value, $1.name) }.prefix(count).map(\.name)
    }

    /// What stands behind the stamp; empty where there is no such field, or none any more.
    private static func json(_ value: Bytes?) -> Bytes { value?.dropFirst(stampLength) ?? Bytes() }

    private static func messageName(_ number: Int64) -> Bytes { Bytes("m:\(number)") }

    /// A count, then that many pairs.
    private static func takePairs(_ rest: inout ArraySlice<Bytes>) -> [(Bytes, Bytes)] {
        let flat = take(&rest, width: 2)
        return stride(from: 0, to: flat.count - 1, by: 2).map { (flat[$0], flat[$0 + 1]) }
    }

    private static func takeNames(_ rest: inout ArraySlice<Bytes>) -> [Bytes] { take(&rest, width: 1) }

    private static func take(_ rest: inout ArraySlice<Bytes>, width: Int) -> [Bytes] {
        let count = Int(rest.popFirst()?.integer ?? 0) * width
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
}

extension Bytes {
    /// As Lua reads digits: leading zeros allowed. Nil for anything else.
    var integerWithZeros: Int64? {
        guard !isEmpty, allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return reduce(0) { $0 &* 10 &+ Int64($1 - 0x30) }
    }
}
