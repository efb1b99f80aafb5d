// WATCH: whether an entry has changed since it was looked at. Entries carry revisions; a key without an entry has none, so those
// that are watched are counted here, and an entry that comes and goes meanwhile is seen.

extension Keyspace {
    /// What WATCH remembers of a key.
    package struct WatchMark: Sendable {
        /// The entry's revision; 0 where there is none.
        let revision: UInt64
        /// The absence's revision where there is no entry.
        let absence: UInt64
    }

    struct Absence: Sendable {
        var watchers: Int
        /// Changes when an entry comes into being.
        var revision: UInt64
    }

    /// Begins to watch a key. Each mark is given back once, with ``unwatch(_:_:)``.
    package mutating func watch(_ key: Key) -> WatchMark {
        let revision = revision(of: key)
        guard revision == 0 else { return WatchMark(revision: revision, absence: 0) }
        let present = absences[key] ?? Absence(watchers: 0, revision: nextRevision())
        absences[key] = Absence(watchers: present.watchers + 1, revision: present.revision)
        return WatchMark(revision: 0, absence: present.revision)
    }

    package mutating func unwatch(_ key: Key, _ mark: WatchMark) {
        guard mark.revision == 0, let present = absences[key] else { return }
        absences[key] = present.watchers > 1 ? Absence(watchers: present.watchers - 1, revision: present.revision) : nil
    }

    /// Whether the entry has changed, come, gone or expired since it was watched.
    package mutating func hasChanged(_ key: Key, since mark: WatchMark) -> Bool {
        if revision(of: key) != mark.revision { return true }
        return mark.revision == 0 && absences[key]?.revision != mark.absence
    }

    /// An entry came into being.
    mutating func noteArrival(of key: Key) {
        guard !absences.isEmpty, absences[key] != nil else { return }
        let arrival = nextRevision()
        absences[key]?.revision = arrival
    }
}
