public import HoldfastStore

extension Store {
    /// Sets a value where the present one is as expected; false, with nothing changed, where it is not. One round trip.
    ///
    /// - Parameters:
    ///   - expected: the present value; nil for "there is no such key".
    ///   - expiration: when the new value ends; by default the expiry stays as it was.
    /// - Throws: ``/HoldfastStore/ErrorCode/wrongType`` where the key holds no string.
    public func compareAndSet(
        _ key: Key, expected: Bytes?, new: Bytes, expiration: Expiration = .keep
    ) async throws(StoreError) -> Bool {
        try await run(
            Procedure(
                AtomicProcedures.compareAndSet, keys: [key],
                arguments: [expected == nil ? "absent" : "equal", expected ?? Bytes(), new] + expiration.procedureArguments
            ) { $0.integer.map { $0 == 1 } })
    }

    /// Removes an entry where its value is as expected; false, with nothing changed, where it is not. One round trip.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/wrongType`` where the key holds no string.
    public func compareAndDelete(_ key: Key, expected: Bytes) async throws(StoreError) -> Bool {
        try await run(
            Procedure(AtomicProcedures.compareAndDelete, keys: [key], arguments: [expected]) { $0.integer.map { $0 == 1 } })
    }

    /// Sets a value and answers the one before it, nil where there was none. One command, `SET … GET`.
    ///
    /// - Parameter expiration: when the new value ends; nil for never.
    /// - Throws: ``/HoldfastStore/ErrorCode/wrongType`` where the key holds no string.
    public func getAndSet(_ key: Key, _ value: Bytes, expiration: Expiration? = nil) async throws(StoreError) -> Bytes? {
        try await self(
            Command<Bytes?>(.strings(.set(key, value, SetOptions(expiration: expiration, returnsOld: true)))) { reply in
                reply.isNull ? .some(nil) : reply.bytes
            })
    }

    /// Adds to a counter unless it would then be above the ceiling; the new value, or nil with nothing changed. One round trip.
    ///
    /// The counter begins at zero. All numbers lie between -2^53 and 2^53, because Lua on a server counts in doubles.
    ///
    /// - Parameter lifetime: how long a counter that this call creates stays; nil for ever. An existing one keeps its expiry.
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` for numbers outside those limits, ``/HoldfastStore/ErrorCode/wrongType`` where the key holds no
    ///   string, ``/HoldfastStore/ErrorCode/commandFailed`` where it holds no such number.
    public func increment(
        _ key: Key, by amount: Int = 1, ceiling: Int, lifetime: Duration? = nil
    ) async throws(StoreError) -> Int? {
        guard amount.magnitude < AtomicProcedures.exactLimit else { throw .invalid("amount", "must lie between -2^53 and 2^53") }
        guard ceiling.magnitude < AtomicProcedures.exactLimit else {
            throw .invalid("ceiling", "must lie between -2^53 and 2^53")
        }
        if let lifetime, lifetime.milliseconds <= 0 { throw .invalid("lifetime", "must be positive") }
        return try await run(
            Procedure(
                AtomicProcedures.incrementUnderCeiling, keys: [key],
                arguments: [Bytes(Int64(amount)), Bytes(Int64(ceiling)), lifetime.map { Bytes($0.milliseconds) } ?? Bytes()]
            ) { reply in
                reply.isNull ? .some(nil) : reply.integer.map { Int($0) }
            })
    }
}

extension Expiration {
    /// How the procedures of this file are told: a word and a number of milliseconds.
    fileprivate var procedureArguments: [Bytes] {
        switch self {
        case .keep: ["keep", "0"]
        case .never: ["never", "0"]
        case .after(let span): ["after", Bytes(span.milliseconds)]
        case .at(let moment): ["at", Bytes(moment.milliseconds)]
        }
    }
}

/// The atomic steps behind the helpers above.
public enum AtomicProcedures {
    public static let all: [Script] = [compareAndSet, compareAndDelete, incrementUnderCeiling]

    /// 2^53. Below it Lua's doubles are exact for every integer, and a sum that is not below it does not round to below it.
    static let exactLimit = 9_007_199_254_740_992

    /// KEYS: the entry. ARGV: "absent" or "equal"; the expected value; the new value; "keep", "never", "after" or "at"; milliseconds.
    /// Result: 1 where it was set, else 0. Cost: O(size of the value).
    public static let compareAndSet = Script(
        "atomic.compareAndSet", version: 1,
        lua: """
            local mode, span = ARGV[5], tonumber(ARGV[6])
            if (mode == 'after' or mode == 'at') and not (span and span > 0 and span < 9007199254740992) then
              return redis.error_reply('ERR invalid expire time')
            end
            local old = redis.pcall('GET', KEYS[1])
            if type(old) == 'table' then return old end
            if ARGV[2] == 'absent' then
              if old then return 0 end
            elseif old ~= ARGV[3] then
              return 0
            end
            if mode == 'keep' then
              redis.call('SET', KEYS[1], ARGV[4], 'KEEPTTL')
            elseif mode == 'never' then
              redis.call('SET', KEYS[1], ARGV[4])
            else
              local moment = mode == 'after' and now + span or span
              redis.call('SET', KEYS[1], ARGV[4], 'PXAT', string.format('%.0f', moment))
            end
            return 1
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let (mode, span) = (arguments[3], arguments[4].integer ?? 0)
        if mode == "after" || mode == "at", !(1..<Int64(exactLimit)).contains(span) {
            throw ReplyError("ERR invalid expire time")
        }
        let old = try store.get(keys[0])
        guard old == (arguments[0] == "absent" ? nil : arguments[1]) else { return .integer(0) }
        let expiry: Timestamp? =
            switch mode {
            case "keep": store.expiry(of: keys[0]) ?? nil
            case "after": now + .milliseconds(span)
            case "at": Timestamp(milliseconds: span)
            default: nil
            }
        try store.set(keys[0], arguments[2], expiry: expiry)
        return .integer(1)
    }

    /// KEYS: the entry. ARGV: the expected value. Result: 1 where it was removed, else 0. Cost: O(size of the value).
    public static let compareAndDelete = Script(
        "atomic.compareAndDelete", version: 1,
        lua: """
            local old = redis.pcall('GET', KEYS[1])
            if type(old) == 'table' then return old end
            if old ~= ARGV[2] then return 0 end
            return redis.call('DEL', KEYS[1])
            """
    ) { (store, keys, arguments, _) throws(ReplyError) in
        guard try store.get(keys[0]) == arguments[0] else { return .integer(0) }
        return .integer(store.delete(keys[0]) ? 1 : 0)
    }

    /// KEYS: the counter. ARGV: the amount; the ceiling; the lifetime of a new counter in milliseconds, or empty.
    /// Result: the new value, or null where it would be above the ceiling. Cost: O(1).
    public static let incrementUnderCeiling = Script(
        "atomic.incrementUnderCeiling", version: 1,
        lua: """
            local old = redis.pcall('GET', KEYS[1])
            if type(old) == 'table' then return old end
            local value = 0
            if old then
              -- Lua would read "0x10" and "1e3" as numbers too.
              if not (old == '0' or string.match(old, '^%-?[1-9]%d*$')) or math.abs(tonumber(old)) >= 9007199254740992 then
                return redis.error_reply('ERR value is not an integer or out of range')
              end
              value = tonumber(old)
            end
            value = value + tonumber(ARGV[2])
            if value > tonumber(ARGV[3]) then return false end
            if math.abs(value) >= 9007199254740992 then
              return redis.error_reply('ERR increment or decrement would overflow')
            end
            local text = string.format('%.0f', value)
            if old then
              redis.call('SET', KEYS[1], text, 'KEEPTTL')
            elseif ARGV[4] ~= '' then
              redis.call('SET', KEYS[1], text, 'PXAT', string.format('%.0f', now + tonumber(ARGV[4])))
            else
              redis.call('SET', KEYS[1], text)
            end
            return value
            """
    ) { (store, keys, arguments, now) throws(ReplyError) in
        let (amount, ceiling) = (arguments[0].integer ?? 0, arguments[1].integer ?? 0)
        var old: Int64?
        if let text = try store.get(keys[0]) {
            guard let number = text.integer, number.magnitude < UInt64(exactLimit) else { throw .notAnInteger }
            old = number
        }
        let value = (old ?? 0) + amount
        guard value <= ceiling else { return .null }
        guard value.magnitude < UInt64(exactLimit) else { throw ReplyError("ERR increment or decrement would overflow") }
        var expiry: Timestamp?
        if old != nil {
            expiry = store.expiry(of: keys[0]) ?? nil
        } else if let lifetime = arguments[2].integer {
            expiry = now + .milliseconds(lifetime)
        }
        try store.set(keys[0], Bytes(value), expiry: expiry)
        return .integer(value)
    }
}
