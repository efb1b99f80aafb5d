/// Collections of different members. What they mean stands in `Keyspace/Keyspace+Sets.swift`.
public enum SetOperation: Hashable, Sendable {
    case sadd(Key, [Bytes])
    case srem(Key, [Bytes])
    case smembers(Key)
    case sismember(Key, Bytes)
    case smismember(Key, [Bytes])
    case scard(Key)
    /// Without a count: one member. With one: a set of them.
    case spop(Key, count: Int64?)
    /// Without a count: one member. With one: that many different ones, or, negative, that many draws.
    case srandmember(Key, count: Int64?)
    case smove(Key, Key, Bytes)
    case sunion([Key])
    case sinter([Key])
    case sdiff([Key])
    case sunionstore(Key, [Key])
    case sinterstore(Key, [Key])
    case sdiffstore(Key, [Key])
    /// A limit of 0 is none.
    case sintercard([Key], limit: Int64)
    case sscan(Key, UInt64, ScanOptions)
}

// MARK: - On the wire

extension SetOperation: OperationFamily {
    var name: StaticString {
        switch self {
        case .sadd: "SADD"
        case .srem: "SREM"
        case .smembers: "SMEMBERS"
        case .sismember: "SISMEMBER"
        case .smismember: "SMISMEMBER"
        case .scard: "SCARD"
        case .spop: "SPOP"
        case .srandmember: "SRANDMEMBER"
        case .smove: "SMOVE"
        case .sunion: "SUNION"
        case .sinter: "SINTER"
        case .sdiff: "SDIFF"
        case .sunionstore: "SUNIONSTORE"
        case .sinterstore: "SINTERSTORE"
        case .sdiffstore: "SDIFFSTORE"
        case .sintercard: "SINTERCARD"
        case .sscan: "SSCAN"
        }
    }

    func writeArguments(to writer: inout CommandWriter) {
        switch self {
        case .sadd(let key, let members), .srem(let key, let members), .smismember(let key, let members):
            writer.append(key)
            writer.append(members)
        case .smembers(let key), .scard(let key):
            writer.append(key)
        case .sismember(let key, let member):
            writer.append(key)
            writer.append(member)
        case .spop(let key, let count), .srandmember(let key, let count):
            writer.append(key)
            if let count { writer.append(count) }
        case .smove(let source, let destination, let member):
            writer.append(source)
            writer.append(destination)
            writer.append(member)
        case .sunion(let keys), .sinter(let keys), .sdiff(let keys):
            writer.append(keys)
        case .sunionstore(let destination, let keys), .sinterstore(let destination, let keys),
            .sdiffstore(let destination, let keys):
            writer.append(destination)
            writer.append(keys)
        case .sintercard(let keys, let limit):
            writer.append(keys.count)
            writer.append(keys)
            writer.appendLimit(limit)
        case .sscan(let key, let cursor, let options):
            writer.append(key)
            writer.append(Bytes(cursor.description))
            options.write(to: &writer)
        }
    }

    static let table: [CommandSpec] = [
        CommandSpec("SADD", arity: -3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .sets(.sadd(try r.key(), try r.rest()))
        },
        CommandSpec("SREM", arity: -3, [.write], keys: .first) { r throws(ReplyError) in
            .sets(.srem(try r.key(), try r.rest()))
        },
        CommandSpec("SMEMBERS", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sets(.smembers(try r.key()))
        },
        CommandSpec("SISMEMBER", arity: 3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sets(.sismember(try r.key(), try r.bytes()))
        },
        CommandSpec("SMISMEMBER", arity: -3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sets(.smismember(try r.key(), try r.rest()))
        },
        CommandSpec("SCARD", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sets(.scard(try r.key()))
        },
        CommandSpec("SPOP", arity: -2, [.write], keys: .first) { r throws(ReplyError) in
            let key = try r.key()
            guard !r.isAtEnd else { return .sets(.spop(key, count: nil)) }
            guard r.remaining == 1 else { throw .syntax }
            return .sets(.spop(key, count: try r.popCount()))
        },
        CommandSpec("SRANDMEMBER", arity: -2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            let key = try r.key()
            guard !r.isAtEnd else { return .sets(.srandmember(key, count: nil)) }
            guard r.remaining == 1 else { throw .syntax }
            return .sets(.srandmember(key, count: try r.drawCount()))
        },
        CommandSpec("SMOVE", arity: 4, [.write], keys: .firstTwo) { r throws(ReplyError) in
            .sets(.smove(try r.key(), try r.key(), try r.bytes()))
        },
        CommandSpec("SUNION", arity: -2, [.readOnly, .idempotent], keys: .all) { r throws(ReplyError) in
            .sets(.sunion(try r.restKeys()))
        },
        CommandSpec("SINTER", arity: -2, [.readOnly, .idempotent], keys: .all) { r throws(ReplyError) in
            .sets(.sinter(try r.restKeys()))
        },
        CommandSpec("SDIFF", arity: -2, [.readOnly, .idempotent], keys: .all) { r throws(ReplyError) in
            .sets(.sdiff(try r.restKeys()))
        },
        CommandSpec("SUNIONSTORE", arity: -3, [.write, .denyOOM], keys: .all) { r throws(ReplyError) in
            .sets(.sunionstore(try r.key(), try r.restKeys()))
        },
        CommandSpec("SINTERSTORE", arity: -3, [.write, .denyOOM], keys: .all) { r throws(ReplyError) in
            .sets(.sinterstore(try r.key(), try r.restKeys()))
        },
        CommandSpec("SDIFFSTORE", arity: -3, [.write, .denyOOM], keys: .all) { r throws(ReplyError) in
            .sets(.sdiffstore(try r.key(), try r.restKeys()))
        },
        CommandSpec("SINTERCARD", arity: -3, [.readOnly, .idempotent], keys: .counted(at: 1)) { r throws(ReplyError) in
            .sets(.sintercard(try r.countedKeys(), limit: try r.optionalLimit()))
        },
        CommandSpec("SSCAN", arity: -3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sets(.sscan(try r.key(), try KeyOperation.parseCursor(&r), try ScanOptions.parse(&r, allowsType: false)))
        },
    ]
}

extension CommandWriter {
    /// `LIMIT n`, unless it is 0.
    mutating func appendLimit(_ limit: Int64) {
        guard limit != 0 else { return }
        word("LIMIT")
        append(limit)
    }
}

extension ArgumentReader {
    /// `LIMIT n` where it stands next, else 0.
    mutating func optionalLimit() throws(ReplyError) -> Int64 {
        guard skip("LIMIT") else { return 0 }
        guard !isAtEnd else { throw .syntax }
        let limit = try integer(orElse: .negativeLimit)
        guard limit >= 0 else { throw .negativeLimit }
        return limit
    }
}

extension ReplyError {
    static let negativeLimit = ReplyError("ERR LIMIT can't be negative")
}

// MARK: - As users call them

extension Command where Output == Int {
    /// Adds members and answers how many of them are new.
    public static func sadd(_ key: Key, _ members: [Bytes]) -> Self { Command(count: .sets(.sadd(key, members))) }
    public static func sadd(_ key: Key, _ member: Bytes) -> Self { sadd(key, [member]) }
    /// Removes members and answers how many there were; a set without members is removed.
    public static func srem(_ key: Key, _ members: [Bytes]) -> Self { Command(count: .sets(.srem(key, members))) }
    public static func srem(_ key: Key, _ member: Bytes) -> Self { srem(key, [member]) }
    /// The number of members; 0 where there is no such key.
    public static func scard(_ key: Key) -> Self { Command(count: .sets(.scard(key))) }
    /// Stores the members of all the sets, and answers their number.
    public static func sunionstore(_ destination: Key, _ keys: [Key]) -> Self {
        Command(count: .sets(.sunionstore(destination, keys)))
    }
    /// Stores the members that all the sets have, and answers their number.
    public static func sinterstore(_ destination: Key, _ keys: [Key]) -> Self {
        Command(count: .sets(.sinterstore(destination, keys)))
    }
    /// Stores the members of the first set that no other has, and answers their number.
    public static func sdiffstore(_ destination: Key, _ keys: [Key]) -> Self {
        Command(count: .sets(.sdiffstore(destination, keys)))
    }
    /// How many members all the sets have, counted up to `limit` (0 for no limit).
    public static func sintercard(_ keys: [Key], limit: Int = 0) -> Self {
        Command(count: .sets(.sintercard(keys, limit: Int64(limit))))
    }
}

extension Command where Output == Bool {
    /// Whether the set has this member.
    public static func sismember(_ key: Key, _ member: Bytes) -> Self { Command(flag: .sets(.sismember(key, member))) }
    /// Moves a member from one set to another; false where the source does not have it.
    public static func smove(_ source: Key, _ destination: Key, _ member: Bytes) -> Self {
        Command(flag: .sets(.smove(source, destination, member)))
    }
}

extension Command where Output == [Bool] {
    /// Which of these are members.
    public static func smismember(_ key: Key, _ members: [Bytes]) -> Self {
        Command(.sets(.smismember(key, members))) { reply in
            reply.elements?.map { $0.integer == 1 }
        }
    }
}

extension Command where Output == Set<Bytes> {
    init(members operation: Operation) {
        self.init(operation) { reply in
            reply.isNull ? [] : reply.list.map { Set($0) }
        }
    }

    /// All members. Linear in the size of the set.
    public static func smembers(_ key: Key) -> Self { Command(members: .sets(.smembers(key))) }
    /// The members of all the sets.
    public static func sunion(_ keys: [Key]) -> Self { Command(members: .sets(.sunion(keys))) }
    /// The members that all the sets have.
    public static func sinter(_ keys: [Key]) -> Self { Command(members: .sets(.sinter(keys))) }
    /// The members of the first set that no other has.
    public static func sdiff(_ keys: [Key]) -> Self { Command(members: .sets(.sdiff(keys))) }
    /// Takes up to `count` members at random.
    public static func spop(_ key: Key, count: Int) -> Self { Command(members: .sets(.spop(key, count: Int64(count)))) }
}

extension Command where Output == Bytes? {
    /// Takes a member at random; nil where there is no such key.
    public static func spop(_ key: Key) -> Self { Command(optional: .sets(.spop(key, count: nil))) }
    /// A member at random; nil where there is no such key.
    public static func srandmember(_ key: Key) -> Self { Command(optional: .sets(.srandmember(key, count: nil))) }
}

extension Command where Output == [Bytes] {
    /// Up to `count` different members at random; with a negative count that many draws, where a member can come twice.
    public static func srandmember(_ key: Key, count: Int) -> Self {
        Command(list: .sets(.srandmember(key, count: Int64(count))))
    }
}

extension Command where Output == ScanPage<Bytes> {
    /// One page of a set's members. Begin with cursor 0; see ``ScanPage``.
    public static func sscan(_ key: Key, _ cursor: UInt64, _ options: ScanOptions = ScanOptions()) -> Self {
        Command(.sets(.sscan(key, cursor, options))) { reply in ScanPage(reply) { $0 } }
    }
}
