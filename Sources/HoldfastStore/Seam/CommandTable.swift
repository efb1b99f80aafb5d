/// What a server's command looks like: how many arguments, which of them are keys, and how it is read into an ``Operation``.
public struct CommandSpec: Sendable {
    /// Where the keys stand among the arguments (0 is the command's name).
    public enum KeyPositions: Hashable, Sendable {
        case none
        /// From `first` to `last` (negative: from the end), every `step`.
        case range(first: Int, last: Int, step: Int)
        /// A count stands at this position and that many keys behind it.
        case counted(at: Int)
        /// A destination at 1, then a count at 2 and that many keys behind it.
        case destinationAndCounted

        public static let first = KeyPositions.range(first: 1, last: 1, step: 1)
        public static let firstTwo = KeyPositions.range(first: 1, last: 2, step: 1)
        public static let all = KeyPositions.range(first: 1, last: -1, step: 1)
        public static let everySecond = KeyPositions.range(first: 1, last: -1, step: 2)
    }

    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: Int
        public init(rawValue: Int) { self.rawValue = rawValue }

        public static let write = Flags(rawValue: 1 << 0)
        public static let readOnly = Flags(rawValue: 1 << 1)
        /// May need more memory, so it is refused when the store is full.
        public static let denyOOM = Flags(rawValue: 1 << 2)
        /// Running it twice has the effect of running it once, so it may be sent again when the reply was lost.
        public static let idempotent = Flags(rawValue: 1 << 3)
        /// Acts on the whole key space and so is not for a tenant's handle.
        public static let administrative = Flags(rawValue: 1 << 4)
    }

    /// In capitals.
    public let name: String
    /// Redis's convention: the exact number of arguments with the name, or, negative, the least number.
    public let arity: Int
    public let flags: Flags
    public let keys: KeyPositions
    let parse: @Sendable (inout ArgumentReader) throws(ReplyError) -> Operation

    init(
        _ name: String, arity: Int, _ flags: Flags, keys: KeyPositions,
        parse: @escaping @Sendable (inout ArgumentReader) throws(ReplyError) -> Operation
    ) {
        self.name = name
        self.arity = arity
        self.flags = flags
        self.keys = keys
        self.parse = parse
    }

    /// Reads a command whose number of arguments fits, name first.
    package func operation(_ arguments: [Bytes]) throws(ReplyError) -> Operation {
        var reader = ArgumentReader(arguments, command: name)
        let operation = try parse(&reader)
        guard reader.isAtEnd else { throw .syntax }
        return operation
    }

    package func accepts(_ argumentCount: Int) -> Bool { arity >= 0 ? argumentCount == arity : argumentCount >= -arity }
}

/// Every command that Holdfast understands, by name: the one place that knows arities, flags and key positions.
public struct CommandTable: Sendable {
    public static let shared = CommandTable(
        StringOperation.table + HashOperation.table + ListOperation.table + SetOperation.table + SortedSetOperation.table
            + KeyOperation.table + PubSubOperation.table + ServerOperation.table
    )

    public let commands: [CommandSpec]
    private let byName: NameIndex

    init(_ commands: [CommandSpec]) {
        self.commands = commands
        byName = NameIndex(commands.map(\.name))
    }

    /// The command's row; names are matched whatever their case.
    public subscript(name: Bytes) -> CommandSpec? { byName[name].map { commands[$0] } }

    /// Reads a command from its arguments, name first.
    ///
    /// - Throws: Redis's own error for an unknown name, a wrong number of arguments or a wrong argument.
    public func operation(_ arguments: [Bytes]) throws(ReplyError) -> Operation {
        try spec(for: arguments).operation(arguments)
    }

    /// The row of a command that a server would let into a transaction: its name is known and the number of its arguments fits.
    ///
    /// - Throws: Redis's own error for an unknown name or a wrong number of arguments.
    func spec(for arguments: [Bytes]) throws(ReplyError) -> CommandSpec {
        guard let name = arguments.first else { throw ReplyError("ERR empty command") }
        guard let spec = self[name] else { throw .unknownCommand(name, arguments.dropFirst()) }
        guard spec.accepts(arguments.count) else { throw .wrongArity(spec.name) }
        return spec
    }

    /// The keys that a command names, or nil where the command is not in the table.
    public func keys(in arguments: [Bytes]) -> [Key]? {
        guard let name = arguments.first, let spec = self[name] else { return nil }
        return spec.keys.keys(in: arguments)
    }
}

extension CommandSpec.KeyPositions {
    /// The keys among a command's arguments, name first.
    package func keys(in arguments: [Bytes]) -> [Key] {
        func counted(at position: Int) -> [Key] {
            guard arguments.indices.contains(position), let count = arguments[position].integer, count > 0 else { return [] }
            return arguments.dropFirst(position + 1).prefix(Int(count)).map(Key.init(raw:))
        }
        switch self {
        case .none: return []
        case .range(let first, let last, let step):
            let end = last < 0 ? arguments.count + last : min(last, arguments.count - 1)
            return first > end ? [] : stride(from: first, through: end, by: step).map { Key(raw: arguments[$0]) }
        case .counted(let position): return counted(at: position)
        case .destinationAndCounted:
            return arguments.count > 1 ? [Key(raw: arguments[1])] + counted(at: 2) : []
        }
    }
}
