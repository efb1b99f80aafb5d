public import HoldfastRedis
import HoldfastStore

/// How the client is used in a measurement: GETs of 32 bytes over one connection, or one long reply.
public enum ClientLoad: String, CaseIterable, Sendable {
    case oneTask = "one"
    /// One task that lives on the connection's event loop.
    case onTheLoop = "loop"
    case fiftyTasks = "fifty"
    /// Fifty tasks that live on the connection's event loop.
    case fiftyOnTheLoop = "fifty-loop"
    case pipelines = "pipeline"
    /// One LRANGE of so many elements of ``list``, which whoever measures has filled.
    case longReply = "lrange"

    static let list = Key(raw: "bench:list")
    static let key = Key(raw: "bench:client")

    public static func store(socket: String) throws -> RedisStore {
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: socket))
        // Under valgrind a long reply takes longer than the usual timeout, and would be asked for twice.
        configuration.commandTimeout = .seconds(60)
        return try RedisStore(configuration)
    }

    public static func prepare(_ store: RedisStore) async throws {
        try await store(.set(key, Bytes([UInt8](repeating: UInt8(ascii: "x"), count: 32))))
    }

    public func run(_ operations: Int, _ store: RedisStore) async throws {
        switch self {
        case .oneTask: try await Self.gets(operations, store)
        case .onTheLoop: try await withTaskExecutorPreference(store.taskExecutor) { try await Self.gets(operations, store) }
        case .fiftyTasks: try await Self.fifty(operations, store)
        case .fiftyOnTheLoop:
            try await withTaskExecutorPreference(store.taskExecutor) { try await Self.fifty(operations, store) }
        case .pipelines:
            let commands = [Command<Bytes?>](repeating: .get(Self.key), count: 100)
            for _ in 0..<(operations / 100) { _ = try await store.pipeline(commands) }
        case .longReply:
            let elements = try await store(.lrange(Self.list, 0, operations - 1))
            precondition(elements.count == operations, "bench:list has \(elements.count) elements")
        }
    }

    private static func fifty(_ operations: Int, _ store: RedisStore) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 { group.addTask { try await gets(operations / 50, store) } }
            try await group.waitForAll()
        }
    }

    private static func gets(_ count: Int, _ store: RedisStore) async throws {
        for _ in 0..<count { _ = try await store(.get(key)) }
    }

    /// How long each GET of one caller takes.
    public func latencies(_ operations: Int, _ store: RedisStore) async throws -> [Double] {
        func measure() async throws -> [Double] {
            var spans: [Double] = []
            spans.reserveCapacity(operations)
            let time = SystemTime()
            for _ in 0..<operations {
                let start = time.uptime
                _ = try await store(.get(Self.key))
                spans.append((time.uptime - start).inSeconds * 1e9)
            }
            return spans
        }
        return self == .onTheLoop
            ? try await withTaskExecutorPreference(store.taskExecutor) { try await measure() } : try await measure()
    }
}
