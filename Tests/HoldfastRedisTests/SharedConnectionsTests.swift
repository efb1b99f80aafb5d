import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// Several connections that all calls share.
@Suite struct SharedConnectionsTests {
    private func store(_ server: RedisProcess, connections: Int) throws -> RedisStore {
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath), clientName: "shared").patient
        configuration.sharedConnections = connections
        return try RedisStore(configuration)
    }

    private func ids(_ store: RedisStore) async throws -> Set<Int64> {
        var ids = Set<Int64>()
        for _ in 0..<12 { ids.insert(try await store(.raw("CLIENT", "ID")).integer ?? 0) }
        return ids
    }

    @Test func callsTakeTurnsAndLostOnesAreMadeAgain() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try store(server, connections: 3)
        let first = try await ids(store)
        #expect(first.count == 3)
        _ = try await server.ask("CLIENT", "KILL", "TYPE", "normal")
        try await eventually("all are lost") { store.statistics.lost == 3 }
        #expect(try await ids(store).isDisjoint(with: first))
        #expect(store.statistics.connected == 6 && store.statistics.outstanding == 0 && store.statistics.calls >= 24)
        await store.shutdown()
    }

    /// Over another connection the second attempt could pass the first, which the network may still have.
    @Test(arguments: ["SET", "GET", "EXEC", "EVALSHA"])
    func aCallIsRepeatedOverTheConnectionOfItsFirstAttempt(losing name: String) async throws {
        let isLost = Locked(false)
        let peer = try await ScriptedPeer.start { command in
            let loses = isLost.withLock { isLost in
                defer { isLost = isLost || command[0] == name }
                return !isLost && command[0] == name
            }
            if loses { return nil }
            return command[0] == "EXEC" ? "*2\r\n+OK\r\n+OK\r\n" : "+OK\r\n"
        }
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: peer.port)).patient
        configuration.sharedConnections = 3
        let store = try RedisStore(configuration)
        let set = Operation.strings(.set(Key(raw: "k"), "v", SetOptions()))
        switch name {
        case "SET": _ = try await store.execute(set)
        case "GET": _ = try await store.execute(Batch(.pipeline, [.raw(["GET", "a"]), .raw(["GET", "b"])]))
        case "EXEC": _ = try await store.execute(Batch(.transaction, [.raw(["GET", "a"]), set]))
        default:
            let script = Script("test.again", version: 1, isIdempotent: true, lua: "return 'OK'") { _, _, _, _ in .ok }
            _ = try await store.run(Procedure(script, keys: [Key(raw: "k")], arguments: []) { $0.bytes })
        }
        guard case .server(let link) = store.topology else { return }
        #expect(link.connections.map(\.statistics.connected).sorted() == [0, 0, 2])
        await store.shutdown()
        try await peer.stop()
    }

    @Test func callersOnALoopStayOnItsConnection() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try store(server, connections: 3)
        let found = try await withTaskExecutorPreference(store.taskExecutor) { try await ids(store) }
        #expect(found.count == 1)
        await store.shutdown()
    }

    @Test func whatIsGivenUpIsCounted() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try store(server, connections: 1)
        try await store(.ping)
        server.pause()
        let deadline = SystemTime().uptime + .milliseconds(100)
        let error = await #expect(throws: StoreError.self) {
            _ = try await CallContext(actor: "test", deadline: deadline).run { () async throws(StoreError) -> Int in
                try await store(.incr(Key(raw: "n")))
            }
        }
        server.resume()
        #expect(error?.code == .deadlineExceeded)
        #expect(store.statistics.timedOut == 1 && store.statistics.connected == 1)
        await store.shutdown()
    }

    /// Copies are confirmed only where all connections that may have read them lead to the server that tells of changes.
    @Test func eachConfirmationOfCopiesHasAskedAllOfThem() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let (connections, rounds) = (3, 5)
        let store = try store(server, connections: connections)
        let (events, door) = AsyncStream.makeStream(of: KeyChangeEvent.self)
        let handle = try #require(store.trackChanges(of: ["p:"], confirmingEvery: .milliseconds(5)) { door.yield($0) })
        var confirmed = 0
        for await event in events {
            if case .confirmed = event { confirmed += 1 }
            if confirmed == rounds { break }
        }
        let info = try await server.ask("INFO", "commandstats").bytes?.lossyString ?? ""
        let line = try #require(info.split(separator: "\r\n").first { $0.hasPrefix("cmdstat_info:calls=") })
        let asked = try #require(Int(line.dropFirst("cmdstat_info:calls=".count).prefix { $0.isNumber }))
        // Before the first of them it was asked whether there is anything to confirm.
        #expect(asked >= connections * (rounds + 1))
        handle.end()
        await store.shutdown()
    }
}
