/// Writes a picture of a key space as the commands that make it: the base of a journal.
struct JournalBase: Sendable {
    let folder: any DataFolder
    let keyspace: Locked<Keyspace>
    /// Set to give up.
    let isCancelled = Locked(false)

    /// How many slots are looked at under one lock: some 50 µs.
    private static let slotsPerPart = 1000
    /// So many bytes are written with one call, and synced after so many: an fsync of everything at the end would stand in the way of
    /// the increments' own for long.
    private static let bytesPerWrite = 1 << 20
    private static let bytesPerSync = 32 << 20

    /// Writes the snapshot that has begun into the temporary file, durably; answers its size. The snapshot is ended in any case.
    func write() throws(DataFileError) -> Int {
        defer { keyspace.withLock { $0.endSnapshot() } }
        let file = try folder.open(JournalManifest.temporaryBaseName, .new)
        var writer = CommandWriter(reserving: Self.bytesPerWrite + (64 << 10))
        var (offset, synced) = (0, 0)
        func flush() throws(DataFileError) {
            var position = 0
            try file.append(writer.buffer, from: &position, at: offset)
            offset += position
            writer.removeAll()
            guard offset - synced >= Self.bytesPerSync else { return }
            try file.sync()
            synced = offset
        }
        while let items = keyspace.withLock({ $0.nextSnapshotPart(slots: Self.slotsPerPart) }) {
            for item in items {
                item.write(to: &writer)
                if writer.buffer.count >= Self.bytesPerWrite { try flush() }
            }
            if isCancelled.withLock({ $0 }) {
                throw DataFileError(number: 0, call: "write", file: JournalManifest.temporaryBaseName, reason: "given up")
            }
        }
        try flush()
        try file.sync()
        return offset
    }
}
