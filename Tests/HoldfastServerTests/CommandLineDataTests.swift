import Foundation
import Holdfast
import HoldfastStore
import TestServers
import Testing

/// What a data folder holds outlives the server, and can be reached without one; all run as users run it.
@Suite struct CommandLineDataTests {
    private func serving(
        _ holdfast: CommandLineProgram, _ arguments: [String] = [], environment: [String: String] = [:],
        _ body: (_ server: CommandLineProgram.Running) async throws -> Void
    ) async throws -> CommandLineProgram.Running {
        let server = try holdfast.start(["serve", "--port", "0", "--data", "data"] + arguments, environment: environment)
        do {
            try await server.waitUntilItSays("API key")
            try await body(server)
        } catch {
            kill(server.process.processIdentifier, SIGKILL)
            throw error
        }
        return server
    }

    @Test func entriesSurviveARestartAndAKill() async throws {
        let holdfast = try CommandLineProgram()
        let first = try await serving(holdfast) { (server) async throws in
            #expect(server.output.contains("data (append-only file, appendfsync everysec)"), "\(server.output)")
            #expect(try await holdfast("set", "kept", "by the restart", "--data", "data").output == "OK\n")
        }
        #expect(await first.terminate() == 0, "\(first.complaints)")
        let second = try await serving(holdfast, ["--appendfsync", "always"]) { (_) async throws in
            #expect(try await holdfast("get", "kept", "--data", "data").output == "by the restart\n")
            #expect(try await holdfast("set", "too", "by the kill", "--data", "data").output == "OK\n")
        }
        kill(second.process.processIdentifier, SIGKILL)
        for await _ in second.ends {}
        let third = try await serving(holdfast) { (_) async throws in
            #expect(try await holdfast("get", "kept", "--data", "data").output == "by the restart\n")
            #expect(try await holdfast("get", "too", "--data", "data").output == "by the kill\n")
            let status = try await holdfast("status", "--json", "--data", "data")
            let aof = JSONValue(json: status.output.utf8)?["health"]?["aof"]
            #expect(aof?["status"] == "ok" && aof?["appendfsync"] == "everysec", "\(status.output)")
            let other = try await holdfast("serve", "--port", "0", "--data", "data")
            #expect(other.status == 78)
            #expect(other.complaints.contains("in use by process"), "\(other.complaints)")
        }
        #expect(await third.terminate() == 0, "\(third.complaints)")
    }

    /// Its entries are in a Redis, which the commands are not told of: it is its server that they ask all the same.
    @Test func whoeverHasTheFolderIsAskedWhereverTheEntriesAre() async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let holdfast = try CommandLineProgram()
        let environment = ["REDIS_URL": "redis://127.0.0.1:\(redis.port)"]
        let server = try await serving(holdfast, environment: environment) { (_) async throws in
            #expect(try await holdfast("set", "k", "v", "--data", "data").output == "OK\n")
            let status = try await holdfast("status", "--json", "--data", "data")
            #expect(JSONValue(json: status.output.utf8)?["health"]?["store"] != "embedded", "\(status)")
            #expect(try await holdfast("outbox", "--data", "data").output.contains("in the data folder"))
        }
        #expect(await server.terminate() == 0, "\(server.complaints)")
        #expect(try await redis.ask("KEYS", "holdfast:cache:*").list?.count == 1)
    }

    @Test func withoutAServerTheCommandsOpenTheFolderThemselves() async throws {
        let holdfast = try CommandLineProgram()
        let set = try await holdfast("set", "user:1", #"{"name": "Ann"}"#, "--data", "data")
        #expect(set.output == "OK\n", "\(set.complaints)")
        #expect(try await holdfast("get", "user:1", "--data", "data").output == "{\"name\":\"Ann\"}\n")
        #expect(try await holdfast("keys", "user:*", "--data", "data").output == "user:1\n")
        #expect(try await holdfast("status", "--data", "data").status == 0)
        #expect(try await holdfast("del", "user:1", "--data", "data").output == "1\n")
        let gone = try await holdfast("get", "user:1", "--data", "data")
        #expect(gone.status == 1 && gone.complaints == "holdfast: there is no entry user:1 in workspace default\n")
    }

    @Test func aFolderThatIsNotUnderstoodIsNamed() async throws {
        let holdfast = try CommandLineProgram()
        try FileManager.default.createDirectory(
            at: holdfast.folder.url.appending(path: "data/appendonlydir"), withIntermediateDirectories: true)
        try holdfast.folder.write("file a.aof seq 1 type q\n", to: "data/appendonlydir/appendonly.aof.manifest")
        let refused = try await holdfast("serve", "--port", "0", "--data", "data")
        #expect(refused.status == 78)
        #expect(refused.complaints.contains("appendonly.aof.manifest line 1"), "\(refused.complaints)")
    }
}
