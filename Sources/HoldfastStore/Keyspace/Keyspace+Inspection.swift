// What a person who looks into a key space asks, beside the commands: nothing here counts as a use or changes anything.

extension Keyspace {
    /// The Redis version whose commands and replies these are.
    package static let redisVersion = "7.0.0"

    /// What is known of an entry besides its value.
    package struct EntryDetails: Sendable {
        public let type: EntryType
        /// The name that Redis gives the nearest of its own representations.
        public let encoding: String
        /// Accounted memory, key included.
        public let cost: Int
        public let idle: Duration
        /// The use counter of the LFU policies: logarithmic, decaying by one a minute.
        public let frequency: Int
    }

    /// Nil where there is no such key.
    package func details(of key: Key) -> EntryDetails? {
        guard let entry = entries.value(for: key), entry.expiry.map({ $0 > now }) ?? true else { return nil }
        return EntryDetails(
            type: entry.value.type, encoding: entry.value.encoding, cost: entry.cost,
            idle: .milliseconds(max(0, now.milliseconds - entry.usage.lastUsed)), frequency: Int(entry.usage.decayed(now)))
    }

    /// Every key that a glob matches. Linear in the number of keys.
    package func keys(matching pattern: Bytes) -> [Key] {
        let glob = Glob(pattern)
        return entries.lazy.filter { [now] in $0.value.expiry.map { $0 > now } ?? true }.map(\.key).filter {
            glob.matches($0.bytes)
        }
    }

    /// Begins to count anew what is counted, as CONFIG RESETSTAT does.
    package mutating func resetCounts() { (expiredCount, evictedCount, hitCount, missCount) = (0, 0, 0, 0) }

    /// How many entries have an expiry.
    package var expiringCount: Int { expiries.count }
}

extension Value {
    fileprivate var encoding: String {
        switch self {
        case .string(let bytes): bytes.integer != nil ? "int" : bytes.count <= 44 ? "embstr" : "raw"
        case .hash, .set: "hashtable"
        case .list: "quicklist"
        case .sortedSet: "skiplist"
        }
    }
}
