public import HoldfastStore

extension Sessions {
    /// Creates a session. Two round trips: the session, then its user's index; with a name a third, which notes that both are done.
    ///
    /// - Parameters:
    ///   - data: the session's fields; each can be changed by itself later.
    ///   - ttl: how long it stays without being used; by default that of the kind (``Configuration/lifetime(of:)``).
    ///   - absoluteTTL: how long it stays at most; by default that of the kind. `ttl` cannot be longer.
    ///   - operation: a name, under which one session is created however often it is called: its id comes from the name, which
    ///     must therefore be as secret as an id. A repetition is answered the session as it is (two round trips, and those that the
    ///     first attempt did not come to).
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` or ``/HoldfastStore/ErrorCode/tooLarge`` naming the parameter, with nothing written;
    ///   ``/HoldfastStore/ErrorCode/unavailable`` while the server is away, where that is not to be decided here, or the operation's session was created
    ///   before and this process has no copy of it; ``/HoldfastStore/ErrorCode/conflict`` where the operation's session has been ended, or all sessions of the user
    ///   meanwhile. An error after the first trip has the effect `unknown`: it can leave a session behind whose id nobody knows, which ends by
    ///   itself unless the operation is repeated.
    public func create(
        userID: String, workspaceID: String? = nil, kind: Session.Kind = .user, data: [String: JSONValue] = [:],
        ttl: Duration? = nil, absoluteTTL: Duration? = nil, clientAddress: String? = nil, userAgent: String? = nil,
        once operation: OperationID? = nil
    ) async throws(StoreError) -> Session {
        let lifetime = try checkedLifetime(of: kind, ttl: ttl, absoluteTTL: absoluteTTL)
        let fields = try newFields(userID, workspaceID, kind, data, clientAddress, userAgent)
        let arguments = [Bytes(lifetime.idle.milliseconds), Bytes(lifetime.absolute.milliseconds)] + fields
        let named = operation.map { SessionID(high: $0.high, low: $0.low) }
        let ticket = near.ticket()
        let session = try await failover.perform(outagePolicy) { (store, decider) async throws(StoreError) -> Session in
            switch (named, decider.isLocal) {
            case (let id?, false): try await create(named: id, arguments, in: store, ticket)
            case (let id?, true):
                try Self.created(await SessionsHere(self, decider).create(named: id, arguments), isNamed: true)
            case (nil, false): try await create(makeID(), arguments, in: store, ticket)
            case (nil, true):
                try Self.created(
                    await SessionsHere(self, decider).create(makeID().madeAway(at: serverClock.now), arguments),
                    isNamed: false)
            }
        }.value
        if let named { acknowledge(keys.session(named), for: lifetime.absolute) }
        return session
    }

    private func create(
        _ id: SessionID, _ arguments: [Bytes], in store: any Store, _ ticket: NearSessions.Ticket
    ) async throws(StoreError) -> Session {
        let session = try Self.created(
            await run(SessionProcedures.create, id, arguments, in: store, ticket), isNamed: false)
        do throws(StoreError) {
            if try await addToIndex(session, isNew: true, in: store) { return session }
        } catch {
            throw error.withUnknownEffect()
        }
        throw StoreError(
            .conflict, "All sessions of the user were revoked meanwhile", operation: SessionProcedures.create.identifier)
    }

    /// What is created is pending until it is in the index, because its id is known to whoever knows the name: ``run(_:_:_:once:in:_:)`` settles it.
    private func create(
        named id: SessionID, _ arguments: [Bytes], in store: any Store, _ ticket: NearSessions.Ticket
    ) async throws(StoreError) -> Session {
        let arguments = arguments + [SessionFields.pending, "1"]
        if let new = try await run(SessionProcedures.create, id, arguments, in: store, ticket) { return new }
        return try Self.created(await run(SessionProcedures.read, id, [Bytes()], in: store, ticket), isNamed: true)
    }

    private static func created(_ session: Session?, isNamed: Bool) throws(StoreError) -> Session {
        if let session { return session }
        let message = isNamed ? "The session that was created has ended" : "The new session's id is taken"
        throw StoreError(.conflict, message, operation: SessionProcedures.create.identifier)
    }
}
