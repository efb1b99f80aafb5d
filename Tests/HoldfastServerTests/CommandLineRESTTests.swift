import Foundation
import HoldfastStore
import TestServers
import Testing

/// `holdfast` with REDIS_PROTOCOL=rest, against another `holdfast serve`, both as users run them.
@Suite struct CommandLineRESTTests {
    private static let token = "rest-token"

    /// A server on a free port; the body gets its address.
    private func serving(
        _ holdfast: CommandLineProgram, _ environment: [String: String],
        _ body: (_ output: String, _ url: String) async throws -> Void
    ) async throws {
        let server = try holdfast.start("serve", "--port", "0", environment: environment)
        defer { if server.process.isRunning { kill(server.process.processIdentifier, SIGKILL) } }
        try await server.waitUntilItSays("API key")
        let start = try #require(server.output.firstRange(of: "http://")).lowerBound
        try await body(server.output, String(server.output[start...].prefix { !$0.isNewline }))
        #expect(await server.terminate() == 0, "\(server.complaints)")
    }

    /// The endpoint, over a Redis, and how to reach it over REST.
    private func withEndpoint(_ body: (_ environment: [String: String], _ redis: RedisProcess) async throws -> Void) async throws
    {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let environment = ["REDIS_URL": "redis://127.0.0.1:\(redis.port)", "HOLDFAST_API_KEYS": "app:operator:\(Self.token)"]
        try await serving(CommandLineProgram(), environment) { (_, url) async throws in
            try await body(
                [
                    "REDIS_PROTOCOL": "rest", "UPSTASH_REDIS_REST_URL": url + "/upstash", "UPSTASH_REDIS_REST_TOKEN": Self.token,
                ], redis)
        }
    }

    @Test func serveKeepsItsEntriesBehindTheEndpoint() async throws {
        try await withEndpoint { (environment, redis) async throws in
            let holdfast = try CommandLineProgram()
            try await serving(holdfast, environment) { (output, url) async throws in
                #expect(output.contains("Upstash REST at http://127.0.0.1:"))
                #expect(!output.contains(Self.token))
                #expect(try await holdfast("set", "k", "kept", "--url", url).status == 0)
                #expect(try await holdfast("get", "k", "--url", url).output == "kept\n")
            }
            let keys = try await redis.ask("KEYS", "*upstash:*").list ?? []
            #expect(!keys.isEmpty, "the entry is in the endpoint's Redis")
            try await serving(holdfast, environment) { (_, url) async throws in
                #expect(try await holdfast("get", "k", "--url", url).output == "kept\n")
            }
        }
    }

    @Test func serveWithAWrongTokenIsNotReadyAndSaysWhy() async throws {
        try await withEndpoint { (environment, _) async throws in
            let holdfast = try CommandLineProgram()
            let wrong = environment.merging(["UPSTASH_REDIS_REST_TOKEN": "wrong-token"]) { $1 }
            try await serving(holdfast, wrong) { (output, url) async throws in
                #expect(!output.contains("wrong-token"))
                let set = try await holdfast("set", "k", "v", "--url", url)
                #expect(set.status != 0 && set.complaints.contains("refused the credentials"), "\(set)")
                let status = try await holdfast("status", "--url", url)
                #expect(status.output.contains("refused"), "\(status)")
            }
        }
    }

    @Test func doctorApprovesOfTheEndpointAndNamesAWrongToken() async throws {
        try await withEndpoint { (environment, _) async throws in
            let right = try await CommandLineProgram()("doctor", environment: environment)
            #expect(right.status == 0, "\(right)")
            #expect(right.output.contains("answers and accepts the token"))
            for found in ["holdfast: and {holdfast: can be written", "can be published to and listened to"] {
                #expect(right.output.contains(found), "\(right)")
            }
            for (changes, advice) in [
                (["UPSTASH_REDIS_REST_TOKEN": "wrong-token"], "check UPSTASH_REDIS_REST_TOKEN"),
                (["UPSTASH_REDIS_REST_URL": "http://127.0.0.1:1"], "check UPSTASH_REDIS_REST_URL"),
                (
                    ["UPSTASH_REDIS_REST_URL": String(environment["UPSTASH_REDIS_REST_URL"]?.dropLast(8) ?? "")],
                    "check UPSTASH_REDIS_REST_URL"
                ),
            ] {
                let wrong = try await CommandLineProgram()("doctor", environment: environment.merging(changes) { $1 })
                #expect(wrong.status == 1, "\(wrong)")
                let failed = wrong.output.split(separator: "\n").filter { $0.hasPrefix("failed") }
                #expect(failed.count == 1 && failed.first?.contains(advice) == true, "\(wrong)")
                #expect(!wrong.output.contains("wrong-token"))
            }
        }
    }

    @Test func doctorSaysWhatTheEndpointIsAndWhichScriptsItRefuses() async throws {
        func environment(_ url: String, _ token: String) -> [String: String] {
            ["REDIS_PROTOCOL": "rest", "UPSTASH_REDIS_REST_URL": url + "/upstash", "UPSTASH_REDIS_REST_TOKEN": token]
        }
        let keys = "app:operator:\(Self.token),boss:admin:boss-token"
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let over = ["REDIS_URL": "redis://127.0.0.1:\(redis.port)", "HOLDFAST_API_KEYS": keys]
        try await serving(CommandLineProgram(), over) { (_, url) async throws in
            let right = try await CommandLineProgram()("doctor", environment: environment(url, "boss-token"))
            #expect(right.status == 0 && right.output.contains("the endpoint says "), "\(right)")
            #expect(right.output.contains("#!lua; #!lua flags=allow-oom"), "\(right)")
            // INFO is not for everybody.
            let other = try await CommandLineProgram()("doctor", environment: environment(url, Self.token))
            #expect(other.status == 0 && !other.output.contains("the endpoint says "), "\(other)")
        }
        try await serving(CommandLineProgram(), ["HOLDFAST_API_KEYS": keys]) { (_, url) async throws in
            let without = try await CommandLineProgram()("doctor", environment: environment(url, Self.token))
            let failed = without.output.split(separator: "\n").filter { $0.hasPrefix("failed") }
            #expect(without.status == 1 && failed.count == 1, "\(without)")
            #expect(failed.first?.contains("`#!lua` or `#!lua flags=allow-oom` are refused") == true, "\(without)")
        }
    }

    /// Over HTTPS, with a certificate that only those take who name its authority.
    @Test func doctorSaysWhatIsWrongWithTLS() async throws {
        let files = try RedisProcess.sharedCertificates()
        let holdfast = try CommandLineProgram()
        let server = try holdfast.start(
            "serve", "--port", "0", "--tls-certificate", files.serverCertificate, "--tls-key", files.serverKey,
            environment: ["HOLDFAST_API_KEYS": "app:operator:\(Self.token)"])
        defer { if server.process.isRunning { kill(server.process.processIdentifier, SIGKILL) } }
        try await server.waitUntilItSays("API key")
        let start = try #require(server.output.firstRange(of: "https://")).lowerBound
        let url = String(server.output[start...].prefix { !$0.isNewline })
        let environment = [
            "REDIS_PROTOCOL": "rest", "UPSTASH_REDIS_REST_URL": url + "/upstash", "UPSTASH_REDIS_REST_TOKEN": Self.token,
        ]
        let trusting = ["REDIS_SSL_CA_CERTS": files.authority]
        let cases: [(more: [String: String], words: String)] = [
            ([:], "check that REDIS_SSL_CA_CERTS names its authority"),
            (["REDIS_SSL_CA_CERTS": files.strangeAuthority], "check that REDIS_SSL_CA_CERTS names its authority"),
            (["REDIS_SSL_CA_CERTS": files.serverKey], "REDIS_SSL_CA_CERTS: "), (trusting, "answers and accepts the token"),
        ]
        for (more, words) in cases {
            let result = try await CommandLineProgram()("doctor", environment: environment.merging(more) { $1 })
            #expect(result.output.contains(words), "\(more): \(result)")
            // It has no Lua: that alone is wrong where TLS is right.
            let failed = result.output.split(separator: "\n").filter { $0.hasPrefix("failed") }
            #expect(failed.count == 1 && failed.first?.contains("Scripts") == (more == trusting), "\(more): \(result)")
        }
        #expect(await server.terminate() == 0, "\(server.complaints)")
    }

    @Test(arguments: [
        (["REDIS_PROTOCOL": "rest", "REDIS_ENABLED": "true"], "UPSTASH_REDIS_REST_URL"),
        (["REDIS_PROTOCOL": "rest", "UPSTASH_REDIS_REST_URL": "https://u.example"], "UPSTASH_REDIS_REST_TOKEN"),
    ]) func whatRESTNeedsIsAskedForInOneLine(environment: [String: String], missing: String) async throws {
        for command in ["config", "doctor", "status"] {
            let none = try await CommandLineProgram().run([command], environment: environment)
            #expect(none.status == 78, "\(none)")
            #expect(none.complaints.split(separator: "\n").count == 1)
            #expect(none.complaints.contains(missing), "\(none)")
        }
    }
}
