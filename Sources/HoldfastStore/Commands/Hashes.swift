/// Fields with values under one key. What they mean stands in `Keyspace/Keyspace+Hashes.swift`.
public enum HashOperation: Hashable, Sendable {
    case hset(Key, [HashField])
    case hmset(Key, [HashField])
    case hsetnx(Key, Bytes, Bytes)
    case hget(Key, Bytes)
    case hmget(Key, [Bytes])
    case hgetall(Key)
    case hdel(Key, [Bytes])
    case hexists(Key, Bytes)
    case hlen(Key)
    case hkeys(Key)
    case hvals(Key)
    case hincrby(Key, Bytes, Int64)
    case hincrbyfloat(Key, Bytes, Double)
    case hstrlen(Key, Bytes)
    /// Without a count: one field. With one: that many different fields, or, negative, that many draws.
    case hrandfield(Key, count: Int64?, withValues: Bool)
    case hscan(Key, UInt64, ScanOptions)
}

/// A field of a hash and its value.
public struct HashField: Hashable, Sendable {
    public let name: Bytes
    public let value: Bytes
    public init(_ name: Bytes, _ value: Bytes) {
        self.name = name
        self.value = value
    }
}

// MARK: - On the wire

extension HashOperation: OperationFamily {
    var name: StaticString {
        switch self {
        case .hset: "HSET"
        case .hmset: "HMSET"
        case .hsetnx: "HSETNX"
        case .hget: "HGET"
        case .hmget: "HMGET"
        case .hgetall: "HGETALL"
        case .hdel: "HDEL"
        case .hexists: "HEXISTS"
        case .hlen: "HLEN"
        case .hkeys: "HKEYS"
        case .hvals: "HVALS"
        case .hincrby: "HINCRBY"
        case .hincrbyfloat: "HINCRBYFLOAT"
        case .hstrlen: "HSTRLEN"
        case .hrandfield: "HRANDFIELD"
        case .hscan: "HSCAN"
        }
    }

    func writeArguments(to writer: inout CommandWriter) {
        switch self {
        case .hset(let key, let fields), .hmset(let key, let fields):
            writer.append(key)
            for field in fields {
                writer.append(field.name)
                writer.append(field.value)
            }
        case .hsetnx(let key, let field, let value):
            writer.append(key)
            writer.append(field)
            writer.append(value)
        case .hget(let key, let field), .hexists(let key, let field), .hstrlen(let key, let field):
            writer.append(key)
            writer.append(field)
        case .hmget(let key, let fields), .hdel(let key, let fields):
            writer.append(key)
            writer.append(fields)
        case .hgetall(let key), .hlen(let key), .hkeys(let key), .hvals(let key):
            writer.append(key)
        case .hincrby(let key, let field, let amount):
            writer.append(key)
            writer.append(field)
            writer.append(amount)
        case .hincrbyfloat(let key, let field, let amount):
            writer.append(key)
            writer.append(field)
            writer.append(amount)
        case .hrandfield(let key, let count, let withValues):
            writer.append(key)
            if let count { writer.append(count) }
            if withValues { writer.word("WITHVALUES") }
        case .hscan(let key, let cursor, let options):
            writer.append(key)
            writer.append(Bytes(cursor.description))
            options.write(to: &writer)
        }
    }

    static let table: [CommandSpec] = [
        CommandSpec("HSET", arity: -4, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .hashes(.hset(try r.key(), try r.restPairs { HashField($0, $1) }))
        },
        CommandSpec("HMSET", arity: -4, [.write, .denyOOM, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hmset(try r.key(), try r.restPairs { HashField($0, $1) }))
        },
        CommandSpec("HSETNX", arity: 4, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .hashes(.hsetnx(try r.key(), try r.bytes(), try r.bytes()))
        },
        CommandSpec("HGET", arity: 3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hget(try r.key(), try r.bytes()))
        },
        CommandSpec("HMGET", arity: -3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hmget(try r.key(), try r.rest()))
        },
        CommandSpec("HGETALL", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hgetall(try r.key()))
        },
        CommandSpec("HDEL", arity: -3, [.write], keys: .first) { r throws(ReplyError) in
            .hashes(.hdel(try r.key(), try r.rest()))
        },
        CommandSpec("HEXISTS", arity: 3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hexists(try r.key(), try r.bytes()))
        },
        CommandSpec("HLEN", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hlen(try r.key()))
        },
        CommandSpec("HKEYS", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hkeys(try r.key()))
        },
        CommandSpec("HVALS", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hvals(try r.key()))
        },
        CommandSpec("HINCRBY", arity: 4, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .hashes(.hincrby(try r.key(), try r.bytes(), try r.integer()))
        },
        CommandSpec("HINCRBYFLOAT", arity: 4, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .hashes(.hincrbyfloat(try r.key(), try r.bytes(), try r.double()))
        },
        CommandSpec("HSTRLEN", arity: 3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hstrlen(try r.key(), try r.bytes()))
        },
        CommandSpec("HRANDFIELD", arity: -2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            let key = try r.key()
            guard !r.isAtEnd else { return .hashes(.hrandfield(key, count: nil, withValues: false)) }
            return .hashes(.hrandfield(key, count: try r.drawCount(), withValues: r.skip("WITHVALUES")))
        },
        CommandSpec("HSCAN", arity: -3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .hashes(.hscan(try r.key(), try KeyOperation.parseCursor(&r), try ScanOptions.parse(&r, allowsType: false)))
        },
    ]
}

extension ArgumentReader {
    /// How many to draw at random: Redis refuses what cannot be negated or doubled.
    mutating func drawCount() throws(ReplyError) -> Int64 {
        let count = try integer()
        guard count >= -Int64.max else {
            throw ReplyError("ERR value is out of range, value must between -\(Int64.max) and \(Int64.max)")
        }
        return count
    }
}

// MARK: - As users call them

extension Command where Output == Bytes? {
    /// A field's value, or nil where there is no such field or key.
    public static func hget(_ key: Key, _ field: Bytes) -> Self { Command(optional: .hashes(.hget(key, field))) }
    /// A field at random, or nil where there is no such key.
    public static func hrandfield(_ key: Key) -> Self {
        Command(optional: .hashes(.hrandfield(key, count: nil, withValues: false)))
    }
}

extension Command where Output == [Bytes?] {
    /// The values of several fields, nil for those that do not exist.
    public static func hmget(_ key: Key, _ fields: [Bytes]) -> Self { Command(optionals: .hashes(.hmget(key, fields))) }
}

extension Command where Output == [Bytes: Bytes] {
    /// All fields with their values; empty where there is no such key. Linear in the size of the hash.
    public static func hgetall(_ key: Key) -> Self {
        Command(.hashes(.hgetall(key))) { reply in
            reply.pairs.map { Dictionary($0) { _, last in last } }
        }
    }
}

extension Command where Output == Int {
    /// Sets fields and answers how many of them are new.
    public static func hset(_ key: Key, _ fields: [HashField]) -> Self { Command(count: .hashes(.hset(key, fields))) }
    /// Removes fields and answers how many there were; a hash without fields is removed.
    public static func hdel(_ key: Key, _ fields: [Bytes]) -> Self { Command(count: .hashes(.hdel(key, fields))) }
    /// The number of fields; 0 where there is no such key.
    public static func hlen(_ key: Key) -> Self { Command(count: .hashes(.hlen(key))) }
    /// Adds to an integer field, which begins at zero, and answers its new value.
    public static func hincrby(_ key: Key, _ field: Bytes, _ amount: Int) -> Self {
        Command(count: .hashes(.hincrby(key, field, Int64(amount))))
    }
    /// The length of a field's value in bytes; 0 where there is no such field.
    public static func hstrlen(_ key: Key, _ field: Bytes) -> Self { Command(count: .hashes(.hstrlen(key, field))) }
}

extension Command where Output == Bool {
    /// Sets one field; true where it is new.
    public static func hset(_ key: Key, _ field: Bytes, _ value: Bytes) -> Self {
        Command(flag: .hashes(.hset(key, [HashField(field, value)])))
    }
    /// Sets a field where there is none of that name; false where there is one.
    public static func hsetnx(_ key: Key, _ field: Bytes, _ value: Bytes) -> Self {
        Command(flag: .hashes(.hsetnx(key, field, value)))
    }
    /// Whether there is such a field.
    public static func hexists(_ key: Key, _ field: Bytes) -> Self { Command(flag: .hashes(.hexists(key, field))) }
}

extension Command where Output == [Bytes] {
    /// The names of all fields.
    public static func hkeys(_ key: Key) -> Self { Command(list: .hashes(.hkeys(key))) }
    /// The values of all fields.
    public static func hvals(_ key: Key) -> Self { Command(list: .hashes(.hvals(key))) }
    /// Up to `count` different fields at random; with a negative count that many draws, where a field can come twice.
    public static func hrandfield(_ key: Key, count: Int) -> Self {
        Command(list: .hashes(.hrandfield(key, count: Int64(count), withValues: false)))
    }
}

extension Command where Output == Double {
    /// Adds to a floating-point field, which begins at zero, and answers its new value.
    public static func hincrbyfloat(_ key: Key, _ field: Bytes, _ amount: Double) -> Self {
        Command(double: .hashes(.hincrbyfloat(key, field, amount)))
    }
}

extension Command where Output == ScanPage<HashField> {
    /// One page of a hash's fields. Begin with cursor 0; see ``ScanPage``.
    public static func hscan(_ key: Key, _ cursor: UInt64, _ options: ScanOptions = ScanOptions()) -> Self {
        Command(.hashes(.hscan(key, cursor, options))) { reply in
            ScanPage(reply) { list in
                stride(from: 0, to: list.count - 1, by: 2).map { HashField(list[$0], list[$0 + 1]) }
            }
        }
    }
}

extension Reply {
    /// Keys and values of a map, or of RESP2's array of them by turns, or of an array of pairs; nil for other shapes.
    var pairs: [(Bytes, Bytes)]? {
        guard let elements else { return isNull ? [] : nil }
        if case .array(let first)? = elements.first, first.count == 2 {
            var pairs: [(Bytes, Bytes)] = []
            for element in elements {
                guard let pair = element.list, pair.count == 2 else { return nil }
                pairs.append((pair[0], pair[1]))
            }
            return pairs
        }
        guard let list, list.count.isMultiple(of: 2) else { return nil }
        return stride(from: 0, to: list.count, by: 2).map { (list[$0], list[$0 + 1]) }
    }
}
