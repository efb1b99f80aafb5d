/// A value with what the key space knows about it.
struct Entry: Sendable {
    var value: Value
    /// When it ends; nil for never.
    var expiry: Timestamp?
    /// The last snapshot that needs no copy of it any more. Lies where alignment leaves a gap.
    var snapshot: UInt32 = 0
    /// Changes with every change of the entry, and is never used twice in a key space: what WATCH compares.
    var revision: UInt64
    /// What it costs in memory, key included.
    var cost = 0
    /// How recently and often it was used, for eviction.
    var usage = Usage()
    /// Its place among the eviction candidates; nil where it may not be evicted.
    var candidate: Int?
}
