public import HoldfastStore

extension Sessions {
    /// Gives a session another id, as after a login; the old one ends, and everything else stays, the absolute TTL included.
    /// Five round trips.
    ///
    /// The two ids lie in different slots. The new session is written and indexed first, then the old one is ended at the version
    /// that was copied: a change that came in between makes the copy be taken again, and a session that was ended meanwhile stays
    /// ended, under both ids. A crash in between leaves the old id valid and a copy whose id nobody has been told.
    ///
    /// What a process that is cut off has accepted for the old id, and has not handed over by then, is not in the copy: it becomes dead letters
    /// there (``/HoldfastStore/ErrorCode/conflict``).
    ///
    /// The copy tells the ids that the session had before, the last eight: a ``revokeAll(userID:keeping:)`` that keeps one of them, and comes
    /// later, or was decided in a process that was cut off, keeps it.
    ///
    /// - Parameter operation: a name, under which it is rotated at most once: the new id comes from the name, which must therefore be
    ///   as secret as an id. A repetition, also after a crash, goes on where the last attempt stopped and is answered the same new id.
    /// - Returns: the session under its new id.
    /// - Throws: ``/HoldfastStore/ErrorCode/notFound``; ``/HoldfastStore/ErrorCode/conflict`` where it was changed again and again meanwhile;
    ///   ``/HoldfastStore/ErrorCode/unavailable`` while the server is away. The old id stays valid then, unless the error's effect is unknown.
    public func rotate(_ id: SessionID, once operation: OperationID? = nil) async throws(StoreError) -> Session {
        for turn in 0..<Self.rotationTurns {
            guard let old = try await original(id) else { return try await outcome(of: id, operation) }
            let newID = operation.map { Self.newID($0, turn) } ?? makeID()
            guard let copy = try await copy(old, to: newID, isRepeatable: operation != nil) else { continue }
            do {
                _ = try await failover.perform(.fail) { (store, _) async throws(StoreError) in
                    try await addToIndex(copy, in: store)
                }
                if try await end(id, ifVersion: old.version, epitaph: Self.epitaph(operation)).value { return copy }
            } catch {
                // With a name, what stays is found by the repetition; it may be the only one that is left.
                if operation == nil || error.effect == .none { await abandon(copy.id) }
                if error.code == .preconditionFailed { continue }
                throw error
            }
            if operation == nil { await abandon(copy.id) }
            return try await outcome(of: id, operation)
        }
        throw StoreError(.conflict, "The session is changed too often to be copied", field: "id")
    }

    private static let rotationTurns = 10

    /// The id that an operation gives at a turn. That of an earlier turn has been ended, so that one tells nothing of the next.
    private static func newID(_ operation: OperationID, _ turn: Int) -> SessionID {
        SessionID(high: operation.high, low: operation.low &+ UInt64(turn))
    }

    private static func epitaph(_ operation: OperationID?) -> Bytes {
        operation.map { Bytes("rotated:\($0.text)") } ?? "rotated"
    }

    /// Whether a tombstone says that its session goes on under another id.
    static func isRotation(_ epitaph: Bytes) -> Bool { epitaph.starts(with: "rotated".utf8) }

    private struct Original {
        let version: Int64
        let expires: Bytes
        /// What its copy is to have.
        let fields: [Bytes]
    }

    /// Settled first, where it is pending: no revocation of before ends its copy.
    private func original(_ id: SessionID) async throws(StoreError) -> Original? {
        let hash: [Bytes: Bytes]
        do throws(StoreError) {
            hash = try await failover.perform(.fail) { (store, _) async throws(StoreError) in
                try await store(.hgetall(keys.session(id)))
            }.value
        } catch {
            throw error.code == .wrongType ? .damagedSession(id) : error
        }
        if hash.isEmpty { return nil }
        if hash[SessionFields.pending] != nil, try await look(id) == nil { return nil }
        guard let expires = hash["expires"], let version = hash["version"]?.integer else { throw .damagedSession(id) }
        let fields = hash.filter { ![SessionFields.pending, SessionFields.from].contains($0.key) }.flatMap { [$0.key, $0.value] }
        let from = [SessionFields.from, SessionFields.from(id, after: hash[SessionFields.from])]
        return Original(version: version, expires: expires, fields: fields + from)
    }

    /// A copy under a new id. Nil where the original has expired; where the operation is repeated, also where an earlier attempt used
    /// the id for another state of the original, which is then ended.
    private func copy(_ old: Original, to newID: SessionID, isRepeatable: Bool) async throws(StoreError) -> Session? {
        if let copy = try await change(newID, SessionProcedures.adopt, [old.expires, "1"] + old.fields) { return copy }
        guard isRepeatable, let present = try await look(newID) else { return nil }
        // A copy counts one version more.
        if present.version == old.version + 1 { return present }
        try await discard(newID)
        return nil
    }

    /// What became of a rotation whose original is gone: done by an earlier attempt, or the session was ended by somebody else.
    private func outcome(of id: SessionID, _ operation: OperationID?) async throws(StoreError) -> Session {
        guard let operation else { throw Self.gone }
        let tombstone = try await failover.perform(.fail) { (store, _) async throws(StoreError) in
            try await store(.get(keys.pair(id)[1]))
        }.value
        let isOurs = tombstone == Self.epitaph(operation)
        for turn in 0..<Self.rotationTurns {
            let newID = Self.newID(operation, turn)
            guard let copy = try await look(newID) else { continue }
            if isOurs { return copy }
            try await discard(newID)
        }
        throw Self.gone
    }

    private static var gone: StoreError { StoreError(.notFound, "There is no such session", field: "id") }

    /// Ends the copy of a rotation that has failed, also where that was because its caller has no time left: it is told how the rotation failed,
    /// which may have ended the old id, and not that nothing could be done any more.
    private func abandon(_ copy: SessionID) async {
        try? await toItsEnd { () async throws(StoreError) in try await discard(copy) }
    }

    /// Best effort: its id has been told to nobody, so what stays ends by itself.
    private func discard(_ copy: SessionID) async throws(StoreError) {
        do { try await delete(copy) } catch  where error.isOutage {}
    }
}
