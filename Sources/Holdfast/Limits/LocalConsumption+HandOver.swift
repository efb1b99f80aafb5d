import HoldfastStore

// How what was consumed here is charged to the server.

extension LocalConsumption {
    /// Charges everything to the server; what comes meanwhile is for the next time. After what others have begun, and to its end where the
    /// caller leaves.
    ///
    /// What the folder knows is charged once it knows under which name: where it fails, that stays until it works again, and nothing is thrown.
    ///
    /// - Parameter instances: by how many the local store's limits are divided.
    /// - Returns: false where the folder fails, and something stays for it.
    /// - Throws: the server's failure: what was not charged stays; or what ends the caller's wait.
    @discardableResult
    func handOver(
        from local: any Store, to server: any Store, sharedBy instances: Int
    ) async throws(StoreError) -> Bool {
        try await handOvers.perform { () throws(StoreError) in
            try await self.chargeBatches(.max, from: local, to: server, sharedBy: instances)
        }
    }

    /// Begins to charge one batch, where nobody is at it. Nobody waits for it: the folder may be slow, and so may the server.
    func beginHandOver(from local: any Store, to server: any Store, sharedBy instances: Int) {
        guard handOvers.count == 0 else { return }
        handOvers.begin { _ = try? await self.chargeBatches(1, from: local, to: server, sharedBy: instances) }
    }

    /// - Returns: false where the folder fails.
    private func chargeBatches(
        _ limit: Int, from local: any Store, to server: any Store, sharedBy instances: Int
    ) async throws(StoreError) -> Bool {
        // A batch that the server answers with an error comes again key by key.
        var left = min(limit, 2 * state.withLock { $0.entries })
        while left > 0 {
            var batches = take(min(left, Self.together))[...]
            guard !batches.isEmpty else { return true }
            left -= batches.count
            // Those that were not come to.
            defer { for batch in batches { settle(batch, isDone: false) } }
            await keep(batches, from: local, sharedBy: instances)
            while let batch = batches.first {
                do throws(StoreError) {
                    guard try await charge(batch, from: local, to: server, sharedBy: instances) else { return false }
                    settle(batch, isDone: true)
                } catch {
                    if error.mayPassByItself { throw error }
                    guard await giveUp(batch, error) else { return false }
                }
                batches.removeFirst()
            }
        }
        return true
    }

    /// How many batches are written in one step before they are sent, because the disk takes its time.
    private static let together = 16

    /// What becomes of a batch that the server answered with an error. Where nothing was done of it, each key is tried by itself. Where it may
    /// have been, now or by an earlier attempt, it stays whole, because it is known under its name only: as an entry of the outbox under that,
    /// which is done again once, and where the server has not changed its mind becomes a dead letter.
    ///
    /// - Parameter batch: as it was before this attempt.
    /// - Returns: false where the folder fails, and the batch stays for another time.
    private func giveUp(_ batch: Batch, _ error: StoreError) async -> Bool {
        let mayHaveHappened = batch.isTried || error.effect == .unknown
        if batch.entries.count > 1, !mayHaveHappened {
            split(batch)
            return true
        }
        do throws(StoreError) {
            let charges = batch.entries.values.map { RateLimitCharge($0.charge.rule, for: $0.charge.subject, cost: $0.amount) }
            let call = try RateLimitCall(charges, in: batch.names, once: batch.operation)
            let now = now
            let sent = mayHaveHappened ? batch.made : nil
            try await outbox.add(RateLimitReplay.item(.record, call, at: now.wall, now: now, sent: sent, in: outbox))
        } catch {
            guard error.code == .outboxFull else { return false }
            state.withLock { $0.lost += batch.entries.count }
        }
        settle(batch, isDone: true)
        return true
    }

    /// The parts bear other names, so the folder has to learn of all of them at once before any of them goes to the server: whoever finds
    /// the whole there would charge it beside them.
    private func split(_ batch: Batch) {
        let now = now.uptime
        state.withLock { state in
            guard let index = state.batches.firstIndex(where: { $0.operation == batch.operation }) else { return }
            let whole = state.batches[index]
            var parts = whole.entries.map { (key, entry) in
                Batch(
                    number: whole.number, operation: newOperation(), made: now, names: whole.names, entries: [key: entry],
                    isUnderWay: false)
            }
            let owed = whole.isWritten ? whole.owed.union([whole.row]).union(parts.map(\.row)) : whole.owed
            for place in parts.indices { parts[place].owed = owed }
            state.batches.replaceSubrange(index...index, with: parts)
            state.stale.remove(whole.row)
            if isDurable { state.stale.formUnion(parts.map(\.row)) }
        }
    }

    private func take(_ count: Int) -> [Batch] {
        var batches: [Batch] = []
        while batches.count < count, let batch = take() { batches.append(batch) }
        return batches
    }

    /// The oldest batch that nobody is at, or a new one.
    private func take() -> Batch? {
        let (operation, now) = (newOperation(), now.uptime)
        return state.withLock { state in
            if let index = state.batches.firstIndex(where: { !$0.isUnderWay }) {
                state.batches[index].isUnderWay = true
                return state.batches[index]
            }
            guard let (names, pending) = state.pending.first(where: { !$0.value.isEmpty }) else { return nil }
            var batch = Batch(number: state.nextBatch, operation: operation, made: now, names: names, entries: [:])
            state.nextBatch += 1
            for (key, entry) in pending.prefix(RateLimitCall.maximumRules) {
                var moved = entry
                (moved.isStale, moved.isWritten) = (false, false)
                batch.entries[key] = moved
                if entry.isWritten { batch.owed.insert(.sum(names, key)) }
                if entry.isStale { state.stale.remove(.sum(names, key)) }
                state.pending[names]?[key] = nil
            }
            if state.pending[names]?.isEmpty == true { state.pending[names] = nil }
            state.batches.append(batch)
            if isDurable { state.stale.insert(batch.row) }
            return batch
        }
    }

    private func settle(_ batch: Batch, isDone: Bool) {
        state.withLock { state in
            guard let index = state.batches.firstIndex(where: { $0.operation == batch.operation }) else { return }
            state.batches[index].isUnderWay = false
            guard isDone else { return }
            let done = state.batches.remove(at: index)
            state.entries -= done.entries.count
            if done.isWritten { state.stale.insert(done.row) } else { state.stale.remove(done.row) }
            state.stale.formUnion(done.owed)
        }
    }

    /// - Returns: false where the folder does not take the batch's name: then it has not been sent.
    private func charge(
        _ batch: Batch, from local: any Store, to server: any Store, sharedBy instances: Int
    ) async throws(StoreError) -> Bool {
        // Its marker may have ended: rather once too few than twice.
        if batch.isTried, now.uptime - batch.made > batch.operation.retention - .seconds(60) {
            state.withLock { $0.lost += batch.entries.count }
            return true
        }
        let entries = batch.entries.map { $0 }
        // Before the local state is read: what is consumed in between is then charged rather than forgotten.
        let newer = amounts(behind: batch, of: entries.map(\.key))
        let (amounts, _) = try await counting(entries.map(\.value), newer, in: batch.names, from: local, sharedBy: instances)
        var due: [RateLimitCharge] = []
        for (entry, amount) in zip(entries.map(\.value), amounts) where amount > 0 {
            due.append(RateLimitCharge(entry.charge.rule, for: entry.charge.subject, cost: amount))
        }
        guard !due.isEmpty else { return true }
        let call = try RateLimitCall(due, in: batch.names, once: batch.operation)
        guard await isKept(batch, from: local, sharedBy: instances) else { return false }
        note(batch, isTried: true)
        do throws(StoreError) {
            _ = try await server.run(call.blindProcedure(RateLimitProcedures.record))
        } catch {
            if error.effect == .none { note(batch, isTried: batch.isTried) }
            throw error
        }
        let units = due.reduce(0) { $0 + $1.cost }
        state.withLock { $0.handedOver += units }
        return true
    }

    private func note(_ batch: Batch, isTried: Bool) {
        state.withLock { state in
            guard let index = state.batches.firstIndex(where: { $0.operation == batch.operation }) else { return }
            state.batches[index].isTried = isTried
        }
    }

    /// How much of each still counts, by the local state, and when that was so. Where the wall clock was set meanwhile, which that goes by, what
    /// was consumed of late.
    ///
    /// - Parameter newer: what was consumed of each afterwards.
    func counting(
        _ entries: [Entry], _ newer: [Int], in names: Namespace, from local: any Store, sharedBy instances: Int
    ) async throws(StoreError) -> ([Int], Timestamp) {
        let peek = try RateLimitCall(entries.map { $0.charge.unbounded(sharedBy: min($0.instances, instances)) }, in: names)
        let answer = try await local.run(peek.procedure(RateLimitProcedures.peek, sharedBy: 1))
        let now = now
        let amounts = zip(zip(entries, newer), answer.states).map { (entry, state) in
            let (entry, newer) = entry
            if entry.end <= now.uptime { return 0 }
            let counted = entry.isByTheClock(of: now) ? state.consumed - newer : entry.recent.counted(at: now.uptime)
            return min(entry.amount, max(0, counted))
        }
        return (amounts, answer.at)
    }

    /// What was consumed of these after the batch was made, less what was given back of the batch: it left its window last, so it is what
    /// the local state holds first.
    func amounts(behind batch: Batch, of keys: [Key]) -> [Int] {
        state.withLock { $0.amounts(behind: batch, of: keys) }
    }
}

extension LocalConsumption.State {
    func amounts(behind batch: LocalConsumption.Batch, of keys: [Key]) -> [Int] {
        let place = batches.firstIndex { $0.operation == batch.operation } ?? batches.endIndex - 1
        let own = batches.indices.contains(place) ? batches[place].entries : [:]
        let later = batches.dropFirst(place + 1).filter { $0.names == batch.names }
        return keys.map { key in
            (pending[batch.names]?[key]?.held ?? 0) - (own[key]?.takenBack ?? 0)
                + later.reduce(0) { $0 + ($1.entries[key]?.held ?? 0) }
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
