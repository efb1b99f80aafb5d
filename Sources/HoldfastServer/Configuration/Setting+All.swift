import HoldfastStore

extension Setting {
    /// Every setting, in the order in which it is shown.
    public static let all: [Setting] = redis + tls + topology + memory + limits + breaker + sessions + server

    /// The setting of a name, whichever of its names that is.
    static let byName: [String: Setting] = {
        var settings: [String: Setting] = [:]
        for setting in all { for name in setting.names { settings[name] = setting } }
        return settings
    }()

    private static let redis: [Setting] = [
        Setting(
            "REDIS_ENABLED", "REDIS_ENABLE", in: .redis, .boolean, default: "false, or true when a server is named",
            \.connection.isEnabled, "use a Redis server; false keeps everything in this process"),
        Setting(
            "REDIS_PROTOCOL", in: .redis, .choice, default: "native", \.connection.wire,
            "how to talk to it: RESP (native) or Upstash's REST"),
        Setting(
            "UPSTASH_REDIS_URL", in: .redis, .upstashURL, \.connection.upstashURL,
            "the server's URL, before REDIS_URL; https:// means REST"),
        Setting(
            "REDIS_URL", in: .redis, .redisURL, default: "(built from host and port)", \.connection.url,
            "the server's URL; what it leaves out comes from the separate settings"),
        Setting("REDIS_HOST", in: .redis, .host, default: "127.0.0.1", \.connection.host, "the server's host"),
        Setting("REDIS_PORT", in: .redis, .integer(1...65535), default: "6379", \.connection.port, "the server's port"),
        Setting(
            "REDIS_DATABASE", "REDIS_DB", in: .redis, .integer(SettingKind.databases), default: "0", \.connection.database,
            "the database's number"),
        Setting("REDIS_USERNAME", in: .redis, .text, \.connection.username, "the user (ACL)"),
        Setting("REDIS_PASSWORD", in: .redis, .secret, \.connection.password, "the password; empty means none"),
        Setting(
            "REDIS_PASSWORD_FILE", in: .redis, .file, \.connection.passwordFile,
            "a file with the password, read for each new connection; when it changes, those that exist show the new one"),
        Setting("UPSTASH_REDIS_REST_URL", in: .redis, .restURL, \.connection.restURL, "the REST endpoint"),
        Setting(
            "UPSTASH_REDIS_REST_TOKEN", "UPSTASH_REDIS_TOKEN", in: .redis, .secret, \.connection.restToken,
            "the REST token; also the password, where a native URL has none"),
        Setting(
            "REDIS_MAX_CONNECTIONS", "REDIS_MAX_POOL_SIZE", in: .redis, .integer(1...10_000),
            \.configuration.redis.maxConnections, "most connections for exclusive use"),
        Setting(
            "REDIS_SHARED_CONNECTIONS", in: .redis, .integer(1...64), \.configuration.redis.sharedConnections,
            "connections that all other calls share"),
        Setting(
            "REDIS_SOCKET_TIMEOUT", in: .redis, .duration, \.configuration.redis.timeout, "the longest wait for a reply"),
        Setting(
            "REDIS_SOCKET_CONNECT_TIMEOUT", "REDIS_CONNECTION_TIMEOUT", in: .redis, .duration,
            \.configuration.redis.connectTimeout, "the longest wait for a connection"),
        Setting(
            "REDIS_RETRY_ON_TIMEOUT", in: .redis, .boolean, \.configuration.redis.retryOnTimeout,
            "try idempotent operations again after a timeout; over REST, reads only"),
        Setting(
            "REDIS_CLIENT_TRACKING", in: .redis, .choice, \.configuration.redis.clientTracking,
            "how the server tells of changes to what the near cache has: all of the cache's keys, or those that were read"),
    ]

    private static let tls: [Setting] = [
        Setting("REDIS_SSL", in: .tls, .boolean, default: "false", \.connection.usesTLS, "use TLS, as rediss:// does"),
        Setting(
            "REDIS_SSL_CERT_REQS", in: .tls, .choice, default: "required", \.connection.certificateRequirements,
            "check the server's certificate; optional means required"),
        Setting(
            "REDIS_SSL_CA_CERTS", in: .tls, .file, default: "(the system's)", \.connection.caFile, "authorities to trust, PEM"),
        Setting("REDIS_SSL_CERTFILE", in: .tls, .file, \.connection.certificateFile, "the client's certificate, PEM"),
        Setting(
            "REDIS_SSL_KEYFILE", in: .tls, .file, default: "(in the certificate's file)", \.connection.keyFile,
            "the client's key, PEM"),
        Setting(
            "REDIS_SSL_SERVER_NAME", in: .tls, .text, default: "(the host)", \.connection.serverName,
            "the name that the server's certificate bears"),
    ]

    private static let topology: [Setting] = [
        Setting(
            "REDIS_CLUSTER_ENABLED", in: .topology, .boolean, default: "false, or true when nodes are named",
            \.connection.clusterIsEnabled, "the server is a Redis Cluster"),
        Setting(
            "REDIS_CLUSTER_NODES", in: .topology, .nodes(defaultPort: 6379), \.connection.clusterNodes,
            "nodes of the cluster to begin with"),
        Setting(
            "REDIS_SENTINELS", in: .topology, .nodes(defaultPort: 26379), \.connection.sentinels,
            "sentinels that know the server's address"),
        Setting("REDIS_SENTINEL_MASTER", in: .topology, .text, \.connection.sentinelMaster, "the name the sentinels watch it by"),
        Setting(
            "REDIS_SENTINEL_USERNAME", in: .topology, .text, \.connection.sentinelUsername, "the user (ACL) at the sentinels"),
        Setting(
            "REDIS_SENTINEL_PASSWORD", in: .topology, .secret, \.connection.sentinelPassword,
            "the password at the sentinels; the server's is not tried there"),
    ]

    private static let memory: [Setting] = [
        Setting("REDIS_KEY_PREFIX", in: .memory, .prefix, \.configuration.redis.keyPrefix, "what every key begins with"),
        Setting(
            "REDIS_DEFAULT_TTL", "CACHE_DEFAULT_TTL", in: .memory, .duration, \.configuration.cache.defaultTTL,
            "how long a cache entry lives that is set without a time to live"),
        Setting(
            "CACHE_MEMORY_SIZE", in: .memory, .count, \.configuration.cache.nearEntries,
            "most entries of the near cache in this process"),
        Setting(
            "CACHE_OUTAGE", in: .memory, .choice, \.configuration.cache.outage,
            "what becomes of the cache's calls while the server is away: decided in this process, or refused but for what removes"
        ),
        Setting(
            "REDIS_MAX_MEMORY", in: .memory, .size, \.configuration.memory.maxBytes, "the embedded store's memory limit"),
        Setting(
            "REDIS_MAX_MEMORY_POLICY", in: .memory, .choice, \.configuration.memory.policy,
            "which cache entries the embedded store drops when it is full"),
    ]

    private static let limits: [Setting] = [
        Setting("RATE_LIMIT_ENABLED", in: .limits, .boolean, \.configuration.limits.isEnabled, "apply the default limits"),
        Setting(
            "RATE_LIMIT_REQUESTS_PER_MINUTE", in: .limits, .count, \.configuration.limits.perMinute, "requests in any minute"),
        Setting("RATE_LIMIT_REQUESTS_PER_HOUR", in: .limits, .count, \.configuration.limits.perHour, "requests in any hour"),
        Setting("RATE_LIMIT_BURST_SIZE", in: .limits, .count, \.configuration.limits.burst, "requests at once"),
        Setting(
            "RATE_LIMIT_OUTAGE", in: .limits, .choice, \.configuration.limits.outage,
            "what limits decide while the server is away: by this process's share, everything allowed, or everything denied"),
    ]

    private static let breaker: [Setting] = [
        Setting(
            "CIRCUIT_BREAKER_ENABLED", in: .breaker, .boolean, \.configuration.breaker.isEnabled,
            "stop asking a server that does not answer"),
        Setting(
            "CIRCUIT_BREAKER_FAILURE_THRESHOLD", in: .breaker, .integer(1...1_000_000),
            \.configuration.breaker.failureThreshold, "consecutive failures that open it"),
        Setting(
            "CIRCUIT_BREAKER_SUCCESS_THRESHOLD", in: .breaker, .integer(1...1_000_000),
            \.configuration.breaker.successThreshold, "consecutive successes that close it"),
        Setting(
            "CIRCUIT_BREAKER_TIMEOUT", in: .breaker, .duration, \.configuration.breaker.timeout,
            "for how long a server that keeps coming and going must answer, at most, before it is used again"),
        Setting(
            "CIRCUIT_BREAKER_SLOW_CALL_THRESHOLD", in: .breaker, .duration, default: "(off)", \.configuration.breaker.slowCall,
            "a call that takes longer counts as a failure"),
    ]

    private static let sessions: [Setting] = [
        Setting(
            "SESSION_STORAGE", in: .sessions, .choice, \.configuration.sessions.storage,
            "where sessions live: the store (redis), this process (memory) or signed tokens (jwt)"),
        Setting("SESSION_TTL", in: .sessions, .duration, \.configuration.sessions.ttl, "idle time after which a session ends"),
        Setting(
            "SESSION_CLEANUP_INTERVAL", in: .sessions, .duration, \.configuration.sessions.cleanupInterval,
            "how often indexes of ended sessions are swept"),
        Setting(
            "SESSION_OUTAGE", in: .sessions, .choice, \.configuration.sessions.outage,
            "what becomes of calls for sessions while the server is away: decided in this process, or refused but for what ends them"
        ),
        Setting(
            "TOKEN_ENCRYPTION_KEY", in: .sessions, .keyRing, \.encryptionKeys,
            "the AES-256 keys for what is kept encrypted, the current one first"),
    ]

    private static let server: [Setting] = [
        Setting("HOLDFAST_HOST", in: .server, .host, \.configuration.server.host, "the address to listen on"),
        Setting("HOLDFAST_PORT", in: .server, .integer(0...65535), \.configuration.server.port, "the port; 0 takes a free one"),
        Setting("HOLDFAST_DATA", in: .server, .folder, \.configuration.server.dataFolder, "the folder for what is kept"),
        Setting(
            "HOLDFAST_APPENDFSYNC", in: .server, .choice, \.configuration.server.journal.sync,
            "when the embedded store's entries must be on the disk"),
        Setting(
            "HOLDFAST_AOF_REWRITE_PERCENTAGE", in: .server, .integer(0...1_000_000),
            \.configuration.server.journal.rewritePercentage, "by how much its files grow before they are rewritten; 0 for never"),
        Setting(
            "HOLDFAST_AOF_REWRITE_MIN_SIZE", in: .server, .size, \.configuration.server.journal.rewriteMinimumSize,
            "from which size on its files are rewritten"),
        Setting(
            "HOLDFAST_OUTBOX_MAX_ENTRIES", in: .server, .integer(1...100_000_000),
            \.configuration.server.outbox.maximumEntries,
            "most decisions that wait for a server that is away; further ones are refused"),
        Setting(
            "HOLDFAST_OUTBOX_MAX_SIZE", in: .server, .size, \.configuration.server.outbox.maximumBytes,
            "about how much they may take together"),
        Setting(
            "HOLDFAST_API_KEYS", in: .server, .apiKeys, default: "(one is made at the first start)", \.apiKeys,
            "the API keys and their roles"),
        Setting(
            "HOLDFAST_LOG_LEVEL", "REDIS_LOG_LEVEL", in: .server, .choice, \.configuration.server.logLevel, "how much is logged"),
        Setting(
            "HOLDFAST_INSTANCES", in: .server, .integer(1...100_000), default: "(counted)", \.configuration.server.instances,
            "how many instances share the limits while the server is away"),
        Setting(
            "HOLDFAST_TLS_CERTIFICATE", in: .server, .file, \.configuration.server.tlsCertificateFile,
            "the certificate and those up to its authority, PEM; with it the server speaks https"),
        Setting(
            "HOLDFAST_TLS_KEY", in: .server, .file, default: "(in the certificate's file)", \.configuration.server.tlsKeyFile,
            "the certificate's key, PEM, not encrypted"),
        Setting(
            "HOLDFAST_MAX_CONNECTIONS", in: .server, .integer(1...1_000_000), \.configuration.server.maximumConnections,
            "most connections at once; more are answered 503"),
        Setting(
            "HOLDFAST_IDLE_TIMEOUT", in: .server, .duration, \.configuration.server.idleTimeout,
            "how long a connection without a request stays"),
        Setting(
            "HOLDFAST_READ_TIMEOUT", in: .server, .duration, \.configuration.server.readTimeout,
            "how long a request may take to arrive, besides 1 s for 4 KiB of body"),
        Setting(
            "HOLDFAST_AUDIT_CACHE", in: .server, .boolean, \.configuration.server.auditsCache,
            "record reading and writing of the cache in the audit log too"),
        Setting(
            "HOLDFAST_RESP", in: .server, .address, \.configuration.server.resp,
            "serve the embedded store to redis-cli and other Redis tools there, for development; port 0 takes a free one"),
        Setting(
            "HOLDFAST_RESP_PASSWORD", in: .server, .secret, \.configuration.server.respPassword,
            "the password that these tools show"),
        Setting(
            "HOLDFAST_RESP_REMOTE", in: .server, .boolean, \.configuration.server.respIsRemote,
            "let them come from other machines, which needs the password"),
    ]
}

extension SettingsDraft {
    // Lists whose default is empty are shown as "(none)" rather than as an empty text.
    fileprivate var encryptionKeys: [EncryptionKey]? {
        get { configuration.sessions.encryptionKeys }
        set { configuration.sessions.encryptionKeys = newValue ?? [] }
    }
    fileprivate var apiKeys: [Secret]? {
        get { configuration.server.apiKeys }
        set { configuration.server.apiKeys = newValue ?? [] }
    }
}
