public import HoldfastStore

/// Some of a user's sessions.
public struct SessionPage: Sendable {
    /// In the order of the moments at which they end in any case, the last first: the newest first, where all have one lifetime.
    public let sessions: [Session]
    /// Those of the page whose keys hold something that cannot be read as a session: ``Sessions/delete(_:ifVersion:)`` and
    /// ``Sessions/revokeAll(userID:keeping:)`` remove them.
    public let damaged: [SessionID]
    /// Where the next page begins; nil where this was the last. Opaque, and no secret.
    public let cursor: String?
    /// Who answered: always the store, for this process cannot know all of a user's sessions.
    public internal(set) var by = Decider.server
}

extension Sessions {
    /// What lists read and revocations end at once.
    static let maximumPage = 200

    /// The live sessions of a user, page by page. Two round trips: the index, then the sessions together; two more where entries of
    /// sessions that have gone are removed.
    ///
    /// Looking does not let them stay longer. Their ids are secrets: show ``SessionID/masked``. A page can be shorter than `limit`
    /// although another follows. A session that is there from the first page to the last is returned exactly once.
    ///
    /// - Parameters:
    ///   - limit: 1 to 200.
    ///   - cursor: ``SessionPage/cursor`` of the page before.
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument``; ``/HoldfastStore/ErrorCode/unavailable`` while the server is away.
    public func list(userID: String, limit: Int = 50, cursor: String? = nil) async throws(StoreError) -> SessionPage {
        try checkUser(userID)
        guard (1...Self.maximumPage).contains(limit) else { throw .invalid("limit", "It must lie in 1...\(Self.maximumPage)") }
        let start = try cursor.map { (text) throws(StoreError) in try IndexPosition(text) }
        let index = keys.index(of: userID)
        return try await failover.perform(.fail) { (store, _) async throws(StoreError) in
            let (entries, next) = try await IndexPosition.page(of: index, from: start, limit: limit, in: store)
            let ids = entries.compactMap { entry in try? SessionID(entry.member.lossyString) }
            var (sessions, damaged, gone): ([Session], [SessionID], [Bytes]) = ([], [], [])
            for (id, found) in zip(ids, try await read(ids, in: store)) {
                switch found {
                case .session(let session): sessions.append(session)
                case .damaged: damaged.append(id)
                case .gone: gone.append(Bytes(id.text))
                }
            }
            if !gone.isEmpty { _ = try await removeEntries(gone, from: index, in: store) }
            return SessionPage(sessions: sessions, damaged: damaged, cursor: next?.text)
        }.value
    }

    /// How many live sessions a user has. One round trip for the index and one for each 200 sessions; two more for each page of which entries
    /// are removed.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument``; ``/HoldfastStore/ErrorCode/unavailable`` while the server is away.
    public func count(userID: String) async throws(StoreError) -> Decided<Int> {
        try checkUser(userID)
        let index = keys.index(of: userID)
        return try await failover.perform(.fail) { (store, _) async throws(StoreError) in
            try await sift(index, in: store).live
        }
    }

    /// Ends all sessions of a user. Two round trips for each 200 entries of the index, one for each session (many at once).
    ///
    /// It also ends what is created meanwhile, as far as it meets it, and what other processes have created before while they were cut
    /// off, when they hand it over. Sessions are ended one by one: when it throws half-way, with an unknown effect, some are ended and the
    /// others are not; calling it again ends those.
    ///
    /// - Parameter kept: one that stays, as for "log out everywhere else", also under an id that ``rotate(_:once:)`` has given it since; two trips
    ///   more. What still lies in a process that is cut off ends with the others.
    /// - Returns: how many were ended, damaged ones included. While the server is away: how many of those that this process knew; the others
    ///   are ended when it is back, and this process answers none of them until then.
    /// - Throws: while the server is away ``/HoldfastStore/ErrorCode/outboxFull`` with an unknown effect where they have ended in this process
    ///   and the server will not hear of it: repeat it.
    @discardableResult
    public func revokeAll(userID: String, keeping kept: SessionID? = nil) async throws(StoreError) -> Decided<Int> {
        try checkUser(userID)
        let index = keys.indexPair(of: userID)
        let known = dropNear(userID, index[0], kept)
        defer { dropNear(userID, index[0], kept) }
        return try await failover.perform(.localThenReplay) { (store, decider) async throws(StoreError) in
            if decider.isLocal {
                return try await SessionsHere(self, decider).endAll(ofUser: userID, known, keeping: kept)
            }
            if let kept { try await Self.enter(keys.session(kept), kept, of: userID, into: index, in: store) }
            return try await revokeAll(index, keeping: kept, in: store)
        }
    }

    /// Enters a session that a revocation keeps into its user's index, where it is there: its creator may not have come to that yet, and would
    /// take it for one of those that were revoked.
    static func enter(
        _ session: Key, _ id: SessionID, of userID: String, into index: [Key], in store: any Store
    ) async throws(StoreError) {
        let fields: [Bytes?]
        do throws(StoreError) { fields = try await store(.hmget(session, ["user", "ends"])) } catch {
            // Something else lies there, which is nobody's session.
            guard error.code == .wrongType else { throw error }
            return
        }
        guard fields.count == 2, fields[0] == Bytes(userID), let ends = fields[1] else { return }
        _ = try await store.run(
            Procedure(SessionProcedures.indexAdd, keys: index, arguments: [Bytes(id.text), ends, Bytes()]) { $0.integer })
    }

    private func revokeAll(_ index: [Key], keeping kept: SessionID?, in store: any Store) async throws(StoreError) -> Int {
        // As of now, not of its arrival: it may come late, after its caller has given up, and others have logged in again.
        _ = try await store.run(.indexRevoke(index[1], at: serverClock.now.milliseconds))
        // From here on some may have ended.
        do throws(StoreError) { return try await endAll(in: index[0], keeping: kept, in: store) } catch {
            throw error.withUnknownEffect()
        }
    }

    private func endAll(in index: Key, keeping kept: SessionID?, in store: any Store) async throws(StoreError) -> Int {
        var ended = 0
        // What is ended leaves the index, so each page begins where the one before did, and is longer by what stays.
        var staying = Set(kept.map { [Bytes($0.text)] } ?? [])
        while true {
            try CallContext.checkTime(failover.time)
            let page = try await store(.zrange(index, 0, staying.count + Self.maximumPage - 1))
            let members = page.filter { !staying.contains($0) }
            guard !members.isEmpty else { return ended }
            let removals = try await endAll(members, keeping: kept, in: store)
            var gone: [Bytes] = []
            for (member, removal) in removals {
                if case .ended = removal { ended += 1 }
                if case .kept = removal { staying.insert(member) } else { gone.append(member) }
            }
            if !gone.isEmpty { _ = try await store(.zrem(index, gone)) }
        }
    }

    // MARK: - Inside

    private enum Found { case session(Session), damaged, gone }

    /// What lies under the keys of sessions, in one round trip.
    private func read(_ ids: [SessionID], in store: any Store) async throws(StoreError) -> [Found] {
        if ids.isEmpty { return [] }
        let commands = ids.map { Command<[Bytes: Bytes]>.hgetall(keys.session($0)) }
        var found: [Found] = []
        for (place, reply) in try await store.execute(Batch(.pipeline, commands.map(\.operation))).enumerated() {
            do throws(StoreError) {
                let hash = try commands[place].output(of: reply)
                let session = SessionFields.session(ids[place], hash.flatMap { [$0.key, $0.value] })
                found.append(hash.isEmpty ? .gone : session.map(Found.session) ?? .damaged)
            } catch {
                guard error.code == .wrongType else { throw error }
                found.append(.damaged)
            }
        }
        return found
    }

    @discardableResult
    func dropNear(_ userID: String, _ index: Key, _ kept: SessionID?) -> [SessionID] {
        near.dropAll(
            ofUser: userID, index: index, isOwn: { keys.names.suffix(of: $0.bytes) != nil }, except: kept.map(keys.session))
    }

    /// Ends sessions at the same time, so that their commands share trips; answers what became of each.
    private func endAll(
        _ members: [Bytes], keeping kept: SessionID?, in store: any Store
    ) async throws(StoreError) -> [(member: Bytes, removal: Removal)] {
        let outcomes = await withTaskGroup(of: (Bytes, Result<Removal, StoreError>).self) { group in
            for member in members {
                group.addTask {
                    guard let id = try? SessionID(member.lossyString) else { return (member, .success(.absent)) }
                    do throws(StoreError) {
                        return (member, .success(try await remove(id, keeping: kept, in: store)))
                    } catch {
                        return (member, .failure(error))
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        return try outcomes.map { (member, outcome) throws(StoreError) in (member, try outcome.get()) }
    }

    /// Counts the entries of an index whose sessions are there and removes the others.
    func sift(_ index: Key, in store: any Store) async throws(StoreError) -> (live: Int, removed: Int) {
        var (live, removed) = (0, 0)
        while true {
            try CallContext.checkTime(failover.time)
            let members = try await store(.zrange(index, live, live + Self.maximumPage - 1))
            let ids = members.map { try? SessionID($0.lossyString) }
            let found = try await store.pipeline(ids.compactMap { $0 }.map { Command<Bool>.exists(keys.session($0)) })
            var answers = found.makeIterator()
            var gone: [Bytes] = []
            for (member, id) in zip(members, ids) {
                if id != nil, answers.next() == true { live += 1 } else { gone.append(member) }
            }
            if !gone.isEmpty {
                let outcome = try await removeEntries(gone, from: index, in: store)
                live += outcome.live
                removed += outcome.removed
            }
            guard members.count == Self.maximumPage else { return (live, removed) }
        }
    }

    /// Removes entries of an index whose sessions were not there when they were asked for.
    ///
    /// A session that was created is in its index only after it was written, and one that was ended never comes back. But a process that was
    /// cut off enters what it brings first (``SessionReplay``), and may write the session between the question and the removal:
    ///
    ///     here: is it there? No.                                         Remove its entry.
    ///     there:                  Write it. Is its entry there? Yes.
    ///
    /// So they are asked for once more behind the removal: whoever writes one after that finds the entry gone, and enters it. One that is there
    /// is entered again, or ended where all of the user's sessions were revoked since it was created: a revocation in between has missed it. That
    /// ends one that an earlier revocation has kept, too, as its hand-over does that finds its entry gone. All of it is done whatever becomes of the caller.
    ///
    /// - Returns: how many are there after all, and how many were removed.
    private func removeEntries(
        _ members: [Bytes], from index: Key, in store: any Store
    ) async throws(StoreError) -> (live: Int, removed: Int) {
        try await toItsEnd { () async throws(StoreError) in
            let removed = try await store(.zrem(index, members))
            let ids = members.compactMap { try? SessionID($0.lossyString) }
            let found = try await store.pipeline(ids.map { Command<Bool>.exists(keys.session($0)) })
            var live = 0
            for (id, isThere) in zip(ids, found) where isThere {
                if try await enterAgain(id, into: index, in: store) { live += 1 }
            }
            return (live: live, removed: max(0, removed - live))
        }
    }

    /// - Returns: false where it is none, or has been ended.
    private func enterAgain(_ id: SessionID, into index: Key, in store: any Store) async throws(StoreError) -> Bool {
        let span = try await store(.hmget(keys.session(id), ["ends", "created"]))
        guard span.count == 2, let ends = span[0], let created = span[1] else { return false }
        let size = try await store.run(
            Procedure(
                SessionProcedures.indexAdd, keys: [index, index.companion("revoked")],
                arguments: [Bytes(id.text), ends, created]
            ) { $0.integer })
        if size >= 0 { return true }
        _ = try await remove(id, in: store)
        return false
    }
}
