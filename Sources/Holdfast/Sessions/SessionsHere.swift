import HoldfastStore

/// Sessions while the server is away: created, changed and ended in this process, and handed over when it is back.
///
/// They lie in the local store under `away:<epoch>:<the key on the server>`. The epoch (``/HoldfastStore/Outbox/epoch``) rises with every
/// complete hand-over, so nothing of an earlier one is ever read again; what is left of it is removed while the server answers and when
/// it returns (``OldCopies``), or ends by itself. A session of the server's comes here from its near copy, when it is changed first.
///
/// What the server has to hear of a session is one entry, which holds the session as it is here and is replaced by every change
/// (``SessionProcedures/merge``), and one for each append. Both are about the user's index, and so are revocations: of one user all
/// happens in order. What ends a session takes the place of what was kept of it, so that it has room also where the outbox is full; for
/// one that has only been seen here it has none then, but it holds here.
struct SessionsHere: Sendable {
    let sessions: Sessions
    let decider: Decider
    private let epoch: Int
    /// Taken before anything is done: a session that is ended meanwhile is not kept near any more.
    private let ticket: NearSessions.Ticket

    init(_ sessions: Sessions, _ decider: Decider) {
        self.sessions = sessions
        self.decider = decider
        epoch = sessions.failover.outbox.epoch
        ticket = sessions.near.ticket()
    }

    private var local: any Store { sessions.failover.local }
    private var outbox: Outbox { sessions.failover.outbox }
    private var keys: SessionKeys { sessions.keys }

    private func here(_ key: Key) -> Key { Self.here(key, epoch) }
    private func here(_ keys: [Key]) -> [Key] { keys.map(here) }

    static func here(_ key: Key, _ epoch: Int) -> Key {
        var name: [UInt8] = []
        name.reserveCapacity(26 + key.bytes.count)
        name.append(contentsOf: "away:".utf8)
        name.append(decimal: Int64(epoch))
        name.append(UInt8(ascii: ":"))
        name.append(bytes: key.bytes)
        return Key(raw: Bytes(name))
    }

    /// Of a key that ``here(_:_:)`` has made.
    static func epoch(of key: Key) -> Int? {
        let head = Bytes("away:")
        guard key.bytes.starts(with: head) else { return nil }
        return key.bytes.dropFirst(head.count).prefix { $0 != UInt8(ascii: ":") }.integer.map { Int($0) }
    }

    // MARK: - Reading

    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` where this process knows nothing of the session.
    func read(_ id: SessionID, touchEvery interval: Bytes) async throws(StoreError) -> Session? {
        let pair = keys.pair(id)
        let places = here(pair)
        let procedure = Procedure(SessionProcedures.read, keys: places, arguments: [interval], decode: SessionReply.init)
        let reply = try await local.run(procedure)
        if let (session, now) = try reply.session(id) {
            // It was let stay longer, which the server should know; where that cannot be kept it ends sooner.
            if !interval.isEmpty, session.lastAccessed == now { try? await keep(session, reply) }
            return own(session, reply)
        }
        if try await local(.exists(places[1])) { return nil }
        guard var copy = sessions.near.session(id, at: pair[0], clocks: .init(sessions.failover.time)) else {
            throw unknown(SessionProcedures.read)
        }
        copy.by = decider
        return copy
    }

    private func own(_ session: Session, _ reply: SessionReply) -> Session {
        var session = session
        session.by = decider
        if let seen = reply.stored.fieldValue("seen")?.integer {
            session.staleAge = max(.zero, sessions.failover.time.now - Timestamp(milliseconds: seen))
        }
        return session
    }

    private func unknown(_ script: Script) -> StoreError {
        StoreError(.unavailable, "The server is away and this process has no copy", operation: script.identifier)
    }

    // MARK: - Changing

    /// - Returns: nil where there is one of this id.
    func create(_ id: SessionID, _ arguments: [Bytes]) async throws(StoreError) -> Session? {
        try outbox.checkRoom()
        // By the server's clock, as revocations are; of two values of a field the last counts.
        let created: [Bytes] = ["created", Bytes(sessions.serverClock.now.milliseconds)]
        let procedure = Procedure(
            SessionProcedures.create, keys: here(keys.pair(id)), arguments: arguments + created, decode: SessionReply.init)
        let reply = try await local.run(procedure)
        guard let (session, _) = try reply.session(id) else { return nil }
        try await index(id, until: session.ends, of: session.userID)
        // A revocation that was noted after this finds it in the index.
        if isDropped(session) {
            _ = try await bury(id, Self.ending)
            throw StoreError(
                .conflict, "All sessions of the user were revoked meanwhile", operation: SessionProcedures.create.identifier)
        }
        try await keep(session, reply)
        return own(session, reply)
    }

    /// Creates a session under a name, from which its id comes, unless this process has seen it already.
    ///
    /// - Returns: nil where it was ended here.
    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` where this process has acknowledged it before, and cannot know what became of it.
    func create(named id: SessionID, _ arguments: [Bytes]) async throws(StoreError) -> Session? {
        let key = keys.session(id)
        if !isAcknowledged(key), sessions.near.copy(at: key, clocks: .init(sessions.failover.time)) == nil,
            let created = try await create(id, arguments)
        {
            return created
        }
        // Kept once more: the attempt that created it may have failed to.
        return try await change(id, SessionProcedures.read, [Bytes()], once: nil)
    }

    /// Runs a procedure that changes a session. An operation that was acknowledged before, on the server or in an earlier epoch, is answered
    /// the session as it is.
    ///
    /// - Returns: nil where the session was ended here.
    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` where this process knows nothing of it.
    func change(
        _ id: SessionID, _ script: Script, _ arguments: [Bytes], once operation: OperationID?
    ) async throws(StoreError) -> Session? {
        if let operation, isAcknowledged(keys.marker(id, operation)) { return try await read(id, touchEvery: Bytes()) }
        // What bears a marker is done on the server by itself, and needs a place of its own.
        try outbox.checkRoom(named: operation == nil ? entryName(id) : nil)
        // Each removal here is one of which the server must hear.
        let more = script === SessionProcedures.update ? [Bytes(Int64(SessionProcedures.maximumStonesHere))] : []
        let procedure = Procedure(
            script, keys: here(keys.keys(id, once: operation)), arguments: arguments + more, decode: SessionReply.init)
        let moment = sessions.serverClock.now
        var reply = try await local.run(procedure)
        let isAdopted = try reply.session(id) == nil
        if isAdopted {
            guard try await adopt(id, for: script) else { return nil }
            reply = try await local.run(procedure)
            // Handed over and removed in between, because this call began in an earlier epoch: "not found" would be wrong.
            if try reply.session(id) == nil, try await !local(.exists(here(keys.pair(id)[1]))) { throw unknown(script) }
        }
        guard let (session, _) = try reply.session(id) else { return nil }
        try await keep(session, reply)
        if operation != nil {
            try await tell(
                SessionReplay.item(
                    repeating: script, keys.keys(id, once: operation), arguments, at: moment,
                    about: keys.index(of: session.userID)))
        }
        // Ended meanwhile, perhaps on the server, by somebody who could not find it here yet. Who comes after this finds the outbox not
        // empty, and looks (``Sessions/remove``).
        if isAdopted, isDropped(session) {
            _ = try await local(.unlink([here(keys.session(id))]))
            throw unknown(script).withUnknownEffect()
        }
        return own(session, reply)
    }

    private func isAcknowledged(_ marker: Key) -> Bool {
        sessions.acknowledged.contains(marker, now: sessions.failover.time.uptime)
    }

    private func isDropped(_ session: Session) -> Bool {
        sessions.near.isDropped(keys.session(session.id), index: keys.index(of: session.userID), since: ticket)
    }

    /// Takes the near copy of a session over; false where it was ended here.
    private func adopt(_ id: SessionID, for script: Script) async throws(StoreError) -> Bool {
        if try await local(.exists(here(keys.pair(id)[1]))) { return false }
        let time = sessions.failover.time
        guard let copy = sessions.near.copy(at: keys.session(id), clocks: .init(time)),
            let session = SessionFields.session(id, copy.fields)
        else { throw unknown(script) }
        // By this process's clock, for the server's may be another.
        let expires = Bytes((time.now + copy.remaining).milliseconds)
        let next = copy.fields.fieldValue("next") ?? "0"
        let more: [Bytes] = ["expires", expires, "base", next, "seen", Bytes(time.now.milliseconds - copy.age.milliseconds)]
        _ = try await local.run(
            Procedure(
                SessionProcedures.adopt, keys: here(keys.pair(id)), arguments: [expires, "0"] + copy.fields + more,
                decode: SessionReply.init))
        try await index(id, until: session.ends, of: session.userID)
        return true
    }

    private func index(_ id: SessionID, until ends: Timestamp, of userID: String) async throws(StoreError) {
        _ = try await local.run(
            Procedure(
                SessionProcedures.indexAdd, keys: here(keys.indexPair(of: userID)),
                arguments: [Bytes(id.text), Bytes(ends.milliseconds), Bytes()]
            ) { $0.integer })
    }

    /// Of this epoch: a session that lies here twice, because a call that began in an earlier epoch adopted it too, has two entries,
    /// neither of which contains the other. The server merges both.
    private func entryName(_ id: SessionID) -> Bytes { Outbox.name("session.merge", of: keys.session(id), in: epoch) }

    /// Adds what has been done here already: where there is no room for it the caller must not take it for undone.
    private func tell(_ item: Outbox.Item) async throws(StoreError) {
        do throws(StoreError) { try await outbox.add(item) } catch { throw error.withUnknownEffect() }
    }

    /// Keeps a session as it is here for the server, in place of what was kept of it before.
    private func keep(_ session: Session, _ reply: SessionReply) async throws(StoreError) {
        let (pair, index) = (keys.pair(session.id), keys.indexPair(of: session.userID))
        let fields = SessionFields.merged(reply.stored, serverIsAhead: sessions.serverClock.ahead)
        let head = [Bytes(session.id.text), fields.fieldValue("ends") ?? "0", Bytes(session.created.milliseconds)]
        try await tell(
            Outbox.Item(
                SessionProcedures.merge.identifier, keys: pair + index, arguments: head + fields,
                about: index[0].bytes, named: entryName(session.id),
                rank: [session.version, session.lastAccessed.milliseconds, session.expires.milliseconds],
                epoch: epoch))
        let time = sessions.failover.time
        sessions.near.keep(
            session, reply.stored.droppingFields(["base", "seen"]), at: pair[0], serverNow: time.now,
            ticket: ticket, clocks: .init(time), index: index[0])
    }

    // MARK: - Ending

    private static var ending: [Bytes] { Sessions.endArguments(ifVersion: nil, epitaph: "deleted", always: true) }

    /// - Throws: ``/HoldfastStore/ErrorCode/outboxFull`` with an unknown effect where it has ended here and the server cannot be told.
    func end(_ id: SessionID, epitaph: Bytes) async throws(StoreError) {
        let copy = sessions.near.copy(at: keys.session(id), clocks: .init(sessions.failover.time))
        // Of ids that are not known here nothing is kept that the outbox does not bound.
        if copy == nil, try await !local(.exists(here(keys.session(id)))) { try outbox.checkRoom(named: entryName(id)) }
        let arguments = Sessions.endArguments(ifVersion: nil, epitaph: epitaph, always: true)
        let user = try await bury(id, arguments) ?? copy?.fields.fieldValue("user")?.string
        try await tell(deletion(id, arguments, about: user.map(keys.index(of:))))
    }

    private func deletion(_ id: SessionID, _ arguments: [Bytes], about index: Key?) -> Outbox.Item {
        Outbox.Item(
            SessionProcedures.delete.identifier, keys: keys.pair(id), arguments: arguments, about: index?.bytes,
            named: entryName(id), rank: [.max], epoch: epoch)
    }

    /// - Returns: how many sessions of the user this process knew.
    /// - Throws: as ``end(_:epitaph:)``.
    func endAll(ofUser userID: String, _ known: [SessionID], keeping kept: SessionID?) async throws(StoreError) -> Int {
        // Before the drop: whoever begins to create a session after that is later.
        let moment = sessions.serverClock.now
        let index = keys.indexPair(of: userID)
        let dropped = sessions.dropNear(userID, index[0], kept)
        let members = try await local(.zrange(here(index[0]), 0, -1))
        var ids = Set(known + dropped + members.compactMap { try? SessionID($0.lossyString) })
        if let kept { ids.remove(kept) }
        for id in ids { _ = try await bury(id, Self.ending) }
        let span = try await span(of: kept)
        do throws(StoreError) {
            try await tell(
                Outbox.Item(
                    SessionReplay.revokeAll, keys: index,
                    arguments: [keys.names.head, Bytes(kept?.text ?? ""), Bytes(moment.milliseconds)] + span
                        + ids.map { Bytes($0.text) },
                    about: index[0].bytes))
        } catch {
            try await endWhatWaits(ids, of: userID)
            throw error
        }
        return ids.count
    }

    /// When a session ends in any case, and when it was created; empty where that is not known here.
    private func span(of id: SessionID?) async throws(StoreError) -> [Bytes] {
        guard let id else { return ["", ""] }
        let known = try await local(.hmget(here(keys.session(id)), ["ends", "created", "base"]))
        if let ends = known[0]?.integer, let created = known[1] {
            // The server has never seen one without a base: its end is by the clock of this process.
            return [Bytes(known[2] == nil ? ends + sessions.serverClock.ahead.milliseconds : ends), created]
        }
        let fields = sessions.near.copy(at: keys.session(id), clocks: .init(sessions.failover.time))?.fields ?? []
        guard let ends = fields.fieldValue("ends"), let created = fields.fieldValue("created") else { return ["", ""] }
        return [ends, created]
    }

    /// Where a revocation has no room: what waits for the server must not bring a session there that has ended here, and who repeats
    /// the revocation must find the others.
    private func endWhatWaits(_ ids: Set<SessionID>, of userID: String) async throws(StoreError) {
        let end = sessions.failover.time.now + Sessions.maximumTombstoneTTL
        for id in ids {
            try await index(id, until: end, of: userID)
            guard outbox.contains(named: entryName(id)) else { continue }
            try? await outbox.add(deletion(id, Self.ending, about: keys.index(of: userID)))
        }
    }

    /// Ends a session here; answers its user where it lay here.
    func bury(_ id: SessionID, _ arguments: [Bytes]) async throws(StoreError) -> String? {
        sessions.near.drop(keys.session(id))
        let reply = try await local.run(
            Procedure(SessionProcedures.delete, keys: here(keys.pair(id)), arguments: arguments, decode: SessionReply.init))
        return try reply.pairs(of: id)?.fieldValue("user")?.string
    }
}

extension SessionReply {
    /// The session's fields as stored, without what the reply adds.
    var stored: [Bytes] { Array(all.dropLast(2)) }
}

/// Names and values by turns.
extension [Bytes] {
    func fieldValue(_ name: Bytes) -> Bytes? {
        stride(from: 0, to: count - 1, by: 2).reversed().first { self[$0] == name }.map { self[$0 + 1] }
    }

    func droppingFields(_ names: Set<Bytes>) -> [Bytes] {
        stride(from: 0, to: count - 1, by: 2).flatMap { names.contains(self[$0]) ? [] : [self[$0], self[$0 + 1]] }
    }
}

extension SessionFields {
    /// What the server is given of a session that lies here: without the messages that were appended here, which follow by themselves;
    /// and its moments by the server's clock, but for those that came from there. It never expires after it ends in any case: by this process's
    /// clock that may be another moment.
    static func merged(_ stored: [Bytes], serverIsAhead lead: Duration) -> [Bytes] {
        let base = stored.fieldValue("base")?.integer ?? 0
        var rest = stored.droppingFields(["base", "seen", "first", "next", "size"])
        let isMadeHere = stored.fieldValue("base") == nil
        let ours: Set<Bytes> = isMadeHere ? ["accessed", "expires", "ends"] : ["accessed", "expires"]
        for place in stride(from: 0, to: rest.count - 1, by: 2) where ours.contains(rest[place]) {
            if let moment = rest[place + 1].integer { rest[place + 1] = Bytes(moment + lead.milliseconds) }
        }
        if let expires = rest.fieldValue("expires")?.integer, let ends = rest.fieldValue("ends")?.integer, expires > ends {
            rest = rest.droppingFields(["expires"]) + ["expires", Bytes(ends)]
        }
        rest = stride(from: 0, to: rest.count - 1, by: 2).flatMap { place -> [Bytes] in
            let isNew = rest[place].starts(with: "m:".utf8) && rest[place].dropFirst(2).integer ?? 0 >= base
            return isNew ? [] : [rest[place], rest[place + 1]]
        }
        let first = min(stored.fieldValue("first")?.integer ?? 0, base)
        if stored.fieldValue("window") != nil { rest += ["first", Bytes(first), "next", Bytes(base)] }
        return rest + ["size", Bytes(Int64(size(rest)))]
    }

    /// As `size` counts it.
    private static func size(_ stored: [Bytes]) -> Int {
        stride(from: 0, to: stored.count - 1, by: 2).reduce(0) { sum, place in
            let (name, value) = (stored[place], stored[place + 1])
            if name.starts(with: "m:".utf8) { return sum + name.count + value.count }
            guard name.starts(with: "d:".utf8), value.count > SessionProcedures.stampLength else { return sum }
            return sum + name.count + value.count - SessionProcedures.stampLength
        }
    }
}
