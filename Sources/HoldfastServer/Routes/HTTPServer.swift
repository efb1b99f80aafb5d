public import Holdfast
import HoldfastHummingbird
import HoldfastStore
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
public import ServiceLifecycle

/// The HTTP face of an ``AgentState``: caches, limits, sessions and health as JSON over HTTP/1.1.
///
/// Run it as a service beside the state's own. A graceful shutdown stops accepting, answers what is under way and ends.
public struct HTTPServer: Service {
    public struct Configuration: Sendable {
        public var host = "127.0.0.1"
        /// 0 lets the system choose a free one.
        public var port = 8000
        /// More connections than these are answered 503 and closed.
        public var maximumConnections = 10_000
        /// The certificate to show; nil for HTTP without TLS.
        public var tls: ServerTLS?
        /// A connection without a request is closed after this long.
        public var idleTimeout: Duration = .seconds(75)
        /// How long a request may take to arrive, besides a second for every 4 KiB of its body; then it is answered 408.
        public var readTimeout: Duration = .seconds(15)
        /// Longer URLs are answered 414.
        public var maximumURLBytes = 8192
        /// All headers of a request together; more is answered 431 and the connection closed.
        public var maximumHeaderBytes = 32 * 1024
        /// Larger bodies are answered 413.
        public var maximumBodyBytes = 8 * 1024 * 1024
        /// Whether reading and writing of cache entries goes to the audit log too.
        public var auditsCache = false
        /// How often each API key, or each address without one, may call; nil, the default, for as often as it likes. See
        /// `CallerLimits` for why.
        public var callerPlan: RateLimitPlan?
        /// What becomes of their calls by that plan while the configured server is away.
        public var callerOutage = RateLimiter.OutageBehavior.local
        /// Addresses and networks (`10.0.0.7`, `fd00::/8`) of the proxies whose `X-Forwarded-For` is believed.
        public var trustedProxies: [String] = []

        public init() {}
    }

    private let configuration: Configuration
    private let connections = ConnectionMetrics()
    private let responder: APIResponder
    private let logger: Logger
    private let onRunning: @Sendable (_ port: Int) async -> Void

    /// - Parameters:
    ///   - version: what `/api/v1/health/detailed`, `/metrics` and the API document tell of this program.
    ///   - onRunning: called once, when connections are accepted, with the port.
    public init(
        state: AgentState, keys: APIKeyRing, configuration: Configuration = Configuration(), version: String = "0.1.0",
        logger: Logger, onRunning: @escaping @Sendable (_ port: Int) async -> Void = { _ in }
    ) {
        self.configuration = configuration
        self.logger = logger
        self.onRunning = onRunning
        let metrics = RequestMetrics()
        var auditLogger = Logger(label: "holdfast.audit")
        auditLogger.logLevel = min(logger.logLevel, .notice)
        let audit = AuditLog(includesCache: configuration.auditsCache, time: state.failover.time, logger: auditLogger)
        let gatekeeper = Gatekeeper(keys: keys, time: state.failover.time)
        let callers = configuration.callerPlan.map { plan in
            // Counted apart from what callers limit themselves: a name that no tenant can have keeps the keys distinct.
            CallerLimits(
                limiter: RateLimiter(
                    state.failover, namespace: state.namespace.scoped(to: "holdfast server"),
                    configuration: RateLimiter.Configuration(plan: plan, outage: configuration.callerOutage),
                    instances: state.instances),
                addresses: ClientAddress(proxies: configuration.trustedProxies))
        }
        responder = APIResponder(
            table: Self.table(state, callers, metrics, connections, audit, version: version), gatekeeper: gatekeeper,
            idempotency: IdempotentCalls(service: Idempotency(failover: state.failover, namespace: state.namespace)),
            callers: callers, metrics: metrics, audit: audit, permissions: PermissionLog(logger: logger),
            upstash: UpstashEndpoint(
                state: state, gatekeeper: gatekeeper, callers: callers, maximumURLBytes: configuration.maximumURLBytes,
                audit: audit, logger: logger),
            limits: APIResponder.Limits(urlBytes: configuration.maximumURLBytes, bodyBytes: configuration.maximumBodyBytes),
            time: state.failover.time, logger: logger)
    }

    public func run() async throws { try await application.run() }

    /// Every route. A new service adds its line here.
    private static func table(
        _ state: AgentState, _ callers: CallerLimits?, _ metrics: RequestMetrics, _ connections: ConnectionMetrics,
        _ audit: AuditLog, version: String
    ) -> RouteTable {
        let document = Locked<JSONValue>(.null)
        let page = MetricsPage(
            requests: metrics, connections: connections, state: state, callers: callers?.limiter, version: version)
        var routes: [Route] = []
        routes += HealthRoutes(state: state, callers: callers?.limiter, version: version).routes
        routes += SystemRoutes(metrics: page, document: document).routes
        routes += AuditRoutes(log: audit).routes
        routes += CacheRoutes(state: state).routes
        routes += ReferenceRoutes(state: state).routes
        routes += CacheEntryRoutes(state: state).routes
        routes += LimitRoutes(state: state).routes
        routes += SessionRoutes(state: state).routes
        routes += OutboxRoutes(state: state).routes
        let made = OpenAPIDocument(routes: routes, version: version).json
        document.withLock { $0 = made }
        return RouteTable(routes)
    }

    var routes: [Route] { responder.table.routes }

    var application: Application<APIResponder> {
        Application(
            responder: responder,
            server: HTTPServerBuilder { [configuration, connections] responder in
                ConnectionChannel(
                    base: HTTP1Channel(responder: responder, configuration: configuration.channel),
                    limits: configuration.connectionLimits, metrics: connections, tls: configuration.tls?.context)
            },
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port),
                // Some more than the limit, to be told so; beyond them, connections wait until others end.
                availableConnectionsDelegate: .maximum(configuration.maximumConnections + 128, logger: logger)),
            onServerRunning: { channel in await onRunning(channel.localAddress?.port ?? configuration.port) },
            logger: logger)
    }
}

extension HTTPServer.Configuration {
    fileprivate var channel: HTTP1Channel.Configuration {
        HTTP1Channel.Configuration(
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: maximumHeaderBytes, maxHeaderListSize: maximumHeaderBytes, maxHeaderFieldCount: 100))
    }

    fileprivate var connectionLimits: ConnectionLimits {
        ConnectionLimits(
            connections: maximumConnections, headerBytes: maximumHeaderBytes,
            idleTimeout: .milliseconds(idleTimeout.milliseconds),
            readTimeout: .milliseconds(readTimeout.milliseconds))
    }
}

extension HTTPServer: CustomStringConvertible {
    /// What logs of its running call it; never what it holds.
    public var description: String { "HTTPServer" }
}
