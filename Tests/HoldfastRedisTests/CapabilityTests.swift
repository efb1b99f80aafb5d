import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

@Suite struct CapabilityTests {
    @Test(arguments: Backend.servers)
    func aServerTellsWhatItIs(_ backend: Backend) async throws {
        let store = try #require(try await backend.store() as? RedisStore)
        let found = try await store.capabilities()
        let info = try await store(.info("server"))
        #expect(found.version.isEmpty == false && info.contains("version:\(found.version)"))
        #expect(found.mode == (backend.isCluster ? "cluster" : "standalone"))
        #expect(found.speaksRESP3 == (backend.description != Backend.redisRESP2.description))
        #expect(found.features.isSuperset(of: [.clientTracking, .shardedPubSub, .functions, .scriptFlags]))
        // Whatever the version is: what it says it has can be called, what it says it has not is unknown to it.
        let key = backend.namespace().key("h")
        let reply = try await store.execute(.raw(["HEXPIRE", key.bytes, "1", "FIELDS", "1", "f"]))
        #expect(found.features.contains(.hashFieldExpiry) == (reply.refusal == nil))
    }

    @Test func whatAServerRefusesToTellIsNotThereAndIsNamed() {
        let nothing = Reply.error(ReplyError("NOPERM no"))
        var untold = ServerCapabilities()
        untold.refusedQuestions = ["HELLO", "INFO", "MODULE", "EVAL", "COMMAND"]
        #expect(CapabilityQuestions.read([nothing, nothing, nothing, nothing, nothing]) == untold)
        #expect(untold.and(ServerCapabilities()).refusedQuestions == untold.refusedQuestions)
        // A script with flags is no script to an older server, which is an answer.
        let old = Reply.error(ReplyError("ERR Error compiling script"))
        #expect(CapabilityQuestions.read([old, old, old, old, old]) == ServerCapabilities())
        #expect(CapabilityQuestions.read([]) == ServerCapabilities())
    }

    @Test func aValkeyIsToldFromARedis() {
        let hello = Reply.map([
            .bytes("server"), .bytes("valkey"), .bytes("version"), .bytes("7.2.4"), .bytes("proto"), .integer(3),
        ])
        let info = Reply.bytes("# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n")
        let modules = Reply.array([.map([.bytes("name"), .bytes("search"), .bytes("ver"), .integer(2)])])
        let found = CapabilityQuestions.read([hello, info, modules, .integer(1), .array([.null, .array([.bytes("x")])])])
        #expect(found.product == .valkey && found.version == "8.1.0" && found.modules == ["search"])
        #expect(found.features == [.scriptFlags, .clientInfo])
    }

    @Test func ofSeveralNodesTheOlderOneCounts() {
        var (old, new) = (ServerCapabilities(), ServerCapabilities())
        (old.version, old.features) = ("7.0.15", [.functions])
        (new.version, new.features) = ("7.10.1", [.functions, .waitForDisk])
        #expect(old.and(new) == old)
        #expect(new.and(old) == old)
    }
}
