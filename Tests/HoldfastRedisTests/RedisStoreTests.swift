import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// The client against a real server, in every way to reach one.
@Suite struct RedisStoreTests {
    @Test(arguments: Backend.servers)
    func whatIsSetIsReadBack(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let key = names.key("greeting")
        try await store(.set(key, Bytes([0, 255, 13, 10, 36])))
        #expect(try await store(.get(key)) == Bytes([0, 255, 13, 10, 36]))
        #expect(try await store(.get(names.key("nothing"))) == nil)
    }

    @Test(arguments: Backend.servers)
    func aPipelineAnswersEachCommandWithItsOwnType(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        try await store(.set(names.key("a"), "text"))
        let (text, number, keys) = try await store.pipeline(.get(names.key("a")), .incr(names.key("n")), .dbsize)
        #expect(text == "text")
        #expect(number == 1)
        #expect(keys >= 2)
    }

    @Test(arguments: Backend.servers)
    func oneErrorInAPipelineLeavesTheOthersTheirReplies(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        try await store(.set(names.key("text"), "no number"))
        let replies = try await store.execute(
            Batch(
                .pipeline,
                [
                    .strings(.incrby(names.key("n"), 5)), .strings(.incrby(names.key("text"), 1)), .strings(.get(names.key("n"))),
                ]))
        #expect(replies == [.integer(5), .error(.notAnInteger), .bytes("5")])
    }

    @Test(arguments: Backend.servers)
    func aTransactionAnswersEachCommandWithItsOwnType(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let (first, second) = try await store.transaction(.incr(names.key("n")), .incr(names.key("n")))
        #expect((first, second) == (1, 2))
    }

    @Test(arguments: Backend.servers)
    func aRefusedTransactionHasDoneNothing(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let batch = Batch(.transaction, [.strings(.set(names.key("a"), "1", SetOptions())), .raw(["NOSUCHCOMMAND"])])
        let error = await #expect(throws: StoreError.self) { try await store.execute(batch) }
        #expect(error?.code == .unknownCommand)
        #expect(error?.effect == StoreError.Effect.none)
        #expect(try await store(.get(names.key("a"))) == nil)
    }

    @Test(arguments: Backend.servers)
    func aServersErrorIsTyped(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        _ = try await store(.raw("LPUSH", names.key("list").bytes, "x"))
        let error = await #expect(throws: StoreError.self) { try await store(.get(names.key("list"))) }
        #expect(error?.code == .wrongType)
        #expect(error?.operation == "GET")
    }

    private static let counter = Script(
        "test.counter", version: 1,
        lua: """
            if redis.call('EXISTS', KEYS[1]) == 0 then return {now, false} end
            return {now, redis.call('INCRBY', KEYS[1], ARGV[2])}
            """
    ) { _, _, _, _ in .null }

    @Test(arguments: Backend.servers)
    func aProcedureRunsAndReadsItsAnswer(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let procedure = Procedure(
            Self.counter, keys: [names.key("n")], arguments: ["5"], now: Timestamp(milliseconds: 1_700_000_000_123)
        ) { $0.elements?.map(\.integer) }
        #expect(try await store.run(procedure) == [1_700_000_000_123, nil])
        try await store(.set(names.key("n"), "10"))
        #expect(try await store.run(procedure) == [1_700_000_000_123, 15])
    }

    @Test func anUnknownScriptIsTaughtInOneMoreTrip() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)))
        let script = Script("test.echo", version: 1, lua: "return ARGV[2]") { _, _, _, _ in .null }
        for word in ["first", "second"] {
            let answer = try await store.run(Procedure(script, keys: [], arguments: [Bytes(word)]) { $0.bytes })
            #expect(answer == Bytes(word))
        }
        _ = try await store(.raw("SCRIPT", "FLUSH"))
        let answer = try await store.run(Procedure(script, keys: [], arguments: ["third"]) { $0.bytes })
        #expect(answer == "third")
        let statistics = try await store(.info("commandstats"))
        #expect(statistics.contains("cmdstat_evalsha:calls=3,"))
        #expect(statistics.contains("cmdstat_eval:calls=2,"))
    }

    @Test func theDigestIsTheServersOwn() async throws {
        let store = try await Backend.redis.store()
        let loaded = try await store(.raw("SCRIPT", "LOAD", Bytes(Self.counter.lua)))
        #expect(loaded.bytes == ScriptDigests.sha1(Self.counter.lua))
    }

    @Test(arguments: [RedisConfiguration.ProtocolVersion.resp3, .resp2])
    func nameDatabaseAndUserAreSetOnConnecting(_ version: RedisConfiguration.ProtocolVersion) async throws {
        var configuration = try await SharedRedis.tlsConfiguration()
        configuration.clientName = "holdfast-test-\(version)"
        configuration.database = 3
        configuration.protocolVersion = version
        let store = try RedisStore(configuration)
        let info = try await store(.raw("CLIENT", "INFO")).bytes?.lossyString ?? ""
        #expect(info.contains("name=holdfast-test-\(version) "))
        #expect(info.contains(" db=3 "))
        #expect(info.contains(" user=\(SharedRedis.username) "))
        #expect(info.contains(" resp=\(version.rawValue)"))
        await store.shutdown()
    }

    @Test func aServerWithoutHelloIsSpokenToInRESP2() async throws {
        var options = RedisProcess.Options()
        options.configuration = ["rename-command HELLO \"\""]
        options.password = "secret"
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let store = try RedisStore(
            RedisConfiguration(endpoint: .tcp(host: "localhost", port: server.port), password: "secret", clientName: "old"))
        let info = try await store(.raw("CLIENT", "INFO")).bytes?.lossyString ?? ""
        #expect(info.contains("name=old "))
    }

    @Test func aLargeValueSurvivesTheTrip() async throws {
        let (store, names) = (try await Backend.redis.store(), Backend.redis.namespace())
        let value = Bytes((0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        try await store(.set(names.key("large"), value))
        #expect(try await store(.get(names.key("large"))) == value)
        try await store(.raw("DEL", names.key("large").bytes)).expectInteger(1)
    }

    @Test(arguments: [
        [], [""], ["SUBSCRIBE", "c"], ["monitor"], ["CLIENT", "REPLY", "OFF"], ["client", "tracking", "on"], ["MULTI"],
        ["select", "1"], ["HELLO", "2"], ["BLPOP", "k", "0"], ["XREAD", "COUNT", "1", "block", "0", "STREAMS", "s", "$"],
    ])
    func commandsThatCannotShareAConnectionAreRefusedUnsent(_ words: [String]) async throws {
        let store = try await Backend.redis.store()
        let command = Operation.raw(words.map { Bytes($0) })
        for batch in [Batch(.pipeline, [command]), Batch(.pipeline, [.server(.ping(nil)), command])] {
            let error = await #expect(throws: StoreError.self) { try await store.execute(batch) }
            #expect(error?.code == .invalidArgument)
            #expect(error?.effect == StoreError.Effect.none)
        }
        #expect(try await store(.raw("ECHO", "still matched")).bytes == "still matched")
    }

    @Test func aStreamMayBeCalledBlock() async throws {
        let (store, names) = (try await Backend.redis.store(), Backend.redis.namespace())
        #expect(try await store(.raw("XREAD", "STREAMS", names.key("BLOCK").bytes, "0")) == .null)
        #expect(try await store(.raw("XREAD", "STREAMS", "BLOCK", "0")) == .null)
    }

    @Test func anEmptyBatchIsAnsweredWithNothing() async throws {
        let store = try await Backend.redis.store()
        #expect(try await store.execute(Batch(.transaction, [])).isEmpty)
    }

    @Test func settingsThatCannotWorkAreNamed() {
        func field(_ change: (inout RedisConfiguration) -> Void) -> String? {
            var configuration = RedisConfiguration()
            change(&configuration)
            do {
                _ = try RedisStore(configuration)
                return nil
            } catch {
                return error.code == .invalidArgument ? error.field : "\(error.code)"
            }
        }
        #expect(field { $0.endpoint = .tcp(host: "h", port: 0) } == "port")
        #expect(field { $0.endpoint = .tcp(host: "", port: 1) } == "host")
        #expect(field { $0.endpoint = .unixSocket(path: "") } == "path")
        #expect(field { $0.database = -1 } == "database")
        #expect(field { $0.commandTimeout = .zero } == "commandTimeout")
        #expect(field { $0.clientName = "with space" } == "clientName")
        #expect(field { $0.tls = .init(authorityFile: "/nowhere/ca.pem") } == "tls.authorityFile")
        #expect(field { $0.tls = .init(certificateFile: "/nowhere/client.pem") } == "tls.certificateFile")
        #expect(field { $0.tls = .init(keyFile: "/nowhere/client.key") } == "tls.keyFile")
        #expect(field { $0.maximumQueuedBytes = 0 } == "maximumQueuedBytes")
        #expect(field { $0.backoff.initial = .zero } == "backoff")
        #expect(field { $0.backoff.maximum = .milliseconds(1) } == "backoff")
        #expect(field { ($0.tls, $0.endpoint) = (.init(), .unixSocket(path: "/s")) } == "tls")
        #expect(field { $0.sharedConnections = 0 } == "sharedConnections")
        #expect(field { ($0.sharedConnections, $0.clientTracking) = (2, .reads) } == "sharedConnections")
        #expect(
            field { ($0.sharedConnections, $0.endpoint) = (2, .cluster(.init(nodes: [.init(host: "h", port: 1)]))) }
                == "sharedConnections")
        #expect(field { $0.database = 1 } == nil)
    }
}

extension Reply {
    fileprivate func expectInteger(_ value: Int64) throws { #expect(integer == value) }
}
