import HoldfastStore

/// How what was decided about sessions in this process is done on the server; see ``SessionsHere``.
///
/// All of it has one effect however often it runs: a merge and a deletion by nature, an append by the marker that it has borne since its
/// first send, a revocation because it ends nothing that was created after it.
enum SessionReplay {
    static let revokeAll = "session.revokeAll@2"
    /// The form that an older version has kept: it says nothing of the session that stays.
    private static let firstRevokeAll = "session.revokeAll@1"

    /// The actions of what bears a marker, and the procedure that each repeats. The first forms, which an older version has kept, lack the
    /// moment by the server's clock.
    private static let marked = [
        SessionProcedures.append.identifier: SessionProcedures.append, "session.append@2": SessionProcedures.append,
        SessionProcedures.extend.identifier: SessionProcedures.extend, "session.extend@2": SessionProcedures.extend,
    ]

    /// The names of what brings a session; the first is of an older version, and the same but for what the procedure does with it.
    private static let merges = ["session.merge@1", SessionProcedures.merge.identifier]

    /// All of what waits about sessions is one of these.
    static let actions: [String] =
        merges + [SessionProcedures.delete.identifier, revokeAll, firstRevokeAll] + Array(marked.keys)

    /// - Parameter clock: what expiries are compared with.
    static func register(in outbox: Outbox, _ clock: ServerClock) {
        // Weakly, because it has the actions.
        func here(_ step: @escaping @Sendable (OutboxEntry, Away) async throws(StoreError) -> Void) -> ReplayAction.Step {
            { [weak outbox] (entry, local) throws(StoreError) in try await step(entry, Away(local, epoch: outbox?.epoch ?? 0)) }
        }
        func again(_ step: @escaping ReplayAction.Step) -> ReplayAction.Step {
            here { (entry, away) throws(StoreError) in try await step(entry.mappingKeys(away.key), away.store) }
        }
        let all = [
            ReplayAction(SessionProcedures.delete.identifier, endures: true, recall: again(delete), carryOut: delete),
            ReplayAction(revokeAll, endures: true, recall: here(recallRevocation), carryOut: revoke),
            ReplayAction(firstRevokeAll, endures: true, recall: here(recallRevocation), carryOut: revoke),
        ]
        let marked = marked.keys.map { name in
            // Here by the clock that the session's copy here goes by.
            let recall = again { (entry, local) throws(StoreError) in _ = try await redo(entry, local, at: entry.accepted) }
            return ReplayAction(name, recall: recall) { [weak outbox] (entry, server) throws(StoreError) in
                if try await redo(entry, server, at: entry.moment, now: clock.now) { return }
                // Its reply was lost, and it has come to the other id too.
                if entry.keys.count > 2, try await server(.exists(entry.keys[2])) { return }
                if try await wasEnded(entry.keys[1], in: server) { return }
                if let outbox, isUnmerged(entry.keys[0], in: outbox, at: clock.now) {
                    throw StoreError(.notFound, "What waited of the session itself has not come to the server")
                }
            }
        }
        let merges = merges.map { name in ReplayAction(name, recall: here(recallMerge), carryOut: merge) }
        for action in all + marked + merges { outbox.register(action) }
    }

    /// - Parameter moment: when it is accepted, by the server's clock as far as it is known.
    static func item(
        repeating script: Script, _ keys: [Key], _ arguments: [Bytes], at moment: Timestamp, about index: Key
    ) -> Outbox.Item {
        Outbox.Item(
            "\(script.name)@2", keys: keys, arguments: [Bytes(moment.milliseconds)] + arguments, about: index.bytes)
    }

    // MARK: - On the server

    /// Keys: the session, its tombstone, the user's index and its mark. Arguments: the id, when it ends in any case, when it was created,
    /// and the session's fields.
    private static func merge(_ entry: OutboxEntry, _ store: any Store) async throws(StoreError) {
        guard entry.keys.count == 4, entry.arguments.count > 3 else { throw unreadable(entry) }
        let pair = Array(entry.keys[..<2])
        let id = try SessionID(entry.arguments[0].lossyString)
        // Into the index first, and whoever may not come into it is not merged at all: a session that all others were revoked with must not
        // be there for a moment, and one whose hand-over stops half-way must be found by the next revocation, because its id has been told.
        if try await index(entry, store) < 0 {
            _ = try await end(pair, in: store)
            return
        }
        let reply = try await store.run(
            Procedure(SessionProcedures.merge, keys: pair, arguments: Array(entry.arguments[3...])) { $0 })
        if let list = reply.list, list.first == "refused" { throw .damagedSession(id) }
        guard reply.integer == 1 else {
            // Without a tombstone it has expired.
            _ = try await wasEnded(pair[1], in: store)
            return
        }
        // A reader of the index may have found the entry without its session meanwhile and removed it: then once more, or, where a
        // revocation has not found it either, not at all.
        if try await store(.zscore(entry.keys[2], entry.arguments[0])) != nil { return }
        if try await index(entry, store) >= 0 { return }
        _ = try await end(pair, in: store)
        _ = try await store(.zrem(entry.keys[2], entry.arguments[0]))
    }

    /// Enters a session into its user's index; negative where all of the user's sessions were revoked since it was created.
    private static func index(_ entry: OutboxEntry, _ store: any Store) async throws(StoreError) -> Int64 {
        try await store.run(
            Procedure(SessionProcedures.indexAdd, keys: Array(entry.keys[2...]), arguments: Array(entry.arguments[..<3])) {
                $0.integer
            })
    }

    /// Whether a session was ended that something was accepted for: that is stronger.
    ///
    /// - Throws: where it was given another id instead, because what was accepted is then on none: it becomes a dead letter.
    private static func wasEnded(_ tombstone: Key, in store: any Store) async throws(StoreError) -> Bool {
        guard let epitaph = try await store(.get(tombstone)) else { return false }
        guard !Sessions.isRotation(epitaph) else {
            throw StoreError(.conflict, "The session was given another id before the server heard of this")
        }
        return true
    }

    /// Whether what waits of a session, or is a dead letter, would still be written there: then what was accepted for it, and does not find it, is
    /// not over. Looks at every dead letter.
    private static func isUnmerged(_ session: Key, in outbox: Outbox, at now: Timestamp) -> Bool {
        // One that has died in this hand-over waits until that is over.
        let waiting = outbox.entry(named: Outbox.name("session.merge", of: session, in: outbox.epoch))
        let dead = outbox.deadLetters(limit: .max).map(\.entry)
        return ([waiting].compactMap(\.self) + dead).contains { entry in
            guard merges.contains(entry.action), entry.keys.first == session, entry.arguments.count > 3 else { return false }
            return Array(entry.arguments[3...]).fieldValue("expires")?.integer ?? 0 > now.milliseconds
        }
    }

    /// As of its acceptance. What a merge has brought in the meantime comes before it: the expiry too.
    ///
    /// - Parameter now: when it is done; nil for its acceptance.
    /// - Returns: false where there is no such session.
    private static func redo(
        _ entry: OutboxEntry, _ store: any Store, at moment: Timestamp, now: Timestamp? = nil
    ) async throws(StoreError) -> Bool {
        guard let script = marked[entry.action], entry.keys.count > 1 else { throw unreadable(entry) }
        var terms = entry.bearsMoment ? Array(entry.arguments.dropFirst()) : entry.arguments
        // Its marker is kept from now on. Counted from its acceptance it may have ended, and a lost reply would double what is retried.
        if let now, terms.count > 1, let kept = terms[1].integer { terms[1] = Bytes(kept + max(0, (now - moment).milliseconds)) }
        let arguments = terms
        func run(at moment: Timestamp?) async throws(StoreError) -> Reply {
            try await store.run(Procedure(script, keys: entry.keys, arguments: arguments, now: moment) { $0 })
        }
        var reply = try await run(at: moment)
        // Null: it is not there any more. Or the clock that it was accepted by is ahead of the server's, and the session ends before that moment:
        // then as of now.
        if reply.isNull { reply = try await run(at: nil) }
        guard let list = reply.list else { return false }
        guard list.first == "refused" else { return true }
        throw StoreError(.commandFailed, "The session does not take it (\(list.dropFirst().first?.lossyString ?? ""))")
    }

    private static func delete(_ entry: OutboxEntry, _ store: any Store) async throws(StoreError) {
        _ = try await store.run(Procedure(SessionProcedures.delete, keys: entry.keys, arguments: entry.arguments) { $0 })
    }

    /// Keys: the user's index and its mark. Arguments: what all keys begin with; the session that stays, or empty; when it was decided, by
    /// the server's clock as far as it was known; when the one that stays ends in any case and when it was created, or empty where that was
    /// not known (not in the first form); the sessions that were known to whoever decided.
    private static func revoke(_ entry: OutboxEntry, _ store: any Store) async throws(StoreError) {
        let head = entry.action == firstRevokeAll ? 3 : 5
        guard entry.keys.count == 2, entry.arguments.count >= head, let moment = entry.arguments[2].integer else {
            throw unreadable(entry)
        }
        let (index, kept) = (entry.keys[0], entry.arguments[1])
        // Whatever the clocks say.
        for member in entry.arguments.dropFirst(head) {
            _ = try await end(pair(member, entry), in: store)
            _ = try await store(.zrem(index, member))
        }
        if let id = try? SessionID(kept.lossyString) {
            let user = index.bytes.dropFirst(entry.arguments[0].count + "user_sessions:".utf8.count).lossyString
            try await Sessions.enter(pair(kept, entry)[0], id, of: user, into: entry.keys, in: store)
            // Also where the server has lost it: who changes it meanwhile brings it back, and it would count as one of those that were revoked.
            if head == 5, !entry.arguments[4].isEmpty {
                _ = try await store.run(
                    Procedure(
                        SessionProcedures.indexAdd, keys: entry.keys,
                        arguments: [kept, entry.arguments[3], entry.arguments[4]]
                    ) { $0.integer })
            }
        }
        // Not later than now on the server. A later mark is another revocation's, which has ended what it had to.
        let settled = min(moment, try await store.run(Procedure.indexRevoke(entry.keys[1], at: moment)))
        var staying = 0
        while true {
            let members = try await store(.zrange(index, staying, staying + Sessions.maximumPage - 1))
            for member in members {
                if member != kept, try await ends(pair(member, entry), before: settled, keeping: kept, in: store) {
                    _ = try await store(.zrem(index, member))
                } else {
                    staying += 1
                }
            }
            if members.count < Sessions.maximumPage { return }
        }
    }

    /// Ends a session that was not created after that moment, and did not have the id that is kept before. One that is not there may be on
    /// its way, after its index entry: that is left to whoever brings it.
    private static func ends(
        _ pair: [Key], before moment: Int64, keeping kept: Bytes, in store: any Store
    ) async throws(StoreError) -> Bool {
        let arguments = [Bytes(moment), Bytes(Sessions.maximumTombstoneTTL.milliseconds), kept]
        return try await store.run(
            Procedure(SessionProcedures.endBefore, keys: pair, arguments: arguments) { $0.integer.map { $0 == 1 } })
    }

    /// The session of an index's member, and its tombstone.
    private static func pair(_ member: Bytes, _ revocation: OutboxEntry) -> [Key] {
        let session = Key(raw: Bytes(Array(revocation.arguments[0]) + Array("session:".utf8) + Array(member)))
        return [session, session.companion("deleted")]
    }

    private static func end(_ pair: [Key], in store: any Store) async throws(StoreError) -> Reply {
        let arguments = Sessions.endArguments(ifVersion: nil, epitaph: "deleted", always: true)
        return try await store.run(Procedure(SessionProcedures.delete, keys: pair, arguments: arguments) { $0 })
    }

    private static func unreadable(_ entry: OutboxEntry) -> StoreError {
        StoreError(.unsupportedFormat, "The entry has not the form of \(entry.action)")
    }

    // MARK: - In this process, after a restart

    /// Where sessions lie in this process while the server is away; see ``SessionsHere``.
    private struct Away: Sendable {
        let store: any Store
        private let epoch: Int

        init(_ store: any Store, epoch: Int) {
            self.store = store
            self.epoch = epoch
        }

        func key(_ key: Key) -> Key { SessionsHere.here(key, epoch) }
    }

    /// What was created here before has been recalled before.
    private static func recallRevocation(_ entry: OutboxEntry, _ away: Away) async throws(StoreError) {
        guard entry.keys.count == 2, entry.arguments.count >= 3 else { throw unreadable(entry) }
        for member in try await away.store(.zrange(away.key(entry.keys[0]), 0, -1)) where member != entry.arguments[1] {
            _ = try await end(pair(member, entry).map(away.key), in: away.store)
        }
    }

    /// There may be two of one session (``SessionsHere/entryName(_:)``): what is seen here is what both bring.
    private static func recallMerge(_ entry: OutboxEntry, _ away: Away) async throws(StoreError) {
        guard entry.keys.count == 4, entry.arguments.count > 3 else { throw unreadable(entry) }
        let (keys, local) = (entry.keys.map(away.key), away.store)
        let fields = Array(entry.arguments[3...])
        let more: [Bytes] = ["base", fields.fieldValue("next") ?? "0", "seen", Bytes(entry.accepted.milliseconds)]
        let pair = Array(keys[..<2])
        let adopted = try await local.run(
            Procedure(
                SessionProcedures.adopt, keys: pair, arguments: [fields.fieldValue("expires") ?? "0", "0"] + fields + more
            ) { $0 })
        if adopted.isNull { _ = try await local.run(Procedure(SessionProcedures.merge, keys: pair, arguments: fields) { $0 }) }
        _ = try await local.run(
            Procedure(
                SessionProcedures.indexAdd, keys: Array(keys[2...]), arguments: Array(entry.arguments[..<2]) + [Bytes()]
            ) { $0 })
    }
}

extension OutboxEntry {
    fileprivate var bearsMoment: Bool { action.hasSuffix("@2") }

    /// When it was accepted, by the server's clock as far as it was known.
    fileprivate var moment: Timestamp {
        guard bearsMoment, let moment = arguments.first?.integer else { return accepted }
        return Timestamp(milliseconds: moment)
    }
}

extension Procedure where Output == Int64 {
    static func indexRevoke(_ mark: Key, at moment: Int64) -> Self {
        Procedure(
            SessionProcedures.indexRevoke, keys: [mark],
            arguments: [Bytes(moment), Bytes(Sessions.maximumTombstoneTTL.milliseconds)]
        ) { $0.integer }
    }
}
