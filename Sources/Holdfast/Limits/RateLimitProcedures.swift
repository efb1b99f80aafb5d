public import HoldfastStore

/// The atomic steps of the limiter: one program in four modes. What each algorithm does stands, in Lua and in Swift, in its file under
/// `Algorithms/`; this file is what they have in common.
///
/// KEYS: one for each rule; then, for an operation with a name, its marker. ARGV: for each rule six: algorithm, cost, capacity, and three
/// numbers of the algorithm's own; then, with a marker, how long that is kept, in milliseconds.
/// Result: the time; then for each rule three: its wait for the cost (0: there is room, −1: there never will be), what remains, and the
/// time until it is whole again; remaining and reset are those after the call. All times in ms.
/// Cost: O(1) for each rule, sliding logs O(log n).
///
/// First everything is read and decided, then, where every rule has room, everything is written: a denied call changes nothing.
///
/// The marker of an operation that charged or gave back holds its reply, in decimal with spaces between; the same operation is answered
/// that and charges nothing. One that was denied leaves no marker.
public enum RateLimitProcedures {
    public static let all: [Script] = [check, peek, record, refund]

    /// Charges every rule where all have room, and none else.
    public static let check = script("limits.check", .check)
    /// Only reads: what `check` would answer.
    public static let peek = script("limits.peek", .peek)
    /// Charges every rule, room or not.
    public static let record = script("limits.record", .record)
    /// Gives every rule the cost back, as far as it is charged.
    public static let refund = script("limits.refund", .refund)

    enum Mode: String {
        case check, peek, record, refund
    }

    private static func script(_ name: String, _ mode: Mode) -> Script {
        Script(
            name, version: 1, isIdempotent: mode == .peek, needsMemory: mode == .check || mode == .record,
            lua: "local mode = '\(mode)'\n" + lua
        ) {
            (keyspace, keys, arguments, now) throws(ReplyError) in
            try run(mode, &keyspace, keys, arguments, now)
        }
    }

    /// `match` reads a state into numbers; `put` writes one or removes it. Numbers become text by `%.0f`, because Lua's own way has an
    /// exponent from 10^14 on.
    private static let lua = """
        local ceiling, debtCeiling = \(rateLimitCountCeiling), \(RateLimitDebt.ceiling)
        local algorithms, made = {}, {}
        local failure

        -- Only those that a call needs are made.
        local function meter(name)
          if not made[name] and algorithms[name] then made[name] = algorithms[name]() end
          return made[name]
        end

        local function text(number) return string.format('%.0f', number) end

        local function match(key, pattern)
          local value = redis.pcall('GET', key)
          if type(value) == 'table' then
            failure = value
            return nil
          end
          if not value then return nil end
          local first, second, third = string.match(value, pattern)
          return tonumber(first), tonumber(second), tonumber(third)
        end

        local function put(key, isCharged, state, moment)
          if isCharged then
            for i, number in ipairs(state) do state[i] = text(number) end
            redis.call('SET', key, table.concat(state, ':'), 'PXAT', text(moment))
          else
            redis.call('DEL', key)
          end
        end

        algorithms['fixed-window'] = function() return \(FixedWindowMeter.lua) end
        algorithms['sliding-counter'] = function() return \(SlidingCounterMeter.lua) end
        algorithms['sliding-log'] = function() return \(SlidingLogMeter.lua) end
        algorithms['token-bucket'] = function() return \(TokenBucketMeter.lua) end
        algorithms['gcra'] = function() return \(GCRAMeter.lua) end

        local count = math.floor((#ARGV - 1) / 6)
        local marker, kept = KEYS[count + 1], tonumber(ARGV[count * 6 + 2])
        if marker then
          if not (kept and kept > 0 and kept < 9007199254740992) then return redis.error_reply('ERR limits: bad arguments') end
          local known = redis.pcall('GET', marker)
          if type(known) == 'table' then return known end
          if known then
            local reply = {}
            for number in string.gmatch(known, '%S+') do reply[#reply + 1] = tonumber(number) end
            return reply
          end
        end

        local rules, hasRoom = {}, true
        for i = 1, count do
          local at = i * 6 - 4
          local r = {
            meter = meter(ARGV[at]), cost = tonumber(ARGV[at + 1]), capacity = tonumber(ARGV[at + 2]),
            a = tonumber(ARGV[at + 3]), b = tonumber(ARGV[at + 4]), c = tonumber(ARGV[at + 5]),
          }
          if not r.meter or not r.cost or not r.capacity or math.min(r.a or 0, r.b or 0, r.c or 0) < 1 then
            return redis.error_reply('ERR limits: bad arguments')
          end
          local s = r.meter.read(KEYS[i], r)
          if failure then return failure end
          r.state = s
          r.wait = r.cost > r.capacity and -1 or r.meter.wait(s, r)
          if r.wait ~= 0 then hasRoom = false end
          rules[i] = r
        end

        local reply = {now}
        for i, r in ipairs(rules) do
          local changes = r.cost > 0 and (mode == 'record' or mode == 'refund' or mode == 'check' and hasRoom)
          if changes then
            if mode == 'refund' then r.meter.take(r.state, r) else r.meter.add(r.state, r) end
            r.meter.write(r.state, r)
          end
          local remaining, reset = r.meter.view(r.state, r)
          reply[#reply + 1] = r.wait
          reply[#reply + 1] = remaining
          reply[#reply + 1] = reset
        end
        if marker and (mode == 'record' or mode == 'refund' or mode == 'check' and hasRoom) then
          local texts = {}
          -- Adding zero makes a negative zero a plain one.
          for i, number in ipairs(reply) do texts[i] = text(number + 0) end
          redis.call('SET', marker, table.concat(texts, ' '), 'PXAT', text(now + kept))
        end
        return reply
        """

    private static func run(
        _ mode: Mode, _ keyspace: inout Keyspace, _ keys: [Key], _ arguments: [Bytes], _ now: Timestamp
    ) throws(ReplyError) -> Reply {
        let count = arguments.count / 6
        let marker = try Marker(keys, arguments, count)
        if let marker, let known = try keyspace.get(marker.key) { return try reply(in: known) }
        let now = now.milliseconds
        var rules: [(meter: any RateLimitMeter, wait: Int64, cost: Int64)] = []
        rules.reserveCapacity(count)
        for index in 0..<min(count, keys.count) {
            let (algorithm, rule) = try terms(arguments, at: 6 * index)
            let meter = try meter(algorithm, &keyspace, keys[index], rule, now)
            rules.append((meter, rule.cost > rule.capacity ? -1 : try meter.wait(in: &keyspace), rule.cost))
        }
        let hasRoom = rules.allSatisfy { $0.wait == 0 }
        let isDone = mode == .record || mode == .refund || mode == .check && hasRoom
        var reply: [Int64] = []
        reply.reserveCapacity(1 + 3 * count)
        reply.append(now)
        for index in rules.indices {
            if rules[index].cost > 0, isDone {
                if mode == .refund { rules[index].meter.take() } else { rules[index].meter.add() }
                try rules[index].meter.write(to: &keyspace)
            }
            reply.append(rules[index].wait)
            reply.append(rules[index].meter.remaining)
            reply.append(rules[index].meter.resetAfter)
        }
        if let marker, isDone {
            let text = Bytes(decimals: reply, separator: UInt8(ascii: " "))
            try keyspace.set(marker.key, text, expiry: Timestamp(milliseconds: now + marker.kept))
        }
        return .array(reply.map(Reply.integer))
    }

    /// Where an operation with a name is known again, and for how long.
    private struct Marker {
        let key: Key
        let kept: Int64

        /// Nil for an operation without a name.
        init?(_ keys: [Key], _ arguments: [Bytes], _ count: Int) throws(ReplyError) {
            guard keys.count > count else { return nil }
            guard arguments.count > count * 6, let kept = arguments[count * 6].integer,
                (1..<9_007_199_254_740_992).contains(kept)
            else { throw ReplyError("ERR limits: bad arguments") }
            key = keys[count]
            self.kept = kept
        }
    }

    private static func reply(in known: Bytes) throws(ReplyError) -> Reply {
        .array(known.split(separator: UInt8(ascii: " ")).compactMap { $0.integer.map(Reply.integer) })
    }

    private static func terms(_ arguments: [Bytes], at: Int) throws(ReplyError) -> (RateLimit.Algorithm, RateLimitTerms) {
        guard at + 5 < arguments.count, let algorithm = arguments[at].string.flatMap(RateLimit.Algorithm.init),
            let cost = arguments[at + 1].integer, let capacity = arguments[at + 2].integer,
            let a = arguments[at + 3].integer, let b = arguments[at + 4].integer, let c = arguments[at + 5].integer,
            min(a, b, c) >= 1
        else { throw ReplyError("ERR limits: bad arguments") }
        return (algorithm, RateLimitTerms(cost: cost, capacity: capacity, a: a, b: b, c: c))
    }

    private static func meter(
        _ algorithm: RateLimit.Algorithm, _ keyspace: inout Keyspace, _ key: Key, _ rule: RateLimitTerms, _ now: Int64
    ) throws(ReplyError) -> any RateLimitMeter {
        switch algorithm {
        case .fixedWindow: try FixedWindowMeter(reading: &keyspace, key, rule, now: now)
        case .slidingCounter: try SlidingCounterMeter(reading: &keyspace, key, rule, now: now)
        case .slidingLog: try SlidingLogMeter(reading: &keyspace, key, rule, now: now)
        case .tokenBucket: try TokenBucketMeter(reading: &keyspace, key, rule, now: now)
        case .gcra: try GCRAMeter(reading: &keyspace, key, rule, now: now)
        }
    }
}
