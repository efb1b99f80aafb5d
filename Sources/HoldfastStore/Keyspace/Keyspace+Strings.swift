// The meaning of the string commands. Typed functions first, for procedures; the replies to commands last.

extension Keyspace {
    /// The value, or nil where there is no such key.
    public mutating func get(_ key: Key) throws(ReplyError) -> Bytes? {
        guard let slot = slot(reading: key) else { return nil }
        return try string(in: slot)
    }

    /// The same for a command that looks before it writes.
    private mutating func string(changing key: Key) throws(ReplyError) -> Bytes? {
        guard let slot = slot(of: key) else { return nil }
        return try string(in: slot)
    }

    private mutating func string(in slot: Int) throws(ReplyError) -> Bytes {
        let found: Bytes? = entries.look(at: slot) { entry in
            guard case .string(let value) = entry.value else { return nil }
            return value
        }
        guard let found else { throw .wrongType }
        return found
    }

    /// Sets a value, whatever type was there; without `expiry` it stays for ever. An expiry that has passed removes the key.
    public mutating func set(_ key: Key, _ value: Bytes, expiry: Timestamp? = nil) throws(ReplyError) {
        try admit(value.count)
        if let expiry, expiry <= now {
            delete(key)
            return
        }
        put(.string(value.compacted()), at: key, expiry: expiry)
        emit(.strings(.set(key, value, SetOptions(expiration: expiry.map(Expiration.at)))))
    }

    /// Adds to a counter, which begins at zero and keeps its expiry; answers its new value.
    public mutating func increment(_ key: Key, by amount: Int64) throws(ReplyError) -> Int64 {
        var old: Int64 = 0
        if let text = try string(changing: key) {
            guard let number = text.integer else { throw .notAnInteger }
            old = number
        }
        let (new, overflow) = old.addingReportingOverflow(amount)
        guard !overflow else { throw ReplyError("ERR increment or decrement would overflow") }
        try replace(key, with: Bytes(new))
        return new
    }

    /// Puts a value in place of another, keeping the expiry.
    private mutating func replace(_ key: Key, with value: Bytes) throws(ReplyError) {
        try admit(value.count)
        let expiry = slot(of: key).flatMap { entries[$0].expiry }
        put(.string(value), at: key, expiry: expiry)
        emit(.strings(.set(key, value, SetOptions(expiration: expiry.map(Expiration.at)))))
    }

    private func admit(_ length: Int) throws(ReplyError) {
        guard length <= Self.maximumStringLength else {
            throw ReplyError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        }
    }

    /// Where an expiration ends: nil for never.
    private mutating func moment(_ expiration: Expiration?, keeping key: Key, command: String) throws(ReplyError) -> Timestamp? {
        switch expiration {
        case nil, .never: return nil
        case .keep: return slot(of: key).flatMap { entries[$0].expiry }
        case .at(let moment): return moment
        case .after(let span):
            let (moment, overflow) = now.milliseconds.addingReportingOverflow(span.milliseconds)
            guard span.milliseconds > 0, !overflow else {
                throw ReplyError("ERR invalid expire time in '\(command)' command")
            }
            return Timestamp(milliseconds: moment)
        }
    }

    // MARK: - Commands

    mutating func strings(_ operation: StringOperation) throws(ReplyError) -> Reply {
        switch operation {
        case .get(let key): return Reply(try get(key))
        case .set(let key, let value, let options): return try set(key, value, options)
        case .setnx(let key, let value):
            guard slot(of: key) == nil else { return .integer(0) }
            try set(key, value)
            return .integer(1)
        case .getdel(let key):
            let old = try get(key)
            if old != nil { delete(key) }
            return Reply(old)
        case .getex(let key, let expiration): return try getex(key, expiration)
        case .getset(let key, let value):
            let old = try get(key)
            try set(key, value)
            return Reply(old)
        case .mget(let keys): return .array(keys.map { key in Reply((try? get(key)) ?? nil) })
        case .mset(let pairs):
            for pair in pairs { try set(pair.key, pair.value) }
            return .ok
        case .msetnx(let pairs):
            guard !pairs.contains(where: { slot(of: $0.key) != nil }) else { return .integer(0) }
            for pair in pairs { try set(pair.key, pair.value) }
            return .integer(1)
        case .incrby(let key, let amount):
            return .integer(try increment(key, by: amount))
        case .decrby(let key, let amount):
            guard amount != .min else { throw ReplyError("ERR decrement would overflow") }
            return .integer(try increment(key, by: -amount))
        case .incrbyfloat(let key, let amount): return try incrementFloat(key, by: amount)
        case .append(let key, let suffix):
            let old = try string(changing: key) ?? Bytes()
            try replace(key, with: Bytes(Array(old) + Array(suffix)))
            return .integer(Int64(old.count + suffix.count))
        case .strlen(let key): return .integer(Int64(try get(key)?.count ?? 0))
        case .getrange(let key, let start, let end):
            let value = try get(key) ?? Bytes()
            // Unlike a list's, an end before the first byte means the first byte, unless both ends are the wrong way round.
            if start < 0, end < 0, start > end { return .bytes(Bytes()) }
            let range = RankRange(start, max(end, -Int64(value.count)), count: value.count).range
            return .bytes(value[(value.startIndex + range.lowerBound)..<(value.startIndex + range.upperBound)].compacted())
        case .setrange(let key, let offset, let value): return try setRange(key, offset, value)
        }
    }

    private mutating func set(_ key: Key, _ value: Bytes, _ options: SetOptions) throws(ReplyError) -> Reply {
        let expiry = try moment(options.expiration, keeping: key, command: "set")
        let old: Bytes? = options.returnsOld ? try get(key) : nil
        let exists = slot(of: key) != nil
        let holds =
            switch options.condition {
            case nil: true
            case .ifAbsent: !exists
            case .ifPresent: exists
            }
        if holds { try set(key, value, expiry: expiry) }
        if options.returnsOld { return Reply(old) }
        return holds ? .ok : .null
    }

    private mutating func getex(_ key: Key, _ expiration: Expiration?) throws(ReplyError) -> Reply {
        guard let value = try get(key) else { return .null }
        switch expiration {
        case nil, .keep: break
        case .never: persist(key)
        case .at, .after: _ = expire(key, at: try moment(expiration, keeping: key, command: "getex") ?? now)
        }
        return .bytes(value)
    }

    private mutating func incrementFloat(_ key: Key, by amount: Double) throws(ReplyError) -> Reply {
        guard let new = Decimal.sum(try string(changing: key), amount) else { throw .notAFloat }
        guard new.isFinite else { throw ReplyError("ERR increment would produce NaN or Infinity") }
        let text = Bytes(Decimal.formatIncrement(new))
        try replace(key, with: text)
        return .bytes(text)
    }

    private mutating func setRange(_ key: Key, _ offset: Int64, _ value: Bytes) throws(ReplyError) -> Reply {
        guard offset >= 0 else { throw ReplyError("ERR offset is out of range") }
        let old = try string(changing: key)
        guard !value.isEmpty else { return .integer(Int64(old?.count ?? 0)) }
        guard offset <= Self.maximumStringLength else {
            throw ReplyError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        }
        try admit(Int(offset) + value.count)
        var bytes = Array(old ?? Bytes())
        let end = Int(offset) + value.count
        if bytes.count < end { bytes.append(contentsOf: repeatElement(0, count: end - bytes.count)) }
        bytes.replaceSubrange(Int(offset)..<end, with: value)
        try replace(key, with: Bytes(bytes))
        return .integer(Int64(bytes.count))
    }
}

extension Reply {
    init(_ value: Bytes?) { self = value.map(Reply.bytes) ?? .null }
    init(_ values: some Sequence<Bytes>) { self = .array(values.map(Reply.bytes)) }
    init(_ flag: Bool) { self = .integer(flag ? 1 : 0) }
    init(_ count: Int) { self = .integer(Int64(count)) }
}

/// Redis's way to name a part of a sequence: both ends included, negative from the end, what lies outside cut off.
struct RankRange {
    let range: Range<Int>

    init(_ start: Int64, _ end: Int64, count: Int) {
        func position(_ index: Int64) -> Int {
            if index >= 0 { return Int(min(index, Int64(count))) }
            return index < Int64(-count) ? -1 : Int(index) + count
        }
        let low = max(0, position(start))
        let high = min(count - 1, position(end))
        range = low > high || low >= count ? 0..<0 : low..<(high + 1)
    }
}
