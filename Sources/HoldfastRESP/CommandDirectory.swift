import HoldfastStore

/// Every command that the endpoint knows: the command table's, which are about the key space, and those about connections and the
/// server, which stand in `Commands/`.
struct CommandDirectory: Sendable {
    static let shared = CommandDirectory()

    /// A class, because the fast path hands it about: one reference rather than all its parts.
    final class Entry: Sendable {
        /// In capitals.
        let name: String
        /// Redis's convention: the exact number of arguments with the name, or, negative, the least number.
        let arity: Int
        let keys: CommandSpec.KeyPositions
        let traits: Traits
        let group: String
        let shape: ReplyShape
        let action: Action

        init(
            name: String, arity: Int, keys: CommandSpec.KeyPositions, traits: Traits, group: String, shape: ReplyShape,
            action: Action
        ) {
            self.name = name
            self.arity = arity
            self.keys = keys
            self.traits = traits
            self.group = group
            self.shape = shape
            self.action = action
        }

        func accepts(_ count: Int) -> Bool { arity >= 0 ? count == arity : count >= -arity }

        var mayWrite: Bool { traits.contains(.write) }
    }

    enum Action: Sendable {
        /// A command of the table.
        case operation(CommandSpec)
        /// Looks into the key space or changes it, in ways that no operation has.
        case keyspace(@Sendable (_ keyspace: inout Keyspace, _ arguments: [Bytes]) throws(ReplyError) -> Reply)
        /// Is about the client or the server, and writes its answer itself.
        case client(@Sendable (Call) throws(ReplyError) -> Void)
    }

    struct Traits: OptionSet, Sendable {
        let rawValue: Int
        static let write = Traits(rawValue: 1 << 0)
        static let readOnly = Traits(rawValue: 1 << 1)
        static let denyOOM = Traits(rawValue: 1 << 2)
        static let admin = Traits(rawValue: 1 << 3)
        static let pubSub = Traits(rawValue: 1 << 4)
        /// Is answered before a password was given.
        static let noAuth = Traits(rawValue: 1 << 5)
        /// Is carried out at once within a transaction.
        static let notQueued = Traits(rawValue: 1 << 6)
        /// MONITOR does not show it.
        static let hidden = Traits(rawValue: 1 << 7)
        /// Is allowed to one who listens in RESP2.
        static let whileListening = Traits(rawValue: 1 << 8)
        /// Its arguments may hold passwords: SLOWLOG does not show it.
        static let secret = Traits(rawValue: 1 << 9)
    }

    let entries: [Entry]
    private let byName: NameIndex

    init() {
        let own =
            ConnectionCommands.all + ClientCommands.all + TransactionCommands.all + PubSubCommands.all + KeyspaceCommands.all
            + ServerCommands.all + CommandCommands.all
        // The first of a name counts.
        let names = Set(own.map(\.name))
        entries = own + Self.table.filter { !names.contains($0.name) }
        byName = NameIndex(entries.map(\.name))
    }

    func place(of name: Bytes) -> Int? { byName[name] }

    // MARK: - The command table's

    private static let table: [Entry] = CommandTable.shared.commands.map { spec in
        var traits: Traits = []
        if spec.flags.contains(.write) { traits.insert(.write) }
        if spec.flags.contains(.readOnly) { traits.insert(.readOnly) }
        if spec.flags.contains(.denyOOM) { traits.insert(.denyOOM) }
        return Entry(
            name: spec.name, arity: spec.arity, keys: spec.keys, traits: traits, group: group(spec.name), shape: shape(spec.name),
            action: .operation(spec))
    }

    private static func shape(_ name: String) -> ReplyShape {
        switch name {
        case "LMPOP", "ZMPOP": .list
        case "LPOP", "RPOP": .counted
        case "ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZPOPMIN", "ZPOPMAX", "ZRANDMEMBER", "HRANDFIELD",
            "ZUNION", "ZINTER", "ZDIFF":
            .pairs
        default: .plain
        }
    }

    private static let stringCommands: Set = [
        "GET", "SET", "SETEX", "PSETEX", "SETNX", "GETDEL", "GETEX", "GETSET", "MGET", "MSET", "MSETNX", "INCR", "INCRBY", "DECR",
        "DECRBY", "INCRBYFLOAT", "APPEND", "STRLEN", "GETRANGE", "SETRANGE",
    ]
    private static let genericCommands: Set = [
        "DEL", "UNLINK", "EXISTS", "TOUCH", "TYPE", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "TTL", "PTTL", "EXPIRETIME",
        "PEXPIRETIME", "PERSIST", "RENAME", "RENAMENX", "COPY", "RANDOMKEY", "SCAN",
    ]

    private static func group(_ name: String) -> String {
        if stringCommands.contains(name) { return "string" }
        if genericCommands.contains(name) { return "generic" }
        switch name.first {
        case "H": return "hash"
        case "Z": return "sorted-set"
        case "S": return "set"
        case "L", "R": return "list"
        case "X": return "stream"
        default: return "server"
        }
    }
}

/// One call of a command that is about the client or the server.
struct Call {
    let endpoint: Endpoint
    let client: Client
    /// Name first.
    let arguments: [Bytes]

    /// The arguments behind the name.
    var rest: ArraySlice<Bytes> { arguments.dropFirst() }

    /// The subcommand, in capitals.
    var subcommand: String { arguments.count > 1 ? arguments[1].lossyString.uppercased() : "" }

    /// Redis's error for a subcommand that is not there.
    var unknownSubcommand: ReplyError {
        ReplyError("ERR unknown subcommand '\(arguments[1].shown(128))'. Try \(arguments[0].lossyString.uppercased()) HELP.")
    }

    /// - Throws: Redis's error unless there are this many arguments with name and subcommand.
    func expect(_ counts: some RangeExpression<Int>) throws(ReplyError) {
        guard counts.contains(arguments.count) else {
            throw .wrongArity("\(arguments[0].lossyString)|\(arguments[1].lossyString)")
        }
    }

    func expect(_ count: Int) throws(ReplyError) { try expect(count...count) }
}
