// What services want to know again after a restart during which the server is away, and could only ask it.

extension Outbox {
    static let notesKey = Key(raw: "outbox:notes")

    /// Writes down a small fact under a name, in the place of what was written there; over a restart where the outbox is kept in a folder.
    ///
    /// - Throws: ``ErrorCode/storageFailed`` where the folder fails, and what ends the caller's wait for it: in this process it is known
    ///   all the same, and the folder is told as soon as it takes writes (``settleFolder()``).
    public func write(note value: Bytes, as name: String) async throws(StoreError) {
        let isNew = state.withLock { state in
            guard state.notes.updateValue(value, forKey: name) != value else { return false }
            owe(&state, note: name)
            return true
        }
        if isNew { try await settleFolder() }
    }

    /// What was last written under a name, by this process or, once ``load(into:)`` has run, by an earlier one.
    public func note(_ name: String) -> Bytes? { state.withLock { $0.notes[name] } }
}
