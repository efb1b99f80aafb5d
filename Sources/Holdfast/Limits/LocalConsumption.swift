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
/// the same answer makes it a dead letter: it is logged, shown, and kept until somebody decides about it.
///
/// Bounded by its number of keys: further ones are refused (``checkRoom(for:in:at:)``).
final class LocalConsumption: Sendable {
    private struct Entry {
        var charge: RateLimitCharge
        var amount: Int
        /// When the last of it counts no more.
        var end: Timestamp
        /// What was given back since it went into a batch, which is another call's affair.
        var takenBack = 0
    }

    /// What is charged in one call, of one tenant, because its keys share a slot.
    private struct Batch {
        let operation: OperationID
        let names: Namespace
        var entries: [Key: Entry]
        var isUnderWay = true
    }

    private struct State {
        var pending: [Namespace: [Key: Entry]] = [:]
        /// The oldest first.
        var batches: [Batch] = []
        /// Of all the above.
        var entries = 0
        /// Since the start.
        var lost = 0
        /// Not before then it is worth while to look again for what counts no more.
        var nextPruning = Timestamp(milliseconds: 0)
    }

    private let maximumKeys: Int
    private let outbox: Outbox
    private let newOperation: @Sendable () -> OperationID
    private let state = Locked(State())

    init(
        maximumKeys: Int, outbox: Outbox,
        newOperation: @escaping @Sendable () -> OperationID = { OperationID.random(retention: .seconds(7 * 86_400)) }
    ) {
        self.maximumKeys = maximumKeys
        self.outbox = outbox
        self.newOperation = newOperation
    }

    var isEmpty: Bool { state.withLock { $0.entries == 0 } }

    var backlog: RateLimiter.Backlog {
        state.withLock { state in
            let waiting = state.pending.values.map { Array($0.values) } + state.batches.map { Array($0.entries.values) }
            return RateLimiter.Backlog(
                keys: state.entries, units: waiting.joined().reduce(0) { $0 + $1.amount }, lost: state.lost)
        }
    }

    /// - Throws: ``/HoldfastStore/ErrorCode/outboxFull`` where a call's consumption could not be kept. Calls that are decided at the same
    ///   moment may go beyond the bound by what they consume.
    func checkRoom(for call: RateLimitCall, in names: Namespace, at now: Timestamp) throws(StoreError) {
        let hasRoom = state.withLock { state in
            if state.entries + call.keys.count <= maximumKeys { return true }
            let new = call.keys.filter { state.pending[names]?[$0] == nil }.count
            if new > 0, state.entries + new > maximumKeys { prune(&state, at: now) }
            return new == 0 || state.entries + new <= maximumKeys
        }
        if !hasRoom { throw StoreError(.outboxFull, "Consumption of \(maximumKeys) keys waits for the server") }
    }

    /// Forgets what counts no more; once a second, because it looks at everything.
    private func prune(_ state: inout State, at now: Timestamp) {
        guard now >= state.nextPruning else { return }
        state.nextPruning = now + .seconds(1)
        for (names, pending) in state.pending {
            let left = pending.filter { $0.value.end > now }
            state.entries -= pending.count - left.count
            state.pending[names] = left.isEmpty ? nil : left
        }
    }

    /// Adds what a call consumed at that moment.
    func add(_ call: RateLimitCall, in names: Namespace, at moment: Timestamp) {
        state.withLock { state in
            for (key, charge) in zip(call.keys, call.charges) where charge.cost > 0 {
                let end = charge.rule.end(ofChargeAt: moment, cost: charge.cost)
                if var entry = state.pending[names]?[key] {
                    entry.amount = min(entry.amount + charge.cost, RateLimit.maximumLimit)
                    entry.charge = charge
                    entry.end = max(entry.end, end)
                    state.pending[names]?[key] = entry
                } else {
                    state.pending[names, default: [:]][key] = Entry(charge: charge, amount: charge.cost, end: end)
                    state.entries += 1
                }
            }
        }
    }

    /// Takes off what a call gives back; what remains of it was not consumed here, or is on its way to the server.
    ///
    /// A sequence of charges and refunds has the effect of one refund and then one charge: of the remains, and of what is kept here.
    func takeBack(_ call: RateLimitCall, in names: Namespace, at moment: Timestamp) -> [RateLimitCharge] {
        state.withLock { state in
            var rest: [RateLimitCharge] = []
            for (key, charge) in zip(call.keys, call.charges) where charge.cost > 0 {
                let entry = state.pending[names]?[key]
                let part = entry.map { $0.end > moment ? min(charge.cost, $0.amount) : 0 } ?? 0
                if part > 0 { takeOff(part, of: key, in: names, &state) }
                guard charge.cost > part else { continue }
                rest.append(RateLimitCharge(charge.rule, for: charge.subject, cost: charge.cost - part))
                note(charge.cost - part, takenBackFrom: key, &state)
            }
            return rest
        }
    }

    private func takeOff(_ part: Int, of key: Key, in names: Namespace, _ state: inout State) {
        state.pending[names]?[key]?.amount -= part
        guard state.pending[names]?[key]?.amount == 0 else { return }
        state.pending[names]?[key] = nil
        if state.pending[names]?.isEmpty == true { state.pending[names] = nil }
        state.entries -= 1
    }

    /// The local state holds less by this, and the batches before it must be charged all the same.
    private func note(_ amount: Int, takenBackFrom key: Key, _ state: inout State) {
        var left = amount
        for index in state.batches.indices.reversed() {
            guard let entry = state.batches[index].entries[key] else { continue }
            let part = min(left, entry.amount - entry.takenBack)
            state.batches[index].entries[key]?.takenBack += part
            left -= part
        }
    }

    func forget(_ keys: [Key]) {
        state.withLock { state in
            for key in keys {
                for names in state.pending.keys where state.pending[names]?.removeValue(forKey: key) != nil { state.entries -= 1 }
                for index in state.batches.indices where state.batches[index].entries.removeValue(forKey: key) != nil {
                    state.entries -= 1
                }
            }
        }
    }

    // MARK: - Handing over

    /// Charges up to `limit` batches to the server; what comes meanwhile is for the next time.
    ///
    /// - Parameters:
    ///   - instances: by how many the local store's limits are divided.
    ///   - now: the present.
    /// - Throws: the server's failure, or the caller's deadline; what was not charged stays.
    func handOver(
        from local: any Store, to server: any Store, sharedBy instances: Int, at now: Timestamp, limit: Int = .max
    ) async throws(StoreError) {
        let most = state.withLock { $0.entries }
        // A batch that the server answers with an error comes again key by key.
        for _ in 0..<min(limit, 2 * most) {
            guard let batch = take() else { return }
            do throws(StoreError) {
                try await charge(batch, from: local, to: server, sharedBy: instances)
                settle(batch, isDone: true)
            } catch {
                if error.mayPassByItself {
                    settle(batch, isDone: false)
                    throw error
                }
                await giveUp(batch, error, at: now)
            }
        }
    }

    /// What becomes of a batch that the server answered with an error. Where nothing was done of it, each key is tried by itself.
    private func giveUp(_ batch: Batch, _ error: StoreError, at now: Timestamp) async {
        if batch.entries.count > 1, error.effect == .none { return split(batch) }
        do throws(StoreError) {
            let charges = batch.entries.values.map { RateLimitCharge($0.charge.rule, for: $0.charge.subject, cost: $0.amount) }
            let call = try RateLimitCall(charges, in: batch.names, once: batch.operation)
            try await outbox.add(RateLimitReplay.item(.record, call, at: now, sent: nil, in: outbox))
        } catch {
            state.withLock { $0.lost += batch.entries.count }
        }
        settle(batch, isDone: true)
    }

    private func split(_ batch: Batch) {
        state.withLock { state in
            guard let index = state.batches.firstIndex(where: { $0.operation == batch.operation }) else { return }
            let parts = state.batches[index].entries.map { (key, entry) in
                Batch(operation: newOperation(), names: batch.names, entries: [key: entry], isUnderWay: false)
            }
            state.batches.replaceSubrange(index...index, with: parts)
        }
    }

    /// The oldest batch that nobody is at, or a new one.
    private func take() -> Batch? {
        let operation = newOperation()
        return state.withLock { state in
            if let index = state.batches.firstIndex(where: { !$0.isUnderWay }) {
                state.batches[index].isUnderWay = true
                return state.batches[index]
            }
            guard let (names, pending) = state.pending.first(where: { !$0.value.isEmpty }) else { return nil }
            var entries: [Key: Entry] = [:]
            for (key, entry) in pending.prefix(RateLimitCall.maximumRules) {
                entries[key] = entry
                state.pending[names]?[key] = nil
            }
            if state.pending[names]?.isEmpty == true { state.pending[names] = nil }
            let batch = Batch(operation: operation, names: names, entries: entries)
            state.batches.append(batch)
            return batch
        }
    }

    private func settle(_ batch: Batch, isDone: Bool) {
        state.withLock { state in
            guard let index = state.batches.firstIndex(where: { $0.operation == batch.operation }) else { return }
            state.batches[index].isUnderWay = false
            if isDone { state.entries -= state.batches.remove(at: index).entries.count }
        }
    }

    private func charge(
        _ batch: Batch, from local: any Store, to server: any Store, sharedBy instances: Int
    ) async throws(StoreError) {
        let entries = batch.entries.map { $0 }
        // Before the local state is read: what is consumed in between is then charged rather than forgotten.
        let newer = amounts(behind: batch, of: entries.map(\.key))
        let peek = try RateLimitCall(entries.map { $0.value.charge.unbounded(sharedBy: instances) }, in: batch.names)
        let answer = try await local.run(peek.procedure(RateLimitProcedures.peek, sharedBy: 1))
        var due: [RateLimitCharge] = []
        for ((entry, newer), state) in zip(zip(entries.map(\.value), newer), answer.states) where entry.end > answer.at {
            let amount = min(entry.amount, max(0, state.consumed - newer))
            if amount > 0 { due.append(RateLimitCharge(entry.charge.rule, for: entry.charge.subject, cost: amount)) }
        }
        guard !due.isEmpty else { return }
        let call = try RateLimitCall(due, in: batch.names, once: batch.operation)
        _ = try await server.run(call.blindProcedure(RateLimitProcedures.record))
    }

    /// What was consumed of these after the batch was made, less what was given back of the batch: it left its window last, so it is what
    /// the local state holds first.
    private func amounts(behind batch: Batch, of keys: [Key]) -> [Int] {
        state.withLock { state in
            let place = state.batches.firstIndex { $0.operation == batch.operation } ?? state.batches.endIndex - 1
            let own = state.batches.indices.contains(place) ? state.batches[place].entries : [:]
            let later = state.batches.dropFirst(place + 1).filter { $0.names == batch.names }
            return keys.map { key in
                (state.pending[batch.names]?[key]?.amount ?? 0) - (own[key]?.takenBack ?? 0)
                    + later.reduce(0) { $0 + ($1.entries[key].map { $0.amount - $0.takenBack } ?? 0) }
            }
        }
    }
}

extension RateLimitCharge {
    /// By which the local state is read: what was recorded beyond this process's share counts too. The key is the same.
    fileprivate func unbounded(sharedBy instances: Int) -> RateLimitCharge {
        var rule = rule.share(of: instances)
        // Only of these the limit has no part in what the state means.
        if !rule.algorithm.hasBurst { rule.limit = RateLimit.maximumLimit }
        return RateLimitCharge(rule, for: subject, cost: cost)
    }
}

extension RateLimitState {
    /// What counts against the subject, also beyond the capacity: of a bucket what flows in until it is full.
    fileprivate var consumed: Int {
        guard rule.algorithm.hasBurst else { return used }
        let inflow = Double(resetAfter.milliseconds) * Double(rule.limit) / Double(rule.window.milliseconds)
        return max(used, Int(min(inflow, Double(RateLimit.maximumLimit))))
    }
}

extension StoreError {
    /// Whether the same call may succeed later without anybody's doing.
    fileprivate var mayPassByItself: Bool {
        isOutage || isRefusal || [.deadlineExceeded, .cancelled, .overloaded, .shuttingDown].contains(code)
    }
}
