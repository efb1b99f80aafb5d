// What the server answered with an error, until somebody decides about it.

extension Outbox {
    /// Dead letters, in the order in which they were accepted.
    ///
    /// - Parameter number: only those behind this one.
    public func deadLetters(after number: Int64 = 0, limit: Int = 100) -> [DeadLetter] {
        state.withLock { state in
            state.dead.values.filter { $0.entry.number > number }.sorted { $0.entry.number < $1.entry.number }
                .prefix(max(0, limit)).map(\.self)
        }
    }

    /// Puts a dead letter back among those that wait, as accepted now; false where there is none of this number.
    ///
    /// It comes after all that waits. The error's cause should be mended first: otherwise it dies again.
    @discardableResult
    public func retry(_ number: Int64) async throws(StoreError) -> Bool {
        let moved = state.withLock { state -> (old: DeadLetter, new: OutboxEntry)? in
            guard let letter = unearth(number, &state) else { return nil }
            let old = letter.entry
            let item = Item(old.action, keys: old.keys, arguments: old.arguments, about: old.subject)
            let entry = OutboxEntry(state.next, item, accepted: time.now)
            state.next += 1
            insert(Waiting(entry: entry, isKept: true), &state)
            return (letter, entry)
        }
        guard let moved else { return false }
        _ = try await store?.transaction(
            .hset(Self.entriesKey, [HashField(moved.new.field, moved.new.encoded)]),
            .hdel(Self.deadKey, [moved.old.entry.field]))
        return true
    }

    /// Forgets a dead letter for good: what it stands for will not happen. False where there is none of this number.
    @discardableResult
    public func drop(_ number: Int64) async throws(StoreError) -> Bool {
        guard let letter = state.withLock({ unearth(number, &$0) }) else { return false }
        _ = try await store?(.hdel(Self.deadKey, [letter.entry.field]))
        return true
    }
}
