// The meaning of the hash commands. Typed functions first, for procedures; the replies to commands last.

/// The fields of a hash.
struct HashValue: CollectionValue {
    static var type: EntryType { .hash }

    private(set) var fields = SlotTable<Bytes, Bytes>()
    private(set) var cost = MemoryCost.collection

    init() {}
    init?(_ value: consuming Value) {
        guard case .hash(let hash) = consume value else { return nil }
        self = hash
    }

    var wrapped: Value { .hash(self) }
    var isEmpty: Bool { fields.isEmpty }

    /// Sets a field; true where it is new.
    @discardableResult
    mutating func set(_ value: Bytes, for name: Bytes) -> Bool {
        if let slot = fields.slot(of: name) {
            cost += value.count - fields[slot].count
            fields[slot] = value.compacted()
            return false
        }
        fields.insert(value.compacted(), for: name.compacted())
        cost += MemoryCost.slot + MemoryCost.bytes(name.count) + MemoryCost.bytes(value.count)
        return true
    }

    mutating func remove(_ name: Bytes) -> Bool {
        guard let value = fields.remove(name) else { return false }
        cost -= MemoryCost.slot + MemoryCost.bytes(name.count) + MemoryCost.bytes(value.count)
        return true
    }
}

extension Keyspace {
    /// A field's value, or nil where there is no such field or key.
    public mutating func hget(_ key: Key, _ field: Bytes) throws(ReplyError) -> Bytes? {
        try collection(HashValue.self, at: key)?.fields.value(for: field)
    }

    /// The values of several fields, nil for those that do not exist.
    public mutating func hmget(_ key: Key, _ fields: [Bytes]) throws(ReplyError) -> [Bytes?] {
        let hash = try collection(HashValue.self, at: key)
        return fields.map { hash?.fields.value(for: $0) }
    }

    /// All fields, in no order.
    public mutating func hgetall(_ key: Key) throws(ReplyError) -> [HashField] {
        try collection(HashValue.self, at: key)?.fields.map { HashField($0.key, $0.value) } ?? []
    }

    public mutating func hexists(_ key: Key, _ field: Bytes) throws(ReplyError) -> Bool {
        try collection(HashValue.self, at: key)?.fields.slot(of: field) != nil
    }

    public mutating func hlen(_ key: Key) throws(ReplyError) -> Int {
        try collection(HashValue.self, at: key)?.fields.count ?? 0
    }

    /// Sets a field; true where it is new.
    @discardableResult
    public mutating func hset(_ key: Key, _ field: Bytes, _ value: Bytes) throws(ReplyError) -> Bool {
        try hset(key, [HashField(field, value)]) == 1
    }

    /// Sets fields and answers how many of them are new.
    @discardableResult
    public mutating func hset(_ key: Key, _ fields: [HashField]) throws(ReplyError) -> Int {
        guard !fields.isEmpty else { return 0 }
        let added = try change(HashValue.self, at: key) { hash in
            fields.reduce(into: 0) { added, field in if hash.set(field.value, for: field.name) { added += 1 } }
        }
        emit(fields) { .hashes(.hset(key, $0)) }
        return added
    }

    /// Sets a field where there is none of that name; false where there is one.
    @discardableResult
    public mutating func hsetnx(_ key: Key, _ field: Bytes, _ value: Bytes) throws(ReplyError) -> Bool {
        guard try collection(HashValue.self, changing: key)?.fields.slot(of: field) == nil else { return false }
        return try hset(key, field, value)
    }

    /// Removes fields and answers how many there were; a hash without fields is removed.
    @discardableResult
    public mutating func hdel(_ key: Key, _ fields: [Bytes]) throws(ReplyError) -> Int {
        let removed = try changeExisting(HashValue.self, at: key, changed: { !$0.isEmpty }) { hash in
            fields.filter { hash.remove($0) }
        }
        guard let removed, !removed.isEmpty else { return 0 }
        emit(removed) { .hashes(.hdel(key, $0)) }
        return removed.count
    }

    /// Adds to an integer field, which begins at zero, and answers its new value.
    @discardableResult
    public mutating func hincrby(_ key: Key, _ field: Bytes, _ amount: Int64) throws(ReplyError) -> Int64 {
        var old: Int64 = 0
        if let text = try collection(HashValue.self, changing: key)?.fields.value(for: field) {
            guard let number = text.integer else { throw ReplyError("ERR hash value is not an integer") }
            old = number
        }
        let (new, overflow) = old.addingReportingOverflow(amount)
        guard !overflow else { throw ReplyError("ERR increment or decrement would overflow") }
        try hset(key, field, Bytes(new))
        return new
    }

    /// Adds to a floating-point field, which begins at zero, and answers its new value as Redis writes it.
    @discardableResult
    public mutating func hincrbyfloat(_ key: Key, _ field: Bytes, _ amount: Double) throws(ReplyError) -> Bytes {
        guard amount.isFinite else { throw ReplyError("ERR value is NaN or Infinity") }
        let old = try collection(HashValue.self, changing: key)?.fields.value(for: field)
        guard let sum = Decimal.sum(old, amount) else { throw ReplyError("ERR hash value is not a float") }
        guard sum.isFinite else { throw ReplyError("ERR increment would produce NaN or Infinity") }
        let text = Bytes(Decimal.formatIncrement(sum))
        try hset(key, field, text)
        return text
    }

    // MARK: - Commands

    mutating func hashes(_ operation: HashOperation) throws(ReplyError) -> Reply {
        switch operation {
        case .hset(let key, let fields): return Reply(try hset(key, fields))
        case .hmset(let key, let fields):
            try hset(key, fields)
            return .ok
        case .hsetnx(let key, let field, let value): return Reply(try hsetnx(key, field, value))
        case .hget(let key, let field): return Reply(try hget(key, field))
        case .hmget(let key, let fields): return .array(try hmget(key, fields).map { Reply($0) })
        case .hgetall(let key): return .map(try hgetall(key).flatMap { [.bytes($0.name), .bytes($0.value)] })
        case .hdel(let key, let fields): return Reply(try hdel(key, fields))
        case .hexists(let key, let field): return Reply(try hexists(key, field))
        case .hlen(let key): return Reply(try hlen(key))
        case .hkeys(let key): return Reply(try hgetall(key).map(\.name))
        case .hvals(let key): return Reply(try hgetall(key).map(\.value))
        case .hincrby(let key, let field, let amount): return .integer(try hincrby(key, field, amount))
        case .hincrbyfloat(let key, let field, let amount): return .bytes(try hincrbyfloat(key, field, amount))
        case .hstrlen(let key, let field): return Reply(try hget(key, field)?.count ?? 0)
        case .hrandfield(let key, let count, let withValues): return try randomFields(key, count, withValues: withValues)
        case .hscan(let key, let cursor, let options):
            return try scan(HashValue.self, at: key, cursor, options, in: \.fields) { [.bytes($0), .bytes($1)] }
        }
    }

    private mutating func randomFields(_ key: Key, _ count: Int64?, withValues: Bool) throws(ReplyError) -> Reply {
        let hash = try collection(HashValue.self, at: key)
        guard let count else { return Reply(hash?.fields.draw(1, using: &random).first?.key) }
        let drawn = try draw(count, from: hash?.fields) { $0.key.count + (withValues ? $0.value.count : 0) }
        return .array(drawn.map { withValues ? .array([.bytes($0.key), .bytes($0.value)]) : .bytes($0.key) })
    }
}
