// What services want to know again after a restart during which the server is away, and could only ask it.

extension Outbox {
    static let notesKey = Key(raw: "outbox:notes")

    /// Writes down a small fact under a name, in the place of what was written there; over a restart where the outbox is kept in a folder.
    ///
    /// - Throws: ``ErrorCode/storageFailed`` where the folder fails; in this process it is known all the same.
    public func write(note value: Bytes, as name: String) async throws(StoreError) {
        let isNew = state.withLock { $0.notes.updateValue(value, forKey: name) != value }
        if let store, isNew { _ = try await store(.hset(Self.notesKey, [HashField(Bytes(name), value)])) }
    }

    /// What was last written under a name, by this process or, once ``load(into:)`` has run, by an earlier one.
    public func note(_ name: String) -> Bytes? { state.withLock { $0.notes[name] } }
}
