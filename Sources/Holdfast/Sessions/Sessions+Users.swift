public import HoldfastStore

/// Some of a user's sessions.
public struct SessionPage: Sendable {
    /// In the order of the moments at which they end in any case, the last first: the newest first, where all have one lifetime.
    public let sessions: [Session]
    /// Where the next page begins; nil where this was the last. Opaque, and no secret.
    public let cursor: String?
}

extension Sessions {
    /// What lists read and revocations end at once.
    static let maximumPage = 200

    /// The live sessions of a user, page by page. Two round trips: the index, then the sessions together; a third where entries of
    /// sessions that have gone are removed.
    ///
    /// Looking does not let them stay longer. Their ids are secrets: show ``SessionID/masked``. A page can be shorter than `limit`
    /// although another follows. A session that is there from the first page to the last is returned once, unless another that
    /// ends in the same millisecond goes meanwhile.
    ///
    /// - Parameters:
    ///   - limit: 1 to 200.
    ///   - cursor: ``SessionPage/cursor`` of the page before.
    /// - Throws: ``ErrorCode/invalidArgument``; ``ErrorCode/unavailable`` while the server is away.
    public func list(userID: String, limit: Int = 50, cursor: String? = nil) async throws(StoreError) -> SessionPage {
        try checkUser(userID)
        guard (1...Self.maximumPage).contains(limit) else { throw .invalid("limit", "It must lie in 1...\(Self.maximumPage)") }
        let start = try cursor.map { (text) throws(StoreError) in try IndexPosition(text) }
        let index = keys.index(of: userID)
        return try await failover.perform(.fail) { (store, _) async throws(StoreError) in
            let entries = try await store(.zrangeWithScores(index, IndexPosition.range(from: start, limit: limit)))
            let ids = entries.compactMap { entry in try? SessionID(entry.member.lossyString) }
            let hashes = try await store.pipeline(ids.map { Command<[Bytes: Bytes]>.hgetall(keys.session($0)) })
            var (sessions, gone): ([Session], [Bytes]) = ([], [])
            for (id, hash) in zip(ids, hashes) {
                // One that has been written by something else is left to whoever did.
                let session = SessionFields.session(id, hash.flatMap { [$0.key, $0.value] })
                if hash.isEmpty { gone.append(Bytes(id.text)) } else if let session { sessions.append(session) }
            }
            if !gone.isEmpty { _ = try await store(.zrem(index, gone)) }
            let isLast = entries.count < limit
            let next = isLast ? nil : IndexPosition(after: start, entries, without: Set(gone))
            return SessionPage(sessions: sessions, cursor: next?.text)
        }.value
    }

    /// How many live sessions a user has. One round trip for the index and one for each 200 sessions.
    ///
    /// - Throws: ``ErrorCode/invalidArgument``; ``ErrorCode/unavailable`` while the server is away.
    public func count(userID: String) async throws(StoreError) -> Int {
        try checkUser(userID)
        let index = keys.index(of: userID)
        return try await failover.perform(.fail) { (store, _) async throws(StoreError) in
            try await sift(index, in: store).live
        }.value
    }

    /// Ends all sessions of a user. One round trip for each 200 entries of the index, one for each session (many at once).
    ///
    /// It also ends what is created meanwhile, as far as it meets it. Sessions are ended one by one: when it throws half-way, some
    /// are ended and the others are not; calling it again ends those.
    ///
    /// - Parameter keeping: one that stays, as for "log out everywhere else".
    /// - Returns: how many were ended.
    /// - Throws: ``ErrorCode/unavailable`` while the server is away: they are then not ended, but this process answers nothing of them
    ///   any more until the server is back. Try again.
    @discardableResult
    public func revokeAll(userID: String, keeping kept: SessionID? = nil) async throws(StoreError) -> Int {
        try checkUser(userID)
        let index = keys.index(of: userID)
        dropNear(userID, index, kept)
        defer { dropNear(userID, index, kept) }
        var ended = 0
        // What is ended leaves the index, so each page begins where the one before did, but for the one that is kept.
        while true {
            let page = try await failover.perform(.fail) { (store, _) async throws(StoreError) in
                try await store(.zrange(index, 0, kept == nil ? Self.maximumPage - 1 : Self.maximumPage))
            }.value
            let members = page.filter { $0 != kept.map { Bytes($0.text) } }
            guard !members.isEmpty else { return ended }
            ended += try await endAll(members)
            _ = try await failover.perform(.fail) { (store, _) async throws(StoreError) in
                try await store(.zrem(index, members))
            }
        }
    }

    // MARK: - Inside

    private func dropNear(_ userID: String, _ index: Key, _ kept: SessionID?) {
        near.dropAll(
            ofUser: userID, index: index, isOwn: { keys.names.suffix(of: $0.bytes) != nil }, except: kept.map(keys.session))
    }

    /// Ends sessions at the same time, so that their commands share trips; answers how many there were.
    private func endAll(_ members: [Bytes]) async throws(StoreError) -> Int {
        let outcomes = await withTaskGroup(of: Result<Bool, StoreError>.self) { group in
            for member in members {
                guard let id = try? SessionID(member.lossyString) else { continue }
                group.addTask {
                    do throws(StoreError) { return .success(try await remove(id) != nil) } catch { return .failure(error) }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        var ended = 0
        for outcome in outcomes where try outcome.get() { ended += 1 }
        return ended
    }

    /// Counts the entries of an index whose sessions are there and removes the others.
    ///
    /// Removing is safe at any time: a session is in its index only after it was written, and one that is gone never comes back.
    func sift(_ index: Key, in store: any Store) async throws(StoreError) -> (live: Int, removed: Int) {
        var (live, removed) = (0, 0)
        while true {
            let members = try await store(.zrange(index, live, live + Self.maximumPage - 1))
            let ids = members.map { try? SessionID($0.lossyString) }
            let found = try await store.pipeline(ids.compactMap { $0 }.map { Command<Bool>.exists(keys.session($0)) })
            var answers = found.makeIterator()
            var gone: [Bytes] = []
            for (member, id) in zip(members, ids) {
                if id != nil, answers.next() == true { live += 1 } else { gone.append(member) }
            }
            if !gone.isEmpty { removed += try await store(.zrem(index, gone)) }
            guard members.count == Self.maximumPage else { return (live, removed) }
        }
    }
}

/// A place in an index: behind the first `skipped` of the entries that end at a moment, counted from the last member down.
struct IndexPosition: Hashable {
    let ends: Int64
    let skipped: Int64

    init(_ text: String) throws(StoreError) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { Int64($0) }
        guard parts.count == 2, let ends = parts[0], let skipped = parts[1], ends > 0, skipped >= 0 else {
            throw .invalid("cursor", "It is none of this list's")
        }
        self.ends = ends
        self.skipped = skipped
    }

    /// Behind a page that began at `start`; nil where the page is empty.
    init?(after start: IndexPosition?, _ entries: [ScoredMember], without gone: Set<Bytes>) {
        guard let last = entries.last else { return nil }
        ends = Int64(last.score)
        let kept = entries.lazy.filter { $0.score == last.score && !gone.contains($0.member) }.count
        skipped = Int64(kept) + (start?.ends == ends ? start?.skipped ?? 0 : 0)
    }

    var text: String { "\(ends)-\(skipped)" }

    static func range(from start: IndexPosition?, limit: Int) -> SortedSetRange {
        let scores = start.map { ScoreRange.atMost(Double($0.ends)) } ?? .all
        return SortedSetRange(
            .scores(scores), isReversed: true, limit: .init(offset: start?.skipped ?? 0, count: Int64(limit)))
    }
}
