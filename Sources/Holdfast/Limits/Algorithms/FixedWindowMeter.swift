import HoldfastStore

/// State: `index:count`, where the index is the number of whole windows since the epoch. Terms: a = the window in ms. Cost: O(1).
struct FixedWindowMeter: RateLimitMeter {
    static let lua = """
        {
          read = function(key, r)
            local s = {key = key, index = math.floor(now / r.a), count = 0}
            local index, count = match(key, '^(%d+):(%d+)$')
            if index and (index == s.index or index == s.index + 1) then
              s.index, s.count = index, math.min(count, ceiling)
            end
            return s
          end,
          wait = function(s, r)
            if s.count + r.cost <= r.capacity then return 0 end
            return (s.index + 1) * r.a - now
          end,
          add = function(s, r) s.count = math.min(s.count + r.cost, ceiling) end,
          take = function(s, r) s.count = math.max(s.count - r.cost, 0) end,
          view = function(s, r)
            return math.max(r.capacity - s.count, 0), s.count > 0 and (s.index + 1) * r.a - now or 0
          end,
          write = function(s, r) put(s.key, s.count > 0, {s.index, s.count}, (s.index + 1) * r.a) end,
        }
        """

    private let key: Key
    private let rule: RateLimitTerms
    private let now: Int64
    private var index: Int64
    private var count: Int64 = 0

    init(reading keyspace: inout Keyspace, _ key: Key, _ rule: RateLimitTerms, now: Int64) throws(ReplyError) {
        (self.key, self.rule, self.now) = (key, rule, now)
        index = now / rule.a
        if let fields = try keyspace.get(key)?.rateLimitFields(2), fields[0] == index || fields[0] == index + 1 {
            (index, count) = (fields[0], min(fields[1], rateLimitCountCeiling))
        }
    }

    private var end: Int64 { (index + 1) * rule.a }

    func wait(in keyspace: inout Keyspace) -> Int64 { count + rule.cost <= rule.capacity ? 0 : end - now }
    mutating func add() { count = min(count + rule.cost, rateLimitCountCeiling) }
    mutating func take() { count = max(count - rule.cost, 0) }
    var remaining: Int64 { max(rule.capacity - count, 0) }
    var resetAfter: Int64 { count > 0 ? end - now : 0 }

    func write(to keyspace: inout Keyspace) throws(ReplyError) {
        try keyspace.putRateLimit(key, count > 0 ? [index, count] : nil, until: end)
    }
}
