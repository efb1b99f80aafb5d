import HoldfastStore

/// What this process admitted on its own while the server was away, until it is charged to the server.
///
/// Only what still counts is charged: at most what the local store holds against a subject at the hand-over, so one window. The local
/// state stays, so that a connection that comes and goes does not open a new share each time. A hand-over whose reply is lost is
/// done again and may charge twice: the error is on the strict side.
///
/// Bounded by its number of keys; consumption of further ones during one outage is not charged.
final class LocalConsumption: Sendable {
    private struct Pending {
        var charge: RateLimitCharge
        let names: Namespace
        var amount: Int
    }

    private let maximumKeys: Int
    private let instances: Int
    private let pending = Locked<[Key: Pending]>([:])

    init(maximumKeys: Int, instances: Int) {
        self.maximumKeys = maximumKeys
        self.instances = instances
    }

    var isEmpty: Bool { pending.withLock { $0.isEmpty } }

    /// Adds what a call consumed, or takes off what it gave back.
    func add(_ call: RateLimitCall, in names: Namespace, sign: Int = 1) {
        pending.withLock { pending in
            for (key, charge) in zip(call.keys, call.charges) where charge.cost > 0 {
                if var entry = pending[key] {
                    entry.amount = min(max(entry.amount + sign * charge.cost, 0), RateLimit.maximumLimit)
                    entry.charge = charge
                    pending[key] = entry.amount > 0 ? entry : nil
                } else if sign > 0, pending.count < maximumKeys {
                    pending[key] = Pending(charge: charge, names: names, amount: charge.cost)
                }
            }
        }
    }

    func forget(_ keys: [Key]) {
        pending.withLock { pending in
            for key in keys { pending[key] = nil }
        }
    }

    /// Charges up to `limit` keys to the server. What the server's failure keeps from being charged stays for the next time.
    func handOver(from local: any Store, to server: any Store, limit: Int) async throws(StoreError) {
        let taken = pending.withLock { pending in
            let taken = Array(pending.prefix(limit))
            for (key, _) in taken { pending[key] = nil }
            return taken
        }
        var rest = taken[...]
        while let names = rest.first?.value.names {
            // One call takes the keys of one tenant, because they share its slot.
            let batch = rest.prefix(RateLimitCall.maximumRules).prefix { $0.value.names == names }
            do throws(StoreError) {
                try await charge(batch.map(\.value), names, from: local, to: server)
            } catch {
                guard error.isServerFailure || error.code == .deadlineExceeded else { throw error }
                putBack(rest)
                throw error
            }
            rest = rest.dropFirst(batch.count)
        }
    }

    private func charge(
        _ batch: [Pending], _ names: Namespace, from local: any Store, to server: any Store
    ) async throws(StoreError) {
        let peek = try RateLimitCall(batch.map(\.charge), in: names)
        let states = try await local.run(peek.procedure(RateLimitProcedures.peek, sharedBy: instances)).states
        var due: [RateLimitCharge] = []
        for (entry, state) in zip(batch, states) {
            let amount = min(entry.amount, state.used)
            if amount > 0 { due.append(RateLimitCharge(entry.charge.rule, for: entry.charge.subject, cost: amount)) }
        }
        guard !due.isEmpty else { return }
        let call = try RateLimitCall(due, in: names)
        _ = try await server.run(call.procedure(RateLimitProcedures.record, sharedBy: 1))
    }

    private func putBack(_ entries: ArraySlice<(key: Key, value: Pending)>) {
        pending.withLock { pending in
            for (key, entry) in entries {
                let amount = entry.amount + (pending[key]?.amount ?? 0)
                pending[key] = Pending(charge: entry.charge, names: entry.names, amount: min(amount, RateLimit.maximumLimit))
            }
        }
    }
}
