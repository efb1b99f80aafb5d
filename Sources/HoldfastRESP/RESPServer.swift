public import HoldfastStore
public import Logging
import NIOCore
import NIOPosix
public import ServiceLifecycle

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Shows an ``HoldfastStore/EmbeddedStore`` to Redis's own tools: RESP2 and RESP3 over TCP, for development.
///
/// It speaks the commands of the command table with Redis's replies, transactions, publish/subscribe, and what redis-cli,
/// RedisInsight and the client libraries ask about a server. Whoever may connect sees and may change everything in the store,
/// whatever its tenant: it is not for production. Run it as a service; a graceful shutdown answers what has been received and ends
/// the connections.
///
/// All connections are served on one thread, as in Redis, under the store's lock for one batch of commands at a time.
///
/// No reply waits for the disk. While that fails what may write is answered `MISCONF`, as by Redis; while it is slower than the writers,
/// they are not read from.
public struct RESPServer: Service {
    public struct Configuration: Sendable {
        public var host = "127.0.0.1"
        /// 0 lets the system choose a free one.
        public var port = 6380
        /// What clients show with AUTH or HELLO; nil for none.
        public var password: String?
        /// More connections are answered with an error and closed.
        public var maximumClients = 1000
        /// Channels and patterns that one client may listen to.
        public var maximumSubscriptions = 10_000
        /// Largest argument of a command: `proto-max-bulk-len`.
        public var argumentBytes = 64 << 20
        /// Most that waits of one client's requests before it is disconnected: `client-query-buffer-limit`.
        public var requestBytes = 128 << 20
        /// Most that a transaction may hold before EXEC.
        public var transactionBytes = 128 << 20
        /// A client with more than this in one batch of replies is disconnected.
        public var outputBytes = 1 << 30
        /// One who listens (SUBSCRIBE, MONITOR) and does not read is disconnected when more waits for it, one message or line included.
        public var listenerOutputBytes = 8 << 20

        public init() {}

        var requestLimits: RequestParser.Limits {
            RequestParser.Limits(argumentBytes: argumentBytes, bufferBytes: requestBytes)
        }
    }

    private let store: EmbeddedStore
    private let configuration: Configuration
    private let time: any TimeSource
    private let logger: Logger
    private let onRunning: @Sendable (_ port: Int) async -> Void

    /// - Parameter onRunning: called once, when connections are accepted, with the port.
    public init(
        store: EmbeddedStore, configuration: Configuration = Configuration(), time: any TimeSource = .system, logger: Logger,
        onRunning: @escaping @Sendable (_ port: Int) async -> Void = { _ in }
    ) {
        self.store = store
        self.configuration = configuration
        self.time = time
        self.logger = logger
        self.onRunning = onRunning
    }

    /// Serves until the task is cancelled or a graceful shutdown begins.
    ///
    /// - Throws: an error of the system when the address cannot be listened on.
    public func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do {
            try await serve(on: group.next(), group)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
        try await group.shutdownGracefully()
    }

    private func serve(on loop: any EventLoop, _ group: MultiThreadedEventLoopGroup) async throws {
        let (store, configuration, time) = (store, configuration, time)
        let endpoint = try await loop.submit {
            NIOLoopBound(
                Endpoint(store: store, configuration: configuration, loop: loop, processID: getpid(), time: time), eventLoop: loop
            )
        }.get()
        let listener = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 511)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 256 << 10, high: 1 << 20))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ConnectionHandler(endpoint: endpoint.value))
                }
            }
            .bind(host: configuration.host, port: configuration.port).get()
        let port = listener.localAddress?.port ?? configuration.port
        try await loop.submit { endpoint.value.port = port }.get()
        logger.info("serving RESP", metadata: ["resp.host": "\(configuration.host)", "resp.port": "\(port)"])
        await onRunning(port)
        try? await gracefulShutdown()
        try? await listener.close()
        // What was received has been answered: commands are carried out as they come, but for writes that wait for the disk.
        try await loop.submit { endpoint.value.endAll() }.get()?.value
    }
}
