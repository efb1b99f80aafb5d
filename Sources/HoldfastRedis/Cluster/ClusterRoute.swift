import HoldfastStore

/// What a cluster has to do for one operation.
enum ClusterRoute {
    /// To the node that serves the slot; nil: any.
    case one(slot: Int?, isRead: Bool)
    /// To every primary, the answers put together.
    case all(Gathering)
    /// A command for several keys that stands for one command per key.
    case split([Operation], Gathering)
    case scan
    case ping
    case publish
    /// A raw command whose keys only the server knows.
    case unknown
    /// Its keys lie in different slots, and it cannot be split.
    case crossSlot

    init(_ operation: Operation) {
        let (name, arguments) = (operation.name, operation.arguments)
        if let gathering = Gathering(of: name, arguments) {
            self = .all(gathering)
        } else if name == "SCAN" {
            self = .scan
        } else if name == "PING" {
            self = .ping
        } else if name == "PUBLISH" {
            self = .publish
        } else if let keys = CommandTable.shared.keys(in: arguments) ?? CommandKeyRules.counted(name, arguments) {
            self.init(operation, keys: keys)
        } else {
            self = .unknown
        }
    }

    init(_ operation: Operation, keys: [Key]) {
        let slots = Set(keys.map { ClusterSlot.of($0) })
        guard slots.count > 1 else {
            let flags = CommandTable.shared[Bytes(operation.name)]?.flags ?? []
            self = .one(slot: slots.first, isRead: flags.contains(.readOnly))
            return
        }
        self = Self.split(operation.name, keys).map { .split($0, $1) } ?? .crossSlot
    }

    /// Commands that Redis itself defines key by key. MSET is none of them: it is atomic.
    private static func split(_ name: String, _ keys: [Key]) -> ([Operation], Gathering)? {
        switch name {
        case "MGET": (keys.map { .strings(.mget([$0])) }, .concatenated)
        case "DEL": (keys.map { .keys(.del([$0])) }, .sum)
        case "UNLINK": (keys.map { .keys(.unlink([$0])) }, .sum)
        case "EXISTS": (keys.map { .keys(.exists([$0])) }, .sum)
        case "TOUCH": (keys.map { .keys(.touch([$0])) }, .sum)
        default: nil
        }
    }
}

/// How the answers of several nodes make one.
enum Gathering: Equatable {
    case sum, concatenated
    /// The first; all are alike.
    case first
    /// One that is not null, by chance.
    case any
    /// Element by element the smallest: what not all nodes have is not there.
    case least

    /// For commands that concern every primary; nil for others.
    init?(of name: String, _ arguments: [Bytes]) {
        let word = arguments.count > 1 ? arguments[1].lossyString.uppercased() : ""
        switch name {
        case "DBSIZE": self = .sum
        case "KEYS": self = .concatenated
        case "RANDOMKEY": self = .any
        case "FLUSHALL", "FLUSHDB": self = .first
        case "SCRIPT" where word == "EXISTS": self = .least
        case "SCRIPT" where ["LOAD", "FLUSH", "KILL"].contains(word): self = .first
        case "FUNCTION" where ["LOAD", "DELETE", "FLUSH", "RESTORE", "KILL"].contains(word): self = .first
        case "CONFIG" where ["SET", "RESETSTAT", "REWRITE"].contains(word): self = .first
        default: return nil
        }
    }

    /// Whether a command whose answers are put together so changes nothing.
    func isRead(_ operation: Operation) -> Bool {
        self == .least || CommandTable.shared[Bytes(operation.name)]?.flags.contains(.readOnly) == true
    }

    /// The answer; an error among the replies is the answer.
    ///
    /// - Throws: that error, of effect `unknown`, where it is no read and others have done it.
    func answer(_ replies: [Reply], isRead: Bool) throws(StoreError) -> Reply {
        let answer = combine(replies)
        guard let error = answer.refusal, !isRead, replies.contains(where: { $0.refusal == nil }) else { return answer }
        throw StoreError(error).withUnknownEffect()
    }

    /// The answer; an error among the replies is the answer.
    func combine(_ replies: [Reply]) -> Reply {
        for case .error(let error) in replies { return .error(error) }
        switch self {
        case .sum: return .integer(replies.reduce(0) { $0 &+ ($1.integer ?? 0) })
        case .concatenated: return .array(replies.flatMap { $0.elements ?? [] })
        case .first: return replies.first ?? .null
        case .any: return replies.filter { !$0.isNull }.randomElement() ?? .null
        case .least:
            let rows = replies.map { $0.elements?.map { $0.integer ?? 0 } ?? [] }
            let width = rows.map(\.count).min() ?? 0
            return .array((0..<width).map { column in .integer(rows.map { $0[column] }.min() ?? 0) })
        }
    }
}
