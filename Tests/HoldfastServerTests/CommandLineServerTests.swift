import Foundation
import Holdfast
import HoldfastStore
import TestServers
import Testing

/// The commands that talk to a running `holdfast serve`, both run as users run them.
@Suite struct CommandLineServerTests {
    /// A server on a free port, with its files in the program's folder.
    private func serving(
        _ holdfast: CommandLineProgram, environment: [String: String] = [:],
        _ body: (_ server: CommandLineProgram.Running, _ url: String) async throws -> Void
    ) async throws {
        try await holdfast.serving(environment: environment, body)
    }

    private func json(_ text: String) -> JSONValue { JSONValue(json: text.utf8) ?? .null }

    @Test func serveSaysCalmlyWhereItIsAndEndsWithZero() async throws {
        let holdfast = try CommandLineProgram()
        try await serving(holdfast) { (server, _) async throws in
            let lines = server.output.split(separator: "\n")
            #expect(lines.count == 5)
            #expect(lines[0].contains("http://127.0.0.1:"))
            #expect(lines[1].contains("embedded"))
            let file = holdfast.folder.url.path + "/.config/holdfast/api-key"
            #expect(lines[3].contains(file))
            let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            let secret = try String(contentsOfFile: file, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(lines[4].contains(secret), "a new key is shown once")
        }
        try await serving(holdfast) { (server, _) async throws in
            let secret = try String(contentsOf: holdfast.folder.url.appending(path: ".config/holdfast/api-key"), encoding: .utf8)
            #expect(server.output.split(separator: "\n").count == 4)
            #expect(!server.output.contains(secret.trimmingCharacters(in: .whitespacesAndNewlines)))
        }
    }

    @Test func entriesAreSetReadListedAndDeleted() async throws {
        let holdfast = try CommandLineProgram()
        try await serving(holdfast) { (_, url) async throws in
            let here = ["HOLDFAST_URL": url]
            #expect(try await holdfast("set", "user:1", #"{"name": "Ann"}"#, "--ttl", "5m", environment: here).output == "OK\n")
            #expect(try await holdfast("get", "user:1", environment: here).output == "{\"name\":\"Ann\"}\n")
            #expect(try await json(holdfast("get", "user:1", "--json", environment: here).output)["value"] == ["name": "Ann"])
            #expect(try await holdfast("set", "a/b c%?", "plain text", environment: here).status == 0)
            #expect(try await holdfast("get", "a/b c%?", environment: here).output == "plain text\n")
            #expect(try await holdfast("set", "number", "42", "--text", environment: here).status == 0)
            #expect(try await json(holdfast("get", "number", "--json", environment: here).output)["value"] == "42")
            let all = try await holdfast("keys", environment: here).output.split(separator: "\n").sorted()
            #expect(all == ["a/b c%?", "number", "user:1"])
            #expect(try await holdfast("keys", "user:*", "--limit", "1", environment: here).output == "user:1\n")
            #expect(try await holdfast("keys", "-w", "other", environment: here).status == 1)
            let gone = try await holdfast("del", "user:1", "number", "none", environment: here)
            #expect(gone.output == "2\n")
            #expect(gone.status == 0)
            #expect(try await holdfast("del", "user:1", environment: here).status == 1)
            let missing = try await holdfast("get", "user:1", environment: here)
            #expect(missing.status == 1)
            #expect(missing.output == "")
            #expect(missing.complaints == "holdfast: there is no entry user:1 in workspace default\n")
        }
    }

    @Test func statusShowsTheServersHealth() async throws {
        let holdfast = try CommandLineProgram()
        try await serving(holdfast) { (_, url) async throws in
            let table = try await holdfast("status", "--url", url)
            #expect(table.status == 0)
            // A loaded machine may be slow enough for a warning.
            #expect(table.output.contains("healthy") || table.output.contains("degraded"))
            #expect(table.output.contains("checks.ping"))
            let report = try await json(holdfast("status", "--json", "--url", url).output)
            #expect(["healthy", "degraded"].contains(report["health"]?["status"]))
            #expect(report["cache"]?.object != nil)
        }
    }

    @Test func statusShowsWhatBecomesOfCallsWhileTheServerIsAway() async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let holdfast = try CommandLineProgram()
        let environment = [
            "REDIS_URL": "redis://127.0.0.1:\(redis.port)", "CACHE_OUTAGE": "closed", "RATE_LIMIT_OUTAGE": "open",
        ]
        try await serving(holdfast, environment: environment) { (_, url) async throws in
            let features = try await json(holdfast("status", "--json", "--url", url).output)["health"]?["features"]
            #expect(features?["cache"]?["outage"] == "closed" && features?["cache"]?["mode"] == "server")
            #expect(features?["rate_limits"]?["outage"] == "open" && features?["sessions"]?["outage"] == "local")
            let table = try await holdfast("status", "--url", url).output
            #expect(table.split(separator: "\n").contains { $0.contains("features.cache.outage") && $0.hasSuffix("closed") })
            for name in ["sessions.backlog", "rate_limits.backlog", "rate_limits.handed_over_units"] {
                let line = table.split(separator: "\n").first { $0.contains("features.\(name) ") }
                #expect(line?.hasSuffix(" 0") == true, "\(table)")
            }
        }
    }

    /// The log says what becomes of calls, and nothing else.
    @Test(arguments: [
        ([:], "deciding in this process"),
        (
            ["CACHE_OUTAGE": "closed", "SESSION_OUTAGE": "closed", "RATE_LIMIT_OUTAGE": "closed"],
            "calls that need it are refused"
        ),
        (["CACHE_OUTAGE": "closed", "SESSION_OUTAGE": "closed"], "deciding in this process what the settings leave to it"),
        (
            ["CACHE_OUTAGE": "closed", "SESSION_OUTAGE": "closed", "RATE_LIMIT_OUTAGE": "open"],
            "deciding in this process what the settings leave to it"
        ),
    ])
    func theLogSaysWhatBecomesOfCallsWhileTheServerIsAway(environment: [String: String], words: String) async throws {
        let holdfast = try CommandLineProgram()
        let away = ["REDIS_URL": "redis://127.0.0.1:1"].merging(environment) { $1 }
        try await serving(holdfast, environment: away) { (server, _) async throws in
            try await eventually("it is said") { server.complaints.contains("the server cannot be reached") }
            let line = server.complaints.split(separator: "\n").first { $0.contains("the server cannot be reached") } ?? ""
            #expect(line.contains("the server cannot be reached; \(words)"), "\(line)")
            for (name, variable) in [("cache", "CACHE_OUTAGE"), ("sessions", "SESSION_OUTAGE"), ("limits", "RATE_LIMIT_OUTAGE")] {
                #expect(line.contains("outage.\(name)=\(environment[variable] ?? "local")"), "\(line)")
            }
        }
    }

    /// What the log says of the server, in order.
    private func changes(_ server: CommandLineProgram.Running) -> [String] {
        let kinds = ["the server cannot be reached", "the server refused us", "the server is back"]
        return server.complaints.split(separator: "\n").compactMap { line in kinds.first { line.contains($0) } }
    }

    /// Calls and probes go on all the while, and only changes are said.
    @Test func theLogSaysEachChangeOnce() async throws {
        var options = RedisProcess.Options()
        options.password = "one"
        let redis = try await RedisProcess.start(options)
        defer { redis.stop() }
        func restart(password: String) async throws {
            let path = redis.folder + "/redis.conf"
            let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
            let others = lines.filter { !$0.hasPrefix("requirepass") } + ["requirepass \"\(password)\""]
            try others.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
            try await redis.restart()
        }
        let holdfast = try CommandLineProgram()
        let environment = ["REDIS_URL": "redis://:one@127.0.0.1:\(redis.port)", "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "3"]
        try await serving(holdfast, environment: environment) { (server, url) async throws in
            func expectSaid(_ said: [String], isServing: Bool = true) async throws {
                try await eventually("it is said: \(said)") { changes(server) == said }
                for _ in 0..<3 {
                    let written = try await holdfast("set", "k", "v", "--url", url)
                    #expect((written.status == 0) == isServing, "\(written)")
                }
                #expect(changes(server) == said, "\(server.complaints)")
            }
            let (away, refused, back) = ("the server cannot be reached", "the server refused us", "the server is back")
            try await expectSaid([])
            redis.kill()
            try await expectSaid([away])
            try await redis.restart()
            try await expectSaid([away, back])

            redis.kill()
            try await expectSaid([away, back, away])
            try await restart(password: "two")
            try await expectSaid([away, back, away, refused], isServing: false)
            // Until what waits here has been handed over it is this process that decides again.
            try await restart(password: "one")
            try await expectSaid([away, back, away, refused, away, back])
        }
    }

    @Test func aKeyThatIsWrongOrMissingEndsWith77() async throws {
        let holdfast = try CommandLineProgram()
        try await serving(holdfast) { (_, url) async throws in
            let wrong = try await holdfast("get", "k", "--url", url, "--api-key", "wrong")
            #expect(wrong.status == 77)
            #expect(wrong.complaints.contains("refused the API key"))
            let none = try await CommandLineProgram()("get", "k", "--url", url)
            #expect(none.status == 77)
            #expect(none.complaints.contains("needs an API key: give --api-key or HOLDFAST_API_KEY"))
        }
    }

    @Test func aKeyOfTheConfigurationServesTheCommandLineToo() async throws {
        let holdfast = try CommandLineProgram()
        try holdfast.folder.write("HOLDFAST_API_KEYS=ops:operator:from-the-file\n", to: ".env")
        try await serving(holdfast) { (_, url) async throws in
            #expect(try await holdfast("set", "k", "v", "--url", url).status == 0)
            #expect(!FileManager.default.fileExists(atPath: holdfast.folder.url.path + "/.config"))
        }
    }

    @Test func aPortThatIsTakenIsOneLine() async throws {
        let holdfast = try CommandLineProgram()
        try await serving(holdfast) { (_, url) async throws in
            let port = String(url.split(separator: ":").last ?? "")
            let second = try await holdfast("serve", "--port", port)
            #expect(second.status == 69)
            #expect(second.complaints.contains("127.0.0.1:\(port) is in use"))
        }
    }

    @Test func serveOnRedisSaysSoAndKeepsEntriesThere() async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let holdfast = try CommandLineProgram()
        let environment = ["REDIS_URL": "redis://127.0.0.1:\(redis.port)/1", "REDIS_KEY_PREFIX": "mine:"]
        try await serving(holdfast, environment: environment) { (server, url) async throws in
            #expect(server.output.contains("Redis at 127.0.0.1:\(redis.port), database 1"))
            #expect(try await holdfast("set", "k", "kept", "--url", url).status == 0)
        }
        try await serving(holdfast, environment: environment) { (_, url) async throws in
            #expect(try await holdfast("get", "k", "--url", url).output == "kept\n")
        }
    }
}
