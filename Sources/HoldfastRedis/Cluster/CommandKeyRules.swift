import HoldfastStore

/// Where the keys of a raw command stand that the command table does not know: asked of the server once for each command's name.
final class CommandKeyRules: Sendable {
    enum Rule: Equatable, Sendable {
        case none
        case range(first: Int, last: Int, step: Int)
        /// They move about: the server is asked for each call.
        case movable
    }

    /// Users' raw commands, some dozens.
    private static let limit = 1024
    private let known = Locked<[String: Rule]>([:])

    func rule(of name: String) -> Rule? { known.withLock { $0[name] } }

    func learn(_ rule: Rule, of name: String) {
        known.withLock { known in
            if known.count >= Self.limit { known.removeAll() }
            known[name] = rule
        }
    }

    /// Commands whose keys are counted, and that every server knows so.
    static func counted(_ name: String, _ arguments: [Bytes]) -> [Key]? {
        switch name {
        case "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO":
            guard arguments.count > 2, let count = arguments[2].integer, count >= 0 else { return [] }
            return arguments.dropFirst(3).prefix(Int(count)).map(Key.init(raw:))
        default: return nil
        }
    }
}

extension CommandKeyRules.Rule {
    /// Reads the reply to COMMAND INFO for one command: name, arity, flags, first key, last key, step, …, and from Redis 7 its
    /// subcommands at the end.
    init(_ reply: Reply) {
        guard let parts = reply.elements?.first?.elements, parts.count >= 6 else {
            self = .none
            return
        }
        let flags = Set(parts[2].list ?? [])
        let (first, last, step) = (parts[3].integer ?? 0, parts[4].integer ?? 0, parts[5].integer ?? 1)
        let hasSubcommands = parts.count > 9 && parts[9].elements?.isEmpty == false
        if flags.contains("movablekeys") || hasSubcommands {
            self = .movable
        } else {
            self = first > 0 ? .range(first: Int(first), last: Int(last), step: Swift.max(1, Int(step))) : .none
        }
    }

    func keys(in arguments: [Bytes]) -> [Key] {
        guard case .range(let first, let last, let step) = self else { return [] }
        let end = last < 0 ? arguments.count + last : min(last, arguments.count - 1)
        return first > end ? [] : stride(from: first, through: end, by: step).map { Key(raw: arguments[$0]) }
    }
}
