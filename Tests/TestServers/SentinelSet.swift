public import HoldfastRedis
import HoldfastStore

/// A primary, its replicas and three sentinels that watch it.
///
///     let servers = try await SentinelSet.start()
///     defer { servers.stop() }
public final class SentinelSet: Sendable {
    public struct Options: Sendable {
        public var replicas = 1
        /// After how many milliseconds without an answer a server counts as down. Long, unless a test kills servers: a loaded machine
        /// is not to cause a failover by itself.
        public var downAfter = 60_000
        public var password: String?
        public var sentinelPassword: String?
        /// Whether servers and sentinels speak TLS, with each other too, and ``SentinelSet/configuration()`` does. They listen without TLS
        /// besides, for ``RedisProcess/ask(_:)``.
        public var tls = false

        public init() {}
    }

    public static let name = "main"

    /// The primary at the start, then its replicas.
    public let servers: [RedisProcess]
    public let sentinels: [RedisProcess]
    private let options: Options

    /// Starts everything and waits until all know each other; about 4 s.
    public static func start(_ options: Options = Options()) async throws -> SentinelSet {
        let primary = try await RedisProcess.start(server(options))
        var servers = [primary]
        for _ in 0..<options.replicas {
            var replica = server(options)
            replica.configuration.append("replicaof 127.0.0.1 \(primary.servingPort)")
            servers.append(try await RedisProcess.start(replica))
        }
        for replica in servers.dropFirst() {
            try await polled("a replica did not connect to its primary") {
                try await replica.ask("ROLE").elements?.dropFirst(3).first?.bytes == "connected"
            }
        }
        var sentinels: [RedisProcess] = []
        for _ in 0..<3 { sentinels.append(try await RedisProcess.start(sentinel(options, watching: primary))) }
        let set = SentinelSet(servers, sentinels, options)
        for sentinel in sentinels { try await set.isReady(sentinel) }
        return set
    }

    private init(_ servers: [RedisProcess], _ sentinels: [RedisProcess], _ options: Options) {
        self.servers = servers
        self.sentinels = sentinels
        self.options = options
    }

    /// How to reach the primary through the sentinels.
    public func configuration() -> RedisConfiguration {
        let nodes = sentinels.map { RedisConfiguration.Node(host: "127.0.0.1", port: $0.servingPort) }
        return RedisConfiguration(
            endpoint: .sentinel(.init(nodes: nodes, primary: Self.name, password: options.sentinelPassword)),
            password: options.password, tls: options.tls ? .init(authorityFile: servers[0].certificates?.authority) : nil
        ).patient
    }

    public func stop() {
        for process in sentinels + servers { process.stop() }
    }

    /// Whether every replica has acknowledged all that the first primary has written.
    public func replicasAreInStep() async throws -> Bool {
        let role = try await servers[0].ask("ROLE").elements ?? []
        guard role.count == 3, role[0].bytes == "master", let written = role[1].integer, let replicas = role[2].elements else {
            return false
        }
        return replicas.count == options.replicas && replicas.allSatisfy { $0.elements?.last?.bytes == Bytes(written) }
    }

    /// Makes the first replica the primary and waits until it is.
    public func failOver() async throws {
        try await polled("no replica was promoted", every: .milliseconds(100)) {
            if try await servers[1].ask("ROLE").elements?.first?.bytes == "master" { return true }
            // Refused while one is under way, and as long as the sentinel has not heard enough of the replica.
            _ = try await sentinels[0].ask("SENTINEL", "FAILOVER", Bytes(Self.name))
            return false
        }
    }

    private static func server(_ options: Options) -> RedisProcess.Options {
        var server = RedisProcess.Options()
        server.unixSocket = false
        server.password = options.password
        server.tls = options.tls
        server.configuration = ["repl-diskless-sync yes", "repl-diskless-sync-delay 0"]
        if options.tls { server.configuration.append("tls-replication yes") }
        if let password = options.password { server.configuration.append("masterauth \(password)") }
        return server
    }

    private static func sentinel(_ options: Options, watching primary: RedisProcess) -> RedisProcess.Options {
        var sentinel = RedisProcess.Options()
        sentinel.unixSocket = false
        sentinel.isSentinel = true
        sentinel.tls = options.tls
        sentinel.configuration = [
            "sentinel monitor \(name) 127.0.0.1 \(primary.servingPort) 2",
            "sentinel down-after-milliseconds \(name) \(options.downAfter)",
            "sentinel failover-timeout \(name) 4000",
        ]
        if let password = options.password { sentinel.configuration.append("sentinel auth-pass \(name) \(password)") }
        // For a sentinel this is what it speaks with servers and other sentinels.
        if options.tls { sentinel.configuration.append("tls-replication yes") }
        if let password = options.sentinelPassword {
            sentinel.password = password
            sentinel.configuration.append("sentinel sentinel-pass \(password)")
        }
        return sentinel
    }

    private func isReady(_ sentinel: RedisProcess) async throws {
        let replicas = Int64(options.replicas)
        try await polled("the sentinels did not find each other and the replicas") {
            let parts = try await sentinel.ask("SENTINEL", "MASTER", Bytes(Self.name)).elements ?? []
            func value(_ name: Bytes) -> Int64? {
                parts.firstIndex { $0.bytes == name }.flatMap { parts.indices.contains($0 + 1) ? parts[$0 + 1].integer : nil }
            }
            return value("num-slaves") == replicas && value("num-other-sentinels") == 2
        }
    }
}
