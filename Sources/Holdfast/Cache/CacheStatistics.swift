/// What happened in one category, since the process began.
public struct CacheCounters: Sendable, Hashable, Codable {
    /// The category's name; nil for entries that were reached without one.
    public internal(set) var category: String?
    /// Answered by the near cache.
    public internal(set) var nearHits = 0
    /// Answered by the store.
    public internal(set) var storeHits = 0
    public internal(set) var misses = 0
    /// Answered with a value past its time, because nothing fresher could be had.
    public internal(set) var staleHits = 0
    /// Values written by callers.
    public internal(set) var writes = 0
    /// Values computed by factories and kept.
    public internal(set) var fills = 0
    /// Values computed by factories and not kept, because the entry was changed meanwhile or the store refused.
    public internal(set) var refusedFills = 0
    public internal(set) var factoryFailures = 0
    /// Entries removed by key, pattern, category or workspace.
    public internal(set) var removals = 0

    public var hits: Int { nearHits + storeHits + staleHits }

    /// Hits among all lookups, from 0 to 1; nil before the first.
    public var hitRate: Double? { hits + misses == 0 ? nil : Double(hits) / Double(hits + misses) }

    init(category: String? = nil) { self.category = category }

    static func += (left: inout CacheCounters, right: CacheCounters) {
        left.nearHits += right.nearHits
        left.storeHits += right.storeHits
        left.misses += right.misses
        left.staleHits += right.staleHits
        left.writes += right.writes
        left.fills += right.fills
        left.refusedFills += right.refusedFills
        left.factoryFailures += right.factoryFailures
        left.removals += right.removals
    }
}

/// What a process's cache did since it began: all tenants and workspaces together.
public struct CacheStatistics: Sendable, Hashable, Codable {
    public let total: CacheCounters
    /// By category, those that were used.
    public let categories: [String: CacheCounters]
    public let nearEntries: Int
    public let nearBytes: Int
    public let nearEvictions: Int

    init(counters: [CacheCounters], nearEntries: Int, nearBytes: Int, nearEvictions: Int) {
        var total = CacheCounters()
        for counter in counters { total += counter }
        self.total = total
        categories = Dictionary(counters.compactMap { counter in counter.category.map { ($0, counter) } }) { first, _ in first }
        self.nearEntries = nearEntries
        self.nearBytes = nearBytes
        self.nearEvictions = nearEvictions
    }
}
