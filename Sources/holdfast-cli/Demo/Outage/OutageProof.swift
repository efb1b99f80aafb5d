import Holdfast
import HoldfastRedis
import HoldfastStore

/// Holds what the instances promised against what is on the server, read by a third that was not there, and against what they answer now.
struct OutageProof {
    let journal: DemoJournal
    let ledger: OutageLedger
    let instances: [OutageInstance]
    let redis: DemoRedis

    /// How many values are invalidated while the server is away.
    static let items = 40

    func show() async throws {
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: redis.socketPath)))
        let witness = AgentState(failover: Failover(server: store, local: EmbeddedStore()))
        journal.begin("What was promised, and what is so")
        do {
            try await sessions(witness)
            try await logouts(witness)
            try await invalidations(witness)
            try await limits(witness)
        } catch { journal.check("no error", false, "\(error)") }
        let letters = instances.reduce(0) { $0 + $1.state.failover.outbox.status.deadLetters }
        let waiting = instances.reduce(0) { $0 + $1.state.failover.outbox.status.backlog }
        journal.check("nothing waits any more, and the server refused nothing", waiting + letters == 0)
        await store.shutdown()
    }

    private func sessions(_ witness: AgentState) async throws {
        let promises = ledger.promises
        let live = promises.live
        let away = promises.accepted.values.count(where: \.self)
        var missing = 0
        for id in live where try await witness.sessions.get(id, touch: false).value == nil { missing += 1 }
        var listed: [SessionID: Int] = [:]
        for user in ["user-shared"] + instances.map(\.user) {
            var cursor: String?
            repeat {
                let page = try await witness.sessions.list(userID: user, limit: 200, cursor: cursor)
                for session in page.sessions { listed[session.id, default: 0] += 1 }
                cursor = page.cursor
            } while cursor != nil
        }
        let twice = live.count { listed[$0] != 1 }
        journal.check(
            "every accepted session is there, exactly once", missing == 0 && twice == 0,
            "\(promises.accepted.count) accepted, \(away) of them while it was away; \(live.count) not logged out: "
                + "\(missing) missing, \(twice) not listed once")
        var lost = 0
        let changed = promises.changed.filter { promises.ended[$0] == nil && !promises.left.contains($0) }
        for id in changed where try await witness.sessions.get(id, touch: false).value?.data["changed"] != true { lost += 1 }
        journal.check("every change of a session is there", lost == 0, "\(changed.count) changes, \(lost) lost")
    }

    private func logouts(_ witness: AgentState) async throws {
        let ended = ledger.promises.ended
        var alive = 0
        for id in ended.keys {
            for state in instances.map(\.state) + [witness] where try await state.sessions.get(id, touch: false).value != nil {
                alive += 1
            }
        }
        journal.check(
            "every logout holds, everywhere", alive == 0,
            "\(ended.count) logged out, \(ended.values.count(where: \.self)) of them while it was away; \(alive) alive")
    }

    private func invalidations(_ witness: AgentState) async throws {
        var stale = 0
        for state in instances.map(\.state) + [witness] {
            for number in 0..<Self.items where try await state.cache.get("item:\(number)", as: String.self).value != nil {
                stale += 1
            }
        }
        journal.check(
            "no invalidated value is served, nor on the server", stale == 0,
            "\(Self.items) invalidated while it was away, \(stale) found")
    }

    private func limits(_ witness: AgentState) async throws {
        let admitted = ledger.promises.admitted
        let (wide, narrow) = (OutageLedger.wide, OutageLedger.narrow)
        let inAll = admitted[wide.name] ?? 0
        let counted = try await witness.limits.peek([RateLimitCharge(wide, for: OutageLedger.subject)]).rules[0].used
        // One call of each instance may have been cut off at the end: charged, and told to nobody.
        let slack = instances.count
        journal.check(
            "what each admitted on its own was charged, once", inAll <= counted && counted <= inAll + slack,
            "\(inAll) admitted, the server counts \(counted)")
        let share = max(1, narrow.limit / instances.count)
        let bound = narrow.limit + share * instances.count
        let used = admitted[narrow.name] ?? 0
        journal.check(
            "no limit was exceeded by more than a share for each instance", used <= bound,
            "\(used) admitted at a limit of \(narrow.limit); at most \(narrow.limit) + \(instances.count) × \(share)")
    }
}
