import HoldfastStore

/// State: a sorted set with one member `time:before:after` for each ms in which something was charged, scored by its time; `before` and
/// `after` are running sums, so what a part of the log consumed is one subtraction, however many entries it has. Terms: a = the
/// window in ms, b and c unused. Cost: O(log n); a denial looks up log n entries to find the one to wait for.
///
/// The sums count modulo 2^50. What has left the window is removed by the next write; a denied call removes nothing.
struct SlidingLogMeter: RateLimitMeter {
    private static let modulus: Int64 = 1_125_899_906_842_624

    static let lua = """
        (function()
          local modulus = \(modulus)

          local function entry(key, rank)
            local member = redis.call('ZRANGE', key, rank, rank)[1] or ''
            local time, before, after = string.match(member, '^(%d+):(%d+):(%d+)$')
            return {member = member, time = tonumber(time) or 0, before = tonumber(before) or 0, after = tonumber(after) or 0}
          end

          -- The first rank in [low, high] for which a condition holds; high where it holds for none before.
          local function search(key, low, high, holds)
            while low < high do
              local middle = math.floor((low + high) / 2)
              if holds(entry(key, middle)) then high = middle else low = middle + 1 end
            end
            return low
          end

          local function add(key, e)
            e.member = text(e.time) .. ':' .. text(e.before) .. ':' .. text(e.after)
            redis.call('ZADD', key, text(e.time), e.member)
          end

          return {
            read = function(key, r)
              local s = {key = key, clock = now, used = 0, stored = 0, count = 0, dead = 0}
              local count = redis.pcall('ZCARD', key)
              if type(count) == 'table' then
                failure = count
                return s
              end
              if count == 0 then return s end
              s.count, s.dead = count, count
              local last = entry(key, count - 1)
              if last.time - now > r.a then return s end
              s.clock = math.max(now, last.time)
              s.dead = redis.call('ZCOUNT', key, '-inf', text(s.clock - r.a))
              if s.dead < count then
                s.first, s.last = entry(key, s.dead), last
                s.used = (last.after - s.first.before) % modulus
                s.stored = s.used
              end
              return s
            end,
            wait = function(s, r)
              if s.used + r.cost <= r.capacity then return 0 end
              local rank = search(s.key, s.dead, s.count - 1, function(e)
                return (s.last.after - e.after) % modulus <= r.capacity - r.cost
              end)
              return entry(s.key, rank).time + r.a - now
            end,
            add = function(s, r) s.used = s.used + math.max(math.min(r.cost, ceiling - s.used), 0) end,
            take = function(s, r) s.used = math.max(s.used - r.cost, 0) end,
            view = function(s, r)
              return math.max(r.capacity - s.used, 0), s.used > 0 and s.last.time + r.a - now or 0
            end,
            write = function(s, r)
              if s.used == 0 then
                redis.call('DEL', s.key)
                return
              end
              if s.dead > 0 then redis.call('ZREMRANGEBYRANK', s.key, 0, s.dead - 1) end
              if s.used > s.stored then
                local before = s.last and s.last.after or 0
                local e = {time = s.clock, before = before, after = (before + s.used - s.stored) % modulus}
                if s.last and s.last.time == s.clock then
                  redis.call('ZREM', s.key, s.last.member)
                  e.before = s.last.before
                end
                add(s.key, e)
                s.last = e
              elseif s.used < s.stored then
                local size = s.count - s.dead
                local rank = search(s.key, 0, size - 1, function(e)
                  return (e.after - s.first.before) % modulus >= s.used
                end)
                local e = entry(s.key, rank)
                redis.call('ZREMRANGEBYRANK', s.key, rank, -1)
                e.after = (s.first.before + s.used) % modulus
                add(s.key, e)
                s.last = e
              end
              redis.call('PEXPIREAT', s.key, text(s.last.time + r.a))
            end,
          }
        end)()
        """

    private struct Entry {
        var time: Int64
        var before: Int64
        var after: Int64

        var member: Bytes { Bytes("\(time):\(before):\(after)") }
    }

    private let key: Key
    private let rule: RateLimitTerms
    private let now: Int64
    private var clock: Int64
    private var used: Int64 = 0
    private var stored: Int64 = 0
    private var count = 0
    private var dead = 0
    private var first: Entry?
    private var last: Entry?

    init(reading keyspace: inout Keyspace, _ key: Key, _ rule: RateLimitTerms, now: Int64) throws(ReplyError) {
        (self.key, self.rule, self.now) = (key, rule, now)
        clock = now
        count = try keyspace.zcard(key)
        dead = count
        guard count > 0 else { return }
        let newest = try Self.entry(&keyspace, key, count - 1)
        guard newest.time - now <= rule.a else { return }
        clock = max(now, newest.time)
        dead = try keyspace.zcount(key, .atMost(Double(clock - rule.a)))
        guard dead < count else { return }
        let oldest = try Self.entry(&keyspace, key, dead)
        (first, last) = (oldest, newest)
        used = Self.difference(newest.after, oldest.before)
        stored = used
    }

    func wait(in keyspace: inout Keyspace) throws(ReplyError) -> Int64 {
        guard used + rule.cost > rule.capacity, let last else { return 0 }
        let room = rule.capacity - rule.cost
        let rank = try Self.search(&keyspace, key, dead, count - 1) { Self.difference(last.after, $0.after) <= room }
        return try Self.entry(&keyspace, key, rank).time + rule.a - now
    }

    mutating func add() { used += max(min(rule.cost, rateLimitCountCeiling - used), 0) }
    mutating func take() { used = max(used - rule.cost, 0) }
    var remaining: Int64 { max(rule.capacity - used, 0) }
    var resetAfter: Int64 { used > 0 ? (last?.time ?? now) + rule.a - now : 0 }

    mutating func write(to keyspace: inout Keyspace) throws(ReplyError) {
        guard used > 0 else {
            keyspace.delete(key)
            return
        }
        if dead > 0 { try keyspace.zremrangebyrank(key, 0, Int64(dead - 1)) }
        if used > stored {
            try append(to: &keyspace)
        } else if used < stored, let first {
            try truncate(&keyspace, first)
        }
        if let last { keyspace.expire(key, at: Timestamp(milliseconds: last.time + rule.a)) }
    }

    private mutating func append(to keyspace: inout Keyspace) throws(ReplyError) {
        let before = last?.after ?? 0
        var entry = Entry(time: clock, before: before, after: (before + used - stored) % Self.modulus)
        if let last, last.time == clock {
            try keyspace.zrem(key, [last.member])
            entry.before = last.before
        }
        try keyspace.zadd(key, entry.member, Double(entry.time))
        last = entry
    }

    /// Gives the newest entries back: ends the log where its sum is what is to be left.
    private mutating func truncate(_ keyspace: inout Keyspace, _ first: Entry) throws(ReplyError) {
        let used = used
        let rank = try Self.search(&keyspace, key, 0, count - dead - 1) { Self.difference($0.after, first.before) >= used }
        var entry = try Self.entry(&keyspace, key, rank)
        try keyspace.zremrangebyrank(key, Int64(rank), -1)
        entry.after = (first.before + used) % Self.modulus
        try keyspace.zadd(key, entry.member, Double(entry.time))
        last = entry
    }

    private static func difference(_ later: Int64, _ earlier: Int64) -> Int64 {
        let difference = (later - earlier) % modulus
        return difference < 0 ? difference + modulus : difference
    }

    private static func entry(_ keyspace: inout Keyspace, _ key: Key, _ rank: Int) throws(ReplyError) -> Entry {
        let member = try keyspace.zrange(key, SortedSetRange(.ranks(Int64(rank), Int64(rank)))).first?.member
        guard let fields = member?.rateLimitFields(3) else { return Entry(time: 0, before: 0, after: 0) }
        return Entry(time: fields[0], before: fields[1], after: fields[2])
    }

    /// The first rank in a range for which a condition holds; `high` where it holds for none before.
    private static func search(
        _ keyspace: inout Keyspace, _ key: Key, _ low: Int, _ high: Int, _ holds: (Entry) -> Bool
    ) throws(ReplyError) -> Int {
        var (low, high) = (low, high)
        while low < high {
            let middle = (low + high) / 2
            if holds(try entry(&keyspace, key, middle)) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
