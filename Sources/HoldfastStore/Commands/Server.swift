/// What concerns the store as a whole.
public enum ServerOperation: Hashable, Sendable {
    case ping(Bytes?)
    case echo(Bytes)
    case time
    case dbsize
    case flushdb
    case info(Bytes?)
}

extension ServerOperation: OperationFamily {
    var name: StaticString {
        switch self {
        case .ping: "PING"
        case .echo: "ECHO"
        case .time: "TIME"
        case .dbsize: "DBSIZE"
        case .flushdb: "FLUSHDB"
        case .info: "INFO"
        }
    }

    func writeArguments(to writer: inout CommandWriter) {
        switch self {
        case .ping(let text), .info(let text): if let text { writer.append(text) }
        case .echo(let text): writer.append(text)
        case .time, .dbsize, .flushdb: break
        }
    }

    static let table: [CommandSpec] = [
        CommandSpec("PING", arity: -1, [.readOnly, .idempotent], keys: .none) { r throws(ReplyError) in
            guard r.remaining < 2 else { throw .wrongArity(r.command) }
            return .server(.ping(r.isAtEnd ? nil : try r.bytes()))
        },
        CommandSpec("ECHO", arity: 2, [.readOnly, .idempotent], keys: .none) { r throws(ReplyError) in
            .server(.echo(try r.bytes()))
        },
        CommandSpec("TIME", arity: 1, [.readOnly, .idempotent], keys: .none) { _ throws(ReplyError) in .server(.time) },
        CommandSpec("DBSIZE", arity: 1, [.readOnly, .idempotent, .administrative], keys: .none) { _ throws(ReplyError) in
            .server(.dbsize)
        },
        CommandSpec("FLUSHDB", arity: 1, [.write, .administrative], keys: .none) { _ throws(ReplyError) in
            .server(.flushdb)
        },
        CommandSpec("INFO", arity: -1, [.readOnly, .idempotent, .administrative], keys: .none) { r throws(ReplyError) in
            .server(.info(r.isAtEnd ? nil : try r.bytes()))
        },
    ]
}

extension Command where Output == Void {
    /// Whether the store answers at all.
    public static var ping: Self { Command(done: .server(.ping(nil))) }
    /// Removes every key of the database, whatever its prefix.
    public static var flushdb: Self { Command(done: .server(.flushdb)) }
}

extension Command where Output == Int {
    /// The number of keys in the database, whatever their prefix.
    public static var dbsize: Self { Command(count: .server(.dbsize)) }
}

extension Command where Output == Timestamp {
    /// The store's clock.
    public static var time: Self {
        Command(.server(.time)) { reply in
            guard let parts = reply.list, parts.count == 2, let seconds = parts[0].integer, let micros = parts[1].integer else {
                return nil
            }
            return Timestamp(milliseconds: seconds * 1000 + micros / 1000)
        }
    }
}

extension Command where Output == String {
    /// The store's statistics as Redis prints them: `name:value` lines under `# Section` headings.
    public static func info(_ section: Bytes? = nil) -> Self {
        Command(.server(.info(section))) { $0.bytes?.lossyString }
    }
}
