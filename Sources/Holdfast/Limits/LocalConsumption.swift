import HoldfastStore

/// What this process admitted on its own while the server was away, until it is charged to the server: each call once.
///
/// Only what still counts is charged: at most what the local store holds against a subject at the hand-over, so one window. The local
/// state stays, so that a connection that comes and goes does not open a new share each time.
///
/// It is charged in batches under names of their own (``OperationID``), whose marker the server writes in the same step. A batch whose
/// reply is lost is kept with its name and done again under it, so that nothing is charged twice; what is consumed meanwhile goes
/// with another batch. Where the first attempt had no effect, the second charges what still counts by then.
///
/// Bounded by its number of keys; consumption of further ones during one outage is not charged.
final class LocalConsumption: Sendable {
    private struct Entry {
        var charge: RateLimitCharge
        var amount: Int
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
    }

    private let maximumKeys: Int
    private let newOperation: @Sendable () -> OperationID
    private let state = Locked(State())

    init(
        maximumKeys: Int,
        newOperation: @escaping @Sendable () -> OperationID = { OperationID.random(retention: .seconds(7 * 86_400)) }
    ) {
        self.maximumKeys = maximumKeys
        self.newOperation = newOperation
    }

    var isEmpty: Bool { state.withLock { $0.entries == 0 } }

    /// Adds what a call consumed, or takes off what it gave back.
    func add(_ call: RateLimitCall, in names: Namespace, sign: Int = 1) {
        state.withLock { state in
            for (key, charge) in zip(call.keys, call.charges) where charge.cost > 0 {
                if var entry = state.pending[names]?[key] {
                    entry.amount = min(max(entry.amount + sign * charge.cost, 0), RateLimit.maximumLimit)
                    entry.charge = charge
                    state.pending[names]?[key] = entry.amount > 0 ? entry : nil
                    if entry.amount == 0 { state.entries -= 1 }
                } else if sign > 0, state.entries < maximumKeys {
                    state.pending[names, default: [:]][key] = Entry(charge: charge, amount: charge.cost)
                    state.entries += 1
                }
            }
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
    /// - Parameter instances: by how many the local store's limits are divided.
    /// - Throws: the server's failure, or the caller's deadline; what was not charged stays. What the server answers with another error
    ///   is dropped, because it would only answer so again.
    func handOver(
        from local: any Store, to server: any Store, sharedBy instances: Int, limit: Int = .max
    ) async throws(StoreError) {
        let most = state.withLock { $0.entries }
        for _ in 0..<min(limit, most) {
            guard let batch = take() else { return }
            do throws(StoreError) {
                try await charge(batch, from: local, to: server, sharedBy: instances)
                settle(batch, isDone: true)
            } catch {
                settle(batch, isDone: !error.mayPassByItself)
                if error.mayPassByItself { throw error }
            }
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
        let peek = try RateLimitCall(entries.map(\.value.charge), in: batch.names)
        let states = try await local.run(peek.procedure(RateLimitProcedures.peek, sharedBy: instances)).states
        var due: [RateLimitCharge] = []
        for ((entry, newer), state) in zip(zip(entries.map(\.value), newer), states) {
            let amount = min(entry.amount, max(0, state.used - newer))
            if amount > 0 { due.append(RateLimitCharge(entry.charge.rule, for: entry.charge.subject, cost: amount)) }
        }
        guard !due.isEmpty else { return }
        let call = try RateLimitCall(due, in: batch.names, once: batch.operation)
        _ = try await server.run(call.blindProcedure(RateLimitProcedures.record))
    }

    /// What was consumed of these after the batch was made: it left its window last, so it is what the local state holds first.
    private func amounts(behind batch: Batch, of keys: [Key]) -> [Int] {
        state.withLock { state in
            let place = state.batches.firstIndex { $0.operation == batch.operation } ?? state.batches.endIndex - 1
            let later = state.batches.dropFirst(place + 1).filter { $0.names == batch.names }
            return keys.map { key in
                (state.pending[batch.names]?[key]?.amount ?? 0) + later.reduce(0) { $0 + ($1.entries[key]?.amount ?? 0) }
            }
        }
    }
}

extension StoreError {
    /// Whether the same call may succeed later without anybody's doing.
    fileprivate var mayPassByItself: Bool {
        isOutage || isRefusal || [.deadlineExceeded, .cancelled, .overloaded, .shuttingDown].contains(code)
    }
}
