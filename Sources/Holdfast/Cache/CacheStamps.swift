import HoldfastStore

/// The moments that this process's writes bear, by which it knows which of them the server has heard of.
///
/// They are moments of a wall clock that may be set, so what was heard is told by the stamps that were given, not by the time.
struct CacheStamps {
    /// What this process wrote into its local store with a stamp up to this, the server has heard of since: it says nothing any more. Rises
    /// with each hearing, also within a millisecond, and what is written later has a later stamp.
    private(set) var heard = Timestamp(milliseconds: 0)
    /// The latest that was given.
    private(set) var latest = Timestamp(milliseconds: 0)

    mutating func next(at now: Timestamp) -> Timestamp {
        let stamp = max(now, heard + .milliseconds(1))
        latest = max(latest, stamp)
        return stamp
    }

    mutating func hear(until stamp: Timestamp) { heard = max(heard + .milliseconds(1), stamp) }
}
