/// Byte strings, counters among them. What they mean stands in `Keyspace/Keyspace+Strings.swift`.
public enum StringOperation: Hashable, Sendable {
    case get(Key)
    case set(Key, Bytes, SetOptions)
    case setnx(Key, Bytes)
    case getdel(Key)
    case getex(Key, Expiration?)
    case getset(Key, Bytes)
    case mget([Key])
    case mset([Pair])
    case msetnx([Pair])
    case incrby(Key, Int64)
    case decrby(Key, Int64)
    case incrbyfloat(Key, Double)
    case append(Key, Bytes)
    case strlen(Key)
    case getrange(Key, Int64, Int64)
    case setrange(Key, Int64, Bytes)

    /// A key and its value.
    public struct Pair: Hashable, Sendable {
        public let key: Key
        public let value: Bytes
        public init(_ key: Key, _ value: Bytes) {
            self.key = key
            self.value = value
        }
    }
}

/// When an entry ends: SET's and GETEX's options.
public enum Expiration: Hashable, Sendable {
    /// EX or PX: this long from now. Must be positive, and is rounded down to milliseconds.
    case after(Duration)
    /// PXAT: at this moment.
    case at(Timestamp)
    /// SET's KEEPTTL: as it was.
    case keep
    /// GETEX's PERSIST: never.
    case never

    func write(to writer: inout CommandWriter) {
        switch self {
        case .after(let span):
            writer.word("PX")
            writer.append(span.milliseconds)
        case .at(let moment):
            writer.word("PXAT")
            writer.append(moment.milliseconds)
        case .keep: writer.word("KEEPTTL")
        case .never: writer.word("PERSIST")
        }
    }

    /// The longest span for which a moment from now can be told in 64 bits, whatever the time is until the year 287396.
    static let longestSpan = Int64.max - 9_007_199_254_740_992

    /// One of EX PX EXAT PXAT with its number still unread: Redis looks at all options before it looks at the number.
    struct Unread {
        let number: Bytes
        let scale: Int64
        let isAbsolute: Bool

        func read(for command: String) throws(ReplyError) -> Expiration {
            guard let value = number.integer else { throw .notAnInteger }
            let (milliseconds, overflow) = value.multipliedReportingOverflow(by: scale)
            guard value > 0, !overflow, isAbsolute || milliseconds <= Expiration.longestSpan else {
                throw .invalidExpireTime(command)
            }
            return isAbsolute ? .at(Timestamp(milliseconds: milliseconds)) : .after(.milliseconds(milliseconds))
        }
    }

    /// Reads one of EX PX EXAT PXAT where it stands next. As the last word, without a number, it is no option.
    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> Unread? {
        guard reader.remaining > 1 else { return nil }
        if reader.skip("EX") { return Unread(number: try reader.bytes(), scale: 1000, isAbsolute: false) }
        if reader.skip("PX") { return Unread(number: try reader.bytes(), scale: 1, isAbsolute: false) }
        if reader.skip("EXAT") { return Unread(number: try reader.bytes(), scale: 1000, isAbsolute: true) }
        if reader.skip("PXAT") { return Unread(number: try reader.bytes(), scale: 1, isAbsolute: true) }
        return nil
    }
}

/// SET's options.
public struct SetOptions: Hashable, Sendable {
    public enum Condition: Hashable, Sendable {
        /// XX
        case ifPresent
        /// NX
        case ifAbsent
    }

    public var expiration: Expiration?
    public var condition: Condition?
    /// GET: answer the old value rather than whether it was set.
    public var returnsOld = false

    public init(expiration: Expiration? = nil, condition: Condition? = nil, returnsOld: Bool = false) {
        self.expiration = expiration
        self.condition = condition
        self.returnsOld = returnsOld
    }
}

// MARK: - On the wire

extension StringOperation: OperationFamily {
    var name: StaticString {
        switch self {
        case .get: "GET"
        case .set: "SET"
        case .setnx: "SETNX"
        case .getdel: "GETDEL"
        case .getex: "GETEX"
        case .getset: "GETSET"
        case .mget: "MGET"
        case .mset: "MSET"
        case .msetnx: "MSETNX"
        case .incrby: "INCRBY"
        case .decrby: "DECRBY"
        case .incrbyfloat: "INCRBYFLOAT"
        case .append: "APPEND"
        case .strlen: "STRLEN"
        case .getrange: "GETRANGE"
        case .setrange: "SETRANGE"
        }
    }

    func writeArguments(to writer: inout CommandWriter) {
        switch self {
        case .get(let key), .getdel(let key), .strlen(let key):
            writer.append(key)
        case .set(let key, let value, let options):
            writer.append(key)
            writer.append(value)
            options.write(to: &writer)
        case .setnx(let key, let value), .getset(let key, let value), .append(let key, let value):
            writer.append(key)
            writer.append(value)
        case .getex(let key, let expiration):
            writer.append(key)
            expiration?.write(to: &writer)
        case .mget(let keys):
            writer.append(keys)
        case .mset(let pairs), .msetnx(let pairs):
            for pair in pairs {
                writer.append(pair.key)
                writer.append(pair.value)
            }
        case .incrby(let key, let amount), .decrby(let key, let amount):
            writer.append(key)
            writer.append(amount)
        case .incrbyfloat(let key, let amount):
            writer.append(key)
            writer.append(amount)
        case .getrange(let key, let start, let end):
            writer.append(key)
            writer.append(start)
            writer.append(end)
        case .setrange(let key, let offset, let value):
            writer.append(key)
            writer.append(offset)
            writer.append(value)
        }
    }

    static let table: [CommandSpec] = [
        CommandSpec("GET", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .strings(.get(try r.key()))
        },
        CommandSpec("SET", arity: -3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .strings(.set(try r.key(), try r.bytes(), try SetOptions.parse(&r)))
        },
        CommandSpec("SETEX", arity: 4, [.write, .denyOOM, .idempotent], keys: .first) { r throws(ReplyError) in
            try parseSetWithExpiry(&r, scale: 1000)
        },
        CommandSpec("PSETEX", arity: 4, [.write, .denyOOM, .idempotent], keys: .first) { r throws(ReplyError) in
            try parseSetWithExpiry(&r, scale: 1)
        },
        CommandSpec("SETNX", arity: 3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .strings(.setnx(try r.key(), try r.bytes()))
        },
        CommandSpec("GETDEL", arity: 2, [.write], keys: .first) { r throws(ReplyError) in
            .strings(.getdel(try r.key()))
        },
        CommandSpec("GETEX", arity: -2, [.write], keys: .first) { r throws(ReplyError) in
            let key = try r.key()
            guard let unread = try Expiration.parse(&r) else { return .strings(.getex(key, r.skip("PERSIST") ? .never : nil)) }
            guard r.isAtEnd else { throw .syntax }
            return .strings(.getex(key, try unread.read(for: r.command)))
        },
        CommandSpec("GETSET", arity: 3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .strings(.getset(try r.key(), try r.bytes()))
        },
        CommandSpec("MGET", arity: -2, [.readOnly, .idempotent], keys: .all) { r throws(ReplyError) in
            .strings(.mget(try r.restKeys()))
        },
        CommandSpec("MSET", arity: -3, [.write, .denyOOM, .idempotent], keys: .everySecond) { r throws(ReplyError) in
            .strings(.mset(try r.restPairs { Pair(Key(raw: $0), $1) }))
        },
        CommandSpec("MSETNX", arity: -3, [.write, .denyOOM], keys: .everySecond) { r throws(ReplyError) in
            .strings(.msetnx(try r.restPairs { Pair(Key(raw: $0), $1) }))
        },
        CommandSpec("INCR", arity: 2, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .strings(.incrby(try r.key(), 1))
        },
        CommandSpec("INCRBY", arity: 3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .strings(.incrby(try r.key(), try r.integer()))
        },
        CommandSpec("DECR", arity: 2, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .strings(.decrby(try r.key(), 1))
        },
        CommandSpec("DECRBY", arity: 3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .strings(.decrby(try r.key(), try r.integer()))
        },
        CommandSpec("INCRBYFLOAT", arity: 3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .strings(.incrbyfloat(try r.key(), try r.double()))
        },
        CommandSpec("APPEND", arity: 3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .strings(.append(try r.key(), try r.bytes()))
        },
        CommandSpec("STRLEN", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .strings(.strlen(try r.key()))
        },
        CommandSpec("GETRANGE", arity: 4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .strings(.getrange(try r.key(), try r.integer(), try r.integer()))
        },
        CommandSpec("SETRANGE", arity: 4, [.write, .denyOOM, .idempotent], keys: .first) { r throws(ReplyError) in
            .strings(.setrange(try r.key(), try r.integer(), try r.bytes()))
        },
    ]

    private static func parseSetWithExpiry(_ reader: inout ArgumentReader, scale: Int64) throws(ReplyError) -> Operation {
        let key = try reader.key()
        let span = Expiration.Unread(number: try reader.bytes(), scale: scale, isAbsolute: false)
        let value = try reader.bytes()
        return .strings(.set(key, value, SetOptions(expiration: try span.read(for: reader.command))))
    }
}

extension SetOptions {
    func write(to writer: inout CommandWriter) {
        switch condition {
        case .ifPresent: writer.word("XX")
        case .ifAbsent: writer.word("NX")
        case nil: break
        }
        if returnsOld { writer.word("GET") }
        expiration?.write(to: &writer)
    }

    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> SetOptions {
        var options = SetOptions()
        var unread: Expiration.Unread?
        while !reader.isAtEnd {
            if reader.skip("NX") {
                guard options.condition != .ifPresent else { throw .syntax }
                options.condition = .ifAbsent
            } else if reader.skip("XX") {
                guard options.condition != .ifAbsent else { throw .syntax }
                options.condition = .ifPresent
            } else if reader.skip("GET") {
                options.returnsOld = true
            } else {
                guard options.expiration == nil, unread == nil else { throw .syntax }
                if reader.skip("KEEPTTL") {
                    options.expiration = .keep
                } else if let found = try Expiration.parse(&reader) {
                    unread = found
                } else {
                    throw .syntax
                }
            }
        }
        if let unread { options.expiration = try unread.read(for: reader.command) }
        return options
    }
}

// MARK: - As users call them

extension Command where Output == Bytes? {
    /// The value, or nil where there is no such key. [GET](https://redis.io/commands/get)
    public static func get(_ key: Key) -> Self { Command(optional: .strings(.get(key))) }
    /// The value, which is removed.
    public static func getdel(_ key: Key) -> Self { Command(optional: .strings(.getdel(key))) }
    /// The value, whose expiry is set (or, with `.never`, removed).
    public static func getex(_ key: Key, _ expiration: Expiration) -> Self {
        Command(optional: .strings(.getex(key, expiration)))
    }
    /// Sets the value, without expiry, and answers the old one.
    public static func getset(_ key: Key, _ value: Bytes) -> Self { Command(optional: .strings(.getset(key, value))) }
}

extension Command where Output == [Bytes?] {
    /// The values of several keys, nil for those that do not exist or are no strings.
    public static func mget(_ keys: [Key]) -> Self { Command(optionals: .strings(.mget(keys))) }
}

extension Command where Output == Void {
    /// Sets a value, whatever was there before. Without `expiration` it stays for ever.
    public static func set(_ key: Key, _ value: Bytes, expiration: Expiration? = nil) -> Self {
        Command(done: .strings(.set(key, value, SetOptions(expiration: expiration))))
    }
    /// Sets several values, atomically.
    public static func mset(_ pairs: [StringOperation.Pair]) -> Self { Command(done: .strings(.mset(pairs))) }
}

extension Command where Output == Bool {
    /// Sets a value on a condition; false where the condition did not hold.
    public static func set(
        _ key: Key, _ value: Bytes, expiration: Expiration? = nil, if condition: SetOptions.Condition
    ) -> Self {
        Command(.strings(.set(key, value, SetOptions(expiration: expiration, condition: condition)))) { !$0.isNull }
    }
    /// Sets a value where there is none; false where there is one.
    public static func setnx(_ key: Key, _ value: Bytes) -> Self { Command(flag: .strings(.setnx(key, value))) }
    /// Sets several values, atomically and only where none of the keys exists.
    public static func msetnx(_ pairs: [StringOperation.Pair]) -> Self { Command(flag: .strings(.msetnx(pairs))) }
}

extension Command where Output == Int {
    /// Adds one to a counter, which begins at zero, and answers its new value.
    public static func incr(_ key: Key) -> Self { Command(count: .strings(.incrby(key, 1))) }
    /// Adds to a counter, which begins at zero, and answers its new value.
    public static func incrby(_ key: Key, _ amount: Int) -> Self { Command(count: .strings(.incrby(key, Int64(amount)))) }
    /// Subtracts one from a counter.
    public static func decr(_ key: Key) -> Self { Command(count: .strings(.decrby(key, 1))) }
    /// Subtracts from a counter.
    public static func decrby(_ key: Key, _ amount: Int) -> Self { Command(count: .strings(.decrby(key, Int64(amount)))) }
}

extension Command where Output == Double {
    /// Adds to a floating-point counter.
    public static func incrbyfloat(_ key: Key, _ amount: Double) -> Self {
        Command(double: .strings(.incrbyfloat(key, amount)))
    }
}

extension Command where Output == Int {
    /// Appends to a value and answers its new length in bytes.
    public static func append(_ key: Key, _ suffix: Bytes) -> Self { Command(count: .strings(.append(key, suffix))) }
    /// The value's length in bytes; 0 where there is no such key.
    public static func strlen(_ key: Key) -> Self { Command(count: .strings(.strlen(key))) }
    /// Overwrites part of a value, padded with zero bytes, and answers its length.
    public static func setrange(_ key: Key, _ offset: Int, _ value: Bytes) -> Self {
        Command(count: .strings(.setrange(key, Int64(offset), value)))
    }
}

extension Command where Output == Bytes {
    /// Part of a value, from byte `start` to byte `end`, both included; negative from the end.
    public static func getrange(_ key: Key, _ start: Int, _ end: Int) -> Self {
        Command(.strings(.getrange(key, Int64(start), Int64(end)))) { $0.bytes }
    }
}
