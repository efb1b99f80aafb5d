import Holdfast
import HoldfastRedis
import HoldfastStore
import TestServers
import Testing

/// What failover asks of a real server before it trusts it again.
@Suite struct WriteProbeTests {
    struct Trouble: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let begin: [Bytes]
        let end: [Bytes]

        static let all = [
            Trouble(testDescription: "a replica", begin: ["REPLICAOF", "127.0.0.1", "1"], end: ["REPLICAOF", "NO", "ONE"]),
            set("a primary without its replicas", "min-replicas-to-write", "1", "0"), set("a full server", "maxmemory", "1", "0"),
        ]

        private static func set(_ name: String, _ setting: Bytes, _ bad: Bytes, _ good: Bytes) -> Trouble {
            Trouble(testDescription: name, begin: ["CONFIG", "SET", setting, bad], end: ["CONFIG", "SET", setting, good])
        }
    }

    private func failover(_ store: RedisStore) -> Failover {
        let configuration = Failover.Configuration(
            thresholds: .init(failures: 1, successes: 1), probeTimeout: .seconds(60))
        return Failover(server: store, local: EmbeddedStore(), configuration: configuration)
    }

    @Test(arguments: Trouble.all) func aServerThatTakesNoWritesIsNotBack(_ trouble: Trouble) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try RedisStore(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: server.port)).patient)
        let failover = failover(store)
        let sessions = Sessions(failover: failover)
        let session = try await sessions.create(userID: "ann")

        _ = try await server.ask(command: trouble.begin)
        #expect(try await sessions.update(session.id, set: ["a": 1]).by.isLocal)
        #expect(failover.localSince != nil)
        try await store(.ping)
        try await withThrowingTaskGroup { group in
            group.addTask { await failover.run() }
            try await eventually("it was asked and refused") { failover.statistics.failedProbes >= 3 }
            #expect(failover.statistics.returns == 0)
            #expect(try await sessions.get(session.id).value?.data == ["a": 1])

            _ = try await server.ask(command: trouble.end)
            try await eventually("it is back") { failover.localSince == nil }
            #expect(try await sessions.get(session.id).value?.data == ["a": 1])
            #expect(failover.statistics.returns == 1)
            group.cancelAll()
        }
        await store.shutdown()
    }

    /// A user who may only read is refused the question, and is served all the same.
    @Test func whoMayOnlyReadComesBackToItsServer() async throws {
        var options = RedisProcess.Options()
        options.users = ["user reader on >pw ~* &* +@read +@connection"]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let endpoint = RedisConfiguration.Endpoint.tcp(host: "127.0.0.1", port: server.port)
        let store = try RedisStore(RedisConfiguration(endpoint: endpoint, username: "reader", password: "pw").patient)
        let failover = failover(store)
        try await withThrowingTaskGroup { group in
            group.addTask { await failover.run() }
            // The second check follows the question of the first.
            try await eventually("it was asked") { failover.statistics.probes >= 2 }
            server.kill()
            try await eventually("it is away") { failover.localSince != nil }
            try await server.restart()
            try await eventually("it is back") { failover.localSince == nil }
            #expect(failover.refusal == nil)
            let answer = try await failover.perform(.fail) { (store, _) throws(StoreError) in try await store(.get(Key(raw: "k")))
            }
            #expect(answer == Decided(nil, by: .server))
            group.cancelAll()
        }
        await store.shutdown()
    }
}
