import HoldfastRedis
import Testing

/// The Swift of the pages on connecting, compiled. Nobody is at their addresses, and nobody is called. `DocumentedSwiftTests`
/// compares it with the pages.
@Suite struct ConnectingPagesTests {
    @Test func oneServer() async throws {
        // begin docs/connecting/standalone.md
        let store = try RedisStore(
            RedisConfiguration(endpoint: .tcp(host: "10.0.0.1", port: 6379), username: "app", password: "secret"))
        // end docs/connecting/standalone.md
        #expect(store.configuration.endpoint == .tcp(host: "10.0.0.1", port: 6379))
        await store.shutdown()
    }

    @Test func aPrimaryThatSentinelsName() async throws {
        // begin docs/connecting/sentinel.md
        let store = try RedisStore(
            RedisConfiguration(
                endpoint: .sentinel(.init(nodes: [.init(host: "10.0.0.1", port: 26379)], primary: "mymaster", password: "…")),
                password: "…"))
        // end docs/connecting/sentinel.md
        guard case .sentinel(let sentinel) = store.configuration.endpoint else {
            Issue.record("\(store.configuration)")
            return
        }
        #expect(sentinel.primary == "mymaster" && sentinel.password == store.configuration.password)
        await store.shutdown()
    }

    @Test func aCluster() async throws {
        // begin docs/connecting/cluster.md
        var cluster = RedisConfiguration.Cluster(nodes: [.init(host: "10.0.0.1", port: 6379)])
        cluster.readsFromReplicas = true  // off unless asked for: what replicas answer may be older
        let store = try RedisStore(RedisConfiguration(endpoint: .cluster(cluster), password: "…"))
        // end docs/connecting/cluster.md
        #expect(store.configuration.endpoint == .cluster(cluster))
        await store.shutdown()
    }
}
