import HoldfastStore

/// State: `ms:rest:rate`, the theoretical arrival time: a moment in ms and a rest in parts of a ms, of which there are `rate`. Terms: a =
/// parts between two calls at the sustained rate (the emission interval), b = parts per ms, c unused. Cost: O(1).
///
/// I.371's increment T is a / b ms and its limit τ is (capacity − 1) · T: a call conforms when the arrival time is at most τ ahead. With
/// costs: when it is at most (capacity − cost) · T ahead.
struct GCRAMeter: RateLimitMeter {
    static let lua = """
        {
          read = function(key, r)
            local s = {key = key, debt = 0}
            local time, rest, rate = match(key, '^(%d+):(%d+):(%d+)$')
            if not time then return s end
            if rate ~= r.b and rest > 0 then time, rest = time + 1, 0 end
            if time >= now then s.debt = math.min((time - now) * r.b + rest, debtCeiling) end
            return s
          end,
          wait = function(s, r)
            return math.ceil(math.max(s.debt + r.cost * r.a - r.capacity * r.a, 0) / r.b)
          end,
          add = function(s, r) s.debt = math.min(s.debt + r.cost * r.a, debtCeiling) end,
          take = function(s, r) s.debt = math.max(s.debt - r.cost * r.a, 0) end,
          view = function(s, r)
            return math.floor(math.max(r.capacity * r.a - s.debt, 0) / r.a), math.ceil(s.debt / r.b)
          end,
          write = function(s, r)
            local ms = math.floor(s.debt / r.b)
            put(s.key, s.debt > 0, {now + ms, s.debt - ms * r.b, r.b}, now + math.ceil(s.debt / r.b))
          end,
        }
        """

    private let key: Key
    private let rule: RateLimitTerms
    private let now: Int64
    private var debt: RateLimitDebt

    init(reading keyspace: inout Keyspace, _ key: Key, _ rule: RateLimitTerms, now: Int64) throws(ReplyError) {
        (self.key, self.rule, self.now) = (key, rule, now)
        debt = RateLimitDebt(0, rule)
        guard let fields = try keyspace.get(key)?.rateLimitFields(3) else { return }
        var (time, rest) = (fields[0], fields[1])
        if fields[2] != rule.b, rest > 0 { (time, rest) = (time + 1, 0) }
        if time >= now {
            debt.amount = min(RateLimitDebt.product(time - now, rule.b) + rest, RateLimitDebt.ceiling)
        }
    }

    func wait(in keyspace: inout Keyspace) -> Int64 { max(debt.missing, 0).dividedUp(by: rule.b) }
    mutating func add() { debt.add() }
    mutating func take() { debt.take() }
    var remaining: Int64 { debt.remaining }
    var resetAfter: Int64 { debt.time }

    func write(to keyspace: inout Keyspace) throws(ReplyError) {
        let amount = debt.amount
        let state = amount > 0 ? [now + amount / rule.b, amount % rule.b, rule.b] : nil
        try keyspace.putRateLimit(key, state, until: now + debt.time)
    }
}
