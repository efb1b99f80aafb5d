import Foundation
import HoldfastStore
import TestServers
import Testing

/// `serve` with a password that changes while it runs.
@Suite struct PasswordRotationTests {
    @Test func serveGoesOnWhenThePasswordChanges() async throws {
        var options = RedisProcess.Options()
        options.users = ["user app on >p-one-84 ~* &* +@all"]
        let redis = try await RedisProcess.start(options)
        defer { redis.stop() }
        let holdfast = try CommandLineProgram()
        try holdfast.folder.write("p-one-84\n", to: "password")
        let server = try holdfast.start(
            "serve", "--port", "0",
            environment: [
                "REDIS_URL": "redis://app@127.0.0.1:\(redis.port)", "REDIS_PASSWORD_FILE": "password",
                "REDIS_SHARED_CONNECTIONS": "3", "REDIS_SOCKET_TIMEOUT": "60s", "REDIS_SOCKET_CONNECT_TIMEOUT": "60s",
            ])
        defer { if server.process.isRunning { kill(server.process.processIdentifier, SIGKILL) } }
        try await server.waitUntilItSays("API key")
        let line = try #require(server.output.split(separator: "\n").first { $0.contains("http://") })
        let url = String(line[try #require(line.firstRange(of: "http://")).lowerBound...])
        #expect(try await holdfast("set", "k", "v", "--url", url).status == 0)
        // Nobody says AUTH before: a new connection shows its password with HELLO.
        #expect(try await authentications(redis) == 0)

        #expect(try await redis.ask("ACL", "SETUSER", "app", ">p-two-84") == .ok)
        try Data("p-two-84\n".utf8).write(to: holdfast.folder.url.appending(path: "password"), options: .atomic)
        try await eventually("the connections show it") { server.complaints.contains("have shown its new password") }
        #expect(try await authentications(redis) >= 1)
        #expect(try await redis.ask("ACL", "SETUSER", "app", "<p-one-84") == .ok)
        #expect(try await holdfast("get", "k", "--url", url).output == "v\n")

        // A new connection takes the new one by itself.
        #expect(try await redis.ask("CLIENT", "KILL", "USER", "app").integer ?? 0 >= 1)
        try await eventually("it is served again") { try await holdfast("get", "k", "--url", url).status == 0 }
        let before = try await redis.ask("GET", "holdfast:cache:default:k").bytes
        #expect(before != nil)
        #expect(try await holdfast("set", "k", "w", "--url", url).status == 0)
        try await eventually("it is on the server") { try await redis.ask("GET", "holdfast:cache:default:k").bytes != before }

        // The file changes first, and the server is told later: said once, and taken as soon as it holds.
        try Data("p-three-84".utf8).write(to: holdfast.folder.url.appending(path: "password"), options: .atomic)
        try await eventually("it is said") { server.complaints.contains("new password cannot be used yet") }
        #expect(try await holdfast("get", "k", "--url", url).output == "w\n")
        #expect(try await redis.ask("ACL", "SETUSER", "app", "resetpass", ">p-three-84") == .ok)
        try await eventually("the connections show the third") {
            server.complaints.split(separator: "have shown its new password").count == 3
        }
        #expect(try await holdfast("get", "k", "--url", url).output == "w\n")
        #expect(server.process.isRunning && !server.complaints.contains("p-two-84") && !server.complaints.contains("p-three-84"))
        #expect(await server.terminate() == 0, "\(server.complaints)")
    }

    /// A secret manager that is away takes its file along, and nothing else.
    @Test func serveGoesOnWithTheLastPasswordWhereItsFileCannotBeRead() async throws {
        var options = RedisProcess.Options()
        options.users = ["user app on >p-one-84 ~* &* +@all"]
        let redis = try await RedisProcess.start(options)
        defer { redis.stop() }
        let holdfast = try CommandLineProgram()
        let environment = [
            "REDIS_URL": "redis://app@127.0.0.1:\(redis.port)", "REDIS_PASSWORD_FILE": "password",
            "REDIS_SOCKET_TIMEOUT": "60s", "REDIS_SOCKET_CONNECT_TIMEOUT": "60s",
        ]
        let missing = try await holdfast("serve", "--port", "0", environment: environment)
        #expect(missing.status == 78 && missing.complaints.split(separator: "\n").count == 1, "\(missing)")

        try holdfast.folder.write("p-one-84\n", to: "password")
        let file = holdfast.folder.url.appending(path: "password")
        try await holdfast.serving(environment: environment) { (server, url) async throws in
            #expect(try await holdfast("set", "k", "v", "--url", url).status == 0)
            try FileManager.default.removeItem(at: file)
            let told = "the password's file cannot be read; going on with the last password"
            for round in 0..<3 {
                #expect(try await redis.ask("CLIENT", "KILL", "USER", "app").integer ?? 0 >= 1)
                try await eventually("it connects again") {
                    try await redis.ask("CLIENT", "LIST").bytes?.lossyString.contains("user=app") == true
                }
                #expect(try await holdfast("set", "k\(round)", "v", "--url", url).status == 0)
                try await eventually("it is on the server") {
                    try await redis.ask("EXISTS", Bytes("holdfast:cache:default:k\(round)")).integer == 1
                }
            }
            try await eventually("it is said") { server.complaints.contains(told) }
            #expect(!server.complaints.contains("the server cannot be reached"), "\(server.complaints)")
            #expect(server.complaints.split(separator: told).count == 2, "once: \(server.complaints)")

            // It is there again, with another password.
            #expect(try await redis.ask("ACL", "SETUSER", "app", "resetpass", ">p-two-84") == .ok)
            try Data("p-two-84".utf8).write(to: file, options: .atomic)
            try await eventually("the connections show it") { server.complaints.contains("have shown its new password") }
            try FileManager.default.removeItem(at: file)
            #expect(try await redis.ask("CLIENT", "KILL", "USER", "app").integer ?? 0 >= 1)
            #expect(try await holdfast("set", "k", "w", "--url", url).status == 0)
            try await eventually("it is said again") { server.complaints.split(separator: told).count == 3 }
            #expect(!server.complaints.contains("p-one-84") && !server.complaints.contains("p-two-84"))
        }
    }

    /// How often AUTH was called.
    private func authentications(_ redis: RedisProcess) async throws -> Int {
        let statistics = try await redis.ask("INFO", "commandstats").bytes?.lossyString ?? ""
        guard let line = statistics.split(whereSeparator: \.isNewline).first(where: { $0.hasPrefix("cmdstat_auth:calls=") })
        else { return 0 }
        return Int(line.dropFirst("cmdstat_auth:calls=".count).prefix { $0.isNumber }) ?? 0
    }
}
