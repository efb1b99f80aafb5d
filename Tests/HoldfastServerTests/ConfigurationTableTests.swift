import Configuration
import Foundation
import Testing

@testable import HoldfastServer

/// Walks the table of the requirements: every name is read from flags, environment, `.env` and files, with its default.
@Suite struct ConfigurationTableTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let names: [String]
        /// A valid text that differs from the default, and how it is shown.
        let sample: String
        let shown: String
        /// What is shown when nothing is set.
        let standard: String
        var testDescription: String { names[0] }
    }

    static let pem = FileManager.default.temporaryDirectory.appending(path: "holdfast-configuration-test.pem").path

    /// The table as the requirements state it, by hand: it must not be derived from what it checks.
    static let rows: [Row] = [
        row("REDIS_ENABLED REDIS_ENABLE", "yes", "true", "false, or true when a server is named"),
        row("REDIS_PROTOCOL", "native", "native", "native"),
        row("UPSTASH_REDIS_URL", "rediss://default:pw@u.example:6380", "rediss://default:***@u.example:6380", "(none)"),
        row("REDIS_URL", "redis://:pw@r.example:6381/2", "redis://:***@r.example:6381/2", "(built from host and port)"),
        row("REDIS_HOST", "redis.example", "redis.example", "127.0.0.1"),
        row("REDIS_PORT", "6390", "6390", "6379"),
        row("REDIS_DATABASE REDIS_DB", "3", "3", "0"),
        row("REDIS_USERNAME", "agent", "agent", "(none)"),
        row("REDIS_PASSWORD", "p@:/%", "***", "(none)"),
        row("REDIS_PASSWORD_FILE", pem, pem, "(none)"),
        row("UPSTASH_REDIS_REST_URL", "https://u.example", "https://u.example", "(none)"),
        row("UPSTASH_REDIS_REST_TOKEN UPSTASH_REDIS_TOKEN", "tok", "***", "(none)"),
        row("REDIS_MAX_CONNECTIONS REDIS_MAX_POOL_SIZE", "20", "20", "10"),
        row("REDIS_SHARED_CONNECTIONS", "4", "4", "1"),
        row("REDIS_SOCKET_TIMEOUT", "500ms", "500ms", "5s"),
        row("REDIS_SOCKET_CONNECT_TIMEOUT REDIS_CONNECTION_TIMEOUT", "2m", "120s", "5s"),
        row("REDIS_RETRY_ON_TIMEOUT", "false", "false", "true"),
        row("REDIS_CLIENT_TRACKING", "reads", "reads", "broadcast"),
        row("REDIS_SSL", "on", "true", "false"),
        row("REDIS_SSL_CERT_REQS", "none", "none", "required"),
        row("REDIS_SSL_CA_CERTS", pem, pem, "(the system's)"),
        row("REDIS_SSL_CERTFILE", pem, pem, "(none)"),
        row("REDIS_SSL_KEYFILE", pem, pem, "(in the certificate's file)"),
        row("REDIS_SSL_SERVER_NAME", "redis.internal", "redis.internal", "(the host)"),
        row("REDIS_CLUSTER_ENABLED", "true", "true", "false, or true when nodes are named"),
        row("REDIS_CLUSTER_NODES", "a:1,b", "a:1,b:6379", "(none)"),
        row("REDIS_SENTINELS", "a,b:2", "a:26379,b:2", "(none)"),
        row("REDIS_SENTINEL_MASTER", "mymaster", "mymaster", "(none)"),
        row("REDIS_SENTINEL_USERNAME", "watcher", "watcher", "(none)"),
        row("REDIS_SENTINEL_PASSWORD", "p@:/%", "***", "(none)"),
        row("REDIS_KEY_PREFIX", "raptorflow:", "raptorflow:", "holdfast:"),
        row("REDIS_DEFAULT_TTL CACHE_DEFAULT_TTL", "1h", "3600s", "3600s"),
        row("CACHE_MEMORY_SIZE", "5000", "5000", "1000"),
        row("CACHE_OUTAGE", "Closed", "closed", "local"),
        row("REDIS_MAX_MEMORY", "256mb", "256mb", "512mb"),
        row("REDIS_MAX_MEMORY_POLICY", "volatile-ttl", "volatile-ttl", "allkeys-lru"),
        row("RATE_LIMIT_ENABLED", "no", "false", "true"),
        row("RATE_LIMIT_REQUESTS_PER_MINUTE", "600", "600", "60"),
        row("RATE_LIMIT_REQUESTS_PER_HOUR", "6000", "6000", "1000"),
        row("RATE_LIMIT_BURST_SIZE", "100", "100", "10"),
        row("RATE_LIMIT_OUTAGE", "open", "open", "local"),
        row("CIRCUIT_BREAKER_ENABLED", "0", "false", "true"),
        row("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "7", "7", "5"),
        row("CIRCUIT_BREAKER_SUCCESS_THRESHOLD", "3", "3", "2"),
        row("CIRCUIT_BREAKER_TIMEOUT", "60", "60s", "30s"),
        row("CIRCUIT_BREAKER_SLOW_CALL_THRESHOLD", "250ms", "250ms", "(off)"),
        row("SESSION_STORAGE", "memory", "memory", "redis"),
        row("SESSION_TTL", "7d", "604800s", "3600s"),
        row("SESSION_CLEANUP_INTERVAL", "10.5", "10500ms", "300s"),
        row("SESSION_OUTAGE", "closed", "closed", "local"),
        row("TOKEN_ENCRYPTION_KEY", String(repeating: "0f", count: 32), "***", "(none)"),
        row("HOLDFAST_HOST", "0.0.0.0", "0.0.0.0", "127.0.0.1"),
        row("HOLDFAST_PORT", "9000", "9000", "8000"),
        row("HOLDFAST_DATA", "/srv/holdfast", "/srv/holdfast", "(none)"),
        row("HOLDFAST_APPENDFSYNC", "always", "always", "everysec"),
        row("HOLDFAST_AOF_REWRITE_PERCENTAGE", "50", "50", "100"),
        row("HOLDFAST_AOF_REWRITE_MIN_SIZE", "1mb", "1mb", "64mb"),
        row("HOLDFAST_OUTBOX_MAX_ENTRIES", "500", "500", "100000"),
        row("HOLDFAST_OUTBOX_MAX_SIZE", "1mb", "1mb", "256mb"),
        row("HOLDFAST_API_KEYS", "admin:k1,ci:reader@acme:k2", "***", "(one is made at the first start)"),
        row("HOLDFAST_LOG_LEVEL REDIS_LOG_LEVEL", "debug", "debug", "notice"),
        row("HOLDFAST_INSTANCES", "4", "4", "(counted)"),
        row("HOLDFAST_TLS_CERTIFICATE", pem, pem, "(none)"),
        row("HOLDFAST_TLS_KEY", pem, pem, "(in the certificate's file)"),
        row("HOLDFAST_MAX_CONNECTIONS", "200", "200", "10000"),
        row("HOLDFAST_IDLE_TIMEOUT", "30s", "30s", "75s"),
        row("HOLDFAST_READ_TIMEOUT", "5s", "5s", "15s"),
        row("HOLDFAST_AUDIT_CACHE", "on", "true", "false"),
        row("HOLDFAST_RESP", "127.0.0.1:6380", "127.0.0.1:6380", "(none)"),
        row("HOLDFAST_RESP_PASSWORD", "pw", "***", "(none)"),
        row("HOLDFAST_RESP_REMOTE", "true", "true", "false"),
    ]

    private static func row(_ names: String, _ sample: String, _ shown: String, _ standard: String) -> Row {
        Row(names: names.split(separator: " ").map(String.init), sample: sample, shown: shown, standard: standard)
    }

    /// What a row needs beside itself to make a whole.
    private func companions(of name: String) -> [String: String] {
        switch name {
        case "REDIS_SENTINELS": ["REDIS_SENTINEL_MASTER": "m"]
        case "UPSTASH_REDIS_REST_URL": ["UPSTASH_REDIS_REST_TOKEN": "t"]
        case "REDIS_SSL_KEYFILE": ["REDIS_SSL_CERTFILE": Self.pem]
        default: [:]
        }
    }

    init() throws { try Data("PEM".utf8).write(to: URL(filePath: Self.pem)) }

    @Test func theTableOfSettingsHasExactlyTheRowsOfTheRequirements() {
        #expect(Setting.all.map(\.names) == Self.rows.map(\.names))
    }

    @Test(arguments: rows) func eachRowHasItsDefault(row: Row) async throws {
        let loaded = try await HoldfastConfiguration.load(.init(workingDirectory: try TemporaryFolder().url))
        let value = try #require(loaded.values.first { $0.setting.name == row.names[0] })
        #expect(value.shownText == row.standard)
        #expect(value.source == .default)
        #expect(loaded.configuration == HoldfastConfiguration())
    }

    @Test(arguments: rows) func eachNameIsReadFromTheEnvironment(row: Row) async throws {
        for name in row.names {
            let variables = companions(of: name).merging([name: row.sample]) { $1 }
            try await expect(
                row, name, from: .environment, .init(environment: variables, workingDirectory: try TemporaryFolder().url))
        }
    }

    @Test(arguments: rows) func eachNameIsReadFromTheEnvironmentFile(row: Row) async throws {
        for name in row.names {
            let folder = try TemporaryFolder()
            let variables = companions(of: name).merging([name: row.sample]) { $1 }
            try folder.write(variables.map { "\($0.key)=\($0.value)   # a comment\n" }.joined(), to: ".env")
            try await expect(row, name, from: .environmentFile, .init(workingDirectory: folder.url))
        }
    }

    @Test(arguments: rows) func eachNameIsReadFromItsFlags(row: Row) async throws {
        for name in row.names {
            for flag in SettingFlags.flags(of: name) {
                for arguments in [["--\(flag)", row.sample], ["--\(flag)=\(row.sample)"]] {
                    let flags = try SettingFlags(parsing: ["serve"] + arguments + ["rest"])
                    #expect(flags.remaining == ["serve", "rest"])
                    let input = ConfigurationInput(
                        flags: flags.values, environment: companions(of: name), workingDirectory: try TemporaryFolder().url)
                    try await expect(row, name, from: .flag, input)
                }
            }
        }
    }

    @Test(arguments: rows, ["json", "yaml", "flat.json"]) func eachNameIsReadFromFiles(row: Row, form: String) async throws {
        for name in row.names {
            let folder = try TemporaryFolder()
            let components = form == "flat.json" ? [name] : FileKey.key(of: name).components
            let quoted = "\"\(row.sample)\""
            let text =
                form == "yaml"
                ? "\(components[0]):\n  \(components[1]): \(quoted)\n"
                : components.reversed().reduce(quoted) { "{\"\($1)\": \($0)}" }
            try folder.write(text, to: "holdfast.\(form)")
            let input = ConfigurationInput(
                environment: companions(of: name), workingDirectory: folder.url, configurationFile: "holdfast.\(form)")
            try await expect(row, name, from: .file, input)
        }
    }

    private func expect(_ row: Row, _ name: String, from source: SettingSource, _ input: ConfigurationInput) async throws {
        let loaded = try await HoldfastConfiguration.load(input)
        let value = try #require(loaded.values.first { $0.setting.name == row.names[0] })
        #expect(value.shownText == row.shown)
        #expect(value.source == source)
        #expect(value.name == name)
        // Where the sample differs from the default it must have reached the configuration, or say that it has no effect.
        let changesNothing = row.shown == row.standard
        #expect(changesNothing || loaded.configuration != HoldfastConfiguration() || waitsForRedis(row), "\(name)")
        #expect(!loaded.warnings.contains { $0.contains("is no setting") }, "\(loaded.warnings)")
    }

    /// Parts of a connection say nothing while Redis is not used.
    private func waitsForRedis(_ row: Row) -> Bool {
        row.names[0].hasPrefix("REDIS_") || row.names[0].hasPrefix("UPSTASH_")
    }
}

/// A folder of its own that goes when it is no longer used.
final class TemporaryFolder: Sendable {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "holdfast-\(UUID().uuidString)", directoryHint: .isDirectory)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func write(_ text: String, to name: String) throws { try Data(text.utf8).write(to: url.appending(path: name)) }
}
