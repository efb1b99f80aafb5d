/// One command of a store, as a value: closed by family, so that whoever carries operations out has them all.
///
/// Each family's file in `Commands/` holds its operations, how they are written on the wire, how they are read back from it, and
/// the typed ``Command``s that users call. The file `Keyspace/Keyspace+X.swift` holds what they mean.
public enum Operation: Hashable, Sendable {
    case strings(StringOperation)
    case hashes(HashOperation)
    case lists(ListOperation)
    case sets(SetOperation)
    case sortedSets(SortedSetOperation)
    case keys(KeyOperation)
    case pubSub(PubSubOperation)
    case server(ServerOperation)
    /// Any command of a server, name first. The embedded store looks it up in the ``CommandTable`` and refuses what is not there.
    case raw([Bytes])
}

/// What every family knows of its operations.
protocol OperationFamily: Hashable, Sendable {
    /// The command's name, in capitals.
    var name: StaticString { get }
    /// Writes the arguments behind the name.
    func writeArguments(to writer: inout CommandWriter)
    /// How the family's commands are read from the wire, one row for each command name.
    static var table: [CommandSpec] { get }
}

extension Operation {
    /// The command's name, in capitals, for errors, traces and metrics.
    public var name: String {
        if case .raw(let arguments) = self { return arguments.first?.lossyString.uppercased() ?? "" }
        guard let family else { return "" }
        return family.name.description
    }

    /// Appends the operation in RESP, ready to be sent.
    public func write(to writer: inout CommandWriter) {
        switch self {
        case .strings(let operation): writer.command(operation)
        case .hashes(let operation): writer.command(operation)
        case .lists(let operation): writer.command(operation)
        case .sets(let operation): writer.command(operation)
        case .sortedSets(let operation): writer.command(operation)
        case .keys(let operation): writer.command(operation)
        case .pubSub(let operation): writer.command(operation)
        case .server(let operation): writer.command(operation)
        case .raw(let arguments): writer.command(arguments)
        }
    }

    /// The command as a list of byte strings, name first.
    public var arguments: [Bytes] {
        if case .raw(let arguments) = self { return arguments }
        var writer = CommandWriter()
        write(to: &writer)
        return writer.writtenArguments()
    }

    /// The keys that the operation names, by the command table. Empty for a raw command that the table does not know.
    public var keys: [Key] { CommandTable.shared.keys(in: arguments) ?? [] }

    private var family: (any OperationFamily)? {
        switch self {
        case .strings(let operation): operation
        case .hashes(let operation): operation
        case .lists(let operation): operation
        case .sets(let operation): operation
        case .sortedSets(let operation): operation
        case .keys(let operation): operation
        case .pubSub(let operation): operation
        case .server(let operation): operation
        case .raw: nil
        }
    }
}
