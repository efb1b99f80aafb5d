import Foundation
import HoldfastRedis
import HoldfastStore
import TestServers
import Testing

/// `holdfast serve --resp`: whom it serves, and what it refuses.
@Suite struct CommandLineRESPTests {
    @Test(arguments: [
        (["--resp", "0.0.0.0:0"], "HOLDFAST_RESP_REMOTE=true"),
        (["--resp", "[::]:0", "--resp-password", "pw"], "HOLDFAST_RESP_REMOTE=true"),
        (["--resp", "0.0.0.0:0", "--resp-remote", "true"], "set HOLDFAST_RESP_PASSWORD"),
        (["--resp", "127.0.0.1:0", "--redis-url", "redis://127.0.0.1:1"], "HOLDFAST_RESP shows the embedded store"),
        (["--resp", "127.0.0.1:70000"], "HOLDFAST_RESP=127.0.0.1:70000"), (["--resp", ":"], "HOLDFAST_RESP=:"),
        (["--resp", "127.0.0.1:6380x"], "HOLDFAST_RESP=127.0.0.1:6380x"),
    ]) func whatIsUnsafeOrNoAddressIsRefusedInOneLine(arguments: [String], complaint: String) async throws {
        let result = try await CommandLineProgram().run(["serve", "--port", "0"] + arguments, environment: [:])
        #expect(result.status == 78, "\(result)")
        #expect(result.output == "")
        #expect(result.complaints.contains(complaint), "\(result)")
        #expect(result.complaints.split(separator: "\n").count == 1, "\(result)")
    }

    @Test func aPortThatIsTakenIsNamed() async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let result = try await CommandLineProgram()("serve", "--port", "0", "--resp", "127.0.0.1:\(redis.port)")
        #expect(result.status == 69, "\(result)")
        #expect(result.complaints.contains("127.0.0.1:\(redis.port) is in use"), "\(result)")
        #expect(result.complaints.contains("HOLDFAST_RESP"), "\(result)")
    }

    @Test func whoeverShowsThePasswordSeesTheStore() async throws {
        let holdfast = try CommandLineProgram()
        let server = try holdfast.start(
            "serve", "--port", "0", "--resp", "127.0.0.1:0", environment: ["HOLDFAST_RESP_PASSWORD": "pw"])
        defer { if server.process.isRunning { kill(server.process.processIdentifier, SIGKILL) } }
        try await server.waitUntilItSays("API key")
        let line = try #require(server.output.split(separator: "\n").first { $0.contains("redis-cli -h 127.0.0.1 -p ") })
        let port = try #require(line.split(separator: " ").last.flatMap { Int($0) })
        #expect(!server.output.contains("pw\n"))
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: port), password: "pw").patient
        let store = try RedisStore(configuration)
        try await store(.set(Key(raw: "k"), "v"))
        #expect(try await store(.get(Key(raw: "k"))) == "v")
        await store.shutdown()
        configuration.password = nil
        let stranger = try RedisStore(configuration)
        let error = await #expect(throws: StoreError.self) { try await stranger(.get(Key(raw: "k"))) }
        #expect(error?.code == .serverRefused, "\(error as Any)")
        await stranger.shutdown()
        #expect(await server.terminate() == 0, "\(server.complaints)")
    }
}
