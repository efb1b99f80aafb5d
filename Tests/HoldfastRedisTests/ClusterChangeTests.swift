import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// Clusters that change under load: slots move, and primaries die.
@Suite struct ClusterChangeTests {
    /// A key whose slot a primary serves at the start.
    private func key(of primary: Int, _ name: String) throws -> Key {
        let keys = (0..<1000).map { Key(raw: Bytes("\(name)-\($0)")) }
        return try #require(keys.first { ClusterSet.slots[primary].contains(ClusterSlot.of($0)) })
    }

    /// Whoever reads from replicas pays for one that is silent, or has died, once and not with every read.
    @Test(arguments: [false, true]) func aReplicaThatDoesNotAnswerIsLeftAlone(isKilled: Bool) async throws {
        let cluster = try await ClusterSet.start()
        defer { cluster.stop() }
        var configuration = cluster.configuration()
        guard case .cluster(var nodes) = configuration.endpoint else { return }
        nodes.readsFromReplicas = true
        configuration.endpoint = .cluster(nodes)
        (configuration.commandTimeout, configuration.connectTimeout) = (.milliseconds(500), .milliseconds(500))
        let store = try RedisStore(configuration)
        let key = try #require(
            (0..<100).map { Key(raw: Bytes("key-\($0)")) }.first { ClusterSet.slots[0].contains(ClusterSlot.of($0)) })
        try await store(.set(key, "v"))
        try await eventually(within: .seconds(30), "the replica follows") { try await store(.get(key)) == "v" }
        if isKilled { cluster.nodes[3].kill() } else { cluster.nodes[3].pause() }
        defer { cluster.nodes[3].resume() }
        let before = store.statistics.timedOut
        // Many at once: those that are on their way when it falls silent wait, those that come later do not.
        for round in 0..<5 {
            try await withThrowingTaskGroup { group in
                for _ in 0..<10 { group.addTask { () async throws in #expect(try await store(.get(key)) == "v") } }
                try await group.waitForAll()
            }
            if round == 0, !isKilled { #expect(store.statistics.timedOut > before) }
        }
        #expect(store.statistics.timedOut <= before + 10)
        await store.shutdown()
    }

    @Test func slotsMoveUnderLoadAndNoAnswerIsWrong() async throws {
        let cluster = try await ClusterSet.start()
        defer { cluster.stop() }
        let store = try RedisStore(cluster.configuration())
        let load = CounterLoad(store, callers: 8, isExact: true)
        try await load.run {
            try await load.acknowledges(200)
            for key in load.keys {
                let slot = ClusterSlot.of(key)
                let home = try #require(ClusterSet.slots.firstIndex { $0.contains(slot) })
                let away = (home + 1) % 3
                try await cluster.move(slot: slot, from: home, to: away)
                try await load.acknowledges(50)
                try await cluster.move(slot: slot, from: away, to: home)
            }
            try await load.acknowledges(200)
        }
        #expect(load.wrongAnswers == [])
        #expect(load.errors == [:])
        await store.shutdown()
    }

    @Test func whileASlotIsOnItsWayEverythingIsAnswered() async throws {
        let cluster = try await ClusterSet.start()
        defer { cluster.stop() }
        let store = try RedisStore(cluster.configuration())
        let (here, there) = (try key(of: 0, "here"), "away")
        let slot = ClusterSlot.of(here)
        let moved = Key(raw: Bytes("{\(here.bytes.lossyString)}:\(there)"))
        try await store(.set(moved, "m"))
        try await cluster.beginMove(of: slot, from: 0, to: 1)
        try await cluster.moveKeys(of: slot, from: 0, to: 1)
        // Written where the slot is going, because the key is not where it was; both by ASKING.
        try await store(.set(here, "h"))
        #expect(try await store(.get(moved)) == "m")
        let (first, second, count) = try await store.pipeline(.get(here), .get(moved), .incr(try key(of: 2, "other")))
        #expect(first == "h")
        #expect(second == "m")
        #expect(count == 1)
        let (before, _, after) = try await store.transaction(.get(here), .set(here, Bytes("i")), .get(here))
        #expect(before == "h")
        #expect(after == "i")
        let script = Script("test.read", version: 1, lua: "return redis.call('GET', KEYS[1])") { _, _, _, _ in .null }
        #expect(try await store.run(Procedure(script, keys: [here], arguments: []) { $0.bytes }) == "i")
        #expect(try await cluster.nodes[0].ask("EXISTS", here.bytes).integer != 1)

        // Some keys here and some there: TRYAGAIN, until the move has ended.
        let split = Task { try await store(.mget([here, moved, Key(raw: Bytes("{\(here.bytes.lossyString)}:new"))])) }
        try await eventually("nobody was told to try again") {
            try await cluster.nodes[1].ask("INFO", "errorstats").bytes?.string?.contains("errorstat_TRYAGAIN") == true
        }
        try await cluster.endMove(of: slot, to: 1)
        #expect(try await split.value == ["i", "m", nil])
        #expect(try await store(.get(here)) == "i")
        await store.shutdown()
    }

    @Test(arguments: [RedisConfiguration.ProtocolVersion.resp3, .resp2])
    func listenersOfAShardChannelFollowItsSlot(_ version: RedisConfiguration.ProtocolVersion) async throws {
        let cluster = try await ClusterSet.start()
        defer { cluster.stop() }
        var configuration = cluster.configuration()
        configuration.protocolVersion = version
        let store = try RedisStore(configuration)
        let channel = Channel(try key(of: 0, "shard").bytes)
        let neighbour = Channel(try key(of: 0, "neighbour").bytes)
        let slot = ClusterSlot.of(channel.bytes)
        func hears(_ events: inout Subscription.AsyncIterator, _ word: Bytes, of channel: Channel) async throws {
            try await eventually(within: .seconds(180), "Nobody listens where the slot is") {
                (try? await store(.spublish(channel, word))) == 1
            }
            // Gaps may stand before it.
            while let event = await events.next() {
                if event == .message(channel: channel, payload: word) { return }
                #expect(event == .gap(missed: nil))
            }
            Issue.record("The subscription has ended")
        }
        try await store.withSubscription(to: [.shardChannel(channel), .shardChannel(neighbour)]) { subscription in
            var events = subscription.makeAsyncIterator()
            try await hears(&events, "here", of: channel)
            try await cluster.move(slot: slot, from: 0, to: 1)
            try await hears(&events, "there", of: channel)
            try await hears(&events, "still here", of: neighbour)
            // A replica takes over; the old primary ends.
            try await eventually(within: .seconds(180), "There is no failover") {
                _ = try? await cluster.nodes[4].ask("CLUSTER", "FAILOVER", "TAKEOVER")
                return (try? await cluster.nodes[4].ask("ROLE").elements?.first?.bytes) == "master"
            }
            cluster.nodes[1].kill()
            try await hears(&events, "at the new primary", of: channel)
        }
        try await eventually("It is unsubscribed") { (try? await store(.spublish(channel, "late"))) == 0 }
        await store.shutdown()
    }

    @Test func aClusterWithoutMajorityIsAFailureOfTheServer() async throws {
        var options = ClusterSet.Options()
        options.nodeTimeout = 2000
        let cluster = try await ClusterSet.start(options)
        defer { cluster.stop() }
        var configuration = cluster.configuration()
        configuration.commandTimeout = .seconds(2)
        let store = try RedisStore(configuration)
        let key = try key(of: 0, "majority")
        try await eventually(within: .seconds(180), "It does not answer at first") { (try? await store(.set(key, "v"))) != nil }
        for node in [1, 2, 4, 5] { cluster.nodes[node].kill() }
        // The node that is left answers; what it says is that the cluster is down, and PING says so too.
        try await eventually(within: .seconds(180), "PING does not tell that the cluster is down") {
            do throws(StoreError) { try await store(.ping) } catch { return error.message.hasPrefix("CLUSTERDOWN") }
            return false
        }
        let error = await #expect(throws: StoreError.self) { try await store(.incr(key)) }
        #expect(error?.isServerFailure == true, "\(error as Any)")
        await store.shutdown()
    }

    @Test func aKilledPrimaryLosesNothingThatAReplicaHadAcknowledged() async throws {
        var options = ClusterSet.Options()
        options.nodeTimeout = 5000
        let cluster = try await ClusterSet.start(options)
        defer { cluster.stop() }
        let configuration = cluster.configuration()
        let store = try RedisStore(configuration)
        let load = CounterLoad(store, callers: 6)
        let writer = AcknowledgedWrites(configuration)
        try await load.run {
            async let writing: Void = writer.run()
            try await load.acknowledges(200)
            try await writer.acknowledges(50)
            cluster.nodes[0].kill()
            try await load.acknowledges(300, "Writes did not go on after the promotion")
            try await writer.acknowledges(60)
            writer.stop()
            try await writing
        }
        #expect(load.wrongAnswers == [])
        let lost = try await writer.missing(from: store)
        #expect(lost == [], "acknowledged by a replica, and gone")
        await store.shutdown()
        await writer.close()
    }
}

/// Writes keys of all slots, each followed by WAIT 1 on the same connection, and remembers which a replica had acknowledged.
private final class AcknowledgedWrites: Sendable {
    private struct State {
        var acknowledged: [Key] = []
        var isStopped = false
    }

    private let cluster: Cluster?
    private let state = Locked(State())

    init(_ configuration: RedisConfiguration) {
        guard case .cluster(let cluster) = configuration.endpoint else { fatalError("no cluster") }
        self.cluster = try? Cluster(cluster, of: configuration)
    }

    var acknowledged: [Key] { state.withLock { $0.acknowledged } }

    func stop() { state.withLock { $0.isStopped = true } }
    func close() async { await cluster?.close() }

    func run() async throws {
        let cluster = try #require(cluster)
        var number = 0
        while !state.withLock({ $0.isStopped }) {
            number += 1
            let key = Key(raw: Bytes("acknowledged-\(number)"))
            let errand = Errand(slot: ClusterSlot.of(key), isIdempotent: true)
            // SET and WAIT go with one write over one connection; what the first is told decides where both go.
            let result = await cluster.travel(errand, refusal: { (replies: [Reply]) in replies.first?.refusal }) { link, asks in
                await link.connection.many(2, asking: asks) { writer in
                    writer.command(["SET", key.bytes, key.bytes])
                    writer.command(["WAIT", "1", "100"])
                }
            }
            if case .success(let replies) = result, replies[0] == .ok, replies[1].integer ?? 0 >= 1 {
                state.withLock { $0.acknowledged.append(key) }
            } else {
                try await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    func acknowledges(_ count: Int) async throws {
        let goal = acknowledged.count + count
        try await eventually(within: .seconds(180), "No write is acknowledged by a replica") { acknowledged.count >= goal }
    }

    func missing(from store: RedisStore) async throws -> [Key] {
        let keys = acknowledged
        let values = try await store.pipeline(keys.map { .get($0) })
        return zip(keys, values).filter { $0.bytes != $1 }.map(\.0)
    }
}
