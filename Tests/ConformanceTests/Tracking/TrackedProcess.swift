import Holdfast
import HoldfastRedis
import HoldfastStore
import TestServers
import Testing

/// A process whose near cache listens to its server. Its times are so long that only the server's word makes an end of a copy.
struct TrackedProcess {
    let store: RedisStore
    let cache: Cache
    private let watching: Task<Void, Never>

    init(
        _ configuration: RedisConfiguration, near: NearCacheConfiguration = .patient, prefix: String = "p:",
        time: any TimeSource = .system
    ) throws {
        store = try RedisStore(configuration)
        let failover = Failover(server: store, local: EmbeddedStore(time: time), time: time)
        cache = Cache(
            failover: failover, namespace: Namespace(prefix: prefix), configuration: CacheConfiguration(near: near))
        // What was away comes back.
        watching = Task { await failover.run() }
    }

    func stop() async {
        watching.cancel()
        await watching.value
        await store.shutdown()
    }

    /// Begins to read, and waits until what is read is kept.
    func isTracked(_ key: String = "warm") async throws {
        _ = try? await cache.get(key, as: Int.self)
        try await eventually("changes are not told of") { cache.nearCoherence == .tracked }
    }

    /// Reads until the value is near: a change elsewhere in its group of keys may cost a put.
    func holds(_ key: String, _ value: Int) async throws {
        try await eventually("\(value) is not kept near") {
            (try? await cache.get(key, as: Int.self)) == .hit(value, from: .near)
        }
    }

    /// Waits for what only the server's word can bring: no copy here ends by itself.
    func sees(_ value: Int?, _ key: String, _ what: String) async throws {
        try await eventually("\(what) is not seen") { (try? await cache.get(key, as: Int.self))?.value == value }
    }
}

extension NearCacheConfiguration {
    static var patient: NearCacheConfiguration { NearCacheConfiguration(ttl: .seconds(3600), trackedTTL: .seconds(7200)) }
}

/// A process that keeps nothing near.
func plainCache(_ store: any Store, prefix: String = "p:") -> Cache {
    Cache(
        failover: Failover(local: store), namespace: Namespace(prefix: prefix),
        configuration: CacheConfiguration(near: NearCacheConfiguration(entries: 0)))
}

/// How a server is asked to tell of changes.
struct TrackingKind: Sendable, CustomStringConvertible {
    let mode: RedisConfiguration.ClientTracking
    let version: RedisConfiguration.ProtocolVersion
    var description: String { "\(mode) RESP\(version.rawValue)" }

    static let all = [RedisConfiguration.ClientTracking.broadcast, .reads].flatMap { mode in
        [RedisConfiguration.ProtocolVersion.resp3, .resp2].map { TrackingKind(mode: mode, version: $0) }
    }

    func applied(to configuration: RedisConfiguration) -> RedisConfiguration {
        var configuration = configuration
        (configuration.clientTracking, configuration.protocolVersion) = (mode, version)
        return configuration
    }
}
