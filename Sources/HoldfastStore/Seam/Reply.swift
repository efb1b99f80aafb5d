/// What a store answers to one operation, in RESP3's terms.
///
/// A server that speaks RESP2 gives poorer shapes for the same answer (an array where RESP3 has a map, a bulk string where it
/// has a double). ``Command``s read both; whoever looks at a raw reply should use the accessors below, which do too.
public enum Reply: Sendable, Hashable {
    case null
    /// A status line, such as `OK`.
    case status(Bytes)
    case integer(Int64)
    case bytes(Bytes)
    case double(Double)
    case boolean(Bool)
    case array([Reply])
    /// Keys and values by turns.
    case map([Reply])
    case set([Reply])
    /// The server's own error line. It says that this operation failed, not that the connection did.
    case error(ReplyError)

    public static let ok = Reply.status("OK")
}

/// The error line of a server, such as `WRONGTYPE Operation against a key holding the wrong kind of value`.
public struct ReplyError: Error, Hashable, Sendable {
    public let line: String

    public init(_ line: String) { self.line = line }

    /// The first word: `ERR`, `WRONGTYPE`, `LOADING`, …
    public var prefix: Substring { line.prefix { $0 != " " } }

    public static let wrongType = ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")
    public static let notAnInteger = ReplyError("ERR value is not an integer or out of range")
    public static let notAFloat = ReplyError("ERR value is not a valid float")
    public static let syntax = ReplyError("ERR syntax error")
    public static let noSuchKey = ReplyError("ERR no such key")
    public static let outOfMemory = ReplyError("OOM command not allowed when used memory > 'maxmemory'.")
    public static func wrongArity(_ command: String) -> ReplyError {
        ReplyError("ERR wrong number of arguments for '\(command.lowercased())' command")
    }

    static func invalidExpireTime(_ command: String) -> ReplyError {
        ReplyError("ERR invalid expire time in '\(command.lowercased())' command")
    }

    /// As Redis words it: 128 bytes of the name and of the arguments together, each argument with a space behind it.
    package static func unknownCommand(_ name: Bytes, _ arguments: some Sequence<Bytes>) -> ReplyError {
        var shown = ""
        for argument in arguments where shown.utf8.count < 128 {
            shown += "'\(argument.shown(128 - shown.utf8.count))' "
        }
        return ReplyError("ERR unknown command '\(name.shown(128))', with args beginning with: \(shown)")
    }
}

extension Bytes {
    /// As an error line shows an argument: cut at a limit and at the first zero byte, without line ends.
    package func shown(_ limit: Int) -> String {
        Bytes(prefix(limit).prefix { $0 != 0 }.map { $0 == 13 || $0 == 10 ? 0x20 : $0 }).lossyString
    }
}

// MARK: - Reading a reply, whatever the protocol version

extension Reply {
    public var integer: Int64? {
        switch self {
        case .integer(let value): value
        case .boolean(let value): value ? 1 : 0
        case .bytes(let value), .status(let value): value.integer
        default: nil
        }
    }

    public var bytes: Bytes? {
        switch self {
        case .bytes(let value), .status(let value): value
        case .integer(let value): Bytes(value)
        case .double(let value): Bytes(Decimal.format(value))
        default: nil
        }
    }

    public var double: Double? {
        switch self {
        case .double(let value): value
        case .integer(let value): Double(value)
        case .bytes(let value), .status(let value): value.double
        default: nil
        }
    }

    public var isNull: Bool { if case .null = self { true } else { false } }

    /// The elements of an array, set or map (a map's by turns).
    public var elements: [Reply]? {
        switch self {
        case .array(let elements), .set(let elements), .map(let elements): elements
        default: nil
        }
    }

    /// The members of a list of byte strings; nil where one of them is something else.
    public var list: [Bytes]? {
        guard let elements else { return nil }
        var list: [Bytes] = []
        list.reserveCapacity(elements.count)
        for element in elements {
            guard let bytes = element.bytes else { return nil }
            list.append(bytes)
        }
        return list
    }
}
