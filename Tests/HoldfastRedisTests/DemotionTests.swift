import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// A primary that has become a replica while a connection to it was open: what it refuses is done by the new one, once.
@Suite struct DemotionTests {
    /// A sentinel, the server that it names first, which refuses writes from the second on, and the one that it names then.
    private struct Scene {
        let sentinel: ScriptedPeer
        let old: ScriptedPeer
        let new: ScriptedPeer
        let taken: Locked<[String]>
        let blocked: Locked<Int>

        static func start() async throws -> Scene {
            let (taken, isDemoted, blocked) = (Locked<[String]>([]), Locked(false), Locked(0))
            let old = try await ScriptedPeer.start { command in
                switch command[0] {
                case "ROLE": return "*1\r\n$6\r\nmaster\r\n"
                case "MULTI", "PING": return "+OK\r\n"
                case "ECHO", "GET": return "+old\r\n"
                case "BLPOP":
                    blocked.withLock { $0 += 1 }
                    return ""
                case "EXEC": return "-EXECABORT Transaction discarded because of previous errors.\r\n"
                case "SET":
                    let refuses = isDemoted.withLock { isDemoted in
                        defer { isDemoted = true }
                        return isDemoted
                    }
                    if refuses { return "-READONLY You can't write against a read only replica.\r\n" }
                    taken.withLock { $0.append("old \(command[1])") }
                    return "+OK\r\n"
                default: return nil
                }
            }
            let queued = Locked<[String]?>(nil)
            let new = try await ScriptedPeer.start { command in
                switch command[0] {
                case "ROLE": return "*1\r\n$6\r\nmaster\r\n"
                case "PING": return "+OK\r\n"
                case "ECHO", "GET": return "+new\r\n"
                case "MULTI":
                    queued.withLock { $0 = [] }
                    return "+OK\r\n"
                case "SET":
                    let isQueued = queued.withLock { queued in
                        queued?.append(command[1])
                        return queued != nil
                    }
                    if isQueued { return "+QUEUED\r\n" }
                    taken.withLock { $0.append("new \(command[1])") }
                    return "+OK\r\n"
                case "EXEC":
                    let keys = queued.withLock { queued in
                        defer { queued = nil }
                        return queued ?? []
                    }
                    taken.withLock { $0 += keys.map { "new \($0)" } }
                    return "*\(keys.count)\r\n" + String(repeating: "+OK\r\n", count: keys.count)
                default: return nil
                }
            }
            let (first, second) = (old.port, new.port)
            let sentinel = try await DemotionTests.sentinel { isDemoted.withLock { $0 } ? second : first }
            return Scene(sentinel: sentinel, old: old, new: new, taken: taken, blocked: blocked)
        }

        func store() throws -> RedisStore { try DemotionTests.store(behind: sentinel) }

        func stop() async throws { for peer in [sentinel, old, new] { try await peer.stop() } }
    }

    /// One that names the primary by its port.
    private static func sentinel(naming primary: @escaping @Sendable () -> Int) async throws -> ScriptedPeer {
        try await ScriptedPeer.start { command in
            if command[0] == "PING" { return "+PONG\r\n" }
            guard command[0] == "SENTINEL" else { return nil }
            let port = primary()
            switch command[1] {
            case "GET-MASTER-ADDR-BY-NAME": return "*2\r\n$9\r\n127.0.0.1\r\n$\("\(port)".count)\r\n\(port)\r\n"
            default: return "*0\r\n"
            }
        }
    }

    private static func store(behind sentinel: ScriptedPeer) throws -> RedisStore {
        let node = RedisConfiguration.Node(host: "127.0.0.1", port: sentinel.port)
        var configuration = RedisConfiguration(endpoint: .sentinel(.init(nodes: [node], primary: "main"))).patient
        configuration.protocolVersion = .resp2
        return try RedisStore(configuration)
    }

    private static func set(_ key: String) -> Operation { .raw(["SET", Bytes(key), "1"]) }

    @Test func aSingleCommandIsSentToTheNewOne() async throws {
        let scene = try await Scene.start()
        let store = try scene.store()
        #expect(try await store.execute(Self.set("a")) == .ok)
        #expect(try await store.execute(Self.set("b")) == .ok)
        #expect(scene.taken.withLock { $0 } == ["old a", "new b"])
        await store.shutdown()
        try await scene.stop()
    }

    /// The old primary carries out the first of them, and is a replica by the second.
    @Test func ofAPipelineOnlyWhatWasRefusedIsSentAgain() async throws {
        let scene = try await Scene.start()
        let store = try scene.store()
        let replies = try await store.execute(Batch(.pipeline, ["a", "b", "c"].map(Self.set)))
        #expect(replies == [.ok, .ok, .ok])
        #expect(scene.taken.withLock { $0 } == ["old a", "new b", "new c"])
        await store.shutdown()
        try await scene.stop()
    }

    /// What was read behind a write that was refused has not seen it.
    @Test func whatIsReadBehindARefusalIsReadAgain() async throws {
        let scene = try await Scene.start()
        let store = try scene.store()
        let get = Operation.raw(["GET", "b"])
        let replies = try await store.execute(Batch(.pipeline, [Self.set("a"), get, Self.set("b"), get]))
        #expect(replies == [.ok, .status("old"), .ok, .status("new")])
        #expect(scene.taken.withLock { $0 } == ["old a", "new b"])
        await store.shutdown()
        try await scene.stop()
    }

    /// The old primary takes connections and says nothing, as one that was stopped; who waits for it to greet follows all the same.
    @Test func anAttemptUnderWayIsLeftForTheNewOne() async throws {
        let (asked, isOver) = (Locked(0), Locked(false))
        let old = try await ScriptedPeer.start { command in
            if command[0] == "ROLE" { asked.withLock { $0 += 1 } }
            return ""
        }
        let new = try await ScriptedPeer.start { command in
            switch command[0] {
            case "ROLE": "*1\r\n$6\r\nmaster\r\n"
            case "SUBSCRIBE": "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
            default: "+new\r\n"
            }
        }
        let (first, second) = (old.port, new.port)
        let sentinel = try await Self.sentinel { isOver.withLock { $0 } ? second : first }
        let store = try Self.store(behind: sentinel)
        let echo = Operation.raw(["ECHO", "who"])
        let exclusive = Task { try await store.withConnection { try await $0.execute(echo) } }
        let listening = Task { try await store.withSubscription(to: [.channel(Channel("news"))]) { _ in true } }
        try await eventually("both wait for the old one") { asked.withLock { $0 } == 2 }
        isOver.withLock { $0 = true }
        // Whoever asks the sentinel next tells the others.
        #expect(try await store.execute(echo) == .status("new"))
        #expect(try await exclusive.value == .status("new"))
        #expect(try await listening.value)
        await store.shutdown()
        for peer in [sentinel, old, new] { try await peer.stop() }
    }

    @Test func aTransactionThatWasRefusedIsDoneByTheNewOneAsAWhole() async throws {
        let scene = try await Scene.start()
        let store = try scene.store()
        #expect(try await store.execute(Self.set("a")) == .ok)
        let replies = try await store.execute(Batch(.transaction, ["b", "c"].map(Self.set)))
        #expect(replies == [.ok, .ok])
        #expect(scene.taken.withLock { $0 } == ["old a", "new b", "new c"])
        await store.shutdown()
        try await scene.stop()
    }

    /// One idles, one is in use, one waits on the old primary, perhaps for ever.
    @Test func connectionsForExclusiveUseAreMadeToTheNewOne() async throws {
        let scene = try await Scene.start()
        let store = try scene.store()
        func name(_ connection: RedisConnection) async throws -> Reply { try await connection.execute(.raw(["ECHO", "who"])) }
        func server() async throws -> Reply { try await store.withConnection { try await name($0) } }
        let blocked = Task { try await store.withConnection { try await $0.execute(.raw(["BLPOP", "queue", "0"])) } }
        try await eventually("it waits") { store.poolCounts.leased == 1 && scene.blocked.withLock { $0 } == 1 }
        try await store.withConnection { taken in
            #expect(try await name(taken) == .status("old"))
            #expect(try await server() == .status("old"))
            #expect(store.poolCounts.idle == 1)
            #expect(try await store.execute(Self.set("a")) == .ok)
            #expect(try await store.execute(Self.set("b")) == .ok)
            #expect(store.poolCounts.idle == 0, "one to the old primary is kept")
            try await eventually("what is taken goes on with the old primary") { !taken.base.isUsable }
            let error = await #expect(throws: StoreError.self) { try await name(taken) }
            #expect(error?.code == .connectionLost)
            #expect(try await server() == .status("new"))
        }
        let error = await #expect(throws: StoreError.self) { try await blocked.value }
        #expect(error?.code == .connectionLost && error?.effect == .unknown)
        #expect(store.poolCounts.idle == 1)
        #expect(try await server() == .status("new"))
        await store.shutdown()
        try await scene.stop()
    }
}
