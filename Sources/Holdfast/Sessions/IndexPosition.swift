import HoldfastStore

/// A place in a user's index: behind one entry, whether or not that is still there.
///
/// Entries are listed by the moment at which they end, the last first, and those of one moment by a digest of their members: the
/// members are secrets, and a position is given to callers. Two members of one moment and one digest of 32 bits count as one place.
struct IndexPosition: Hashable, Comparable {
    let ends: Int64
    let digest: UInt32

    init(_ entry: ScoredMember) {
        ends = Int64(entry.score)
        // FNV-1a, folded: it orders, it hides nothing. 96 bits of an id stay unknown.
        let hash = entry.member.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        digest = UInt32(truncatingIfNeeded: hash >> 32 ^ hash)
    }

    init(_ text: String) throws(StoreError) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let ends = Int64(parts[0]), ends > 0, let digest = UInt32(parts[1]) else {
            throw .invalid("cursor", "It is none of this list's")
        }
        self.ends = ends
        self.digest = digest
    }

    var text: String { "\(ends)-\(digest)" }

    static func < (left: IndexPosition, right: IndexPosition) -> Bool {
        left.ends != right.ends ? left.ends > right.ends : left.digest < right.digest
    }

    /// A page of an index and where the next one begins; nil where this is the last. One round trip, more only where very many entries
    /// end in one millisecond: each reads one consistent state from that moment on.
    static func page(
        of index: Key, from start: IndexPosition?, limit: Int, in store: any Store
    ) async throws(StoreError) -> (entries: [ScoredMember], next: IndexPosition?) {
        let scores = start.map { ScoreRange.atMost(Double($0.ends)) } ?? .all
        var count = limit + 32
        while true {
            let range = SortedSetRange(.scores(scores), isReversed: true, limit: .init(offset: 0, count: Int64(count)))
            let read = try await store(.zrangeWithScores(index, range))
            let isAll = read.count < count
            // Of the last moment that was read there may be more.
            let whole = isAll ? read : read.filter { $0.score != read.last?.score }
            let rest = whole.map { (place: IndexPosition($0), entry: $0) }
                .filter { place, _ in start.map { $0 < place } ?? true }
                .sorted { $0.place < $1.place }
            if isAll || rest.count > limit {
                let page = rest.prefix(limit)
                return (page.map(\.entry), rest.count > limit ? page.last?.place : nil)
            }
            count *= 2
        }
    }
}
