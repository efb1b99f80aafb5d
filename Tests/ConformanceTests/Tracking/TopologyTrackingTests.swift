import Holdfast
import HoldfastRedis
import HoldfastStore
import TestServers
import Testing

/// The near cache while the keys go from one server to another.
@Suite(.timeLimit(.minutes(15))) struct TopologyTrackingTests {
    @Test(arguments: TrackingKind.all)
    func anotherPrimaryIsListenedTo(_ kind: TrackingKind) async throws {
        let servers = try await SentinelSet.start()
        defer { servers.stop() }
        let process = try TrackedProcess(kind.applied(to: servers.configuration()))
        let writer = try RedisStore(servers.configuration())
        let other = plainCache(writer)
        try await other.set("k", 1)
        try await process.isTracked()
        try await process.holds("k", 1)
        // Refused as long as the sentinel has not heard enough of the replica.
        try await eventually(within: .seconds(180), "The sentinel begins no failover") {
            try await servers.sentinels[0].ask("SENTINEL", "FAILOVER", Bytes(SentinelSet.name)) == .ok
        }
        // What the old primary still takes is lost when it becomes a replica.
        try await eventually(within: .seconds(180), "The old primary is one still") {
            // Sentinels end all connections of a server whose role they change.
            guard (try? await servers.servers[1].ask("ROLE").elements?.first?.bytes) == "master" else { return false }
            return (try? await servers.servers[0].ask("ROLE").elements?.first?.bytes) == "slave"
        }
        try await eventually(within: .seconds(180), "Nothing is written after the failover") {
            (try? await other.set("k", 3)) != nil
        }
        try await process.sees(3, "k", "what was written to the new primary")
        try await process.isTracked()
        try await process.holds("k", 3)
        try await other.set("k", 4)
        try await process.sees(4, "k", "a later write to it")
        await process.stop()
        await writer.shutdown()
    }

    @Test(arguments: TrackingKind.all)
    func aSlotThatMovesIsFollowed(_ kind: TrackingKind) async throws {
        let cluster = try await ClusterSet.start()
        defer { cluster.stop() }
        let process = try TrackedProcess(kind.applied(to: cluster.configuration()))
        let writer = try RedisStore(cluster.configuration())
        let other = plainCache(writer)
        let slot = Int(try await cluster.nodes[0].ask("CLUSTER", "KEYSLOT", "p:cache:default:k").integer ?? -1)
        let home = try #require(ClusterSet.slots.firstIndex { $0.contains(slot) })
        let away = (home + 1) % 3
        // A write of the cache is for two keys, for which a server has no answer while their slot is on its way.
        for value in 1...3 { try await other.set("value \(value)", value) }
        func write(_ value: Int) async throws {
            let entry = try #require(try await writer(.get(Key(raw: Bytes("p:cache:default:value \(value)")))))
            try await writer(.set(Key(raw: "p:cache:default:k"), entry))
        }
        try await write(1)
        try await process.isTracked()
        try await process.holds("k", 1)

        try await cluster.beginMove(of: slot, from: home, to: away)
        try await cluster.moveKeys(of: slot, from: home, to: away)
        try await write(2)
        try await process.sees(2, "k", "what was written to where the slot is going")
        try await write(3)
        try await process.sees(3, "k", "what was written there later")
        try await cluster.endMove(of: slot, to: away)
        try await process.isTracked()
        try await process.holds("k", 3)
        try await other.set("k", 4)
        try await process.sees(4, "k", "what was written to where the slot is")
        try await process.holds("k", 4)

        // The replica takes over while the old primary lives on.
        try await eventually(within: .seconds(180), "There is no failover") {
            _ = try? await cluster.nodes[away + 3].ask("CLUSTER", "FAILOVER", "TAKEOVER")
            return (try? await cluster.nodes[away + 3].ask("ROLE").elements?.first?.bytes) == "master"
        }
        try await eventually(within: .seconds(180), "Nothing is written after the failover") {
            (try? await other.set("k", 5)) != nil
        }
        try await process.sees(5, "k", "what was written to the new primary")
        await process.stop()
        await writer.shutdown()
    }
}
