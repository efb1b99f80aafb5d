import HoldfastStore

/// Which raw commands may go over a connection that many callers share.
///
/// Replies are matched by their order, so a command that is not answered by exactly one reply would give every later caller somebody
/// else's answer. One that changes the connection's state would change it for all, and one that waits on the server would make all
/// wait.
enum SharedCommands {
    enum Fault {
        case replies, state, waits

        var reason: String {
            switch self {
            case .replies: "is not answered by one reply"
            case .state: "changes the connection, which is shared"
            case .waits: "would make everyone on the shared connection wait"
            }
        }
    }

    private static let refused: [String: Fault] = {
        var refused: [String: Fault] = [:]
        for name in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"] {
            refused[name] = .replies
        }
        for name in ["MONITOR", "SYNC", "PSYNC", "REPLCONF", "QUIT", "SHUTDOWN"] { refused[name] = .replies }
        for name in ["HELLO", "AUTH", "SELECT", "RESET", "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "ASKING", "READONLY"] {
            refused[name] = .state
        }
        for name in ["BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"] {
            refused[name] = .waits
        }
        return refused
    }()

    static func check(_ operation: Operation) throws(StoreError) {
        guard case .raw(let arguments) = operation else { return }
        // The server answers an empty command with nothing at all.
        guard let first = arguments.first, !first.isEmpty else { throw .invalid("command", "The command is empty") }
        let name = word(first)
        guard let fault = fault(of: name, arguments) else { return }
        let advice = fault == .replies ? "" : "; use withConnection"
        throw StoreError(.invalidArgument, "\(name) \(fault.reason)\(advice)", operation: name, field: "command")
    }

    static func check(_ operations: [Operation]) throws(StoreError) {
        for index in operations.indices {
            // Only raw ones are copied to be looked at.
            if case .raw = operations[index] { try check(operations[index]) }
        }
    }

    /// Why a raw command cannot share a connection; nil where it can.
    static func fault(of arguments: [Bytes]) -> Fault? { arguments.first.flatMap { fault(of: word($0), arguments) } }

    private static func fault(of name: String, _ arguments: [Bytes]) -> Fault? {
        if let fault = refused[name] { return fault }
        // These are fine but for some of their words.
        switch name {
        case "CLIENT":
            switch arguments.dropFirst().first.map(word) {
            case "REPLY": return .replies
            case "TRACKING", "CACHING", "NO-TOUCH", "NO-EVICT", "SETNAME": return .state
            default: return nil
            }
        case "XREAD", "XREADGROUP": return StreamReadOptions(arguments).block == nil ? nil : .waits
        case "SCRIPT": return arguments.dropFirst().first.map(word) == "DEBUG" ? .state : nil
        default: return nil
        }
    }

    static func word(_ bytes: Bytes) -> String { String(decoding: bytes.prefix(32), as: UTF8.self).uppercased() }
}
