import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// TLS where there are several servers: each connection that is made on the way has it too.
@Suite struct TopologyTLSTests {
    @Test func aClusterIsReachedAndItsRedirectionsAreFollowed() async throws {
        var options = ClusterSet.Options()
        options.tls = true
        let cluster = try await ClusterSet.start(options)
        defer { cluster.stop() }
        let configuration = cluster.configuration()
        let store = try RedisStore(configuration)
        let keys = (0..<60).map { Key(raw: Bytes("key-\($0)")) }
        for key in keys { try await store(.set(key, key.bytes)) }
        #expect(try await store.pipeline(keys.map { .get($0) }) == keys.map(\.bytes))

        // ASK while the slot moves, MOVED afterwards; either names the port with TLS.
        let key = try #require(keys.first { ClusterSet.slots[0].contains(ClusterSlot.of($0)) })
        let slot = ClusterSlot.of(key)
        try await cluster.beginMove(of: slot, from: 0, to: 1)
        try await cluster.moveKeys(of: slot, from: 0, to: 1)
        #expect(try await store(.get(key)) == key.bytes)
        try await cluster.endMove(of: slot, to: 1)
        #expect(try await store(.get(key)) == key.bytes)
        #expect(try await cluster.nodes[1].ask("GET", key.bytes).bytes == key.bytes)

        try await store.withSubscription(to: [.channel(Channel("news"))]) { subscription in
            _ = try await store(.publish(Channel("news"), "hello"))
            var events = subscription.makeAsyncIterator()
            #expect(await events.next() == .message(channel: Channel("news"), payload: "hello"))
        }
        await store.shutdown()

        var stranger = configuration
        stranger.tls?.authorityFile = cluster.nodes[0].certificates?.strangeAuthority
        let distrustful = try RedisStore(stranger)
        let error = await #expect(throws: StoreError.self) { try await distrustful(.get(key)) }
        #expect(error?.code == .serverRefused && error?.message.lowercased().contains("certificate") == true, "\(error as Any)")
        await distrustful.shutdown()
    }

    @Test func aPromotionThatSentinelsTellOverTLSIsFollowed() async throws {
        var options = SentinelSet.Options()
        options.tls = true
        let servers = try await SentinelSet.start(options)
        defer { servers.stop() }
        let store = try RedisStore(servers.configuration())
        let key = Key(raw: "n")
        #expect(try await store(.incr(key)) == 1)
        #expect(try await servers.servers[0].ask("GET", "n").integer == 1)
        try await eventually(within: .seconds(180), "The sentinel begins no failover") {
            try await servers.sentinels[0].ask("SENTINEL", "FAILOVER", Bytes(SentinelSet.name)) == .ok
        }
        try await eventually(within: .seconds(180), "The new primary was not followed") {
            guard let count = try? await store(.incr(key)) else { return false }
            let role = try? await servers.servers[1].ask("ROLE").elements?.first?.bytes
            let found = try? await servers.servers[1].ask("GET", "n").integer
            return role == "master" && found == Int64(count)
        }
        await store.shutdown()
    }
}
