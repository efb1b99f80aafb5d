import Holdfast
import HoldfastRESP
import HoldfastStore

// What the settings mean for each part.
extension HoldfastConfiguration {
    var placeOfEntries: String {
        if redis.isEnabled { return "on the server" }
        guard let folder = journalFolder else { return "in this process's memory, and gone with it" }
        return "in \(folder) (append-only file, appendfsync \(server.journal.sync.rawValue))"
    }

    /// The folder in which the embedded store keeps its entries; nil where it does not. Beside a server it holds what is needed while
    /// that is away; what must outlive the process then is in the outbox.
    public var journalFolder: String? { redis.isEnabled ? nil : server.dataFolder }

    /// Where what is decided while the server is away is kept for it; nil without a server.
    public var placeOfOutbox: String? {
        guard redis.isEnabled else { return nil }
        return outboxFolder.map { "in \($0) (append-only file, appendfsync always)" }
            ?? "in this process's memory, and gone with it; HOLDFAST_DATA would keep it"
    }

    /// The folder of the outbox; nil where it is in memory, or there is no server to keep anything for.
    var outboxFolder: String? { redis.isEnabled ? server.dataFolder.map(Self.outboxFolder) : nil }

    /// Where a server of a Redis keeps what that has to hear, in its data folder.
    public static func outboxFolder(in dataFolder: String) -> String { dataFolder + "/outbox" }

    var outbox: Outbox.Configuration {
        let size = server.outbox.maximumBytes
        return Outbox.Configuration(
            maximumEntries: server.outbox.maximumEntries, maximumBytes: size == 0 ? .max : size,
            longestOutage: server.outbox.longestOutage)
    }

    var embeddedStore: EmbeddedStore.Configuration {
        EmbeddedStore.Configuration(
            limits: Keyspace.Limits(
                maximumBytes: memory.maxBytes, policy: memory.policy, scope: .cacheEntries(prefix: redis.keyPrefix)))
    }

    /// The RESP face; nil where nobody asked for it.
    var respServer: RESPServer.Configuration? {
        server.resp.map { address in
            var configuration = RESPServer.Configuration()
            configuration.host = address.host
            configuration.port = address.port
            configuration.password = server.respPassword?.value
            return configuration
        }
    }

    /// A breaker that is switched off never opens: every call goes to the server and waits for it. Only a process that starts
    /// without its server begins locally all the same.
    var failover: Failover.Configuration {
        let longest = min(breaker.timeout, .seconds(2))
        return Failover.Configuration(
            thresholds: ServerHealth.Thresholds(
                failures: breaker.isEnabled ? breaker.failureThreshold : .max, successes: breaker.successThreshold,
                trust: min(.seconds(1), breaker.timeout)...breaker.timeout, calm: max(.seconds(60), breaker.timeout * 2)),
            probeBackoff: min(.milliseconds(100), longest)...longest,
            probeTimeout: min(.seconds(1), redis.timeout), slowCall: breaker.slowCall)
    }

    var services: AgentState.Configuration {
        var plan = RateLimitPlan.standard(perMinute: limits.perMinute, perHour: limits.perHour, burst: limits.burst)
        plan.isEnabled = limits.isEnabled
        return AgentState.Configuration(
            cache: CacheConfiguration(
                defaultTTL: cache.defaultTTL, near: NearCacheConfiguration(entries: cache.nearEntries), outage: cache.outage),
            sessions: Holdfast.Sessions.Configuration(
                storage: sessions.storage == .memory ? .memory : .configured, idleTTL: sessions.ttl,
                absoluteTTL: max(.seconds(86_400), sessions.ttl), cleanupInterval: sessions.cleanupInterval,
                outage: sessions.outage),
            limits: RateLimiter.Configuration(plan: plan, outage: limits.outage),
            instances: Instances.Configuration(fixed: server.instances))
    }
}
