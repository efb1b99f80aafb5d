import HoldfastStore

/// The keys of the sessions of one namespace.
///
/// | Key | Holds |
/// |---|---|
/// | `session:{id}` | hash: the session, see ``SessionFields``; expires with it |
/// | `{session:{id}}:deleted` | string: that the session was ended on purpose; stays as long as anything could revive it |
/// | `{session:{id}}:once:{operation}` | string: that an operation with a name was done; see ``OperationID`` |
/// | `user_sessions:{user}` | sorted set: ids by the moment at which they end in any case; expires with the last |
/// | `{user_sessions:{user}}:revoked` | string: the moment at which all of the user's sessions were revoked last, Unix milliseconds; stays for the longest outage |
struct SessionKeys: Sendable {
    let names: Namespace

    func session(_ id: SessionID) -> Key { names.key("session:\(id.text)") }

    /// A session and its tombstone: what most procedures are given.
    func pair(_ id: SessionID) -> [Key] {
        let key = session(id)
        return [key, key.companion("deleted")]
    }

    /// What a procedure is given for an operation that may have a name: its marker too.
    func keys(_ id: SessionID, once operation: OperationID?) -> [Key] {
        let pair = pair(id)
        return operation.map { pair + [marker(id, $0)] } ?? pair
    }

    func marker(_ id: SessionID, _ operation: OperationID) -> Key {
        Key(raw: Bytes(Array(session(id).companion("once").bytes) + Array(":\(operation.text)".utf8)))
    }

    func index(of userID: String) -> Key { names.key("user_sessions:\(userID)") }

    /// A user's index and the mark of its revocation.
    func indexPair(of userID: String) -> [Key] {
        let index = index(of: userID)
        return [index, index.companion("revoked")]
    }

    /// Matches the indexes of all users.
    var allIndexes: Bytes { names.glob(startingWith: "user_sessions:") }
}
