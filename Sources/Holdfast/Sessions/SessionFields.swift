import HoldfastStore

/// How a session lies in its hash.
///
/// | Field | Value |
/// |---|---|
/// | `user` `workspace` `kind` `address` `agent` | text |
/// | `created` | a moment, Unix milliseconds; by the server's clock, as far as it is known, also where it was made while that was away |
/// | `accessed` `expires` `ends` | moments, Unix milliseconds |
/// | `idle` | the idle TTL in milliseconds |
/// | `version` | a counter from 1 |
/// | `size` `fields` `stones` | bytes of all data fields and messages, names included and stamps not; the number of data fields; that of stamps of removed ones |
/// | `d:<name>` | a data field: its stamp (14 characters), canonical JSON (``JSONValue/encoded()``); after its removal the stamp alone |
/// | `window` `first` `next` | conversations: messages kept; numbers of the oldest one kept and of the next one |
/// | `m:<number>` | a message: when it was sent (milliseconds), a space, JSON |
/// | `from` | the ids that it had before, the latest last, at most ``formerIDs``, separated by spaces: see ``Sessions/rotate(_:once:)`` |
/// | `pending` | 1 in one that was created under a name, until it is among its user's: see ``Sessions/settle(_:in:)``. No copy has it |
/// | `base` `seen` | only in a process that is cut off: `next` and the moment of the server's last answer, see ``SessionsHere`` |
enum SessionFields {
    static let pending: Bytes = "pending"
    static let from: Bytes = "from"
    /// How many of the ids that a session had before it keeps.
    static let formerIDs = 8

    /// The `from` of a session that had this id last, and those before.
    static func from(_ id: SessionID, after former: Bytes?) -> Bytes {
        let space = UInt8(ascii: " ")
        let ids = (former?.split(separator: space) ?? []).suffix(formerIDs - 1) + [Bytes(id.text)]
        return Bytes(Array(ids.joined(separator: [space])))
    }

    static func data(_ name: String) -> Bytes { Bytes("d:" + name) }

    /// Reads a session from fields and values by turns.
    static func session(_ id: SessionID, _ pairs: [Bytes]) -> Session? {
        var head = Head()
        var data: [String: JSONValue] = [:]
        var messages: [Session.Message] = []
        for place in stride(from: 0, to: pairs.count - 1, by: 2) {
            let (name, value) = (pairs[place], pairs[place + 1])
            switch name.prefixLetter {
            case UInt8(ascii: "d"):
                guard let field = name.dropFirst(2).string, value.count >= SessionProcedures.stampLength else { return nil }
                let text = value.dropFirst(SessionProcedures.stampLength)
                // Only the stamp: it was removed.
                if text.isEmpty { continue }
                guard let json = JSONValue(json: text) else { return nil }
                data[field] = json
            case UInt8(ascii: "m"):
                guard let number = name.dropFirst(2).integer, let message = message(number, value) else { return nil }
                messages.append(message)
            default:
                head.take(name, value)
            }
        }
        return head.session(id, data, messages.sorted { $0.number < $1.number })
    }

    /// The fields that stand for themselves.
    private struct Head {
        var user, workspace, kind, address, agent: Bytes?
        var created, accessed, expires, ends, idle, version: Int64?

        mutating func take(_ name: Bytes, _ value: Bytes) {
            switch name {
            case "user": user = value
            case "workspace": workspace = value
            case "kind": kind = value
            case "address": address = value
            case "agent": agent = value
            case "created": created = value.integer
            case "accessed": accessed = value.integer
            case "expires": expires = value.integer
            case "ends": ends = value.integer
            case "idle": idle = value.integer
            case "version": version = value.integer
            default: break
            }
        }

        /// Nil where one is missing that every session has.
        func session(_ id: SessionID, _ data: [String: JSONValue], _ messages: [Session.Message]) -> Session? {
            guard let user = user?.string, let kind = kind?.string.flatMap(Session.Kind.init), let created, let accessed,
                let expires, let ends, let idle, let version
            else { return nil }
            return Session(
                id: id, userID: user, workspaceID: workspace?.string, kind: kind, data: data, messages: messages,
                created: Timestamp(milliseconds: created), lastAccessed: Timestamp(milliseconds: accessed),
                expires: Timestamp(milliseconds: expires), ends: Timestamp(milliseconds: ends),
                idleTTL: .milliseconds(idle), version: version, clientAddress: address?.string, userAgent: agent?.string)
        }
    }

    // MARK: - Messages

    static func json(_ message: NewSessionMessage) -> Bytes? {
        var members: [String: JSONValue] = ["role": .string(message.role), "content": message.content]
        if !message.metadata.isEmpty { members["metadata"] = .object(message.metadata) }
        return JSONValue.object(members).encoded()
    }

    private static func message(_ number: Int64, _ value: Bytes) -> Session.Message? {
        guard let space = value.firstIndex(of: UInt8(ascii: " ")), let sent = value[value.startIndex..<space].integer,
            let json = JSONValue(json: value[(space + 1)..<value.endIndex]), let role = json["role"]?.string
        else { return nil }
        return Session.Message(
            number: number, role: role, content: json["content"] ?? .null, metadata: json["metadata"]?.object ?? [:],
            sent: Timestamp(milliseconds: sent))
    }
}

/// Whether the bytes are those of a literal: no string is made for it.
private func ~= (literal: StaticString, bytes: Bytes) -> Bool {
    guard bytes.count == literal.utf8CodeUnitCount else { return false }
    return bytes.withUnsafeBytes { text in text.indices.allSatisfy { text[$0] == literal.utf8Start[$0] } }
}

extension Bytes {
    /// The letter of a field's name that stands before its colon, as in `d:cart`; nil for other names.
    fileprivate var prefixLetter: UInt8? { count >= 2 && self[startIndex + 1] == UInt8(ascii: ":") ? self[startIndex] : nil }
}
