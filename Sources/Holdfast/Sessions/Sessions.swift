public import HoldfastStore

/// Sessions of users, agents' conversations and workflows, with sliding and absolute expiry and field-level changes.
///
///     let sessions = Sessions(failover: failover)
///     let session = try await sessions.create(userID: "user-123", data: ["cart": []], ttl: .seconds(1800))
///     let seen = try await sessions.get(session.id).value
///     try await sessions.update(session.id, set: ["step": "icp_architect"])
///     try await sessions.revokeAll(userID: "user-123")
///
/// **Atomicity.** Each operation on one session is one procedure: concurrent changes of different fields all survive, and none
/// brings back a session that was deleted. A session and its user's index lie in different slots. The session is written first
/// and indexed second, and removed first and unindexed second:
///
/// - A crash between writing and indexing leaves a session whose id nobody has been told; it ends by itself. One that was created under a
///   name, from which its id comes, says so itself until it is indexed: whoever reads or changes it first does that before (two round trips
///   more), or ends it where all of the user's sessions were revoked since. The other order would let a concurrent reader of the index find an entry without a session, take it for a left-over and remove it, and the session
///   would then live without being found by ``revokeAll(userID:keeping:)``.
/// - A crash between removing and unindexing leaves an entry without a session. Whoever reads the index removes it, and looks once more
///   behind that whether the session is there: an id that was ended never comes back, but one that lay in a process that was cut off may.
/// - The index is ordered by the moment at which each session ends in any case, which never changes, so sliding needs no second
///   write and no entry can end before its session.
///
/// **While the configured server is away** sessions that this process has seen are read and changed here, marked stale, and new ones are
/// created here; ids that it has not seen are `unavailable`, never "not found". What ends a session is accepted for any id and holds here at
/// once. When the server is back all of it is merged: of each field the later change counts, and a session that was ended anywhere stays
/// ended. Lists, counts, rotation and changes with an expectation are ``/HoldfastStore/ErrorCode/unavailable`` until then. Each result says who decided.
///
/// With ``OutageBehavior/closed`` (``Configuration/outage``) everything is refused while the server is away but what ends sessions, and no
/// near copy is served.
public struct Sessions: Sendable {
    public let configuration: Configuration
    let failover: Failover
    let keys: SessionKeys
    let near: NearSessions
    let acknowledged: AcknowledgedOperations
    let serverClock: ServerClock
    let makeID: @Sendable () -> SessionID

    /// - Parameter makeID: where ids come from. They must be unguessable and are never used twice.
    public init(
        failover: Failover, namespace: Namespace = Namespace(), configuration: Configuration = Configuration(),
        makeID: @escaping @Sendable () -> SessionID = { .random() }
    ) {
        let failover = configuration.storage == .memory ? Failover(local: failover.local, time: failover.time) : failover
        let near = NearSessions(limits: configuration.nearCopies)
        let acknowledged = AcknowledgedOperations(limit: max(1024, configuration.nearCopies.entries))
        self.init(
            failover, SessionKeys(names: namespace), configuration, near, acknowledged, ServerClock(failover.time), makeID)
        if failover.server == nil { return }
        SessionReplay.register(in: failover.outbox, serverClock)
        // What was kept for the outage is of no use once the server answers; the next outage begins with what is read until then.
        let (old, outbox) = (OldCopies(in: failover.local), failover.outbox)
        failover.whenReturnIsCertain {
            near.dropAll()
            await old.removeAll(before: outbox.epoch)
        }
        // Single failures leave copies too, and a return that fails after the hand-over does.
        failover.whileServerAnswers { _ in await old.removeSome(before: outbox.epoch) }
        failover.whenServerReturns { _ in await old.removeSome(before: outbox.epoch) }
    }

    private init(
        _ failover: Failover, _ keys: SessionKeys, _ configuration: Configuration, _ near: NearSessions,
        _ acknowledged: AcknowledgedOperations, _ serverClock: ServerClock, _ makeID: @escaping @Sendable () -> SessionID
    ) {
        self.failover = failover
        self.keys = keys
        self.configuration = configuration
        self.near = near
        self.acknowledged = acknowledged
        self.serverClock = serverClock
        self.makeID = makeID
    }

    /// The sessions of one tenant.
    public func scoped(to tenant: String) -> Sessions {
        Sessions(
            failover, SessionKeys(names: keys.names.scoped(to: tenant)), configuration, near, acknowledged, serverClock, makeID)
    }

    /// How many changes of this process's sessions, all tenants together, wait for the server to be back.
    public var pendingChanges: Int { SessionReplay.actions.reduce(0) { $0 + failover.outbox.count(of: $1) } }

    // MARK: - One session

    /// Reads a session, and lets it stay for another idle TTL. One round trip.
    ///
    /// - Parameter touch: false to look without letting it stay longer.
    /// - Returns: the session, or nil where there is none (it never was, has expired or was deleted). While the server is away:
    ///   the near copy, ``Session/isStale``, within its expiry and ``NearCopies/staleLimit``, which does not slide.
    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` while the server is away and this process has no copy, or serves none; ``/HoldfastStore/ErrorCode/unsupportedFormat`` naming
    ///   `id` where something else has been written to the session's key. ``delete(_:ifVersion:)`` removes that.
    public func get(_ id: SessionID, touch: Bool = true) async throws(StoreError) -> Decided<Session?> {
        let interval = touch ? Bytes(max(0, configuration.touchInterval.milliseconds)) : Bytes()
        let ticket = near.ticket()
        return try await failover.perform(outagePolicy) { (store, decider) async throws(StoreError) -> Session? in
            if decider.isLocal { return try await SessionsHere(self, decider).read(id, touchEvery: interval) }
            return try await run(SessionProcedures.read, id, [interval], in: store, ticket)
        }
    }

    /// Sets and removes fields of a session's data, all or nothing, and lets it stay for another idle TTL. One round trip.
    ///
    /// Concurrent updates of different fields all survive; of one field the last. To decide by what is there, expect a version or
    /// values.
    ///
    /// - Returns: the session after the change.
    /// - Throws: ``/HoldfastStore/ErrorCode/notFound`` where there is no such session, ``/HoldfastStore/ErrorCode/preconditionFailed`` where the version is another
    ///   one, ``/HoldfastStore/ErrorCode/conflict`` naming the field where a value is another one, ``/HoldfastStore/ErrorCode/tooLarge``,
    ///   ``/HoldfastStore/ErrorCode/invalidArgument``, ``/HoldfastStore/ErrorCode/unavailable`` while the server is away. Nothing is changed then, unless the
    ///   error's effect is unknown: the server may have done it before it went away.
    @discardableResult
    public func update(
        _ id: SessionID, set: [String: JSONValue] = [:], remove: Set<String> = [], expecting: SessionExpectation = .none
    ) async throws(StoreError) -> Session {
        let arguments = try updateArguments(set, remove, expecting)
        let policy = expecting == .none ? outagePolicy : .fail
        return try found(await change(id, SessionProcedures.update, arguments, policy))
    }

    /// Appends messages to a conversation, which keeps its last ``Configuration/conversationWindow``, and lets it stay for another
    /// idle TTL. Older messages also go where the session would become larger than ``Limits/bytes``. Atomic; one round trip.
    ///
    /// - Parameter operation: a name, under which they are appended at most once; a repetition is answered the session as it is.
    /// - Returns: the session after the change.
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` where the session is no conversation; otherwise as ``update(_:set:remove:expecting:)``.
    @discardableResult
    public func append(
        _ messages: [NewSessionMessage], to id: SessionID, once operation: OperationID? = nil
    ) async throws(StoreError) -> Session {
        // With a name from the first send on: its reply may be lost before anybody knows that the server is away.
        // Its marker stays for the longest outage.
        let longest = failover.outbox.configuration.longestOutage
        let marked = mayDecideHere ? (operation ?? OperationID.random()).retained(for: longest) : operation
        let arguments = try appendArguments(messages, marked)
        let session = try found(await change(id, SessionProcedures.append, arguments, outagePolicy, once: marked))
        // A name of ours is repeated by nobody.
        if operation != nil, let marked { acknowledge(keys.marker(id, marked), for: marked.retention) }
        return session
    }

    /// Lets a session stay at least this long from now on, within its absolute TTL; never shortens it. One round trip.
    ///
    /// - Parameters:
    ///   - ttl: by default its idle TTL.
    ///   - operation: a name, under which it is extended at most once; a repetition is answered the session as it is.
    /// - Throws: ``/HoldfastStore/ErrorCode/notFound``, ``/HoldfastStore/ErrorCode/invalidArgument``, ``/HoldfastStore/ErrorCode/unavailable`` while the server is away.
    @discardableResult
    public func extend(
        _ id: SessionID, by ttl: Duration? = nil, once operation: OperationID? = nil
    ) async throws(StoreError) -> Session {
        if let ttl { try checkTTL(ttl, "ttl") }
        let arguments = [ttl.map { Bytes($0.milliseconds) } ?? Bytes(), operation?.retentionArgument ?? Bytes()]
        let session = try found(await change(id, SessionProcedures.extend, arguments, outagePolicy, once: operation))
        if let operation { acknowledge(keys.marker(id, operation), for: operation.retention) }
        return session
    }

    /// Ends a session. Two round trips: the session, then its user's index.
    ///
    /// Once the first has been answered the session is gone for good: a tombstone keeps late writers from bringing it back.
    ///
    /// - Parameter version: end it only at this version.
    /// - Returns: whether there was one. While the server is away true, whatever is known here: it will be ended there too.
    /// - Throws: ``/HoldfastStore/ErrorCode/preconditionFailed``; while the server is away ``/HoldfastStore/ErrorCode/unavailable`` where a version is expected,
    ///   and ``/HoldfastStore/ErrorCode/outboxFull`` with an unknown effect where it has ended in this process and the server will not hear of
    ///   it: repeat it.
    @discardableResult
    public func delete(_ id: SessionID, ifVersion version: Int64? = nil) async throws(StoreError) -> Decided<Bool> {
        try await end(id, ifVersion: version, epitaph: "deleted")
    }

    // MARK: - Inside

    /// Does what must not stop half-way: without the caller's deadline, and not cancelled with it. The caller leaves all the same.
    func toItsEnd<Output: Sendable>(
        _ work: @escaping @Sendable () async throws(StoreError) -> Output
    ) async throws(StoreError) -> Output {
        let promise = Promise<Output>()
        Task.detached { await promise.settle(by: work) }
        return try await promise.wait(failover.time)
    }

    /// What an outage means for a call that does not only end sessions.
    var outagePolicy: OutagePolicy { configuration.outage == .closed ? .fail : .localThenReplay }

    /// Whether changes may be decided here, and handed over.
    private var mayDecideHere: Bool { failover.server != nil && configuration.outage == .local }

    /// So that a repetition is known again in an outage.
    func acknowledge(_ marker: Key, for retention: Duration) {
        if mayDecideHere { acknowledged.note(marker, for: retention, now: failover.time.uptime) }
    }

    /// - Parameter epitaph: what the tombstone says.
    func end(_ id: SessionID, ifVersion version: Int64?, epitaph: Bytes) async throws(StoreError) -> Decided<Bool> {
        try await failover.perform(version == nil ? .localThenReplay : .fail) { (store, decider) async throws(StoreError) in
            if decider.isLocal {
                try await SessionsHere(self, decider).end(id, epitaph: epitaph)
                return true
            }
            guard case .ended(let user) = try await remove(id, ifVersion: version, epitaph: epitaph, in: store) else {
                // It may lie in another process still, which will find the tombstone.
                return version == nil && id.madeAway != nil
            }
            // The session is gone; an entry that stays behind is removed by whoever reads it.
            if !user.isEmpty { _ = try? await store(.zrem(keys.index(of: user), Bytes(id.text))) }
            return true
        }
    }

    enum Removal: Sendable {
        /// The user is empty where it was damaged so that nobody can tell.
        case ended(user: String)
        case absent
        /// It had the id that is kept before.
        case kept
    }

    /// Removes a session without its index entry.
    ///
    /// - Parameter kept: an id; a session that had it before stays.
    func remove(
        _ id: SessionID, ifVersion version: Int64? = nil, epitaph: Bytes = "deleted", keeping kept: SessionID? = nil,
        in store: any Store
    ) async throws(StoreError) -> Removal {
        let pair = keys.pair(id)
        // Before, so that it holds here at once even where the server cannot be told; after, against reads that overtook it.
        near.drop(pair[0])
        defer { near.drop(pair[0]) }
        let arguments = Self.endArguments(ifVersion: version, epitaph: epitaph, always: failover.server != nil)
        let spared = kept.map { [Bytes($0.text)] } ?? []
        let reply = try await store.run(
            Procedure(SessionProcedures.delete, keys: pair, arguments: arguments + spared, decode: SessionReply.init))
        if reply.isKept { return .kept }
        let pairs = try reply.pairs(of: id)
        // While something waits for the server the session may lie here too, to be read in the next outage.
        if !failover.outbox.isEmpty {
            // At whatever version: the server has decided.
            let unconditionally = Self.endArguments(ifVersion: nil, epitaph: epitaph, always: true)
            _ = try? await SessionsHere(self, .server).bury(id, unconditionally)
        }
        return (pairs?.fieldValue("user")?.string).map(Removal.ended) ?? .absent
    }

    static func endArguments(ifVersion version: Int64?, epitaph: Bytes, always: Bool) -> [Bytes] {
        [version.map(Bytes.init) ?? Bytes(), Bytes(maximumTombstoneTTL.milliseconds), epitaph, always ? "1" : Bytes()]
    }

    /// A session as the store has it, without letting it stay longer.
    func look(_ id: SessionID) async throws(StoreError) -> Session? {
        try await change(id, SessionProcedures.read, [Bytes()])
    }

    /// Runs a procedure that answers a session, mostly after a change.
    func change(
        _ id: SessionID, _ script: Script, _ arguments: [Bytes], _ policy: OutagePolicy = .fail,
        once operation: OperationID? = nil
    ) async throws(StoreError) -> Session? {
        let ticket = near.ticket()
        return try await failover.perform(policy) { (store, decider) async throws(StoreError) in
            if decider.isLocal {
                // Told inside, so that what the server may have done before is told with it.
                return try found(await SessionsHere(self, decider).change(id, script, arguments, once: operation))
            }
            return try await run(script, id, arguments, once: operation, in: store, ticket)
        }.value
    }

    /// Runs a procedure where the store is the server or there is none, settles what it answers where that is pending, and keeps a near copy of
    /// it.
    ///
    /// - Returns: nil where there is no such session, or it is found revoked.
    func run(
        _ script: Script, _ id: SessionID, _ arguments: [Bytes], once operation: OperationID? = nil, in store: any Store,
        _ ticket: NearSessions.Ticket
    ) async throws(StoreError) -> Session? {
        let sent = failover.time.uptime
        let reply = try await store.run(
            Procedure(script, keys: keys.keys(id, once: operation), arguments: arguments, decode: SessionReply.init))
        guard let (session, now) = try reply.session(id) else {
            // Of a creation it says that there is or was one.
            if script !== SessionProcedures.create { try await confirmAbsence(of: id, in: store) }
            return nil
        }
        let clocks = NearSessions.Clocks(failover.time)
        if failover.server != nil { serverClock.heard(now, sent: sent) }
        // Not kept near before: a revocation of which this process knows may have missed it.
        let isPending = reply.isPending
        if isPending, try await !settle(session, in: store) { return nil }
        if failover.server != nil {
            let stored = isPending ? reply.stored.droppingFields([SessionFields.pending]) : reply.stored
            near.keep(
                session, stored, at: keys.session(id), serverNow: now, ticket: ticket, clocks: clocks,
                index: keys.index(of: session.userID))
        }
        return session
    }

    /// Forgets a session that the store does not have.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` for one that may lie in a process that has not handed it over yet.
    private func confirmAbsence(of id: SessionID, in store: any Store) async throws(StoreError) {
        near.drop(keys.session(id))
        guard failover.server != nil, let made = id.madeAway else { return }
        // Both by the server's clock, as far as either process has heard it: their own may be hours apart.
        let age = serverClock.now - made
        // One from the future, but for what clocks differ by, was made by nobody.
        guard (.seconds(-300)..<failover.outbox.configuration.longestOutage).contains(age) else { return }
        if let stone = try await store(.get(keys.pair(id)[1])), SessionProcedures.momentBefore(stone) == nil { return }
        throw StoreError(.unavailable, "The process that made the session has not handed it over yet", field: "id")
    }

    private func found(_ session: Session?) throws(StoreError) -> Session {
        guard let session else { throw StoreError(.notFound, "There is no such session", field: "id") }
        return session
    }
}
