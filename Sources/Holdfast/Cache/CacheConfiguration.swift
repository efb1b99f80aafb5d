/// How a cache behaves where a call does not say otherwise.
public struct CacheConfiguration: Sendable {
    /// How long an entry is kept where neither the call nor its category says.
    public var defaultTTL: Duration
    /// The part of a TTL, from 0 to 1, by which it is shortened at random, so that entries written together do not end together.
    /// 0 keeps TTLs exactly.
    public var jitter: Double
    /// How long after its TTL an entry is kept, to be served when its factory fails or the server is away. Zero for not at all.
    public var failSafe: Duration
    /// How long a miss may take to be filled. A factory that takes longer answers its callers, but its value is not kept.
    public var leaseTime: Duration
    public var near: NearCacheConfiguration
    /// What becomes of calls while the configured server is away.
    public var outage: OutageBehavior
    public var categories: [CacheCategory]
    /// Limits on what callers give, in bytes of UTF-8 and of encoded values.
    public var maximumKeyBytes: Int
    public var maximumValueBytes: Int
    /// How many entries one call may name.
    public var maximumBatch: Int

    public init(
        defaultTTL: Duration = .seconds(3600), jitter: Double = 0, failSafe: Duration = .zero,
        leaseTime: Duration = .seconds(30), near: NearCacheConfiguration = NearCacheConfiguration(),
        outage: OutageBehavior = .local, categories: [CacheCategory] = CacheCategory.presets, maximumKeyBytes: Int = 1024,
        maximumValueBytes: Int = 16 * 1024 * 1024, maximumBatch: Int = 1000
    ) {
        self.defaultTTL = defaultTTL
        self.jitter = jitter
        self.failSafe = failSafe
        self.leaseTime = leaseTime
        self.near = near
        self.outage = outage
        self.categories = categories
        self.maximumKeyBytes = maximumKeyBytes
        self.maximumValueBytes = maximumValueBytes
        self.maximumBatch = maximumBatch
    }
}

/// The bounds of the near cache, which is shared by all tenants and workspaces of a process.
public struct NearCacheConfiguration: Sendable, Hashable {
    /// How many values it holds; 0 switches it off. `CACHE_MEMORY_SIZE`.
    public var entries: Int
    /// About how many bytes they take: the encoded size of each, and its key.
    public var bytes: Int
    /// The staleness bound. What this process writes or invalidates is seen here at once; what other processes do, after at most this
    /// long.
    ///
    /// Where the server tells of changes (``/HoldfastStore/ChangeTracking``) they are seen with its message, and values are served as long
    /// as it has confirmed within this time that it has told all. Elsewhere a value is served for this long without asking the store.
    public var ttl: Duration
    /// For how long a value is served at most where the server tells of changes: the bound of what Redis changes without telling (SWAPDB,
    /// the keys of a cluster's slot that is given away with its keys left behind).
    public var trackedTTL: Duration

    public init(
        entries: Int = 1000, bytes: Int = 64 * 1024 * 1024, ttl: Duration = .seconds(5), trackedTTL: Duration = .seconds(300)
    ) {
        self.entries = entries
        self.bytes = bytes
        self.ttl = ttl
        self.trackedTTL = trackedTTL
    }
}
