/// What works on entries of every type. What they mean stands in `Keyspace/Keyspace+Keys.swift`.
public enum KeyOperation: Hashable, Sendable {
    case del([Key])
    case unlink([Key])
    case exists([Key])
    case touch([Key])
    case type(Key)
    case pexpire(Key, Int64, ExpireCondition?)
    case pexpireat(Key, Timestamp, ExpireCondition?)
    case pttl(Key)
    case ttl(Key)
    case pexpiretime(Key)
    case expiretime(Key)
    case persist(Key)
    case rename(Key, Key)
    case renamenx(Key, Key)
    case copy(Key, Key, replace: Bool)
    case randomkey
    case scan(UInt64, ScanOptions)
}

/// EXPIRE's condition.
public enum ExpireCondition: Hashable, Sendable, CaseIterable {
    /// NX: only where there is no expiry.
    case ifNone
    /// XX: only where there is one.
    case ifAny
    /// GT: only to a later moment (no expiry counts as the latest).
    case ifLater
    /// LT: only to an earlier moment (no expiry counts as the latest).
    case ifEarlier
    /// XX LT: only to an earlier moment, and only where there is an expiry.
    case ifAnyAndEarlier

    var words: [StaticString] {
        switch self {
        case .ifNone: ["NX"]
        case .ifAny: ["XX"]
        case .ifLater: ["GT"]
        case .ifEarlier: ["LT"]
        case .ifAnyAndEarlier: ["XX", "LT"]
        }
    }

    /// Reads all options of an EXPIRE, in any order, before it judges them, as Redis does.
    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> ExpireCondition? {
        var (none, any, later, earlier) = (false, false, false, false)
        while !reader.isAtEnd {
            if reader.skip("NX") {
                none = true
            } else if reader.skip("XX") {
                any = true
            } else if reader.skip("GT") {
                later = true
            } else if reader.skip("LT") {
                earlier = true
            } else {
                throw ReplyError("ERR Unsupported option \(try reader.bytes().shown(.max))")
            }
        }
        guard !none || !(any || later || earlier) else {
            throw ReplyError("ERR NX and XX, GT or LT options at the same time are not compatible")
        }
        guard !(later && earlier) else { throw ReplyError("ERR GT and LT options at the same time are not compatible") }
        if none { return .ifNone }
        // XX says nothing beside GT: without an expiry GT never applies. Beside LT it does.
        if later { return .ifLater }
        if earlier { return any ? .ifAnyAndEarlier : .ifEarlier }
        return any ? .ifAny : nil
    }
}

/// The options of SCAN, HSCAN, SSCAN and ZSCAN.
public struct ScanOptions: Hashable, Sendable {
    /// A glob that keys (or fields, members) must match; see ``Glob``.
    public var match: Bytes?
    /// About how many entries to look at in one call; the server's default is 10.
    public var count: Int?
    /// Only keys of this type: `string`, `hash`, `list`, `set` or `zset`. SCAN only.
    public var type: Bytes?

    public init(match: Bytes? = nil, count: Int? = nil, type: Bytes? = nil) {
        self.match = match
        self.count = count
        self.type = type
    }

    func write(to writer: inout CommandWriter) {
        if let match {
            writer.word("MATCH")
            writer.append(match)
        }
        if let count {
            writer.word("COUNT")
            writer.append(count)
        }
        if let type {
            writer.word("TYPE")
            writer.append(type)
        }
    }

    static func parse(_ reader: inout ArgumentReader, allowsType: Bool) throws(ReplyError) -> ScanOptions {
        var options = ScanOptions()
        while !reader.isAtEnd {
            guard reader.remaining > 1 else { throw .syntax }
            if reader.skip("MATCH") {
                options.match = try reader.bytes()
            } else if reader.skip("COUNT") {
                let count = try reader.count()
                guard count >= 1 else { throw .syntax }
                options.count = count
            } else if allowsType, reader.skip("TYPE") {
                options.type = try reader.bytes()
            } else {
                throw .syntax
            }
        }
        return options
    }
}

/// One page of a scan. The scan has ended when ``cursor`` is 0.
///
/// Redis's guarantee: what is there from the first page to the last is returned at least once; what comes or goes meanwhile may or
/// may not be. An element can come twice.
public struct ScanPage<Element: Sendable>: Sendable {
    public let cursor: UInt64
    public let elements: [Element]

    init(cursor: UInt64, elements: [Element]) {
        self.cursor = cursor
        self.elements = elements
    }

    /// Reads `[cursor, [element, …]]`.
    init?(_ reply: Reply, _ element: ([Bytes]) -> [Element]) {
        guard let parts = reply.elements, parts.count == 2, let cursor = parts[0].bytes?.string.flatMap({ UInt64($0) }),
            let list = parts[1].list
        else { return nil }
        self.init(cursor: cursor, elements: element(list))
    }
}

/// The type of an entry.
public enum EntryType: String, Sendable, Hashable, CaseIterable {
    case string, hash, list, set
    case sortedSet = "zset"
    case stream
}

// MARK: - On the wire

extension KeyOperation: OperationFamily {
    var name: StaticString {
        switch self {
        case .del: "DEL"
        case .unlink: "UNLINK"
        case .exists: "EXISTS"
        case .touch: "TOUCH"
        case .type: "TYPE"
        case .pexpire: "PEXPIRE"
        case .pexpireat: "PEXPIREAT"
        case .pttl: "PTTL"
        case .ttl: "TTL"
        case .pexpiretime: "PEXPIRETIME"
        case .expiretime: "EXPIRETIME"
        case .persist: "PERSIST"
        case .rename: "RENAME"
        case .renamenx: "RENAMENX"
        case .copy: "COPY"
        case .randomkey: "RANDOMKEY"
        case .scan: "SCAN"
        }
    }

    func writeArguments(to writer: inout CommandWriter) {
        switch self {
        case .del(let keys), .unlink(let keys), .exists(let keys), .touch(let keys):
            writer.append(keys)
        case .type(let key), .pttl(let key), .ttl(let key), .pexpiretime(let key), .expiretime(let key), .persist(let key):
            writer.append(key)
        case .pexpire(let key, let milliseconds, let condition):
            writer.append(key)
            writer.append(milliseconds)
            for word in condition?.words ?? [] { writer.word(word) }
        case .pexpireat(let key, let moment, let condition):
            writer.append(key)
            writer.append(moment.milliseconds)
            for word in condition?.words ?? [] { writer.word(word) }
        case .rename(let old, let new), .renamenx(let old, let new):
            writer.append(old)
            writer.append(new)
        case .copy(let source, let destination, let replace):
            writer.append(source)
            writer.append(destination)
            if replace { writer.word("REPLACE") }
        case .randomkey:
            break
        case .scan(let cursor, let options):
            writer.append(Bytes(cursor.description))
            options.write(to: &writer)
        }
    }

    static let table: [CommandSpec] = [
        CommandSpec("DEL", arity: -2, [.write], keys: .all) { r throws(ReplyError) in
            .keys(.del(try r.restKeys()))
        },
        CommandSpec("UNLINK", arity: -2, [.write], keys: .all) { r throws(ReplyError) in
            .keys(.unlink(try r.restKeys()))
        },
        CommandSpec("EXISTS", arity: -2, [.readOnly, .idempotent], keys: .all) { r throws(ReplyError) in
            .keys(.exists(try r.restKeys()))
        },
        CommandSpec("TOUCH", arity: -2, [.readOnly, .idempotent], keys: .all) { r throws(ReplyError) in
            .keys(.touch(try r.restKeys()))
        },
        CommandSpec("TYPE", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .keys(.type(try r.key()))
        },
        CommandSpec("EXPIRE", arity: -3, [.write], keys: .first) { r throws(ReplyError) in
            try parseExpire(&r, scale: 1000, absolute: false)
        },
        CommandSpec("PEXPIRE", arity: -3, [.write], keys: .first) { r throws(ReplyError) in
            try parseExpire(&r, scale: 1, absolute: false)
        },
        CommandSpec("EXPIREAT", arity: -3, [.write], keys: .first) { r throws(ReplyError) in
            try parseExpire(&r, scale: 1000, absolute: true)
        },
        CommandSpec("PEXPIREAT", arity: -3, [.write], keys: .first) { r throws(ReplyError) in
            try parseExpire(&r, scale: 1, absolute: true)
        },
        CommandSpec("TTL", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .keys(.ttl(try r.key()))
        },
        CommandSpec("PTTL", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .keys(.pttl(try r.key()))
        },
        CommandSpec("EXPIRETIME", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .keys(.expiretime(try r.key()))
        },
        CommandSpec("PEXPIRETIME", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .keys(.pexpiretime(try r.key()))
        },
        CommandSpec("PERSIST", arity: 2, [.write], keys: .first) { r throws(ReplyError) in
            .keys(.persist(try r.key()))
        },
        CommandSpec("RENAME", arity: 3, [.write], keys: .firstTwo) { r throws(ReplyError) in
            .keys(.rename(try r.key(), try r.key()))
        },
        CommandSpec("RENAMENX", arity: 3, [.write], keys: .firstTwo) { r throws(ReplyError) in
            .keys(.renamenx(try r.key(), try r.key()))
        },
        CommandSpec("COPY", arity: -3, [.write, .denyOOM], keys: .firstTwo) { r throws(ReplyError) in
            .keys(.copy(try r.key(), try r.key(), replace: r.skip("REPLACE")))
        },
        CommandSpec("RANDOMKEY", arity: 1, [.readOnly, .administrative], keys: .none) { _ throws(ReplyError) in
            .keys(.randomkey)
        },
        CommandSpec("SCAN", arity: -2, [.readOnly, .idempotent, .administrative], keys: .none) { r throws(ReplyError) in
            .keys(.scan(try parseCursor(&r), try ScanOptions.parse(&r, allowsType: true)))
        },
    ]

    /// C's `strtoul`: nothing is zero, and a negative number counts from the end of 64 bits.
    static func parseCursor(_ reader: inout ArgumentReader) throws(ReplyError) -> UInt64 {
        let text = try reader.bytes()
        if text.isEmpty { return 0 }
        if let negative = text.integer, negative < 0 { return UInt64(bitPattern: negative) }
        guard let cursor = text.string.flatMap({ UInt64($0) }) else { throw ReplyError("ERR invalid cursor") }
        return cursor
    }

    private static func parseExpire(
        _ reader: inout ArgumentReader, scale: Int64, absolute: Bool
    ) throws(ReplyError) -> Operation {
        let key = try reader.key()
        let number = try reader.bytes()
        let condition = try ExpireCondition.parse(&reader)
        guard let value = number.integer else { throw .notAnInteger }
        let (milliseconds, overflow) = value.multipliedReportingOverflow(by: scale)
        guard !overflow, absolute || milliseconds <= Expiration.longestSpan else { throw .invalidExpireTime(reader.command) }
        return absolute
            ? .keys(.pexpireat(key, Timestamp(milliseconds: milliseconds), condition))
            : .keys(.pexpire(key, milliseconds, condition))
    }
}

// MARK: - As users call them

extension Command where Output == Int {
    /// Removes entries and answers how many there were.
    public static func del(_ keys: Key...) -> Self { del(keys) }
    public static func del(_ keys: [Key]) -> Self { Command(count: .keys(.del(keys))) }
    /// Removes entries, freeing their memory in the background on a server, and answers how many there were.
    public static func unlink(_ keys: [Key]) -> Self { Command(count: .keys(.unlink(keys))) }
    /// How many of the keys exist; a key named twice counts twice.
    public static func exists(_ keys: [Key]) -> Self { Command(count: .keys(.exists(keys))) }
    /// Marks entries as used, for eviction, and answers how many exist.
    public static func touch(_ keys: [Key]) -> Self { Command(count: .keys(.touch(keys))) }
}

extension Command where Output == Bool {
    /// Whether the key exists.
    public static func exists(_ key: Key) -> Self { Command(flag: .keys(.exists([key]))) }
    /// Lets an entry end this long from now; false where it does not exist or the condition does not hold. A span that is not
    /// positive removes it at once.
    public static func pexpire(_ key: Key, _ span: Duration, if condition: ExpireCondition? = nil) -> Self {
        Command(flag: .keys(.pexpire(key, span.milliseconds, condition)))
    }
    /// Lets an entry end at this moment; false where it does not exist or the condition does not hold.
    public static func pexpireat(_ key: Key, _ moment: Timestamp, if condition: ExpireCondition? = nil) -> Self {
        Command(flag: .keys(.pexpireat(key, moment, condition)))
    }
    /// Lets an entry stay for ever; false where it does not exist or had no expiry.
    public static func persist(_ key: Key) -> Self { Command(flag: .keys(.persist(key))) }
    /// Renames an entry where the new name is free; false where it is not. Both keys must share a slot on a cluster.
    public static func renamenx(_ old: Key, _ new: Key) -> Self { Command(flag: .keys(.renamenx(old, new))) }
    /// Copies an entry; false where the source does not exist, or the destination does and `replace` is false.
    public static func copy(_ source: Key, to destination: Key, replace: Bool = false) -> Self {
        Command(flag: .keys(.copy(source, destination, replace: replace)))
    }
}

extension Command where Output == Void {
    /// Renames an entry, replacing what was there.
    public static func rename(_ old: Key, _ new: Key) -> Self { Command(done: .keys(.rename(old, new))) }
}

/// How long an entry still stays.
public enum TimeToLive: Hashable, Sendable {
    case noSuchKey
    /// It has no expiry.
    case forever
    case remaining(Duration)

    /// The time left, or nil where the entry has no expiry or does not exist.
    public var remaining: Duration? { if case .remaining(let span) = self { span } else { nil } }
}

extension Command where Output == TimeToLive {
    /// How long an entry still stays, in milliseconds.
    public static func pttl(_ key: Key) -> Self {
        Command(.keys(.pttl(key))) { reply in
            switch reply.integer {
            case nil: nil
            case -2: .noSuchKey
            case -1: .forever
            case let left?: .remaining(.milliseconds(left))
            }
        }
    }
}

extension Command where Output == EntryType? {
    /// The entry's type, or nil where there is no such key.
    public static func type(_ key: Key) -> Self {
        Command(.keys(.type(key))) { reply in
            guard let name = reply.bytes?.string else { return nil }
            return name == "none" ? .some(nil) : EntryType(rawValue: name)
        }
    }
}

extension Command where Output == ScanPage<Key> {
    /// One page of all keys. Begin with cursor 0; see ``ScanPage``.
    public static func scan(_ cursor: UInt64, _ options: ScanOptions = ScanOptions()) -> Self {
        Command(.keys(.scan(cursor, options))) { reply in ScanPage(reply) { $0.map(Key.init(raw:)) } }
    }
}
