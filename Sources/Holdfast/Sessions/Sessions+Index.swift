import HoldfastStore

// How a session comes among its user's: its index lies in another slot, so that takes a trip of its own.

extension Sessions {
    /// - Parameter isNew: whether a revocation that came after the session's creation ends it.
    /// - Returns: false where that was so: it has been ended.
    func addToIndex(_ session: Session, isNew: Bool = false, in store: any Store) async throws(StoreError) -> Bool {
        let created = isNew ? Bytes(session.created.milliseconds) : Bytes()
        let size = try await store.run(
            Procedure(
                SessionProcedures.indexAdd, keys: keys.indexPair(of: session.userID),
                arguments: [Bytes(session.id.text), Bytes(session.ends.milliseconds), created]
            ) { $0.integer })
        if size >= 0 { return true }
        _ = try await remove(session.id, in: store)
        return false
    }

    /// What is done first of all with a session that may not be among its user's yet (``SessionFields/pending``), whoever meets it: its creator,
    /// who has just written it, or somebody else where that did not come to it.
    ///
    /// - Returns: false where all of the user's sessions were revoked since it was created: it has been ended.
    /// - Throws: with the effect unknown, for what it was met by has been done.
    func settle(_ session: Session, in store: any Store) async throws(StoreError) -> Bool {
        do throws(StoreError) {
            guard try await addToIndex(session, isNew: true, in: store) else { return false }
        } catch {
            throw error.withUnknownEffect()
        }
        // Where this fails the next one who meets it does the same again.
        _ = try? await store(.hdel(keys.session(session.id), [SessionFields.pending]))
        return true
    }
}
