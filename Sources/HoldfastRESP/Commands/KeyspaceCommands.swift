import HoldfastStore

/// What looks into the whole key space, or at an entry from the outside.
enum KeyspaceCommands {
    typealias Entry = CommandDirectory.Entry

    static let all: [Entry] = [
        Entry("KEYS", arity: 2, [.readOnly], "generic") { keyspace, arguments in
            Reply(bytes: keyspace.keys(matching: arguments[1]).map(\.bytes))
        },
        // GETRANGE's old name.
        Entry("SUBSTR", arity: 4, [.readOnly], "string", keys: .first) { keyspace, arguments throws(ReplyError) in
            keyspace.execute(try CommandTable.shared.operation(["GETRANGE"] + arguments.dropFirst()))
        },
        Entry("FLUSHDB", arity: -1, [.write], "server", look: flush),
        Entry("FLUSHALL", arity: -1, [.write], "server", look: flush),
        Entry("OBJECT", arity: -2, [.readOnly], "generic", keys: .range(first: 2, last: 2, step: 1), look: object),
        Entry("MEMORY", arity: -2, [.readOnly], "server", keys: .range(first: 2, last: 2, step: 1), look: memory),
    ]

    private static func flush(_ keyspace: inout Keyspace, _ arguments: [Bytes]) throws(ReplyError) -> Reply {
        let option = arguments.dropFirst().first?.lossyString.uppercased()
        guard arguments.count <= 2, option == nil || option == "SYNC" || option == "ASYNC" else { throw .syntax }
        return keyspace.execute(.server(.flushdb))
    }

    private static func subcommand(_ arguments: [Bytes]) -> String { arguments[1].lossyString.uppercased() }

    private static func unknown(_ arguments: [Bytes]) -> ReplyError {
        ReplyError(
            "ERR unknown subcommand '\(arguments[1].shown(128))'. Try \(arguments[0].lossyString.uppercased()) HELP.")
    }

    private static func object(_ keyspace: inout Keyspace, _ arguments: [Bytes]) throws(ReplyError) -> Reply {
        let word = subcommand(arguments)
        guard ["ENCODING", "FREQ", "IDLETIME", "REFCOUNT"].contains(word) else { throw unknown(arguments) }
        guard arguments.count == 3 else { throw .wrongArity("object|\(word)") }
        guard let details = keyspace.details(of: Key(raw: arguments[2])) else { return .null }
        let isLFU = keyspace.limits.policy == .allKeysLFU || keyspace.limits.policy == .volatileLFU
        switch word {
        case "ENCODING": return .bytes(Bytes(details.encoding))
        case "REFCOUNT": return .integer(1)
        case "FREQ":
            guard isLFU else {
                throw ReplyError("ERR An LFU maxmemory policy is not selected, access frequency not tracked. " + note)
            }
            return .integer(Int64(details.frequency))
        default:
            guard !isLFU else { throw ReplyError("ERR An LFU maxmemory policy is selected, idle time not tracked. " + note) }
            return .integer(details.idle.components.seconds)
        }
    }

    private static let note =
        "Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."

    private static func memory(_ keyspace: inout Keyspace, _ arguments: [Bytes]) throws(ReplyError) -> Reply {
        switch subcommand(arguments) {
        case "USAGE":
            guard arguments.count >= 3 else { throw .wrongArity("memory|usage") }
            if arguments.count > 3 {
                guard arguments.count == 5, arguments[3].lossyString.uppercased() == "SAMPLES" else { throw .syntax }
                guard let samples = arguments[4].integer else { throw .notAnInteger }
                guard samples >= 0 else { throw .syntax }
            }
            return keyspace.details(of: Key(raw: arguments[2])).map { .integer(Int64($0.cost)) } ?? .null
        // Nothing is kept back that could be given to the system.
        case "PURGE": return .ok
        case "DOCTOR":
            let (used, limit) = (keyspace.usedBytes, keyspace.limits.maximumBytes)
            return .bytes(Bytes("The embedded store accounts \(used) bytes\(limit == 0 ? "" : " of \(limit)"); see INFO memory."))
        default: throw unknown(arguments)
        }
    }
}
