// What the server answered with an error, until somebody decides about it.
//
// One decision at a time: first the folder learns of it, then it holds here. So where the folder fails the letter is still there, and can be
// decided about again. What a failed write may have done all the same is undone as soon as the folder works (`Doubts`).

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
    /// - Throws: ``ErrorCode/storageFailed`` where the folder fails; it is a dead letter still.
    @discardableResult
    public func retry(_ number: Int64) async throws(StoreError) -> Bool {
        try await decisions.perform { () throws(StoreError) in
            let found = self.state.withLock { state -> (DeadLetter, OutboxEntry)? in
                guard let letter = state.dead[number] else { return nil }
                let old = letter.entry
                let item = Item(old.action, keys: old.keys, arguments: old.arguments, about: old.subject)
                defer { state.next += 1 }
                return (letter, OutboxEntry(state.next, item, accepted: self.time.now))
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

    /// What writes that failed may have changed in the folder: dead letters that they would have removed, and entries that they would have
    /// added. What is right is what is in memory.
    struct Doubts {
        var letters: Set<Int64> = []
        var entries: Set<Int64> = []
        /// Whether somebody waits for the folder.
        var isWatched = false

        var isEmpty: Bool { letters.isEmpty && entries.isEmpty }
    }

    /// Whether the folder is known to hold what is in memory of dead letters.
    package var hasDoubts: Bool { state.withLock { !$0.doubts.isEmpty } }

    /// What removes doubts.
    private struct Correction {
        var letters: [HashField] = []
        var entries: [HashField] = []
        var goneLetters: [Bytes] = []
        var goneEntries: [Bytes] = []

        init(_ state: State) {
            for number in state.doubts.letters {
                if let letter = state.dead[number] {
                    letters.append(HashField(letter.entry.field, letter.encoded))
                } else {
                    goneLetters.append(Bytes(number))
                }
            }
            for number in state.doubts.entries {
                if let entry = state.entries[number]?.entry {
                    entries.append(HashField(entry.field, entry.encoded))
                } else {
                    goneEntries.append(Bytes(number))
                }
            }
        }
    }

    /// Writes a decision, together with what removes earlier doubts.
    private func keep(removing letter: DeadLetter, adding entry: OutboxEntry?) async throws(StoreError) {
        guard let store else { return }
        var (correction, doubts) = state.withLock { (Correction($0), $0.doubts) }
        correction.letters.removeAll { $0.name == letter.entry.field }
        correction.goneLetters.append(letter.entry.field)
        if let entry { correction.entries.append(HashField(entry.field, entry.encoded)) }
        do throws(StoreError) {
            try await write(correction, to: store)
            state.withLock { $0.doubts.subtract(doubts) }
        } catch {
            if error.effect == .unknown {
                doubts.letters.insert(letter.entry.number)
                if let entry { doubts.entries.insert(entry.number) }
                doubt(doubts)
            }
            throw error
        }
    }

    private func write(_ correction: Correction, to store: any Store) async throws(StoreError) {
        try await store.write(
            [(Self.entriesKey, correction.entries), (Self.deadKey, correction.letters)],
            removing: [(Self.entriesKey, correction.goneEntries), (Self.deadKey, correction.goneLetters)])
    }

    private func doubt(_ doubts: Doubts) {
        let begins = state.withLock { state in
            state.doubts.letters.formUnion(doubts.letters)
            state.doubts.entries.formUnion(doubts.entries)
            defer { state.doubts.isWatched = true }
            return !state.doubts.isWatched
        }
        guard begins else { return }
        Task.detached { [weak self, time] in
            repeat { try? await time.sleep(for: .seconds(1)) } while await self?.removeDoubts() == false
        }
    }

    /// Whether the folder holds what is in memory.
    private func removeDoubts() async -> Bool {
        let isDone = try? await decisions.perform { () throws(StoreError) in
            let (correction, doubts) = self.state.withLock { (Correction($0), $0.doubts) }
            if let store = self.store { try await self.write(correction, to: store) }
            return self.state.withLock { state in
                state.doubts.subtract(doubts)
                state.doubts.isWatched = !state.doubts.isEmpty
                return state.doubts.isEmpty
            }
        }
        return isDone ?? false
    }
}

extension Outbox.Doubts {
    fileprivate mutating func subtract(_ other: Self) {
        letters.subtract(other.letters)
        entries.subtract(other.entries)
    }
}
