import Foundation
import HoldfastRedis
import HoldfastStore
import HoldfastUpstash
import Testing

@testable import HoldfastServer

/// How URLs and single variables make one connection.
@Suite struct ConfigurationConnectionTests {
    private func load(_ environment: [String: String], flags: [String: String] = [:], env: String = "") async throws
        -> LoadedConfiguration
    {
        let folder = try TemporaryFolder()
        try folder.write(env, to: ".env")
        return try await HoldfastConfiguration.load(
            .init(flags: flags, environment: environment, workingDirectory: folder.url))
    }

    private func redis(_ environment: [String: String]) async throws -> HoldfastConfiguration.Redis {
        try await load(environment).configuration.redis
    }

    // MARK: - Use Redis

    @Test(arguments: [
        [:], ["REDIS_PORT": "7000"], ["REDIS_PASSWORD": "p"], ["REDIS_URL": "redis://h", "REDIS_ENABLED": "false"],
        ["REDIS_HOST": "h", "REDIS_ENABLE": "0"],
        ["REDIS_SENTINELS": "a", "REDIS_SENTINEL_MASTER": "m", "REDIS_ENABLED": "no"],
    ]) func redisIsNotUsedUnlessAServerIsNamedAndNeverAgainstAnExplicitFalse(environment: [String: String]) async throws {
        #expect(try await redis(environment).isEnabled == false)
    }

    @Test(arguments: [
        ["REDIS_ENABLED": "true"], ["REDIS_ENABLE": "true"], ["REDIS_URL": "redis://h"], ["UPSTASH_REDIS_URL": "rediss://h"],
        ["REDIS_HOST": "h"], ["REDIS_SENTINELS": "a", "REDIS_SENTINEL_MASTER": "m"], ["REDIS_CLUSTER_NODES": "a:1"],
    ]) func namingAServerUsesRedis(environment: [String: String]) async throws {
        #expect(try await redis(environment).isEnabled)
    }

    @Test func theDefaultServerIsTheLocalOne() async throws {
        let redis = try await redis(["REDIS_ENABLED": "true"])
        #expect(redis.address == .tcp(host: "127.0.0.1", port: 6379))
        #expect(redis.database == 0)
        #expect(redis.username == nil)
        #expect(redis.password == nil)
        #expect(redis.tls == nil)
    }

    // MARK: - URLs

    @Test func upstashsURLGoesBeforeRedisURLBeforeHostAndPort() async throws {
        var environment = ["REDIS_HOST": "c", "REDIS_PORT": "3", "REDIS_URL": "redis://b:2", "UPSTASH_REDIS_URL": "redis://a:1"]
        #expect(try await redis(environment).address == .tcp(host: "a", port: 1))
        environment["UPSTASH_REDIS_URL"] = ""
        #expect(try await redis(environment).address == .tcp(host: "b", port: 2))
        environment["REDIS_URL"] = nil
        #expect(try await redis(environment).address == .tcp(host: "c", port: 3))
    }

    @Test func whatAURLLeavesOutComesFromTheSeparateVariables() async throws {
        let separate = ["REDIS_HOST": "c", "REDIS_PORT": "3", "REDIS_DB": "4", "REDIS_USERNAME": "u", "REDIS_PASSWORD": "p"]
        let bare = try await redis(separate.merging(["REDIS_URL": "redis://h"]) { $1 })
        #expect(bare.address == .tcp(host: "h", port: 3))
        #expect(bare.database == 4)
        #expect(bare.username == "u")
        #expect(bare.password?.value == "p")
        let full = try await redis(separate.merging(["REDIS_URL": "redis://v:q@h:9/0"]) { $1 })
        #expect(full.address == .tcp(host: "h", port: 9))
        #expect(full.database == 0)
        #expect(full.username == "v")
        #expect(full.password?.value == "q")
        #expect(try await redis(separate.merging(["REDIS_URL": "redis://"]) { $1 }).address == .tcp(host: "c", port: 3))
    }

    @Test func aStrongerSourceWinsOverAPartOfTheURL() async throws {
        let env = "REDIS_URL=redis://u:p@h:1/2"
        let redis = try await load([:], flags: ["REDIS_PORT": "9", "REDIS_DB": "5"], env: env).configuration.redis
        #expect(redis.address == .tcp(host: "h", port: 9))
        #expect(redis.database == 5)
        #expect(redis.password?.value == "p")
        let url = try await load(["REDIS_URL": "redis://new"], env: "UPSTASH_REDIS_URL=redis://old").configuration.redis
        #expect(url.address == .tcp(host: "new", port: 6379))
    }

    @Test(arguments: [
        "p@:/%", "p@ss", "a:b", "a/b", "100%", "%41", "ü@é", "a?b=c", "x#y", "@", "%",
    ]) func passwordsWithSpecialCharactersWorkEscapedAndOnTheirOwn(password: String) async throws {
        let escaped = try #require(password.addingPercentEncoding(withAllowedCharacters: .alphanumerics))
        for environment in [
            ["REDIS_URL": "redis://user:\(escaped)@h:1/0"], ["REDIS_URL": "redis://:\(escaped)@h"],
            ["REDIS_HOST": "h", "REDIS_PASSWORD": password], ["UPSTASH_REDIS_URL": "rediss://default:\(escaped)@h:1"],
        ] {
            #expect(try await redis(environment).password?.value == password, "\(environment)")
        }
    }

    @Test(arguments: ["p@ss", "a:b", "a/b", "p@:/%", "100%"])
    func passwordsThatNobodyEscapedAreUnderstoodInURLsToo(password: String) async throws {
        let redis = try await redis(["REDIS_URL": "redis://user:\(password)@host:7/3"])
        #expect(redis.password?.value == password)
        #expect(redis.username == "user")
        #expect(redis.address == .tcp(host: "host", port: 7))
        #expect(redis.database == 3)
    }

    @Test func anEmptyPasswordIsNone() async throws {
        #expect(try await redis(["REDIS_URL": "redis://:@h"]).password == nil)
        #expect(try await redis(["REDIS_HOST": "h", "REDIS_PASSWORD": ""]).password == nil)
        #expect(try await redis(["REDIS_URL": "redis://:@h", "REDIS_PASSWORD": "p"]).password?.value == "p")
    }

    @Test func unixSocketsAreAddresses() async throws {
        let plain = try await redis(["REDIS_URL": "unix:///run/redis.sock?db=3"])
        #expect(plain.address == .unixSocket(path: "/run/redis.sock"))
        #expect(plain.database == 3)
        let full = try await redis(["REDIS_URL": "redis+unix://u:p%40@/run/redis.sock"])
        #expect(full.address == .unixSocket(path: "/run/redis.sock"))
        #expect(full.username == "u")
        #expect(full.password?.value == "p@")
    }

    @Test func addressesOfVersionSixWork() async throws {
        #expect(try await redis(["REDIS_URL": "redis://[::1]:7000/1"]).address == .tcp(host: "::1", port: 7000))
        #expect(try await redis(["REDIS_HOST": "::1"]).address == .tcp(host: "::1", port: 6379))
    }

    @Test func upstashsTokenIsThePasswordWhereANativeURLHasNone() async throws {
        let redis = try await redis(["UPSTASH_REDIS_URL": "redis://h:1", "UPSTASH_REDIS_TOKEN": "t"])
        #expect(redis.password?.value == "t")
        #expect(redis.wire == .native)
        let own = try await self.redis(["UPSTASH_REDIS_URL": "redis://:p@h:1", "UPSTASH_REDIS_TOKEN": "t"])
        #expect(own.password?.value == "p")
    }

    // MARK: - REST

    @Test func theProtocolRestTakesItsURLFromEitherVariable() async throws {
        for name in ["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_URL"] {
            let redis = try await redis(["REDIS_PROTOCOL": "rest", name: "https://u.example/", "UPSTASH_REDIS_TOKEN": "t"])
            #expect(redis.rest == .init(url: "https://u.example", token: Secret("t")))
        }
        #expect(try await redis(["UPSTASH_REDIS_URL": "https://u.example", "UPSTASH_REDIS_TOKEN": "t"]).wire == .rest)
    }

    @Test func theProtocolRestAsksForNothingWhereRedisIsDisabled() async throws {
        #expect(try await redis(["REDIS_PROTOCOL": "rest", "REDIS_ENABLED": "false"]).isEnabled == false)
    }

    @Test(arguments: [
        ["REDIS_PROTOCOL": "rest", "REDIS_ENABLED": "true"], ["REDIS_PROTOCOL": "rest"],
        ["REDIS_PROTOCOL": "rest", "UPSTASH_REDIS_REST_URL": "https://u"],
        ["REDIS_PROTOCOL": "native", "UPSTASH_REDIS_URL": "https://u"],
        ["REDIS_SENTINELS": "a"], ["REDIS_SENTINELS": "a", "REDIS_SENTINEL_MASTER": "m", "REDIS_CLUSTER_NODES": "b:1"],
        ["REDIS_SHARED_CONNECTIONS": "2", "REDIS_HOST": "h", "REDIS_CLIENT_TRACKING": "reads"],
        ["REDIS_SHARED_CONNECTIONS": "2", "REDIS_CLUSTER_NODES": "b:1"],
        ["REDIS_URL": "unix:///s", "REDIS_CLUSTER_ENABLED": "true"],
        ["REDIS_URL": "unix:///" + String(repeating: "s", count: 103)],
        ["REDIS_SENTINELS": "a", "REDIS_SENTINEL_MASTER": "m n"],
        ["REDIS_CLUSTER_NODES": "b:1", "REDIS_DB": "1"], ["REDIS_URL": "unix:///s", "REDIS_SSL": "true"],
    ]) func whatDoesNotFitTogetherIsOneLine(environment: [String: String]) async throws {
        await #expect {
            try await load(environment)
        } throws: { error in
            (error as? ConfigurationError)?.problems.count == 1
        }
    }

    /// What a store would refuse at the start is told by the names of the settings, and what is told would be refused.
    @Test func whatTheStoreRefusesIsToldBeforehand() async throws {
        for (environment, name) in [
            (["REDIS_SHARED_CONNECTIONS": "2", "REDIS_CLUSTER_NODES": "b:1"], "REDIS_SHARED_CONNECTIONS=2"),
            (
                ["REDIS_SHARED_CONNECTIONS": "3", "REDIS_HOST": "h", "REDIS_CLIENT_TRACKING": "reads"],
                "REDIS_SHARED_CONNECTIONS=3"
            ), (["REDIS_CLUSTER_NODES": "b:1", "REDIS_DB": "1"], "REDIS_DATABASE=1"),
        ] {
            let error = await #expect(throws: ConfigurationError.self) { try await load(environment) }
            #expect(error?.problems.first?.hasPrefix(name) == true, "\(error as Any)")
        }
        let accepted = try await load(["REDIS_SHARED_CONNECTIONS": "2", "REDIS_HOST": "h"])
        var redis = accepted.configuration.redis
        #expect(redis.contradictions == [])
        _ = try RedisStore(redis.storeConfiguration())
        redis.cluster = [HostAndPort(host: "b", port: 1)]
        #expect(throws: StoreError.self) { try RedisStore(redis.storeConfiguration()) }
        (redis.cluster, redis.clientTracking) = (nil, .reads)
        #expect(throws: StoreError.self) { try RedisStore(redis.storeConfiguration()) }
    }

    // MARK: - The password's file

    private func passwordFile(_ content: some Sequence<UInt8>) throws -> (folder: TemporaryFolder, path: String) {
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "password")
        try Data(content).write(to: file)
        return (folder, file.path)
    }

    @Test(arguments: [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" a b\n\n", " a b\n"), ("ü", "ü")])
    func thePasswordIsReadFromItsFileWithoutTheLastLineEnd(content: String, password: String) async throws {
        let (folder, path) = try passwordFile(content.utf8)
        let redis = try await redis(["REDIS_HOST": "h", "REDIS_USERNAME": "app", "REDIS_PASSWORD_FILE": path])
        #expect(redis.passwordFile == PasswordFile(path: path) && redis.password == nil)
        let credentials = try await redis.storeConfiguration().credentials?()
        #expect(credentials?.username == "app" && credentials?.password == password)
        // As secret managers replace it.
        try Data("next".utf8).write(to: folder.url.appending(path: "password"), options: .atomic)
        #expect(try await redis.storeConfiguration().credentials?().password == "next")
    }

    @Test func aPasswordFileThatCannotServeIsOneLine() async throws {
        let cases: [(content: [UInt8], words: String)] = [
            (Array(repeating: 0x61, count: 4097), "has more than 4096 bytes"), ([], "is empty"), ([10], "is empty"),
            ([0x61, 0xFF], "is no UTF-8 text"),
        ]
        for (content, words) in cases {
            let (folder, path) = try passwordFile(content)
            let error = await #expect(throws: ConfigurationError.self) {
                try await load(["REDIS_HOST": "h", "REDIS_PASSWORD_FILE": path])
            }
            #expect(error?.problems == ["REDIS_PASSWORD_FILE: \(path) \(words)"])
            #expect(FileManager.default.fileExists(atPath: folder.url.path))
        }
        for path in ["/no/such/file", "/"] {
            let error = await #expect(throws: ConfigurationError.self) {
                try await load(["REDIS_HOST": "h", "REDIS_PASSWORD_FILE": path])
            }
            #expect(error?.problems.count == 1 && error?.problems.first?.hasPrefix("REDIS_PASSWORD_FILE=\(path)") == true)
        }
    }

    @Test func onlyOneOfPasswordAndFileIsTaken() async throws {
        let (folder, path) = try passwordFile("s3cret".utf8)
        for (environment, other) in [
            (["REDIS_HOST": "h", "REDIS_PASSWORD": "p"], "REDIS_PASSWORD"), (["REDIS_URL": "redis://:p@h"], "REDIS_URL"),
            (["UPSTASH_REDIS_URL": "rediss://u:p@h"], "UPSTASH_REDIS_URL"), (["REDIS_URL": "redis://h?password=p"], "REDIS_URL"),
        ] {
            let error = await #expect(throws: ConfigurationError.self) {
                try await load(environment.merging(["REDIS_PASSWORD_FILE": path]) { $1 })
            }
            let line = "\(other) has a password and REDIS_PASSWORD_FILE is set: accepted is one of them"
            #expect(error?.problems == [line])
        }
        // A REST token beside a native URL is a password only where there is no other.
        let token = try await redis([
            "UPSTASH_REDIS_URL": "rediss://h", "UPSTASH_REDIS_REST_TOKEN": "t", "REDIS_PASSWORD_FILE": path,
        ])
        #expect(token.password == nil && token.passwordFile != nil)
        let rest = try await load([
            "UPSTASH_REDIS_REST_URL": "https://u", "UPSTASH_REDIS_REST_TOKEN": "t", "REDIS_PASSWORD_FILE": path,
        ])
        #expect(rest.warnings.contains { $0.hasPrefix("REDIS_PASSWORD_FILE has no effect over REST") })
        #expect(FileManager.default.fileExists(atPath: folder.url.path))
    }

    // MARK: - TLS

    @Test func redissMeansTLSAndPythonsRequirementsHold() async throws {
        let tls = try await redis(["REDIS_URL": "rediss://h"]).tls
        #expect(tls?.certificateRequirements.verifies == true)
        for (text, verifies) in ["none": false, "optional": true, "REQUIRED": true] {
            let redis = try await redis(["REDIS_HOST": "h", "REDIS_SSL": "true", "REDIS_SSL_CERT_REQS": text])
            #expect(redis.tls?.certificateRequirements.verifies == verifies)
        }
        #expect(
            try await redis(["REDIS_URL": "rediss://h?ssl_cert_reqs=none"]).tls?.certificateRequirements
                == HoldfastConfiguration.Redis.CertificateRequirements.none)
    }

    @Test func overRESTTheURLSaysWhetherThereIsTLS() async throws {
        let pem = try TemporaryFolder()
        try pem.write("PEM", to: "ca.pem")
        let file = pem.url.appending(path: "ca.pem").path
        let rest = ["UPSTASH_REDIS_REST_URL": "https://u.example", "UPSTASH_REDIS_REST_TOKEN": "t"]
        func merged(_ more: [String: String]) -> [String: String] { rest.merging(more) { $1 } }
        let plain = try await redis(rest)
        #expect(plain.upstashConfiguration != nil && plain.upstashConfiguration?.tls == nil)
        let set = try await redis(merged(["REDIS_SSL_CA_CERTS": file, "REDIS_SSL_CERTFILE": file]))
        #expect(set.upstashConfiguration?.tls == .init(authorityFile: file, certificateFile: file, keyFile: file))
        let unchecked = try await redis(merged(["REDIS_SSL_CERT_REQS": "none"]))
        #expect(unchecked.upstashConfiguration?.tls == .init(verification: .none))
        for (more, warning) in [
            (["REDIS_SSL": "false"], "REDIS_SSL=false is ignored"),
            (["REDIS_SSL_SERVER_NAME": "other"], "REDIS_SSL_SERVER_NAME has no effect over REST"),
            (["UPSTASH_REDIS_REST_URL": "http://127.0.0.1:1", "REDIS_SSL_CA_CERTS": file], "REDIS_SSL_CA_CERTS has no effect"),
            (["UPSTASH_REDIS_REST_URL": "http://127.0.0.1:1", "REDIS_SSL": "true"], "REDIS_SSL=true has no effect"),
        ] {
            let loaded = try await load(merged(more))
            #expect(loaded.warnings.contains { $0.hasPrefix(warning) }, "\(loaded.warnings)")
            #expect(loaded.configuration.redis.tls == nil)
        }
        await #expect(throws: ConfigurationError.self) { try await load(merged(["REDIS_SSL_KEYFILE": file])) }
    }

    @Test func whatIsSetAndHasNoEffectIsSaid() async throws {
        let pem = try TemporaryFolder()
        try pem.write("PEM", to: "ca.pem")
        let loaded = try await load(["REDIS_HOST": "h", "REDIS_SSL_CA_CERTS": pem.url.appending(path: "ca.pem").path])
        #expect(loaded.warnings.contains { $0.hasPrefix("REDIS_SSL_CA_CERTS has no effect") })
        let tls = try await load(["REDIS_URL": "rediss://h", "REDIS_SSL": "false"])
        #expect(tls.configuration.redis.tls != nil)
        #expect(tls.warnings.contains { $0.hasPrefix("REDIS_SSL=false is ignored") })
    }

    // MARK: - The reference systems' own files

    @Test func theReferenceSystemsEnvironmentFilesAreReadAsTheyAre() async throws {
        let agentSpy = try await load(
            [:],
            env: """
                REDIS_ENABLED=false                    # Enable/disable Redis
                REDIS_HOST=localhost                   # Redis host
                REDIS_PASSWORD=                        # Redis password
                REDIS_MAX_CONNECTIONS=20               # Max connections
                REDIS_SOCKET_TIMEOUT=5                # Socket timeout
                """)
        #expect(agentSpy.configuration.redis.isEnabled == false)
        #expect(agentSpy.configuration.redis.maxConnections == 20)
        #expect(agentSpy.warnings == [])
        let agentAPI = try await load(
            [:],
            env: """
                # Enable Redis
                REDIS_ENABLE=true
                REDIS_PROTOCOL=native  # or 'rest' for REST API fallback
                UPSTASH_REDIS_REST_URL=https://your-instance.upstash.io
                UPSTASH_REDIS_REST_TOKEN=your-rest-token-here
                UPSTASH_REDIS_URL=rediss://default:your-password@your-instance.upstash.io:6379
                REDIS_MAX_POOL_SIZE=10
                REDIS_CONNECTION_TIMEOUT=5s
                REDIS_LOG_LEVEL=notice
                REDIS_PASSWORD=  # Optional, leave empty for no password
                """)
        #expect(agentAPI.configuration.redis.address == .tcp(host: "your-instance.upstash.io", port: 6379))
        #expect(agentAPI.configuration.redis.password?.value == "your-password")
        #expect(agentAPI.configuration.redis.tls != nil)
        #expect(agentAPI.warnings == [])
        #expect(agentAPI.configuration.refusals == [])
    }

    @Test func quotesInEnvironmentFilesEndWhereTheyEnd() {
        let file = EnvironmentFile("A='x # y' # c\r\nexport B=\"l\\n\\\"q\\\"\"\nC=p#w\nD=\nno\nE='open")
        #expect(file.values == ["A": "x # y", "B": "l\n\"q\"", "C": "p#w", "D": ""])
        #expect(file.strayLines == [5])
        #expect(file.brokenLines == [6])
    }
}
