import HoldfastStore

/// What this process admitted on its own while the server was away, until it is charged to the server: each call once. Calls without a
/// name of their own, that is, in one sum for each key; those with one are entries of the outbox (``RateLimitReplay``).
///
/// Only what still counts is charged: at most what the local store holds against a subject at the hand-over, so one window. The local
/// state stays, so that a connection that comes and goes does not open a new share each time.
///
/// It is charged in batches under names of their own (``OperationID``), whose marker the server writes in the same step. A batch whose
/// reply is lost is kept with its name and done again under it, so that nothing is charged twice; what is consumed meanwhile goes
/// with another batch. Where the first attempt had no effect, the second charges what still counts by then.
///
/// What the server answers with an error is done again key by key. The key that it is about becomes an entry of the outbox, where
/// the same answer makes it a dead letter: it is logged, shown, and kept until somebody decides about it. A batch that may have been
/// charged becomes such an entry as a whole, under its name.
///
/// Where the outbox has a folder, sums and batches are written there (`LocalConsumption+Folder.swift`) and outlive the process.
///
/// Bounded by its number of keys: further ones are refused (``checkRoom(for:in:at:)``).
final class LocalConsumption: Sendable {
    struct Entry {
        var charge: RateLimitCharge
        var amount: Int
        /// When the last of it counts no more, by `uptime`.
        var end: Duration
        /// Since when it waits, by `uptime`.
        var began: Duration
        /// By how much the wall clock, which the local state goes by, was ahead of `uptime` when it began.
        let lead: Duration
        /// What counts of it where the wall clock was set since.
        var recent: RecentConsumption
        /// What was given back of it by a call that the server hears of by itself: the local state holds less by this.
        var takenBack = 0
        /// By how many the limits were divided when it was admitted; where that has changed, the least. GCRA's state is a moment, which
        /// is so many calls as the share says that wrote it: read by a smaller share it would be fewer.
        var instances: Int
        /// Whether its row is among the `stale`, of which the folder knows an older state.
        var isStale = false
        /// Whether the folder may have a row of it.
        var isWritten = false

        /// - Parameters:
        ///   - span: how long it counts from now on.
        ///   - instances: by how many the limits are divided.
        init(_ charge: RateLimitCharge, amount: Int, counting span: Duration, from now: Moment, sharedBy instances: Int) {
            (self.charge, self.amount, began, lead) = (charge, amount, now.uptime, now.lead)
            self.instances = instances
            end = now.uptime + span
            recent = RecentConsumption(amount, at: now.uptime, counting: span)
        }

        mutating func add(_ other: Entry, at uptime: Duration) {
            amount = min(amount + other.amount, RateLimit.maximumLimit)
            charge = other.charge
            instances = min(instances, other.instances)
            end = max(end, other.end)
            recent.add(other.amount, at: uptime, counting: other.end - uptime)
        }

        /// What the local state holds of it, while nothing of it has left its window.
        var held: Int { amount - takenBack }

        /// Whether the local state goes by the same clock as when it began; a second more or less is no other.
        func isByTheClock(of now: Moment) -> Bool { abs((now.lead - lead).milliseconds) < 1000 }
    }

    /// What is charged in one call, of one tenant, because its keys share a slot.
    struct Batch {
        /// In the order in which they were made.
        var number: Int64
        let operation: OperationID
        /// By `uptime`.
        let made: Duration
        let names: Namespace
        var entries: [Key: Entry]
        var isUnderWay = true
        /// Whether it went to the server, and may have happened.
        var isTried = false
        var isWritten = false
        /// Rows that are brought up to date in one step with its own, before it goes to the server: where the folder has what is in it
        /// elsewhere, in sums or in a batch that was split. Empty once that is done.
        var owed: Set<Row> = []

        var row: Row { .batch(operation) }
    }

    /// Where something stands in the folder.
    enum Row: Hashable {
        case sum(Namespace, Key)
        case batch(OperationID)
    }

    struct State {
        var pending: [Namespace: [Key: Entry]] = [:]
        /// The oldest first.
        var batches: [Batch] = []
        var nextBatch: Int64 = 1
        /// Of all the above.
        var entries = 0
        /// Since the start: units that were charged, and keys whose were given up.
        var handedOver = 0
        var lost = 0
        /// Not before then, by `uptime`, it is worth while to look again for what counts no more.
        var nextPruning: Duration?
        /// What the folder does not know as it is. Rows that it does not have and need not are not among them.
        var stale: Set<Row> = []
    }

    private let maximumKeys: Int
    let outbox: Outbox
    private let time: any TimeSource
    let newOperation: @Sendable () -> OperationID
    let state = Locked(State())
    /// Whether there is a folder, and no other limiter of this process keeps its sums there.
    let isDurable: Bool
    /// What is done in the folder.
    let folder: SerialWork
    /// Handing over to the server.
    let handOvers: SerialWork

    init(
        maximumKeys: Int, outbox: Outbox, time: any TimeSource,
        newOperation: @escaping @Sendable () -> OperationID = { OperationID.random(retention: .seconds(7 * 86_400)) }
    ) {
        self.maximumKeys = maximumKeys
        self.outbox = outbox
        self.time = time
        self.newOperation = newOperation
        folder = SerialWork(time: outbox.time)
        handOvers = SerialWork(time: outbox.time)
        isDurable = outbox.claim(table: Self.table)
    }

    /// The present. Ages are told by the clock that nobody sets; the wall clock is what is written down for a later process.
    var now: Moment { Moment(time) }

    var isEmpty: Bool { state.withLock { $0.entries == 0 } }

    var backlog: RateLimiter.Backlog {
        let now = now
        return state.withLock { state in
            let waiting = state.pending.values.map { Array($0.values) } + state.batches.map { Array($0.entries.values) }
            let oldest = waiting.joined().map(\.began).min()
            return RateLimiter.Backlog(
                keys: state.entries, units: waiting.joined().reduce(0) { $0 + $1.amount },
                oldest: oldest.map { now.wall(at: $0) }, handedOver: state.handedOver, lost: state.lost)
        }
    }

    /// - Throws: ``/HoldfastStore/ErrorCode/outboxFull`` where a call's consumption could not be kept. Calls that are decided at the same
    ///   moment may go beyond the bound by what they consume.
    func checkRoom(for call: RateLimitCall, in names: Namespace) throws(StoreError) {
        let now = time.uptime
        let hasRoom = state.withLock { state in
            if state.entries + call.keys.count <= maximumKeys { return true }
            let new = call.keys.filter { state.pending[names]?[$0] == nil }.count
            if new > 0, state.entries + new > maximumKeys { prune(&state, at: now) }
            return new == 0 || state.entries + new <= maximumKeys
        }
        if !hasRoom { throw StoreError(.outboxFull, "Consumption of \(maximumKeys) keys waits for the server") }
    }

    /// Forgets what counts no more; once a second, because it looks at everything.
    private func prune(_ state: inout State, at now: Duration) {
        if let next = state.nextPruning, now < next { return }
        state.nextPruning = now + .seconds(1)
        for (names, pending) in state.pending {
            for (key, entry) in pending where entry.end <= now { state.removeSum(key, names) }
        }
    }

    /// Adds what a call consumed.
    ///
    /// - Parameters:
    ///   - moment: when it was decided, by the local store.
    ///   - instances: by how many the limits were divided then.
    func add(_ call: RateLimitCall, in names: Namespace, at moment: Timestamp, sharedBy instances: Int) {
        let now = now
        state.withLock { state in
            for (key, charge) in zip(call.keys, call.charges) where charge.cost > 0 {
                let span = charge.rule.span(ofChargeAt: moment, cost: charge.cost)
                let entry = Entry(charge, amount: charge.cost, counting: span, from: now, sharedBy: instances)
                state.add(entry, key, names, isDurable: isDurable, at: now.uptime)
            }
        }
    }

    /// Takes off what a call gives back; what remains of it was not consumed here, or is on its way to the server.
    ///
    /// A sequence of charges and refunds has the effect of one refund and then one charge: of the remains, and of what is kept here.
    func takeBack(_ call: RateLimitCall, in names: Namespace) -> [RateLimitCharge] {
        let now = time.uptime
        return state.withLock { state in
            var rest: [RateLimitCharge] = []
            for (key, charge) in zip(call.keys, call.charges) where charge.cost > 0 {
                let entry = state.pending[names]?[key]
                let part = entry.map { $0.end > now ? min(charge.cost, $0.amount) : 0 } ?? 0
                if part > 0 { takeOff(part, of: key, in: names, &state) }
                guard charge.cost > part else { continue }
                rest.append(RateLimitCharge(charge.rule, for: charge.subject, cost: charge.cost - part))
                state.note(charge.cost - part, takenBackFrom: key, in: names, isDurable: isDurable)
            }
            return rest
        }
    }

    private func takeOff(_ part: Int, of key: Key, in names: Namespace, _ state: inout State) {
        guard var entry = state.pending[names]?[key] else { return }
        entry.amount -= part
        entry.takenBack = min(entry.takenBack, entry.amount)
        if entry.amount == 0 { return state.removeSum(key, names) }
        if isDurable { state.note(&entry, key, names) }
        state.pending[names]?[key] = entry
    }

    /// Takes note of what a call gave back that the server hears of by itself.
    func note(takenBackBy call: RateLimitCall, in names: Namespace) {
        state.withLock { state in
            for (key, charge) in zip(call.keys, call.charges) {
                state.note(charge.cost, takenBackFrom: key, in: names, isDurable: isDurable)
            }
        }
    }

    /// Forgets keys, here and in the folder; where that fails it is tried again with what is written next.
    func forget(_ keys: [Key], from local: any Store, sharedBy instances: Int) async {
        let rows = state.withLock { state in
            var rows: Set<Row> = []
            for key in keys {
                for (names, pending) in state.pending {
                    guard let entry = pending[key] else { continue }
                    state.removeSum(key, names)
                    if entry.isWritten { rows.insert(.sum(names, key)) }
                }
                for index in state.batches.indices where state.batches[index].entries.removeValue(forKey: key) != nil {
                    state.entries -= 1
                    if isDurable { rows.insert(state.batches[index].row) }
                }
            }
            state.stale.formUnion(rows)
            return rows
        }
        try? await write(rows, from: local, sharedBy: instances)
    }
}

extension LocalConsumption.State {
    mutating func add(
        _ new: LocalConsumption.Entry, _ key: Key, _ names: Namespace, isDurable: Bool, at uptime: Duration
    ) {
        // In place: most calls are about a key that has a sum already.
        if pending[names]?[key]?.add(new, at: uptime) == nil {
            entries += 1
            pending[names, default: [:]][key] = new
        }
        if isDurable, pending[names]?[key]?.isStale == false {
            pending[names]?[key]?.isStale = true
            stale.insert(.sum(names, key))
        }
    }

    /// The local state holds less by this, and what was consumed before must be charged all the same.
    mutating func note(_ amount: Int, takenBackFrom key: Key, in names: Namespace, isDurable: Bool) {
        var left = amount
        if var entry = pending[names]?[key] {
            let part = min(left, entry.amount - entry.takenBack)
            entry.takenBack += part
            left -= part
            if isDurable, part > 0 { note(&entry, key, names) }
            pending[names]?[key] = entry
        }
        for index in batches.indices.reversed() where left > 0 {
            guard let entry = batches[index].entries[key] else { continue }
            let part = min(left, entry.amount - entry.takenBack)
            batches[index].entries[key]?.takenBack += part
            if isDurable { stale.insert(batches[index].row) }
            left -= part
        }
    }

    /// Takes note that the folder must hear of an entry.
    mutating func note(_ entry: inout LocalConsumption.Entry, _ key: Key, _ names: Namespace) {
        entry.isStale = true
        stale.insert(.sum(names, key))
    }

    mutating func removeSum(_ key: Key, _ names: Namespace) {
        guard let entry = pending[names]?.removeValue(forKey: key) else { return }
        if pending[names]?.isEmpty == true { pending[names] = nil }
        entries -= 1
        if entry.isWritten {
            stale.insert(.sum(names, key))
        } else if entry.isStale {
            stale.remove(.sum(names, key))
        }
    }
}
