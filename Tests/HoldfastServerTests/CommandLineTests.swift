import Foundation
import Holdfast
import HoldfastRedis
import HoldfastStore
import TestServers
import Testing

/// The commands that need no running server.
@Suite struct CommandLineTests {
    private func json(_ text: String) -> JSONValue { JSONValue(json: text.utf8) ?? .null }

    // MARK: - config

    @Test func configShowsValuesAndSourcesWithoutSecrets() async throws {
        let holdfast = try CommandLineProgram()
        try holdfast.folder.write("REDIS_DB=4\n", to: ".env")
        let result = try await holdfast(
            "config", "--json", "--redis-max-pool-size", "7",
            environment: ["REDIS_URL": "redis://:s3cret@h", "HOLDFAST_API_KEYS": "s3cret"])
        #expect(result.status == 0)
        #expect(!result.output.contains("s3cret"))
        let rows = json(result.output)["settings"]?.array ?? []
        func source(_ name: String) -> String? { rows.first { $0["name"]?.string == name }?["source"]?.string }
        #expect(source("REDIS_MAX_CONNECTIONS") == "flag")
        #expect(source("REDIS_URL") == "environment")
        #expect(source("REDIS_DATABASE") == ".env")
        #expect(source("HOLDFAST_PORT") == "default")
        let table = try await holdfast("config", "--changed", "--redis-max-pool-size", "7")
        #expect(table.output.contains("REDIS_MAX_CONNECTIONS"))
        #expect(table.output.contains("flag, as REDIS_MAX_POOL_SIZE"))
        #expect(!table.output.contains("HOLDFAST_PORT"))
    }

    @Test func anotherEnvironmentFileAndAConfigurationFileAreRead() async throws {
        let holdfast = try CommandLineProgram()
        try holdfast.folder.write("HOLDFAST_PORT=1\n", to: ".env")
        try holdfast.folder.write("HOLDFAST_PORT=2\n", to: "other.env")
        try holdfast.folder.write("holdfast:\n  port: 3\n  host: 0.0.0.0\n", to: "h.yaml")
        let result = try await holdfast("config", "--changed", "--env-file", "other.env", "--config=h.yaml")
        #expect(result.output.contains("HOLDFAST_PORT  2        .env"))
        #expect(result.output.contains("HOLDFAST_HOST  0.0.0.0  file"))
    }

    @Test(arguments: ["config", "serve", "doctor", "get x", "demo"])
    func aBadValueStopsEveryCommandWithOneLine(command: String) async throws {
        let holdfast = try CommandLineProgram()
        let result = try await holdfast.run(command.split(separator: " ").map(String.init), environment: ["REDIS_PORT": "x"])
        #expect(result.status == 78)
        #expect(result.output == "")
        #expect(
            result.complaints == "holdfast: REDIS_PORT=x (environment): accepted is a whole number from 1 to 65535\n")
    }

    // MARK: - serve

    @Test(arguments: [
        ["SESSION_STORAGE": "jwt"]
    ]) func serveRefusesWhatThisVersionCannotDo(environment: [String: String]) async throws {
        let holdfast = try CommandLineProgram()
        let result = try await holdfast("serve", environment: environment)
        #expect(result.status == 78)
        #expect(result.complaints.contains("this version cannot"))
        #expect(result.complaints.split(separator: "\n").count == 1)
        #expect(try await holdfast("config", environment: environment).status == 0)
    }

    // MARK: - Usage

    @Test(arguments: [["get"], ["nonsense"], ["keys", "--limit", "0"], ["set", "k", "v", "--ttl", "soon"], ["get", ""]])
    func wrongUsageEndsWith64(arguments: [String]) async throws {
        #expect(try await CommandLineProgram().run(arguments, environment: [:]).status == 64)
    }

    @Test func aMistypedSettingIsNamedWithTheNearestOne() async throws {
        let result = try await CommandLineProgram()("config", "--redis-ulr", "x")
        #expect(result.status == 78)
        #expect(result.complaints == "holdfast: --redis-ulr is no setting: did you mean --redis-url?\n")
    }

    @Test func helpListsEverySetting() async throws {
        let help = try await CommandLineProgram()("serve", "--help")
        #expect(help.status == 0)
        for row in ConfigurationTableTests.rows {
            let name = row.names[0].lowercased().replacing("_", with: "-")
            let flag = name.hasPrefix("holdfast-") ? String(name.dropFirst(9)) : name
            #expect(help.output.contains("--\(flag)\n"), "\(flag)")
        }
    }

    @Test(arguments: [["get", "k"], ["set", "k", "v"], ["del", "k"], ["keys"], ["status"]])
    func withoutAServerTheLineSaysSoAndTheCodeIs69(arguments: [String]) async throws {
        // Port 1 of the loopback is nobody's.
        let result = try await CommandLineProgram().run(arguments + ["--url", "http://127.0.0.1:1"], environment: [:])
        #expect(result.status == 69)
        #expect(result.complaints.hasPrefix("holdfast: no server answers at http://127.0.0.1:1 (connection refused)"))
    }

    // MARK: - demo

    @Test func theDemonstrationHoldsOnTheEmbeddedStore() async throws {
        let result = try await CommandLineProgram()("demo")
        #expect(result.status == 0, "\(result.output)")
        #expect(result.output.hasPrefix("Store: embedded"))
        #expect(!result.output.contains("FAILED"))
    }

    @Test func theDemonstrationHoldsOnRedisNamesItAndLeavesNothing() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let environment = ["REDIS_URL": "unix://\(server.socketPath)?db=2"]
        let result = try await CommandLineProgram()("demo", "--json", environment: environment)
        #expect(result.status == 0, "\(result)")
        let report = json(result.output)
        #expect(report["store"] == .string("Redis at \(server.socketPath), database 2"))
        #expect((report["steps"]?.array?.count ?? 0) > 30)
        #expect((report["seconds"]?.double ?? 100) < 60)
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath), database: 2))
        #expect(try await store(.dbsize) == 0)
        await store.shutdown()
    }

    // MARK: - doctor

    @Test func doctorApprovesOfAServerThatIsRight() async throws {
        var options = RedisProcess.Options()
        options.password = "p@:/%"
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let environment = ["REDIS_URL": "redis://127.0.0.1:\(server.port)/3", "REDIS_PASSWORD": "p@:/%"]
        let result = try await CommandLineProgram()("doctor", "--json", environment: environment)
        #expect(result.status == 0, "\(result)")
        let findings = json(result.output)["findings"]?.array ?? []
        let checks = findings.compactMap { $0["check"]?.string }
        #expect(
            checks == [
                "Settings", "DNS", "TCP", "Protocol", "AUTH", "SELECT", "PING", "Version", "Eviction", "Capabilities", "Write",
                "Scripts", "Commands", "Channels", "Fencing", "Near cache", "Outbox", "API key",
            ])
        #expect(findings.allSatisfy { $0["state"] == "ok" }, "\(result.output)")
    }

    @Test func doctorSaysHowTheNearCacheIsKeptTrue() async throws {
        var options = RedisProcess.Options()
        options.users = ["user narrow on >pw ~* &* +@all -client"]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let url = "127.0.0.1:\(server.port)"
        let patience = ["REDIS_SOCKET_TIMEOUT": "60s", "REDIS_SOCKET_CONNECT_TIMEOUT": "60s"]
        for (environment, state, words) in [
            (["REDIS_URL": "redis://\(url)"], "ok", "the server tells of changes (broadcast)"),
            (["REDIS_URL": "redis://\(url)", "REDIS_CLIENT_TRACKING": "reads"], "ok", "the server tells of changes (reads)"),
            (["REDIS_URL": "redis://\(url)", "REDIS_CLIENT_TRACKING": "off"], "ok", "each value is served for 5 s at most"),
            (["REDIS_URL": "redis://narrow:pw@\(url)"], "warning", "ACL SETUSER"),
        ] {
            let result = try await CommandLineProgram()("doctor", "--json", environment: environment.merging(patience) { $1 })
            let finding = json(result.output)["findings"]?.array?.first { $0["check"] == "Near cache" }
            #expect(finding?["state"]?.string == state && finding?["message"]?.string?.contains(words) == true, "\(result)")
        }
    }

    @Test func doctorLooksThroughSentinelsAndAtClusters() async throws {
        func checks(_ environment: [String: String]) async throws -> [String] {
            let result = try await CommandLineProgram()("doctor", "--json", environment: environment)
            #expect(result.status == 0, "\(result)")
            let findings = json(result.output)["findings"]?.array ?? []
            #expect(findings.allSatisfy { $0["state"] == "ok" }, "\(result)")
            return findings.compactMap { $0["check"]?.string }
        }
        let cluster = try await SharedCluster.servers()
        #expect(
            try await checks(["REDIS_CLUSTER_NODES": "127.0.0.1:\(cluster.nodes[1].port)"]).starts(with: [
                "Settings", "Node", "Cluster", "Primary", "Primary", "Primary", "PING",
            ]))
        let sentinels = try await SharedSentinels.servers().sentinels.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        #expect(
            try await checks(["REDIS_SENTINELS": sentinels, "REDIS_SENTINEL_MASTER": SentinelSet.name])
                .starts(with: ["Settings", "Sentinel", "Sentinel", "Sentinel", "Sentinels", "DNS", "TCP"]))
        let wrong = try await CommandLineProgram()(
            "doctor", environment: ["REDIS_SENTINELS": sentinels, "REDIS_SENTINEL_MASTER": "nothing"])
        #expect(wrong.status == 1)
        #expect(wrong.output.contains("REDIS_SENTINEL_MASTER"), "\(wrong)")
    }

    /// One that is away is a warning, as long as another answers.
    @Test func doctorLooksAtEachSentinelAndNode() async throws {
        func findings(_ environment: [String: String]) async throws -> (status: Int32, bad: [JSONValue], all: [JSONValue]) {
            let patience = ["REDIS_SOCKET_TIMEOUT": "60s", "REDIS_SOCKET_CONNECT_TIMEOUT": "60s"]
            let result = try await CommandLineProgram()("doctor", "--json", environment: environment.merging(patience) { $1 })
            let all = json(result.output)["findings"]?.array ?? []
            return (result.status, all.filter { $0["state"] != "ok" }, all)
        }
        func text(_ finding: JSONValue?) -> String { finding?["message"]?.string ?? "" }
        // Port 1 of the loopback is nobody's.
        let nobody = "127.0.0.1:1"
        let sentinels = try await SharedSentinels.servers().sentinels.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        let master = ["REDIS_SENTINEL_MASTER": SentinelSet.name]
        let oneDead = try await findings(master.merging(["REDIS_SENTINELS": sentinels + "," + nobody]) { $1 })
        #expect(oneDead.status == 0 && oneDead.bad.count == 1, "\(oneDead)")
        #expect(oneDead.bad.first?["check"] == "Sentinel" && oneDead.bad.first?["state"] == "warning", "\(oneDead)")
        #expect(text(oneDead.bad.first).hasPrefix(nobody) && text(oneDead.bad.first).contains("REDIS_SENTINELS"), "\(oneDead)")
        #expect(oneDead.all.count { $0["check"] == "Sentinel" } == 4)

        let allDead = try await findings(master.merging(["REDIS_SENTINELS": nobody + ",127.0.0.1:2"]) { $1 })
        #expect(allDead.status == 1 && allDead.bad.compactMap { $0["check"]?.string } == ["Sentinel", "Sentinel", "Sentinels"])
        #expect(text(allDead.bad.first).contains("check REDIS_SENTINELS"), "\(allDead)")

        let cluster = try await SharedCluster.servers()
        let node = "127.0.0.1:\(cluster.nodes[1].port)"
        let deadNode = try await findings(["REDIS_CLUSTER_NODES": nobody + "," + node])
        #expect(deadNode.status == 0 && deadNode.bad.count == 1, "\(deadNode)")
        #expect(deadNode.bad.first?["check"] == "Node" && text(deadNode.bad.first).contains("REDIS_CLUSTER_NODES"), "\(deadNode)")
        #expect(deadNode.all.contains { text($0).contains("all 16,384 slots are served, by 3 primaries") }, "\(deadNode)")
        #expect(deadNode.all.count { $0["check"] == "Primary" } == 3)

        let refused = try await findings(
            ["REDIS_CLUSTER_NODES": node, "REDIS_USERNAME": "nobody", "REDIS_PASSWORD": "wrong"])
        #expect(refused.status == 1 && refused.bad.count == 1, "\(refused)")
        #expect(text(refused.bad.first).contains("check REDIS_USERNAME and REDIS_PASSWORD"), "\(refused)")
        #expect(!text(refused.bad.first).contains("cluster-enabled"), "\(refused)")

        // What is no node of a cluster, and a certificate that is not accepted, are no matter of the password.
        var options = RedisProcess.Options()
        options.tls = true
        let alone = try await RedisProcess.start(options)
        defer { alone.stop() }
        let single = try await findings(["REDIS_CLUSTER_NODES": "127.0.0.1:\(alone.port)"])
        #expect(single.status == 1 && text(single.bad.first).contains("is cluster-enabled yes there?"), "\(single)")
        let untrusted = try await findings(["REDIS_CLUSTER_NODES": "127.0.0.1:\(alone.tlsPort)", "REDIS_SSL": "true"])
        #expect(untrusted.status == 1 && text(untrusted.bad.first).contains("REDIS_SSL_CA_CERTS"), "\(untrusted)")
        #expect(!text(untrusted.bad.first).contains("REDIS_PASSWORD"), "\(untrusted)")
    }

    @Test func doctorNamesTheSettingThatIsWrong() async throws {
        var options = RedisProcess.Options()
        options.password = "secret"
        options.tls = true
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let folder = try TemporaryFolder()
        try folder.write("secret\n", to: "right")
        try folder.write("other", to: "wrong")
        let (right, wrong) = (folder.url.appending(path: "right").path, folder.url.appending(path: "wrong").path)
        let (plain, tls) = ("redis://127.0.0.1:\(server.port)", "rediss://localhost:\(server.tlsPort)")
        let cases: [(environment: [String: String], check: String, advice: String)] = [
            (["REDIS_URL": plain], "AUTH", "set REDIS_PASSWORD"),
            (["REDIS_URL": plain, "REDIS_PASSWORD": "wrong"], "AUTH", "check REDIS_USERNAME and REDIS_PASSWORD"),
            (["REDIS_URL": plain, "REDIS_PASSWORD_FILE": wrong], "AUTH", "check REDIS_USERNAME and REDIS_PASSWORD_FILE"),
            (["REDIS_URL": plain + "/99", "REDIS_PASSWORD": "secret"], "SELECT", "check REDIS_DATABASE"),
            (["REDIS_HOST": "no-such-host.invalid"], "DNS", "check REDIS_HOST"),
            (["REDIS_URL": "redis://127.0.0.1:1"], "TCP", "check REDIS_PORT"),
            (["REDIS_URL": "unix:///no/such.sock"], "Socket", "is the server running"),
            (["REDIS_URL": tls, "REDIS_PASSWORD": "secret"], "TLS", "REDIS_SSL_CA_CERTS"),
        ]
        for (environment, check, advice) in cases {
            let result = try await CommandLineProgram()("doctor", environment: environment)
            #expect(result.status == 1)
            let failed = result.output.split(separator: "\n").filter { $0.hasPrefix("failed") }
            #expect(failed.count == 1, "\(environment): \(result.output)")
            #expect(failed.first?.contains(check) == true && failed.first?.contains(advice) == true, "\(result.output)")
        }
        let authority = try #require(server.certificates).authority
        let trusted = ["REDIS_URL": tls, "REDIS_PASSWORD": "secret", "REDIS_SSL_CA_CERTS": authority]
        #expect(try await CommandLineProgram()("doctor", environment: trusted).status == 0)
        let filed = try await CommandLineProgram()("doctor", environment: ["REDIS_URL": plain, "REDIS_PASSWORD_FILE": right])
        #expect(filed.status == 0 && filed.output.contains("accepts the password"), "\(filed)")
        let shown = try await CommandLineProgram()("config", environment: ["REDIS_URL": plain, "REDIS_PASSWORD_FILE": right])
        #expect(shown.output.contains(right) && !shown.output.contains("secret"), "\(shown)")
    }

    /// Whatever is wrong with TLS is one line, in words, that names the setting.
    @Test func doctorSaysWhatIsWrongWithTLSInOneLine() async throws {
        let certificates = try RedisProcess.sharedCertificates()
        func server(_ certificate: String, _ key: String, _ clients: String = "optional") async throws -> RedisProcess {
            var options = RedisProcess.Options()
            options.tls = true
            options.configuration = ["tls-cert-file \(certificate)", "tls-key-file \(key)", "tls-auth-clients \(clients)"]
            return try await RedisProcess.start(options)
        }
        let good = try await server(certificates.serverCertificate, certificates.serverKey)
        let named = try await server(certificates.namedCertificate, certificates.namedKey)
        let expired = try await server(certificates.expiredCertificate, certificates.expiredKey)
        let strict = try await server(certificates.serverCertificate, certificates.serverKey, "yes")
        let all = [good, named, expired, strict]
        defer { for server in all { server.stop() } }
        let folder = try TemporaryFolder()
        try folder.write("-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n", to: "broken")
        try folder.write("", to: "empty")
        func place(_ name: String) -> String { folder.url.appending(path: name).path }

        let authority = ["REDIS_SSL_CA_CERTS": certificates.authority]
        let cases: [(port: Int, environment: [String: String], words: [String])] = [
            (good.tlsPort, [:], ["not accepted", "name its authority in REDIS_SSL_CA_CERTS"]),
            (good.tlsPort, ["REDIS_SSL_CA_CERTS": certificates.strangeAuthority], ["not accepted", "check REDIS_SSL_CA_CERTS"]),
            (named.tlsPort, authority, ["another name", "REDIS_SSL_SERVER_NAME"]),
            (expired.tlsPort, authority, ["not accepted", "has not expired"]),
            (strict.tlsPort, authority, ["client certificate", "REDIS_SSL_CERTFILE and REDIS_SSL_KEYFILE"]),
            (
                good.port, authority.merging(["REDIS_SOCKET_CONNECT_TIMEOUT": "1s"]) { $1 }, ["port without TLS", "redis://"]
            ),
            (
                good.tlsPort, ["REDIS_SSL_CA_CERTS": certificates.serverKey],
                ["REDIS_SSL_CA_CERTS", "holds no certificate", "but a private key"]
            ),
            (good.tlsPort, ["REDIS_SSL_CA_CERTS": place("empty")], ["REDIS_SSL_CA_CERTS", "holds no certificate"]),
            (good.tlsPort, ["REDIS_SSL_CA_CERTS": place("broken")], ["REDIS_SSL_CA_CERTS", "holds no certificate"]),
            (
                good.tlsPort,
                authority.merging([
                    "REDIS_SSL_CERTFILE": certificates.clientKey, "REDIS_SSL_KEYFILE": certificates.clientKey,
                ]) { $1 }, ["REDIS_SSL_CERTFILE", "holds no certificate"]
            ),
            (
                good.tlsPort,
                authority.merging([
                    "REDIS_SSL_CERTFILE": certificates.clientCertificate, "REDIS_SSL_KEYFILE": certificates.clientCertificate,
                ]) { $1 }, ["REDIS_SSL_KEYFILE", "holds no private key"]
            ),
            (
                good.tlsPort,
                authority.merging([
                    "REDIS_SSL_CERTFILE": certificates.clientCertificate, "REDIS_SSL_KEYFILE": certificates.serverKey,
                ]) { $1 }, ["REDIS_SSL_KEYFILE", "is not the key of"]
            ),
        ]
        for (port, environment, words) in cases {
            let all = ["REDIS_URL": "rediss://localhost:\(port)"].merging(environment) { $1 }
            let result = try await CommandLineProgram()("doctor", environment: all)
            #expect(result.status == 1, "\(result)")
            let failed = result.output.split(separator: "\n").filter { $0.hasPrefix("failed") }
            let line = String(failed.first ?? "")
            #expect(failed.count == 1 && line.contains(" TLS ") && words.allSatisfy(line.contains), "\(words): \(result.output)")
            // Neither BoringSSL's words nor the names of this program's types and fields.
            for raw in ["SSL routines", "OPENSSL", "NIOSSL", "handshakeFailed", "sslError", "tls.", "Error("] {
                #expect(!line.contains(raw), "\(line)")
            }
            #expect(line.count < 260, "\(line)")
        }
    }
}
