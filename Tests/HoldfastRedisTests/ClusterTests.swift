import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// A real cluster. Tests that change nothing share one.
@Suite struct ClusterTests {
    private let names = Namespace(prefix: "test-\(UInt64.random(in: .min ... .max)):")

    private func store() async throws -> RedisStore { try RedisStore(await SharedCluster.configuration()) }

    private static func shard(of key: Key) -> Int? { ClusterSet.slots.firstIndex { $0.contains(ClusterSlot.of(key)) } }

    private func keys(_ count: Int) -> [Key] { (0..<count).map { names.key("k:\(Int64($0))") } }

    @Test func aPipelineOverAllNodesIsAnsweredInOrder() async throws {
        let store = try await store()
        let keys = keys(300)
        _ = try await store.pipeline(keys.enumerated().map { .set($1, Bytes(Int64($0))) })
        let values = try await store.pipeline(keys.map { .get($0) })
        #expect(values.map { $0?.integer } == (0..<300).map(Int64.init))
        let counts = try await store.pipeline(keys.map { .incrby($0, 1000) })
        #expect(counts.map { Int($0) } == (0..<300).map { $0 + 1000 })
        await store.shutdown()
    }

    @Test func commandsForSeveralKeysAreSplitWhereRedisDefinesThemKeyByKey() async throws {
        let store = try await store()
        let keys = keys(20)
        _ = try await store.pipeline(keys.map { .set($0, $0.bytes) })
        #expect(try await store(.mget(keys + [names.key("none")])) == keys.map(\.bytes) + [nil])
        #expect(try await store(.exists(keys + keys)) == 40)
        #expect(try await store(.touch(keys)) == 20)
        #expect(try await store(.unlink(Array(keys.prefix(5)))) == 5)
        #expect(try await store(.del(keys)) == 15)
        await store.shutdown()
    }

    @Test func whatIsAtomicOverSlotsIsRefusedBeforeItIsSent() async throws {
        let store = try await store()
        let (a, b) = (names.key("a"), names.key("b"))
        try #require(ClusterSlot.of(a) != ClusterSlot.of(b))
        let script = Script("test.both", version: 1, lua: "return redis.call('SET', KEYS[1], 'x')") { _, _, _, _ in .null }
        let calls: [() async throws -> Void] = [
            { _ = try await store.transaction(.set(a, Bytes("1")), .set(b, Bytes("1"))) },
            { _ = try await store(.raw("MSET", a.bytes, "1", b.bytes, "1")) },
            { _ = try await store(.raw("RENAME", a.bytes, b.bytes)) },
            { _ = try await store(.raw("EVAL", "return 1", "2", a.bytes, b.bytes)) },
            { _ = try await store(.raw("BITOP", "NOT", a.bytes, b.bytes)) },
            { try await store.run(Procedure(script, keys: [a, b], arguments: []) { _ in () }) },
        ]
        for (number, call) in calls.enumerated() {
            let error = await #expect(throws: StoreError.self) { try await call() }
            #expect(error?.code == .crossSlot, "call \(number): \(error as Any)")
            #expect(error?.effect == StoreError.Effect.none)
        }
        #expect(try await store(.exists([a, b])) == 0)
        await store.shutdown()
    }

    @Test func commandsThatOnlyTheServerKnowsFindTheirNode() async throws {
        let store = try await store()
        for number in 0..<10 {
            let key = names.key("s:\(Int64(number))").bytes
            #expect(try await store(.raw("XADD", key, "1-1", "f", "v")).bytes == "1-1")
            #expect(try await store(.raw("XREAD", "COUNT", "5", "STREAMS", key, "0")).elements?.count ?? 0 > 0)
            #expect(try await store(.raw("OBJECT", "ENCODING", key)).bytes == "stream")
            #expect(try await store(.raw("XLEN", key)).integer == 1)
        }
        #expect(try await store(.raw("CLIENT", "GETNAME")) == .null)
        for number in 0..<10 { #expect(try await store(.raw("SPUBLISH", Bytes("shard-\(number)"), "x")).integer == 0) }
        let batch = Batch(.transaction, [.raw(["NOSUCHCOMMAND", "x"]), .raw(["NOSUCHCOMMAND"])])
        let unknown = await #expect(throws: StoreError.self) { try await store.execute(batch) }
        #expect(unknown?.code == .unknownCommand)
        await store.shutdown()
    }

    @Test func whatConcernsEveryNodeIsAskedOfEveryNode() async throws {
        let store = try await store()
        let keys = keys(60)
        _ = try await store.pipeline(keys.map { .set($0, "v") })
        #expect(try await store(.dbsize) >= 60)
        #expect(Set(try await store(.raw("KEYS", names.glob(startingWith: "k:"))).list ?? []) == Set(keys.map(\.bytes)))
        #expect(try await !store(.raw("RANDOMKEY")).isNull)
        let digest = try #require(try await store(.raw("SCRIPT", "LOAD", "return 7")).bytes)
        #expect(try await store(.raw("SCRIPT", "EXISTS", digest, "nothing")).elements == [.integer(1), .integer(0)])
        for key in keys.prefix(10) { #expect(try await store(.raw("EVALSHA", digest, "1", key.bytes)).integer == 7) }
        #expect(try await store(.raw("PING")).bytes == "PONG")
        await store.shutdown()
    }

    @Test func aScanFindsTheKeysOfAllNodes() async throws {
        let store = try await store()
        let keys = keys(500)
        _ = try await store.pipeline(keys.map { .set($0, "v") })
        var found: Set<Key> = []
        for try await page in store.scan(matching: names.glob(startingWith: "k:"), pageSize: 50) { found.formUnion(page) }
        #expect(found == Set(keys))
        await store.shutdown()
    }

    @Test func messagesReachListenersOfOtherNodes() async throws {
        let (store, other) = (try await store(), try await store())
        let channel = names.channel("news")
        try await store.withSubscription(to: [.channel(channel), .pattern(names.glob(startingWith: "ne"))]) { subscription in
            _ = try await other(.publish(channel, "hello"))
            var events = subscription.makeAsyncIterator()
            let message = Subscription.Event.message(channel: channel, payload: "hello")
            #expect(await events.next() == message)
            #expect(await events.next() == message)
        }
        await store.shutdown()
        await other.shutdown()
    }

    @Test func readsGoToReplicasWhereThatIsAskedFor() async throws {
        var configuration = try await SharedCluster.configuration()
        guard case .cluster(var cluster) = configuration.endpoint else { return }
        cluster.readsFromReplicas = true
        configuration.endpoint = .cluster(cluster)
        let store = try RedisStore(configuration)
        let key = names.key("read")
        try await store(.set(key, "v"))
        try await eventually(within: .seconds(30), "the replica does not follow") { try await store(.get(key)) == "v" }
        let slot = ClusterSlot.of(key)
        let primary = try #require(ClusterSet.slots.firstIndex { $0.contains(slot) })
        let replica = try await SharedCluster.servers().nodes[primary + 3]
        func reads() async throws -> Int {
            let info = try await replica.ask("INFO", "commandstats").bytes?.lossyString ?? ""
            let line = info.split(separator: "\r\n").first { $0.hasPrefix("cmdstat_getrange:calls=") }
            return line.flatMap { Int($0.dropFirst("cmdstat_getrange:calls=".count).prefix { $0.isNumber }) } ?? 0
        }
        let before = try await reads()
        for _ in 0..<20 { #expect(try await store(.raw("GETRANGE", key.bytes, "0", "-1")).bytes == "v") }
        #expect(try await reads() == before + 20)
        await store.shutdown()
    }

    /// WATCH, blocking commands and WAIT, each at the primary of its key.
    @Test func aConnectionForExclusiveUseLeadsToThePrimaryOfItsKey() async throws {
        let store = try await store()
        let tags = ["a", "b", "c", "d", "e", "f", "g", "h"].map { names.key("{\($0)}:n") }
        var primaries: Set<Bytes> = []
        for key in tags {
            try await store(.set(key, "1"))
            let error = await #expect(throws: StoreError.self) {
                try await store.withConnection(to: key) { connection in
                    try await connection.watch(key)
                    try await store(.set(key, "2"))
                    _ = try await connection.transaction(.get(key), .incr(key))
                }
            }
            #expect(error?.code == .conflict)
            let (value, id) = try await store.withConnection(to: key) { connection in
                try await connection.watch(key)
                let (_, value) = try await connection.transaction(.get(key), .incr(key))
                return (value, try await connection(.raw("CLUSTER", "MYID")).bytes)
            }
            #expect(value == 3)
            primaries.insert(try #require(id))
        }
        #expect(primaries.count > 1)
        let queue = names.key("{a}:queue")
        let popped = Task { try await store.withConnection(to: queue) { try await $0(.raw("BLPOP", queue.bytes, "0")) } }
        try await eventually("it waits") { store.poolCounts.leased == 1 }
        _ = try await store(.rpush(queue, ["job"]))
        #expect(try await popped.value.list == [queue.bytes, "job"])
        #expect(store.poolCounts.leased == 0 && store.poolCounts.idle >= primaries.count)
        let other = try #require(tags.first { Self.shard(of: $0) != Self.shard(of: tags[0]) })
        let moved = try await store.withConnection(to: tags[0]) { try await $0.execute(.raw(["GET", other.bytes])) }
        #expect(moved.refusal?.prefix == "MOVED")
        let unnamed = await #expect(throws: StoreError.self) { try await store.withConnection { _ in } }
        #expect(unnamed?.code == .invalidArgument && unnamed?.field == "key")
        await store.shutdown()
        let ended = await #expect(throws: StoreError.self) { try await store.withConnection(to: queue) { _ in } }
        #expect(ended?.code == .shuttingDown)
    }

    /// A script may answer whatever it likes, after its work: no address is gone to that it names, and it is not run again.
    @Test(arguments: ["MOVED 1 127.0.0.1:%", "ASK 1 127.0.0.1:%", "TRYAGAIN x", "CLUSTERDOWN x", "READONLY x", "LOADING x"])
    func theErrorsOfScriptsSendNobodyElsewhere(line: String) async throws {
        let met = Locked(0)
        let trap = try await ScriptedPeer.start { _ in
            met.withLock { $0 += 1 }
            return nil
        }
        let error = line.replacing("%", with: "\(trap.port)")
        let store = try await store()
        let key = names.key("run")
        let script: Bytes = "redis.call('INCR', KEYS[1]) return {err=ARGV[1]}"
        let evaluation = Operation.raw(["EVAL", script, "1", key.bytes, Bytes(error)])
        #expect(try await store.execute(evaluation).refusal?.line == error)
        let replies = try await store.execute(Batch(.pipeline, [evaluation, .raw(["GET", key.bytes])]))
        #expect(replies[0].refusal?.line == error && replies[1].bytes == "2")
        #expect(try await store(.get(key)) == "2")
        #expect(met.withLock { $0 } == 0)
        await store.shutdown()
        try await trap.stop()
    }

    /// Also where it names a node that there is, which would send it back.
    @Test(arguments: ["MOVED", "ASK"]) func aScriptThatNamesAnotherNodeIsNotRunAgain(word: String) async throws {
        let store = try await store()
        let key = names.key("again")
        let slots = try await store.withConnection(to: key) { try await $0(.raw("CLUSTER", "SLOTS")) }
        let own = try await store.withConnection(to: key) { try await $0(.raw("CLUSTER", "MYID")) }
        let primaries = (slots.elements ?? []).compactMap { $0.elements?[2].elements }
        let other = try #require(primaries.first { $0[2] != own })
        let port = try #require(other[1].integer)
        let script: Bytes = "redis.call('INCR', KEYS[1]) return {err=ARGV[1]}"
        let error = "\(word) \(ClusterSlot.of(key)) 127.0.0.1:\(port)"
        let reply = try await store.execute(.raw(["EVAL", script, "1", key.bytes, Bytes(error)]))
        #expect(reply.refusal?.prefix == "MOVED" || reply.refusal?.line == error)
        #expect(try await store(.get(key)) == "1")
        await store.shutdown()
    }

    @Test func aServerThatIsNoClusterIsARefusal() async throws {
        let server = try await SharedRedis.server()
        let store = try RedisStore(
            RedisConfiguration(endpoint: .cluster(.init(nodes: [.init(host: "127.0.0.1", port: server.port)]))).patient)
        let error = await #expect(throws: StoreError.self) { try await store(.get(Key(raw: "k"))) }
        #expect(error?.code == .serverRefused)
        await store.shutdown()
    }

    @Test func whereNobodyIsNothingIsSent() async throws {
        let store = try RedisStore(
            RedisConfiguration(endpoint: .cluster(.init(nodes: [.init(host: "127.0.0.1", port: try FreePort.pick())]))).patient)
        for _ in 0..<3 {
            let error = await #expect(throws: StoreError.self) { try await store(.incr(Key(raw: "k"))) }
            #expect(error?.code == .connectionFailed)
            #expect(error?.effect == StoreError.Effect.none)
        }
        await store.shutdown()
    }
}
