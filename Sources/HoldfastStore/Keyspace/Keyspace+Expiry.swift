/// A moment at which an entry ends, in the order of time.
struct ExpiryMark: Comparable, Sendable {
    let moment: Timestamp
    let slot: Int

    static func < (left: ExpiryMark, right: ExpiryMark) -> Bool {
        (left.moment, left.slot) < (right.moment, right.slot)
    }
}

extension Keyspace {
    /// Removes up to `limit` entries whose time has come; answers how many it removed.
    ///
    /// Expired entries are never seen in any case (each access looks), so this only gives their memory back.
    @discardableResult
    public mutating func removeExpired(limit: Int) -> Int {
        var removed = 0
        while removed < limit, let next = expiries.first, next.moment <= now {
            guard let key = entries.key(at: next.slot) else { preconditionFailure("an expiry without an entry") }
            expire(key)
            removed += 1
        }
        return removed
    }

    /// When the next entry ends; nil when none has an expiry.
    public var nextExpiry: Timestamp? { expiries.first?.moment }

    /// Removes an entry whose time has come, and says so.
    mutating func expire(_ key: Key) {
        expiredCount += 1
        removeEntry(key)
        emit(.keys(.del([key])))
    }

    /// Sets or removes the expiry of an entry, without telling.
    mutating func setExpiry(_ expiry: Timestamp?, at slot: Int) {
        let old = entries.look(at: slot) { $0.expiry }
        guard old != expiry else { return }
        preserve(slot)
        if let old { expiries.remove(ExpiryMark(moment: old, slot: slot)) }
        if let expiry { expiries.insert(ExpiryMark(moment: expiry, slot: slot)) }
        entries[slot].expiry = expiry
        entries[slot].revision = nextRevision()
        if limits.policy.onlyExpiring { updateCandidacy(at: slot) }
    }
}
