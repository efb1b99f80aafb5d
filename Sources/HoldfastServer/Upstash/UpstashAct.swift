import HoldfastStore

/// The commands of this protocol that go to the audit log: what removes everything of a caller's at once.
enum UpstashAct {
    /// The act's name there, such as `upstash.flushdb`; nil for all other commands.
    static func name(_ arguments: [Bytes]) -> String? {
        let words = arguments.prefix(2).map { $0.prefix(16).lossyString.uppercased() }
        switch words.first {
        case "FLUSHDB": return "upstash.flushdb"
        case "FLUSHALL": return "upstash.flushall"
        case "SCRIPT" where words.last == "FLUSH": return "upstash.scriptFlush"
        default: return nil
        }
    }
}

extension UpstashRequest {
    var commands: [[Bytes]] {
        switch self {
        case .command(let arguments): [arguments]
        case .pipeline(let commands), .transaction(let commands): commands
        }
    }
}
