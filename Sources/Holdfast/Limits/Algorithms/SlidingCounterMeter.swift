import HoldfastStore

/// State: `index:current:previous`, the counts of the present window and of the one before it. Terms: a = the window in ms, b = a
/// tick in ms, c = ticks per window, at most 2^22, so that a count times c stays exact. Cost: O(1).
///
/// Of the previous window counts what the sliding window still covers, in whole ticks and rounded up.
struct SlidingCounterMeter: RateLimitMeter {
    static let lua = """
        {
          read = function(key, r)
            local s = {key = key, index = math.floor(now / r.a), current = 0, previous = 0}
            local index, current, previous = match(key, '^(%d+):(%d+):(%d+)$')
            if index and (index == s.index or index == s.index + 1) then
              s.index, s.current, s.previous = index, math.min(current, ceiling), math.min(previous, ceiling)
            elseif index and index == s.index - 1 then
              s.previous = math.min(current, ceiling)
            end
            s.start = s.index * r.a
            s.tick = math.floor(math.max(now - s.start, 0) / r.b)
            return s
          end,
          carried = function(s, r) return math.ceil(s.previous * (r.c - s.tick) / r.c) end,
          wait = function(s, r)
            local room = r.capacity - r.cost - s.current
            if room >= meter('sliding-counter').carried(s, r) then return 0 end
            if room >= 0 then
              return s.start + math.min((r.c - math.floor(room * r.c / s.previous)) * r.b, r.a) - now
            end
            room = r.capacity - r.cost
            return s.start + r.a + math.min((r.c - math.floor(room * r.c / s.current)) * r.b, r.a) - now
          end,
          add = function(s, r) s.current = math.min(s.current + r.cost, ceiling) end,
          take = function(s, r)
            local part = math.min(r.cost, s.current)
            s.current = s.current - part
            s.previous = math.max(s.previous - (r.cost - part), 0)
          end,
          view = function(s, r)
            local used = s.current + meter('sliding-counter').carried(s, r)
            local reset = 0
            if s.current > 0 then reset = s.start + 2 * r.a - now elseif s.previous > 0 then reset = s.start + r.a - now end
            return math.max(r.capacity - used, 0), reset
          end,
          write = function(s, r)
            local last = s.current > 0 and s.start + 2 * r.a or s.start + r.a
            put(s.key, s.current + s.previous > 0, {s.index, s.current, s.previous}, last)
          end,
        }
        """

    private let key: Key
    private let rule: RateLimitTerms
    private let now: Int64
    private var index: Int64
    private var current: Int64 = 0
    private var previous: Int64 = 0

    init(reading keyspace: inout Keyspace, _ key: Key, _ rule: RateLimitTerms, now: Int64) throws(ReplyError) {
        (self.key, self.rule, self.now) = (key, rule, now)
        index = now / rule.a
        guard let fields = try keyspace.get(key)?.rateLimitFields(3) else { return }
        if fields[0] == index || fields[0] == index + 1 {
            (index, current, previous) = (fields[0], min(fields[1], rateLimitCountCeiling), min(fields[2], rateLimitCountCeiling))
        } else if fields[0] == index - 1 {
            previous = min(fields[1], rateLimitCountCeiling)
        }
    }

    private var window: Int64 { rule.a }
    private var ticks: Int64 { rule.c }
    private var start: Int64 { index * window }
    private var tick: Int64 { max(now - start, 0) / rule.b }
    private var carried: Int64 { (previous * (ticks - tick)).dividedUp(by: ticks) }
    /// From the start of a window until so much of `count`, the count of the window before it, has left that at most `room` counts.
    private func time(until room: Int64, of count: Int64) -> Int64 { min((ticks - room * ticks / count) * rule.b, window) }

    func wait(in keyspace: inout Keyspace) -> Int64 {
        let room = rule.capacity - rule.cost - current
        if room >= carried { return 0 }
        if room >= 0 { return start + time(until: room, of: previous) - now }
        return start + window + time(until: rule.capacity - rule.cost, of: current) - now
    }

    mutating func add() { current = min(current + rule.cost, rateLimitCountCeiling) }

    mutating func take() {
        let part = min(rule.cost, current)
        current -= part
        previous = max(previous - (rule.cost - part), 0)
    }

    var remaining: Int64 { max(rule.capacity - current - carried, 0) }
    var resetAfter: Int64 {
        if current > 0 { return start + 2 * window - now }
        return previous > 0 ? start + window - now : 0
    }

    func write(to keyspace: inout Keyspace) throws(ReplyError) {
        let end = current > 0 ? start + 2 * window : start + window
        try keyspace.putRateLimit(key, current + previous > 0 ? [index, current, previous] : nil, until: end)
    }
}
