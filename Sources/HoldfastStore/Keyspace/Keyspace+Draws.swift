extension Keyspace {
    /// Most draws in which an entry can come twice, and most bytes that they may add up to. Without these bounds one short command
    /// on a small key fills the memory of this process; Redis, which has none, is in a process of its own.
    package static let maximumDraws: Int64 = 100_000
    static let maximumDrawnBytes = 64 * 1024 * 1024

    /// Entries of a collection at random; see ``SlotTable/draw(_:using:)``.
    ///
    /// - Parameter size: what an entry adds to the reply.
    mutating func draw<Part>(
        _ count: Int64, from table: SlotTable<Bytes, Part>?, size: (SlotTable<Bytes, Part>.Slot) -> Int
    ) throws(ReplyError) -> [SlotTable<Bytes, Part>.Slot] {
        guard count >= -Self.maximumDraws else { throw .tooManyDraws }
        guard let drawn = table?.draw(count, using: &random) else { return [] }
        // Entries that differ are no more than the store holds.
        guard count > 0 || drawn.reduce(0, { $0 + size($1) }) <= Self.maximumDrawnBytes else { throw .tooManyDraws }
        return drawn
    }
}

extension ReplyError {
    package static let tooManyDraws = ReplyError(
        "ERR value is out of range, at most \(Keyspace.maximumDraws) draws of \(Keyspace.maximumDrawnBytes) bytes in all")
}
