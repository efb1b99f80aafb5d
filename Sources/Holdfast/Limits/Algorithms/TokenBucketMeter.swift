import HoldfastStore

/// State: `debt:unit:time`, what is missing from a full bucket in fractions of a token, how many of them one token was made of, and when
/// that was so. Terms: a = fractions per token, b = fractions that flow in per ms, c = the window in ms. Cost: O(1).
///
/// The fractions are chosen so that both a and b are whole: 60 a minute makes 1000 of them a token, 1 a ms. Nothing is rounded, so
/// frequent calls lose nothing. Keeping the debt and not the level lets a capacity change at any time; when the rate changes, the
/// debt is taken over in whole tokens, rounded up.
struct TokenBucketMeter: RateLimitMeter {
    static let lua = """
        {
          read = function(key, r)
            local s = {key = key, debt = 0, time = now}
            local debt, unit, time = match(key, '^(%d+):(%d+):(%d+)$')
            if not debt or unit == 0 or time - now > r.c then return s end
            s.debt = math.min(unit == r.a and debt or math.ceil(debt / unit) * r.a, debtCeiling)
            if time >= now then
              s.time = time
            elseif now - time >= math.ceil(s.debt / r.b) then
              s.debt = 0
            else
              s.debt = s.debt - (now - time) * r.b
            end
            return s
          end,
          wait = function(s, r)
            local missing = s.debt + r.cost * r.a - r.capacity * r.a
            if missing <= 0 then return 0 end
            return s.time + math.ceil(missing / r.b) - now
          end,
          add = function(s, r) s.debt = math.min(s.debt + r.cost * r.a, debtCeiling) end,
          take = function(s, r) s.debt = math.max(s.debt - r.cost * r.a, 0) end,
          view = function(s, r)
            local reset = s.debt > 0 and s.time + math.ceil(s.debt / r.b) - now or 0
            return math.floor(math.max(r.capacity * r.a - s.debt, 0) / r.a), reset
          end,
          write = function(s, r)
            put(s.key, s.debt > 0, {s.debt, r.a, s.time}, s.time + math.ceil(s.debt / r.b))
          end,
        }
        """

    private let key: Key
    private let rule: RateLimitTerms
    private let now: Int64
    private var debt: RateLimitDebt
    private var time: Int64

    init(reading keyspace: inout Keyspace, _ key: Key, _ rule: RateLimitTerms, now: Int64) throws(ReplyError) {
        (self.key, self.rule, self.now) = (key, rule, now)
        debt = RateLimitDebt(0, rule)
        time = now
        guard let fields = try keyspace.get(key)?.rateLimitFields(3) else { return }
        let (stored, unit, moment) = (fields[0], fields[1], fields[2])
        guard unit > 0, moment - now <= rule.c else { return }
        debt.amount = min(
            unit == rule.a ? stored : RateLimitDebt.product(stored.dividedUp(by: unit), rule.a), RateLimitDebt.ceiling)
        if moment >= now {
            time = moment
        } else if now - moment >= debt.time {
            debt.amount = 0
        } else {
            debt.amount -= (now - moment) * rule.b
        }
    }

    func wait(in keyspace: inout Keyspace) -> Int64 {
        let missing = debt.missing
        return missing <= 0 ? 0 : time + missing.dividedUp(by: rule.b) - now
    }

    mutating func add() { debt.add() }
    mutating func take() { debt.take() }
    var remaining: Int64 { debt.remaining }
    var resetAfter: Int64 { debt.amount > 0 ? time + debt.time - now : 0 }

    func write(to keyspace: inout Keyspace) throws(ReplyError) {
        try keyspace.putRateLimit(key, debt.amount > 0 ? [debt.amount, rule.a, time] : nil, until: time + debt.time)
    }
}

/// What a bucket lacks, in fractions of a token: shared by the bucket and GCRA, which keep it in different forms.
struct RateLimitDebt {
    /// 2^52: a debt above it is forgotten. With a capacity of at most 2^51 fractions all sums stay below 2^53.
    static let ceiling: Int64 = 4_503_599_627_370_496

    var amount: Int64
    private let rule: RateLimitTerms

    init(_ amount: Int64, _ rule: RateLimitTerms) {
        self.amount = amount
        self.rule = rule
    }

    /// A product as Lua's doubles with `math.min` have it: exact up to the ceiling, the ceiling above.
    static func product(_ left: Int64, _ right: Int64) -> Int64 {
        let (product, overflow) = left.multipliedReportingOverflow(by: right)
        return overflow ? ceiling : min(product, ceiling)
    }

    /// Until nothing is lacking, in ms.
    var time: Int64 { amount.dividedUp(by: rule.b) }
    /// What keeps the cost from having room; not above zero where nothing does. The cost is within the capacity.
    var missing: Int64 { amount + rule.cost * rule.a - rule.capacity * rule.a }
    var remaining: Int64 { max(rule.capacity * rule.a - amount, 0) / rule.a }

    mutating func add() { amount = min(amount + Self.product(rule.cost, rule.a), Self.ceiling) }
    mutating func take() { amount = max(amount - Self.product(rule.cost, rule.a), 0) }
}
