import HoldfastStore

/// What a session procedure answered: names and values by turns, or nothing.
struct SessionReply: Sendable {
    private let list: [Bytes]?

    /// Names and values by turns; none where there is no such session.
    var all: [Bytes] { list ?? [] }

    init?(_ reply: Reply) {
        if reply.isNull {
            list = nil
        } else {
            guard let list = reply.list else { return nil }
            self.list = list
        }
    }

    /// Whether the session may not be among its user's yet.
    var isPending: Bool { all.fieldValue(SessionFields.pending) != nil }

    /// Whether it was not ended because it had the id that is kept before.
    var isKept: Bool { all == ["refused", "kept"] }

    /// The names and values; nil where there is no such session.
    /// - Throws: the refusal, where it is one.
    func pairs(of id: SessionID) throws(StoreError) -> [Bytes]? {
        guard let list else { return nil }
        if list.count > 1, list[0] == "refused" {
            throw list[1] == "damaged" ? .damagedSession(id) : Self.refusal(list)
        }
        return list
    }

    /// The session and the moment of the answer by the store's clock; nil where there is no such session.
    func session(_ id: SessionID) throws(StoreError) -> (Session, Timestamp)? {
        guard let pairs = try pairs(of: id) else { return nil }
        let last = pairs.suffix(2)
        guard last.first == "now", let now = last.last?.integer, let session = SessionFields.session(id, pairs) else {
            throw .damagedSession(id)
        }
        return (session, Timestamp(milliseconds: now))
    }

    private static func refusal(_ list: [Bytes]) -> StoreError {
        let detail = list.count > 3 ? list[3].lossyString : ""
        switch list.count > 1 ? list[1].lossyString : "" {
        case "version":
            return StoreError(.preconditionFailed, "The session is at version \(detail)", field: "version")
        case "field":
            return StoreError(.conflict, "The field has another value", field: "data.\(detail.dropFirst(2))")
        case "size": return StoreError(.tooLarge, "The session would become larger than its limit", field: "data")
        case "fields": return StoreError(.tooLarge, "The session would have more fields than allowed", field: "data")
        case "stones":
            return StoreError(.tooLarge, "Too many fields have been removed here while the server is away", field: "remove")
        case "kind": return .invalid("kind", "Only conversations have messages")
        default: return StoreError(.unexpectedReply, effect: .unknown)
        }
    }
}

extension StoreError {
    /// Something lies under a session's key that cannot be read as one. ``Sessions/delete(_:ifVersion:)`` removes it.
    static func damagedSession(_ id: SessionID) -> StoreError {
        StoreError(
            .unsupportedFormat, "Session \(id.masked) was written by another version or by something else", field: "id")
    }
}
