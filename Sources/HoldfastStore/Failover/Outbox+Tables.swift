// What a service keeps beside the entries, in a table of its own: what it sums up rather than lists. It writes rows when it sees fit, and gets
// all of them back at the start.

extension Outbox {
    /// Gives a service the rows of its table that an earlier process left. The store is the local one.
    package typealias Restore = @Sendable (_ rows: [Bytes: Bytes], _ local: any Store) async throws(StoreError) -> Void

    /// Whether it outlives this process: without a folder nobody reads what is written to a table.
    package var isDurable: Bool { store != nil }

    /// Takes a table for oneself; false where there is no folder, or somebody else has it already.
    package func claim(table name: String) -> Bool {
        isDurable && state.withLock { $0.claimedTables.insert(name).inserted }
    }

    /// Says who gets a table's rows back; before ``load(into:)``.
    ///
    /// - Parameter restore: called by it, also where there are no rows, after the entries have been recalled. It throws
    ///   ``ErrorCode/dataUnreadable`` (``unreadable``) where it cannot read a row.
    package func register(table name: String, restore: @escaping Restore) { state.withLock { $0.tables[name] = restore } }

    /// Writes and removes rows in one step; nothing without a folder.
    ///
    /// - Throws: ``ErrorCode/storageFailed`` where the folder fails.
    package func write(_ rows: [HashField], removing gone: [Bytes], in table: String) async throws(StoreError) {
        try await store?.write([(Self.key(ofTable: table), rows)], removing: [(Self.key(ofTable: table), gone)])
    }

    func restoreTables(_ store: any Store, _ local: any Store) async throws(StoreError) {
        for (name, restore) in state.withLock({ $0.tables }).sorted(by: { $0.key < $1.key }) {
            try await restore(try await store(.hgetall(Self.key(ofTable: name))), local)
        }
    }

    private static func key(ofTable name: String) -> Key { Key(raw: Bytes("outbox:table:\(name)")) }

    package static var unreadable: StoreError {
        StoreError(.dataUnreadable, "The outbox holds an entry of another version", field: "HOLDFAST_DATA")
    }
}

extension Store {
    /// Changes fields of hashes in one step.
    func write(_ fields: [(Key, [HashField])], removing gone: [(Key, [Bytes])]) async throws(StoreError) {
        var commands = fields.filter { !$0.1.isEmpty }.map { Command<Int>.hset($0, $1) }
        commands += gone.filter { !$0.1.isEmpty }.map { Command<Int>.hdel($0, $1) }
        guard !commands.isEmpty else { return }
        let replies = try await execute(Batch(.transaction, commands.map(\.operation)))
        for (command, reply) in zip(commands, replies) { _ = try command.output(of: reply) }
    }
}
