import Holdfast
import HoldfastStore
import TestServers
import Testing

/// What `holdfast doctor` says of servers that tell little of themselves, and of one that is none.
@Suite struct DoctorTellingTests {
    private func examine(
        _ environment: [String: String]
    ) async throws -> (status: Int32, findings: [JSONValue], output: String) {
        let patience = ["REDIS_SOCKET_TIMEOUT": "60s", "REDIS_SOCKET_CONNECT_TIMEOUT": "60s"]
        let result = try await CommandLineProgram()("doctor", "--json", environment: environment.merging(patience) { $1 })
        return (result.status, JSONValue(json: result.output.utf8)?["findings"]?.array ?? [], result.output)
    }

    private func message(_ check: String, _ findings: [JSONValue]) -> String {
        findings.first { $0["check"]?.string == check }?["message"]?.string ?? ""
    }

    // MARK: - Capabilities

    /// What the user may not ask is not known: neither there nor absent, and no fault by itself.
    @Test func whatTheServerDoesNotTellStaysUnknown() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        func capabilities(without taken: String) async throws -> String {
            let rules = "reset on >pw ~* &* +@all " + taken
            let command = ["ACL", "SETUSER", "app"] + rules.split(separator: " ").map { Bytes(String($0)) }
            #expect(try await server.ask(command: command) == .ok)
            let (_, findings, output) = try await examine(["REDIS_URL": "redis://app:pw@127.0.0.1:\(server.port)"])
            #expect(findings.contains { $0["check"] == "Capabilities" && $0["state"] == "ok" }, "\(output)")
            return message("Capabilities", findings)
        }
        // HELLO needs no permission: protocol and mode are told to everybody.
        #expect(
            try await capabilities(without: "-info -command -module -eval")
                == "RESP3; standalone; not known, because the user may not call it: COMMAND, EVAL, INFO, MODULE")

        let noCommands = try await capabilities(without: "-command")
        #expect(noCommands.contains("; has Lua flags; not known"), "\(noCommands)")
        #expect(noCommands.hasSuffix("may not call it: COMMAND") && !noCommands.contains("has not"), "\(noCommands)")

        let noScripts = try await capabilities(without: "-eval")
        #expect(noScripts.contains("CLIENT TRACKING") && !noScripts.contains("Lua flags"), "\(noScripts)")
        #expect(noScripts.hasSuffix("may not call it: EVAL"), "\(noScripts)")

        let nothing = try await capabilities(without: "")
        #expect(nothing.contains("Lua flags") && !nothing.contains("not known"), "\(nothing)")
    }

    /// Version and eviction come from INFO alone: one line says that both are unknown, and no version is taken for too old.
    @Test func withoutINFOVersionAndEvictionStayUnknown() async throws {
        var options = RedisProcess.Options()
        options.users = ["user app on >pw ~* &* +@all -info"]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let (status, findings, output) = try await examine(["REDIS_URL": "redis://app:pw@127.0.0.1:\(server.port)"])
        #expect(status == 0, "\(output)")
        let version = message("Version", findings)
        #expect(version.hasPrefix("version and eviction stay unknown") && version.contains("ACL SETUSER app +info"), "\(output)")
        #expect(!findings.contains { $0["check"] == "Eviction" }, "\(output)")
    }

    // MARK: - A sentinel in the server's place

    /// Whatever else is set, such as the servers' credentials or a database: advice about these would lead away from what is wrong.
    @Test(arguments: ["127.0.0.1:%", "app:secret@127.0.0.1:%", ":secret@127.0.0.1:%", "127.0.0.1:%/3"])
    func aSentinelInPlaceOfTheServerIsNamed(place: String) async throws {
        let sentinel = try #require(try await SharedSentinels.servers().sentinels.first)
        let url = "redis://" + place.replacing("%", with: "\(sentinel.port)")
        let (status, findings, output) = try await examine(["REDIS_URL": url])
        #expect(status == 1, "\(output)")
        let bad = findings.filter { $0["state"] != "ok" }
        #expect(bad.count == 1 && bad.first?["check"] == "Sentinel", "\(output)")
        let line = message("Sentinel", findings)
        #expect(line.contains("is a sentinel") && line.contains("REDIS_SENTINELS=127.0.0.1:\(sentinel.port)"), "\(line)")
        #expect(line.contains("REDIS_SENTINEL_MASTER") && !line.contains("ACL") && !line.contains(where: \.isNewline), "\(line)")
        // Nothing is looked for that a sentinel has not.
        #expect(!findings.contains { ["AUTH", "SELECT", "Write", "Commands"].contains($0["check"]?.string) }, "\(output)")

        // What it says is what helps.
        let repaired = try await examine([
            "REDIS_SENTINELS": "127.0.0.1:\(sentinel.port)", "REDIS_SENTINEL_MASTER": SentinelSet.name,
        ])
        #expect(repaired.status == 0, "\(repaired.output)")
    }

    /// One that asks for the same password as its servers says what it is once it has heard that.
    @Test func aSentinelWithAPasswordIsNamedToWhoKnowsIt() async throws {
        var options = SentinelSet.Options()
        (options.replicas, options.password, options.sentinelPassword) = (0, "secret", "secret")
        let set = try await SentinelSet.start(options)
        defer { set.stop() }
        let url = "redis://127.0.0.1:\(set.sentinels[0].port)"
        let known = try await examine(["REDIS_URL": url, "REDIS_PASSWORD": "secret"])
        #expect(known.status == 1 && message("Sentinel", known.findings).contains("is a sentinel"), "\(known.output)")
        // Who does not is told of the password first: an unknown server says no more.
        let unknown = try await examine(["REDIS_URL": url])
        #expect(unknown.status == 1 && message("AUTH", unknown.findings).contains("REDIS_PASSWORD"), "\(unknown.output)")
    }
}
