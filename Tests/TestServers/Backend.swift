import Foundation
public import HoldfastRedis
public import HoldfastStore
import HoldfastUpstash

/// One kind of store that the same tests run on: `@Test(arguments: Backend.available)`.
///
///     @Test(arguments: Backend.available)
///     func aValueIsReadBack(_ backend: Backend) async throws {
///         let store = try await backend.store()
///         let names = backend.namespace()
///         …
///     }
///
/// All tests of a process share one store of each kind, and one server behind those that need one; each test keeps to a
/// namespace of its own.
public struct Backend: Sendable, CustomStringConvertible {
    public let description: String
    private let open: @Sendable () async throws -> any Store
    private let shared = Locked<Task<any Store, any Error>?>(nil)

    private init(_ description: String, _ open: @escaping @Sendable () async throws -> any Store) {
        self.description = description
        self.open = open
    }

    /// Every kind of store there is.
    public static let available: [Backend] = [.embedded] + servers + [.upstash]

    /// Those with a connection of their own: a call is cheap, and what is published later arrives later, on whatever channel.
    public static let direct: [Backend] = available.filter { $0.description != upstash.description }

    /// Those that a server stands behind.
    public static let servers: [Backend] =
        [.redis, .redisRESP2] + (SharedRedis.hasTLS ? [.redisTLS] : []) + [.sentinel, .cluster]

    public static let embedded = Backend("embedded") { EmbeddedStore() }

    /// RESP3 over the Unix socket.
    public static let redis = Backend("redis") { try RedisStore(await SharedRedis.configuration()) }

    /// RESP2 over TCP.
    public static let redisRESP2 = Backend("redis RESP2") {
        var configuration = try await SharedRedis.configuration()
        configuration.endpoint = try await .tcp(host: "127.0.0.1", port: SharedRedis.server().port)
        configuration.protocolVersion = .resp2
        return try RedisStore(configuration)
    }

    /// RESP3 over TLS, as an ACL user.
    public static let redisTLS = Backend("redis TLS") { try RedisStore(await SharedRedis.tlsConfiguration()) }

    /// Through three sentinels, to the primary that they name.
    public static let sentinel = Backend("sentinel") { try RedisStore(await SharedSentinels.configuration()) }

    /// Six nodes, three of them primaries.
    public static let cluster = Backend("cluster") { try RedisStore(await SharedCluster.configuration()) }

    /// REST, through our own endpoint in front of the shared Redis.
    public static let upstash = Backend("upstash REST") { try UpstashStore(try await SharedEndpoint.configuration()) }

    /// The store; the first call of the process starts the server behind it.
    public func store() async throws -> any Store {
        let task = shared.withLock { [open] shared in
            let task = shared ?? Task.detached { try await open() }
            shared = task
            return task
        }
        return try await task.value
    }

    /// A namespace that nobody else uses. Its keys lie in different slots of a cluster.
    public func namespace() -> Namespace { Namespace(prefix: "test-\(UInt64.random(in: .min ... .max)):") }

    /// The same with all keys in one slot of a cluster: for tests of what one command does to several keys. Not for companions of keys.
    public func slotNamespace() -> Namespace { Namespace(prefix: "{test-\(UInt64.random(in: .min ... .max))}:") }

    public var isCluster: Bool { description == Self.cluster.description }
}

/// The one server behind all backends of a process. Tests that pause, kill, flush or configure start their own
/// ``RedisProcess``.
public enum SharedRedis {
    public static let username = "tester"
    public static let password = "p@ss:w/%rd"

    /// Whether the server that the tests run on was built with TLS: Redis is, the Valkey of `scripts/valkey-tests` is not and says so.
    static let hasTLS = ProcessInfo.processInfo.environment["HOLDFAST_TEST_TLS"] != "no"

    private static let running = Task.detached {
        var options = RedisProcess.Options()
        options.tls = hasTLS
        options.users = ["user \(username) on >\(password) ~* &* +@all"]
        return try await RedisProcess.start(options)
    }

    public static func server() async throws -> RedisProcess { try await running.value }

    /// How to reach it by its Unix socket, in RESP3.
    public static func configuration() async throws -> RedisConfiguration {
        RedisConfiguration(endpoint: .unixSocket(path: try await server().socketPath)).patient
    }

    /// How to reach it by TLS, as an ACL user.
    public static func tlsConfiguration() async throws -> RedisConfiguration {
        let server = try await server()
        return RedisConfiguration(
            endpoint: .tcp(host: "127.0.0.1", port: server.tlsPort), username: username, password: password,
            tls: .init(authorityFile: server.certificates?.authority)
        ).patient
    }
}

/// The primary and sentinels behind ``Backend/sentinel``. Tests that cause failovers start their own ``SentinelSet``.
public enum SharedSentinels {
    private static let running = Task.detached { try await SentinelSet.start() }

    public static func servers() async throws -> SentinelSet { try await running.value }
    public static func configuration() async throws -> RedisConfiguration { try await servers().configuration() }
}

/// The cluster behind ``Backend/cluster``. Tests that move slots or kill nodes start their own ``ClusterSet``.
public enum SharedCluster {
    private static let running = Task.detached { try await ClusterSet.start() }

    public static func servers() async throws -> ClusterSet { try await running.value }
    public static func configuration() async throws -> RedisConfiguration { try await servers().configuration() }
}
