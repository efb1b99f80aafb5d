import Foundation
import Holdfast
import HoldfastStore
import Testing

@testable import HoldfastServer

/// How sources, names and values are weighed and refused.
@Suite struct ConfigurationRulesTests {
    private func load(_ environment: [String: String], flags: [String: String] = [:], env: String? = nil) async throws
        -> LoadedConfiguration
    {
        let folder = try TemporaryFolder()
        if let env { try folder.write(env, to: ".env") }
        return try await HoldfastConfiguration.load(
            .init(flags: flags, environment: environment, workingDirectory: folder.url))
    }

    private func problems(_ environment: [String: String], flags: [String: String] = [:], env: String? = nil) async throws
        -> [String]
    {
        do {
            _ = try await load(environment, flags: flags, env: env)
            return []
        } catch let error as ConfigurationError {
            return error.problems
        }
    }

    // MARK: - Precedence

    @Test func flagsWinOverEnvironmentOverEnvironmentFileOverFile() async throws {
        let folder = try TemporaryFolder()
        try folder.write("REDIS_DB=3\nREDIS_PORT=3\nREDIS_MAX_CONNECTIONS=3\n", to: ".env")
        try folder.write("redis: {database: 4, port: 4, maxPoolSize: 4, socketTimeout: 4}", to: "h.yaml")
        let loaded = try await HoldfastConfiguration.load(
            .init(
                flags: ["REDIS_DATABASE": "1"],
                environment: ["REDIS_DB": "2", "REDIS_PORT": "2", "REDIS_HOST": "h", "HOLDFAST_CONFIG": "h.yaml"],
                workingDirectory: folder.url))
        let redis = loaded.configuration.redis
        #expect(redis.database == 1)
        #expect(redis.address == .tcp(host: "h", port: 2))
        #expect(redis.maxConnections == 3)
        #expect(redis.timeout == .seconds(4))
    }

    @Test func anEmptyVariableIsUnset() async throws {
        let loaded = try await load(["REDIS_PASSWORD": "", "REDIS_PORT": "  ", "REDIS_HOST": "h"], env: "REDIS_PORT=7000")
        #expect(loaded.configuration.redis.password == nil)
        #expect(loaded.configuration.redis.address == .tcp(host: "h", port: 7000))
    }

    @Test func filesMayHoldNumbersTruthValuesAndLists() async throws {
        let folder = try TemporaryFolder()
        try folder.write(
            #"{"redis": {"maxConnections": 12, "retryOnTimeout": false, "clusterNodes": ["a:1", "b:2"], "socketTimeout": 0.5}}"#,
            to: "h.json")
        let loaded = try await HoldfastConfiguration.load(.init(workingDirectory: folder.url, configurationFile: "h.json"))
        let redis = loaded.configuration.redis
        #expect(redis.maxConnections == 12)
        #expect(!redis.retryOnTimeout)
        #expect(redis.timeout == .milliseconds(500))
        #expect(redis.cluster == [HostAndPort(host: "a", port: 1), HostAndPort(host: "b", port: 2)])
    }

    @Test(arguments: ["h.json": "{not json", "h.yaml": "- a\n- b", "h.toml": "a = 1", "missing.json": nil])
    func aFileThatCannotBeReadIsOneLineThatNamesIt(name: String, contents: String?) async throws {
        let folder = try TemporaryFolder()
        if let contents { try folder.write(contents, to: name) }
        await #expect {
            try await HoldfastConfiguration.load(.init(workingDirectory: folder.url, configurationFile: name))
        } throws: { error in
            let problems = (error as? ConfigurationError)?.problems ?? []
            return problems.count == 1 && problems[0].contains(name) && !problems[0].contains("\n")
        }
    }

    // MARK: - Names that disagree

    @Test func twoNamesThatDisagreeAreAnErrorNamingBoth() async throws {
        for setting in Setting.all where setting.names.count > 1 {
            let row = try #require(ConfigurationTableTests.rows.first { $0.names == setting.names })
            let other = ["REDIS_ENABLED": "false", "HOLDFAST_LOG_LEVEL": "warning"][setting.name] ?? row.sample.dropLast() + "4"
            let lines = try await problems([setting.names[0]: row.sample, setting.names[1]: String(other)])
            let line = try #require(lines.first, "\(setting.names)")
            #expect(lines.count == 1)
            #expect(setting.names.allSatisfy(line.contains))
        }
    }

    @Test func twoNamesMayAgreeInDifferentWords() async throws {
        let loaded = try await load(["REDIS_DEFAULT_TTL": "1h", "CACHE_DEFAULT_TTL": "3600"])
        #expect(loaded.configuration.cache.defaultTTL == .seconds(3600))
    }

    @Test func anotherNameInAStrongerSourceSimplyWins() async throws {
        #expect(try await load(["REDIS_HOST": "h", "REDIS_DB": "1"], env: "REDIS_DATABASE=2").configuration.redis.database == 1)
    }

    // MARK: - Bad values

    static let bad: [(name: String, value: String)] = [
        ("REDIS_ENABLED", "maybe"), ("REDIS_PROTOCOL", "resp"), ("UPSTASH_REDIS_URL", "ftp://x"), ("REDIS_URL", "https://x"),
        ("REDIS_URL", "redis://h:port"), ("REDIS_URL", "redis://h/zero"), ("REDIS_HOST", "redis://h"), ("REDIS_HOST", "h:6379"),
        ("REDIS_PORT", "0"), ("REDIS_PORT", "65536"), ("REDIS_PORT", "６"), ("REDIS_DATABASE", "-1"),
        ("UPSTASH_REDIS_REST_URL", "u.example"), ("REDIS_MAX_CONNECTIONS", "0"), ("REDIS_SOCKET_TIMEOUT", "5 parsecs"),
        ("REDIS_SOCKET_TIMEOUT", "-1"), ("REDIS_SOCKET_TIMEOUT", "0"), ("REDIS_SOCKET_TIMEOUT", "1e3"),
        ("REDIS_SOCKET_TIMEOUT", "nan"), ("SESSION_TTL", "99999999999d"), ("SESSION_TTL", "367d"), ("REDIS_SSL", "2"),
        ("REDIS_SSL_CERT_REQS", "never"),
        ("REDIS_SSL_CA_CERTS", "/does/not/exist.pem"), ("REDIS_CLUSTER_NODES", "a:1,,b:2"), ("REDIS_SENTINELS", "a:x"),
        ("REDIS_KEY_PREFIX", "a b"), ("REDIS_MAX_MEMORY", "256 megs"), ("REDIS_MAX_MEMORY", "1.5"),
        ("REDIS_MAX_MEMORY_POLICY", "lru"), ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "five"), ("SESSION_STORAGE", "disk"),
        ("HOLDFAST_DATA", "/dev/null"), ("HOLDFAST_LOG_LEVEL", "loud"), ("HOLDFAST_INSTANCES", "0"),
    ]

    @Test(arguments: bad) func aBadValueIsOneLineNamingVariableValueAndWhatIsAccepted(name: String, value: String) async throws {
        let lines = try await problems([name: value])
        #expect(lines.count == 1)
        let line = try #require(lines.first)
        #expect(line.hasPrefix("\(name)=\(value) (environment): accepted is "))
        #expect(!line.contains("\n"))
    }

    @Test(arguments: [
        ("TOKEN_ENCRYPTION_KEY", "s3cret-but-no-key"), ("HOLDFAST_API_KEYS", "s3cret key"),
        ("REDIS_URL", "rdeis://user:s3cret@h:1/0"), ("REDIS_URL", "redis://h/0?password=s3cret&x=y"),
        ("UPSTASH_REDIS_URL", "https://user:s3cret@h"),
    ]) func theLineAboutABadValueShowsNoSecret(name: String, value: String) async throws {
        let lines = try await problems([name: value])
        #expect(lines.count == 1)
        #expect(lines.first?.hasPrefix("\(name)=") == true)
        #expect(lines.first?.contains("s3cret") == false)
    }

    @Test func everyBadValueIsNamedAtOnce() async throws {
        #expect(try await problems(["REDIS_PORT": "x", "SESSION_TTL": "y"], env: "REDIS_DB=z").count == 3)
    }

    @Test func aBadValueIsAnErrorEvenWhereAStrongerSourceHidesIt() async throws {
        #expect(try await problems(["REDIS_PORT": "7000"], env: "REDIS_PORT=x").first?.contains("(.env)") == true)
    }

    // MARK: - Durations and sizes

    @Test(arguments: [
        ("5", 5000), ("5.0", 5000), ("500ms", 500), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000),
        ("0.25", 250), ("1.5h", 5_400_000),
    ]) func durationsAreReadAsDocumented(text: String, milliseconds: Int) async throws {
        let loaded = try await load(["SESSION_TTL": text])
        #expect(loaded.configuration.sessions.ttl == .milliseconds(milliseconds))
    }

    @Test(arguments: [
        ("256mb", 256 << 20), ("1gb", 1 << 30), ("1048576", 1 << 20), ("64KB", 65536), ("1k", 1000), ("0", 0), ("1.5gb", 3 << 29),
    ]) func sizesAreReadAsRedisReadsThem(text: String, bytes: Int) async throws {
        #expect(try await load(["REDIS_MAX_MEMORY": text]).configuration.memory.maxBytes == bytes)
    }

    // MARK: - Secrets

    @Test func theKeyRingTakesHexAndBase64AndKeepsItsOrder() async throws {
        let first = [UInt8](repeating: 0xAB, count: 32)
        let second = Array(UInt8(0)..<32)
        let text = String(repeating: "aB", count: 32) + ", " + Data(second).base64EncodedString()
        let loaded = try await load(["TOKEN_ENCRYPTION_KEY": text])
        #expect(loaded.configuration.sessions.encryptionKeys.map(\.bytes) == [first, second])
    }

    @Test(arguments: [
        String(repeating: "ab", count: 31), String(repeating: "g", count: 64), Data(count: 31).base64EncodedString(),
        Data(count: 32).base64EncodedString() + ",short",
        Data(count: 32).base64EncodedString() + ",",
    ]) func aKeyThatDoesNotDecodeIsAnError(text: String) async throws {
        #expect(try await problems(["TOKEN_ENCRYPTION_KEY": text]).count == 1)
    }

    @Test func apiKeysKeepTheirOrder() async throws {
        let keys = try await load(["HOLDFAST_API_KEYS": "plain, operator:op, reader@acme:rd"]).configuration.server.apiKeys
        #expect(keys.map(\.value) == ["plain", "operator:op", "reader@acme:rd"])
    }

    @Test func nothingThatIsShownHoldsASecret() async throws {
        let loaded = try await load([
            "REDIS_URL": "redis://u:s3cret@h", "REDIS_PASSWORD": "s3cret", "UPSTASH_REDIS_TOKEN": "s3cret",
            "HOLDFAST_API_KEYS": "s3cret", "UPSTASH_REDIS_URL": "redis://:s3cret@g?db=1",
        ])
        let report = String(decoding: try JSONEncoder().encode(ConfigurationReport(loaded)), as: UTF8.self)
        var dumped = ""
        dump(loaded.configuration, to: &dumped)
        #expect(loaded.configuration.redis.password?.value == "s3cret")
        #expect(!report.contains("s3cret"))
        #expect(!dumped.contains("s3cret"))
        #expect(!"\(loaded.configuration)".contains("s3cret"))
    }

    // MARK: - Unknown names

    @Test(arguments: [
        ("REDIS_PASWORD", "REDIS_PASSWORD"), ("HOLDFAST_PROT", "HOLDFAST_PORT"), ("REDIS_HSOT", "REDIS_HOST"),
        ("SESSION_TLL", "SESSION_TTL"), ("RATE_LIMIT_REQUEST_PER_MINUTE", "RATE_LIMIT_REQUESTS_PER_MINUTE"),
    ]) func anUnknownNameGetsAWarningWithTheNearestKnownOne(name: String, meant: String) async throws {
        for loaded in [try await load([name: "1"]), try await load([:], env: "\(name)=1")] {
            #expect(loaded.warnings.count == 1)
            #expect(loaded.warnings.first?.contains("\(name) (") == true)
            #expect(loaded.warnings.first?.contains("did you mean \(meant)?") == true)
        }
    }

    @Test func whatIsNotOursGetsNoWarning() async throws {
        let loaded = try await load([
            "PATH": "/bin", "SESSION_MANAGER": "local/x:@/tmp", "TOKEN": "x", "CACHE_HOME": "/c", "HOLDFAST_API_KEY": "k",
            "KUBERNETES_SERVICE_HOST": "10.0.0.1", "REDIS_PORT": "tcp://10.0.0.7:6379", "REDIS_PORT_6379_TCP_ADDR": "10.0.0.7",
            "HOLDFAST_SERVICE_HOST": "10.0.0.9",
        ])
        #expect(loaded.warnings == [])
        #expect(loaded.configuration == HoldfastConfiguration())
    }

    @Test func anUnknownKeyOfAFileGetsAWarningToo() async throws {
        let folder = try TemporaryFolder()
        try folder.write("redis: {hots: h}\nelse: 1", to: "h.yaml")
        let loaded = try await HoldfastConfiguration.load(.init(workingDirectory: folder.url, configurationFile: "h.yaml"))
        #expect(loaded.warnings.count == 2)
        #expect(loaded.warnings.contains { $0.contains("redis.hots") && $0.contains("did you mean redis.host?") })
    }

    // MARK: - Flags

    @Test func switchesNeedNoValueAndCanBeTurnedOff() throws {
        let flags = try SettingFlags(parsing: ["get", "--redis-ssl", "key", "--no-rate-limit-enabled", "--redis-enabled", "no"])
        #expect(flags.values == ["REDIS_SSL": "true", "RATE_LIMIT_ENABLED": "false", "REDIS_ENABLED": "no"])
        #expect(flags.remaining == ["get", "key"])
    }

    @Test func whatFollowsTwoDashesIsLeftAlone() throws {
        let flags = try SettingFlags(parsing: ["set", "k", "--", "--redis-url", "x"])
        #expect(flags.values.isEmpty)
        #expect(flags.remaining == ["set", "k", "--", "--redis-url", "x"])
    }

    @Test(arguments: [["--redis-ulr", "x"], ["--redis-url"], ["--redis-url", "--json"], ["--config"]])
    func aMistypedFlagOrAMissingValueIsAnError(arguments: [String]) {
        #expect(throws: ConfigurationError.self) { try SettingFlags(parsing: arguments) }
    }

    // MARK: - What this version cannot do

    @Test func whatThisVersionCannotDoIsReadAndRefusedNotIgnored() async throws {
        let cases: [[String: String]] = [
            ["SESSION_STORAGE": "jwt"]
        ]
        for environment in cases {
            #expect(try await load(environment).configuration.refusals.count == 1, "\(environment)")
        }
        #expect(HoldfastConfiguration().refusals.isEmpty)
    }

    @Test func theCleanUpOfSessionsRunsAsOftenAsItIsTold() async throws {
        let configuration = try await load(["SESSION_CLEANUP_INTERVAL": "60"]).configuration
        #expect(configuration.services.sessions.cleanupInterval == .seconds(60))
    }

    @Test(arguments: [
        ["HOLDFAST_DATA": "/srv/holdfast", "REDIS_HOST": "h", "HOLDFAST_APPENDFSYNC": "always"],
        ["HOLDFAST_APPENDFSYNC": "always"], ["HOLDFAST_OUTBOX_MAX_ENTRIES": "5"],
        ["TOKEN_ENCRYPTION_KEY": String(repeating: "0f", count: 32)],
    ]) func whatHasLessEffectThanItsNamePromisesIsSaid(environment: [String: String]) async throws {
        let warnings = try await load(environment).warnings
        #expect(warnings.count == 1)
        #expect(environment.keys.contains { warnings.first?.hasPrefix($0) == true })
    }

    // MARK: - What settings mean

    private struct Watch: Equatable {
        var thresholds: ServerHealth.Thresholds
        var checkInterval: Duration
        var probeBackoff: ClosedRange<Duration>
        var probeTimeout: Duration
        var slowCall: Duration?
        var handOverPatience: Duration

        init(_ failover: Failover.Configuration) {
            thresholds = failover.thresholds
            checkInterval = failover.checkInterval
            probeBackoff = failover.probeBackoff
            probeTimeout = failover.probeTimeout
            slowCall = failover.slowCall
            handOverPatience = failover.handOverPatience
        }
    }

    @Test func eachSettingOfTheBreakerChangesItsPartAndNothingElse() async throws {
        func watch(_ environment: [String: String]) async throws -> Watch {
            Watch(try await load(environment.merging(["REDIS_HOST": "h"]) { $1 }).configuration.failover)
        }
        var usual = Watch(Failover.Configuration())
        usual.thresholds = ServerHealth.Thresholds(
            failures: 5, successes: 2, trust: .seconds(1)...(.seconds(30)), calm: .seconds(60))
        usual.probeBackoff = .milliseconds(100)...(.seconds(2))
        usual.probeTimeout = .seconds(1)
        #expect(usual.slowCall == nil)
        #expect(try await watch([:]) == usual)

        let cases: [(settings: [String: String], change: (inout Watch) -> Void)] = [
            (["FAILURE_THRESHOLD": "7"], { $0.thresholds.failures = 7 }),
            (["SUCCESS_THRESHOLD": "3"], { $0.thresholds.successes = 3 }),
            // Never opened, however many failures were asked for.
            (["ENABLED": "false", "FAILURE_THRESHOLD": "7"], { $0.thresholds.failures = .max }),
            (["TIMEOUT": "10"], { $0.thresholds.trust = .seconds(1)...(.seconds(10)) }),
            // A long one makes the time longer after which a server is not flapping any more.
            (
                ["TIMEOUT": "40"],
                {
                    $0.thresholds.trust = .seconds(1)...(.seconds(40))
                    $0.thresholds.calm = .seconds(80)
                }
            ),
            // A short one bounds the pauses between probes too.
            (
                ["TIMEOUT": "500ms"],
                {
                    $0.thresholds.trust = .milliseconds(500)...(.milliseconds(500))
                    $0.probeBackoff = .milliseconds(100)...(.milliseconds(500))
                }
            ),
            (["SLOW_CALL_THRESHOLD": "250ms"], { $0.slowCall = .milliseconds(250) }),
        ]
        for (settings, change) in cases {
            var expected = usual
            change(&expected)
            let environment = Dictionary(uniqueKeysWithValues: settings.map { ("CIRCUIT_BREAKER_\($0)", $1) })
            #expect(try await watch(environment) == expected, "\(settings)")
        }
    }

    @Test func aProbeWaitsNoLongerThanACall() async throws {
        let loaded = try await load(["REDIS_HOST": "h", "REDIS_SOCKET_TIMEOUT": "0.5"])
        #expect(loaded.configuration.failover.probeTimeout == .milliseconds(500))
    }
}
