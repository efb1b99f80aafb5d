// What the server answered with an error, until somebody decides about it.
//
// One decision at a time: first the folder learns of it, then it holds here. So where the folder fails the letter is still there, and can be
// decided about again. What a failed write may have done all the same is undone as soon as the folder works (`settleFolder`).

extension Outbox {
    /// Dead letters, in the order in which they were accepted, or retried.
    ///
    /// - Parameter number: only those behind this one.
    public func deadLetters(after number: Int64 = 0, limit: Int = 100) -> [DeadLetter] {
        state.withLock { state in
            state.dead.values.filter { $0.entry.number > number }.sorted { $0.entry.number < $1.entry.number }
                .prefix(max(0, limit)).map(\.self)
        }
    }

    /// Puts a dead letter back among those that wait; false where there is none of this number.
    ///
    /// It comes after all that waits, under another number, and has waited since it was accepted first: what markers and tombstones on the server
    /// are kept for does not begin anew. So one that waited longer than ``Configuration/longestOutage`` dies again; and so does one whose
    /// cause was not mended.
    /// - Throws: ``ErrorCode/storageFailed`` where the folder fails; it is a dead letter still.
    @discardableResult
    public func retry(_ number: Int64) async throws(StoreError) -> Bool {
        try await decisions.perform { () throws(StoreError) in
            let found = self.state.withLock { state -> (DeadLetter, OutboxEntry)? in
                guard let letter = state.dead[number] else { return nil }
                let old = letter.entry
                let item = Item(old.action, keys: old.keys, arguments: old.arguments, about: old.subject)
                defer { state.next += 1 }
                return (letter, OutboxEntry(state.next, item, at: Moment(self.time), inPlaceOf: old))
            }
            guard let (letter, entry) = found else { return false }
            try await self.keep(removing: letter, adding: entry)
            self.state.withLock { state in
                _ = self.unearth(number, &state)
                self.insert(Waiting(entry: entry, isKept: true), &state)
            }
            return true
        }
    }

    /// Forgets a dead letter for good: what it stands for will not happen. False where there is none of this number.
    ///
    /// - Throws: ``ErrorCode/storageFailed`` where the folder fails; it is a dead letter still.
    @discardableResult
    public func drop(_ number: Int64) async throws(StoreError) -> Bool {
        try await decisions.perform { () throws(StoreError) in
            guard let letter = self.state.withLock({ $0.dead[number] }) else { return false }
            try await self.keep(removing: letter, adding: nil)
            self.state.withLock { _ = self.unearth(number, &$0) }
            return true
        }
    }

    // MARK: - The folder

    /// What a failed write may have done all the same is owed to the folder (``settleFolder()``), which then hears what holds here.
    private func keep(removing letter: DeadLetter, adding entry: OutboxEntry?) async throws(StoreError) {
        guard let store else { return }
        try await settleFolder()
        do throws(StoreError) {
            let new = entry.map { [HashField($0.field, $0.encoded)] } ?? []
            try await store.write([(Self.entriesKey, new)], removing: [(Self.deadKey, [letter.entry.field])])
        } catch {
            if error.effect == .unknown {
                state.withLock { owe(&$0, entry: entry?.number, letter: letter.entry.number) }
            }
            throw error
        }
    }
}
