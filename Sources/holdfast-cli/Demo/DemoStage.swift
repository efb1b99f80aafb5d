import Holdfast
import HoldfastServer
import HoldfastStore

/// The services on the store in use, for a tenant of the demonstration's own, so that nothing of anybody else's is touched.
struct DemoStage: Sendable {
    let failover: Failover
    let namespace: Namespace
    let cache: Cache
    let limiter: RateLimiter
    let sessions: Sessions
    let storeDescription: String
    private let redis: ConfiguredServer?

    static func open(_ configuration: HoldfastConfiguration) async throws -> DemoStage {
        let limits = Keyspace.Limits(maximumBytes: configuration.memory.maxBytes, policy: configuration.memory.policy)
        let local = EmbeddedStore(EmbeddedStore.Configuration(limits: limits))
        guard let redis = try ConfiguredServer(configuration.redis, clientName: "holdfast-demo") else {
            return DemoStage(Failover(local: local), configuration, configuration.storeDescription, redis: nil)
        }
        let failover = Failover(server: redis.store, local: local)
        if let refusal = await failover.start() {
            await redis.shutdown()
            throw CommandFailure(
                .unavailable, "\(configuration.storeDescription) refuses us: \(refusal.message); see holdfast doctor")
        }
        let description =
            failover.decider.isLocal
            ? "embedded (in this process), because \(configuration.storeDescription) cannot be reached"
            : configuration.storeDescription
        // Away from the beginning: the demonstration is then of the embedded store, not of an outage.
        let used = failover.decider.isLocal ? Failover(local: local) : failover
        return DemoStage(used, configuration, description, redis: redis)
    }

    private init(_ failover: Failover, _ configuration: HoldfastConfiguration, _ description: String, redis: ConfiguredServer?) {
        let tenant = "demo-" + String(UInt64.random(in: .min ... .max), radix: 36)
        namespace = Namespace(prefix: configuration.redis.keyPrefix, tenant: tenant)
        self.failover = failover
        self.redis = redis
        storeDescription = description
        cache = Cache(failover: failover, namespace: namespace)
        limiter = RateLimiter(failover, namespace: namespace)
        sessions = Sessions(failover: failover, namespace: namespace)
    }

    /// Removes every key of the demonstration, and leaves.
    func close() async {
        let pattern = namespace.glob(startingWith: "")
        // What belongs to a key and shares its slot is called `{<key>}:…`.
        for pattern in [pattern, Bytes(Array("{".utf8) + pattern)] {
            try? await remove(pattern)
        }
        await redis?.shutdown()
    }

    private func remove(_ pattern: Bytes) async throws {
        var cursor = Bytes("0")
        repeat {
            let page = try await call(["SCAN", cursor, "MATCH", pattern, "COUNT", "1000"])
            guard let parts = page.elements, parts.count == 2, let next = parts[0].bytes else { return }
            let keys = parts[1].list ?? []
            if !keys.isEmpty { _ = try await call(["UNLINK"] + keys) }
            cursor = next
        } while cursor.string != "0"
    }

    private func call(_ command: [Bytes]) async throws -> Reply {
        try await failover.perform(.local) { (store, _) async throws(StoreError) in try await store(.raw(command)) }.value
    }
}
