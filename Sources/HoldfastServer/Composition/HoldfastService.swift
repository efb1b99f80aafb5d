public import Holdfast
import HoldfastRESP
public import HoldfastStore
public import Logging
public import ServiceLifecycle
import UnixSignals

/// A whole Holdfast server: the stores that a configuration asks for, the services over them, and the HTTP face.
///
/// This is the composition: the one place, beside the command line's `doctor`, that names a backend.
public struct HoldfastService: Service {
    public let state: AgentState
    /// What there is to say about it once it serves.
    public let summary: Summary

    private let configuration: HoldfastConfiguration
    private let server: ConfiguredServer?
    private let local: EmbeddedStore
    private let outbox: ConfiguredOutbox
    private let keys: APIKeyRing
    private let logger: Logger
    private let tls: ServerTLS?
    private let onRunning: @Sendable (Summary, Ports) async -> Void

    /// Where it listens.
    public struct Ports: Sendable, Hashable {
        public let http: Int
        /// Nil where RESP is not served.
        public let resp: Int?
    }

    /// How long a shutdown may take: what is under way is finished for so long, then cancelled.
    static let gracePeriod: Duration = .seconds(8)
    /// How long the end may take to hand over to the server what waits for it.
    var handOverLimit: Duration = .seconds(2)

    /// Opens the data folder and reads what it holds, where the configuration names one. Connects to nothing yet.
    ///
    /// - Parameters:
    ///   - environment: for the place of the key file; see `HoldfastConfiguration.Server.keyFolder(environment:)`.
    ///   - onRunning: called once, when requests are accepted, with the ports.
    /// - Throws: ``HoldfastStore/StoreError`` naming the setting that cannot work.
    public init(
        configuration: HoldfastConfiguration, environment: [String: String], logger: Logger,
        onRunning: @escaping @Sendable (Summary, Ports) async -> Void = { _, _ in }
    ) async throws(StoreError) {
        if let refusal = configuration.refusals.first { throw StoreError(.invalidArgument, refusal) }
        self.configuration = configuration
        self.logger = logger
        self.onRunning = onRunning
        tls = try Self.tls(configuration.server)
        let namespace = Namespace(prefix: configuration.redis.keyPrefix)
        server = try ConfiguredServer(configuration.redis) { error in
            logger.warning(
                "the password's file cannot be read; going on with the last password", metadata: ["error": "\(error.message)"])
        }
        local = try await Self.embedded(configuration, logger)
        outbox = try await ConfiguredOutbox(configuration, logger: logger)
        let failover = Failover(
            server: server?.store, local: local, outbox: outbox.outbox, configuration: configuration.failover,
            observer: OutageLog(configuration, logger: logger).note)
        state = AgentState(failover: failover, namespace: namespace, configuration: configuration.services)
        try await outbox.load(into: local, logger: logger)
        let access = try Self.access(configuration, environment)
        keys = access.keys
        summary = Summary(
            store: configuration.storeDescription, data: configuration.placeOfEntries, outbox: configuration.placeOfOutbox,
            keyFile: access.file, newKey: access.newKey)
    }

    /// Serves until the task is cancelled or the process gets SIGTERM or SIGINT, then finishes what is under way.
    public func run() async throws {
        let rotation = passwordRotation
        await state.failover.start()
        var http = HTTPServer.Configuration()
        http.host = configuration.server.host
        http.port = configuration.server.port
        http.tls = tls
        http.maximumConnections = configuration.server.maximumConnections
        http.idleTimeout = configuration.server.idleTimeout
        http.readTimeout = configuration.server.readTimeout
        http.auditsCache = configuration.server.auditsCache
        let (summary, onRunning) = (summary, onRunning)
        let address = configuration.server.dataFolder.map(ServedAddress.init(folder:))
        let (host, usesTLS) = (configuration.server.host, configuration.server.usesTLS)
        let (ports, port) = AsyncStream<Int>.makeStream()
        let resp = configuration.respServer.map { configuration in
            RESPServer(store: local, configuration: configuration, logger: logger) { port.yield($0) }
        }
        let face = HTTPServer(state: state, keys: keys, configuration: http, logger: logger) { port in
            var respPort: Int?
            if resp != nil { respPort = await ports.first { _ in true } }
            address?.leave(host: host, port: port, usesTLS: usesTLS)
            await onRunning(summary, Ports(http: port, resp: respPort))
        }
        var services: [any Service] = [state]
        if let resp { services.append(resp) }
        if let rotation { services.append(rotation) }
        services.append(face)
        var group = ServiceGroupConfiguration(
            services: services.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        group.maximumGracefulShutdownDuration = Self.gracePeriod
        do {
            try await ServiceGroup(configuration: group).run()
        } catch {
            address?.remove()
            try await close()
            throw error
        }
        address?.remove()
        try await close()
    }

    private var passwordRotation: PasswordRotation? {
        guard let password = server?.password, let reauthenticate = server?.reauthenticate else { return nil }
        return PasswordRotation(password, logger: logger, reauthenticate: reauthenticate)
    }

    /// What was decided here is handed over where the server is there, and what was acknowledged and not yet synced is synced, before the
    /// process ends.
    private func close() async throws(StoreError) {
        if await !state.finish(within: handOverLimit) { tellWhatIsLeft() }
        await server?.shutdown()
        try await outbox.close()
        try await local.close()
    }

    private func tellWhatIsLeft() {
        let (outbox, limits) = (state.failover.outbox.status, state.limits.backlog)
        guard outbox.backlog + limits.keys > 0 else { return }
        logger.warning(
            "the server has not taken what was decided while it was away",
            metadata: [
                "outbox.entries": "\(outbox.backlog)", "outbox.durable": "\(outbox.isDurable)", "limits.keys": "\(limits.keys)",
            ])
    }

    // MARK: - Parts

    private static func tls(_ server: HoldfastConfiguration.Server) throws(StoreError) -> ServerTLS? {
        guard let certificate = server.tlsCertificateFile else {
            guard server.tlsKeyFile == nil else {
                throw .invalid("HOLDFAST_TLS_CERTIFICATE", "It is missing, and HOLDFAST_TLS_KEY is set")
            }
            return nil
        }
        return try ServerTLS(certificateFile: certificate, keyFile: server.tlsKeyFile)
    }

    private static func embedded(
        _ configuration: HoldfastConfiguration, _ logger: Logger
    ) async throws(StoreError) -> EmbeddedStore {
        guard let folder = configuration.journalFolder else { return EmbeddedStore(configuration.embeddedStore) }
        let store = try await EmbeddedStore.open(
            folder, journal: configuration.server.journal, configuration.embeddedStore,
            observer: JournalLog(logger: logger, folder: folder).note)
        if let load = store.journalStatus?.load { JournalLog(logger: logger, folder: folder).note(load) }
        return store
    }

    private static func access(
        _ configuration: HoldfastConfiguration, _ environment: [String: String]
    ) throws(StoreError) -> (keys: APIKeyRing, file: String?, newKey: String?) {
        let entries = configuration.server.apiKeys
        guard entries.isEmpty else { return (try APIKeyRing(parsing: entries.map(\.value)), nil, nil) }
        let folder = configuration.server.keyFolder(environment: environment)
        try PrivateFolder.create(folder)
        let file = APIKeyFile(folder: folder)
        let (secret, isNew) = try file.readOrCreate()
        let ring = APIKeyRing([APIKey(name: "generated", role: .admin, secret: secret)])
        return (ring, file.path, isNew ? secret : nil)
    }
}

extension HoldfastService {
    /// What a person wants to know at the start.
    public struct Summary: Sendable, Hashable {
        /// The store in use, without secrets.
        public let store: String
        /// Where entries are kept.
        public let data: String
        /// Where what is decided while the server is away is kept for it; nil without a server.
        public let outbox: String?
        /// Where the generated API key is; nil where the configuration names the keys.
        public let keyFile: String?
        /// The API key, on the one occasion on which it is shown: when it has just been made.
        public let newKey: String?
    }
}
