public import HoldfastStore

extension Sessions {
    /// Gives a session another id, as after a login; the old one ends, and everything else stays, the absolute TTL included.
    /// Five round trips.
    ///
    /// The two ids lie in different slots. The new session is written and indexed first, then the old one is ended at the version
    /// that was copied: a change that came in between makes the copy be taken again, and a session that was ended meanwhile stays
    /// ended, under both ids. A crash in between leaves the old id valid and a copy whose id nobody has been told.
    ///
    /// - Returns: the session under its new id.
    /// - Throws: ``ErrorCode/notFound``; ``ErrorCode/conflict`` where it was changed again and again meanwhile;
    ///   ``ErrorCode/unavailable`` while the server is away. The old id stays valid then, unless the error's effect is unknown.
    public func rotate(_ id: SessionID) async throws(StoreError) -> Session {
        for _ in 0..<10 {
            let old = try await failover.perform(.fail) { (store, _) async throws(StoreError) in
                try await store(.hgetall(keys.session(id)))
            }.value
            guard let expires = old["expires"], let version = old["version"]?.integer else { throw Self.gone }
            let newID = makeID()
            let arguments = [expires] + old.flatMap { [$0.key, $0.value] }
            guard let copy = try await change(newID, SessionProcedures.adopt, arguments) else { throw Self.gone }
            do {
                try await addToIndex(copy)
                if try await delete(id, ifVersion: version) { return copy }
            } catch {
                try await discard(copy)
                if error.code == .preconditionFailed { continue }
                throw error
            }
            try await discard(copy)
            throw Self.gone
        }
        throw StoreError(.conflict, "The session is changed too often to be copied", field: "id")
    }

    private static var gone: StoreError { StoreError(.notFound, "There is no such session", field: "id") }

    /// Best effort: its id has been told to nobody, so what stays ends by itself.
    private func discard(_ copy: Session) async throws(StoreError) {
        do { try await delete(copy.id) } catch  where error.isServerFailure || error.code == .unavailable {}
    }
}
