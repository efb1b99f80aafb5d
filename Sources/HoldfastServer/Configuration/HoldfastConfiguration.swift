public import Holdfast
public import HoldfastStore
public import Logging

/// Everything that can be set about a Holdfast server, as plain values with their defaults.
///
/// Programs fill it by hand; ``load(_:)`` fills it from flags, environment, `.env` and file, by the one table of settings
/// (``Setting/all``).
public struct HoldfastConfiguration: Sendable, Hashable {
    public var redis = Redis()
    public var cache = Cache()
    public var memory = Memory()
    public var limits = RateLimits()
    public var breaker = Breaker()
    public var sessions = Sessions()
    public var server = Server()

    public init() {}
}

extension HoldfastConfiguration {
    public struct Cache: Sendable, Hashable {
        /// Most entries of the near cache in this process.
        public var nearEntries = 1000
        /// How long an entry lives that was set without a time to live.
        public var defaultTTL: Duration = .seconds(3600)
        /// What becomes of calls while the server is away.
        public var outage = OutageBehavior.local

        public init() {}
    }

    /// The embedded store.
    public struct Memory: Sendable, Hashable {
        /// Most bytes it may hold; 0 means no limit.
        public var maxBytes = 512 << 20
        public var policy: EvictionPolicy = .allKeysLRU

        public init() {}
    }

    /// The default limits: a bucket of ``burst`` that refills ``perMinute``/60 a second, and two sliding windows.
    public struct RateLimits: Sendable, Hashable {
        public var isEnabled = true
        public var perMinute = 60
        public var perHour = 1000
        public var burst = 10
        /// What becomes of calls while the server is away: of those by the default limits, and of those that name their own.
        public var outage = RateLimiter.OutageBehavior.local

        public init() {}
    }

    /// The circuit breaker that watches the server.
    public struct Breaker: Sendable, Hashable {
        public var isEnabled = true
        /// Consecutive failures that open it.
        public var failureThreshold = 5
        /// Consecutive successes that close it again.
        public var successThreshold = 2
        /// How long it stays open at most for a server that answers again: so long must one answer that comes and goes.
        public var timeout: Duration = .seconds(30)
        /// A call that takes longer counts as a failure; nil for never.
        public var slowCall: Duration?

        public init() {}
    }

    public struct Sessions: Sendable, Hashable {
        public enum Storage: String, Sendable, Hashable, CaseIterable {
            /// In the store in use: Redis, or the embedded store where there is none.
            case redis
            /// Always in this process.
            case memory
            /// In signed tokens.
            case jwt
        }

        public var storage: Storage = .redis
        /// Idle time after which a session ends.
        public var ttl: Duration = .seconds(3600)
        public var cleanupInterval: Duration = .seconds(300)
        /// What becomes of calls while the server is away.
        public var outage = OutageBehavior.local
        /// AES-256 keys of 32 bytes: the first encrypts, all decrypt. Empty means no encryption.
        public var encryptionKeys: [EncryptionKey] = []

        public init() {}
    }

    public struct Server: Sendable, Hashable {
        public var host = "127.0.0.1"
        /// 0 lets the system choose a free one.
        public var port = 8000
        /// The folder for what must outlive the process, or nil for none.
        public var dataFolder: String?
        /// How the embedded store keeps its entries there.
        public var journal = JournalConfiguration()
        /// How much may wait for a server that is away; 0 bytes for no limit.
        public var outbox = Outbox.Configuration()
        /// The entries of HOLDFAST_API_KEYS, for ``APIKeyRing``. Empty means that the server makes a key of its own at its first start.
        public var apiKeys: [Secret] = []
        public var logLevel: LogLevel = .notice
        /// How many instances share the limits while the server is unreachable; nil to count those that hold a lease there.
        public var instances: Int?
        /// PEM; nil for HTTP without TLS.
        public var tlsCertificateFile: String?
        /// PEM; nil where the key stands in the certificate's file.
        public var tlsKeyFile: String?
        public var maximumConnections = 10_000
        public var idleTimeout: Duration = .seconds(75)
        public var readTimeout: Duration = .seconds(15)
        /// Whether reading and writing of cache entries goes to the audit log too.
        public var auditsCache = false

        /// Whether clients reach it by `https`.
        public var usesTLS: Bool { tlsCertificateFile != nil }
        /// Where the embedded store is shown to Redis's tools; nil for nowhere. Whoever may connect may read and change everything.
        public var resp: HostAndPort?
        /// What these tools show; nil for nothing, which only the loopback addresses allow.
        public var respPassword: Secret?
        /// Whether ``resp`` may be an address that other machines reach.
        public var respIsRemote = false

        public init() {}
    }

    /// Redis's names for how much is logged.
    public enum LogLevel: String, Sendable, Hashable, CaseIterable {
        case debug, verbose, notice, warning

        /// The level of swift-log that stands for it.
        public var level: Logger.Level {
            switch self {
            case .debug: .debug
            case .verbose: .info
            case .notice: .notice
            case .warning: .warning
            }
        }
    }
}

/// One AES-256 key of the ring.
public struct EncryptionKey: Hashable, Sendable, CustomStringConvertible {
    /// 32 bytes.
    public let bytes: [UInt8]
    public var description: String { Secret.redacted }
}
