public import HoldfastStore
public import ServiceLifecycle

/// Every service of Holdfast over one store: the way in.
///
///     let state = AgentState.embedded()                     // nothing to install, nothing to configure
///     try await state.cache.set("greeting", "hello")
///     let acme = state.scoped(to: "acme")                   // the same services, another tenant's keys
///
/// With a server, build a ``/HoldfastStore/Failover`` over it and run this as a service (``run()``), which watches the server and gives back the
/// memory of expired entries. Values of this type are cheap views: what tenants share is shared.
public struct AgentState: Service {
    /// The stores, and who decides.
    public let failover: Failover
    /// The prefix and the tenant whose keys these services see.
    public let namespace: Namespace
    public let cache: Cache
    public let sessions: Sessions
    public let limits: RateLimiter
    /// How many processes share the server.
    public let instances: Instances

    /// How the services behave.
    public struct Configuration: Sendable {
        public var cache: CacheConfiguration
        public var sessions: Sessions.Configuration
        public var limits: RateLimiter.Configuration
        public var instances: Instances.Configuration

        public init(
            cache: CacheConfiguration = CacheConfiguration(), sessions: Sessions.Configuration = Sessions.Configuration(),
            limits: RateLimiter.Configuration = RateLimiter.Configuration(),
            instances: Instances.Configuration = Instances.Configuration()
        ) {
            self.cache = cache
            self.sessions = sessions
            self.limits = limits
            self.instances = instances
        }
    }

    public init(failover: Failover, namespace: Namespace = Namespace(), configuration: Configuration = Configuration()) {
        let instances = Instances(failover: failover, namespace: namespace, configuration: configuration.instances)
        self.init(
            failover: failover, namespace: namespace, instances: instances,
            cache: Cache(failover: failover, namespace: namespace, configuration: configuration.cache),
            sessions: Sessions(failover: failover, namespace: namespace, configuration: configuration.sessions),
            limits: RateLimiter(failover, namespace: namespace, configuration: configuration.limits, instances: instances))
    }

    private init(
        failover: Failover, namespace: Namespace, instances: Instances, cache: Cache, sessions: Sessions, limits: RateLimiter
    ) {
        self.failover = failover
        self.namespace = namespace
        self.instances = instances
        self.cache = cache
        self.sessions = sessions
        self.limits = limits
    }

    /// Everything in this process, without a server.
    ///
    /// - Parameter limits: memory limit and eviction of the store; by default there is no limit.
    public static func embedded(
        limits: Keyspace.Limits = Keyspace.Limits(), namespace: Namespace = Namespace(),
        configuration: Configuration = Configuration(), time: any TimeSource = .system
    ) -> AgentState {
        let store = EmbeddedStore(EmbeddedStore.Configuration(limits: limits), time: time)
        return AgentState(failover: Failover(local: store, time: time), namespace: namespace, configuration: configuration)
    }

    /// The same services for one tenant, who sees no other's keys.
    public func scoped(to tenant: String) -> AgentState {
        AgentState(
            failover: failover, namespace: namespace.scoped(to: tenant), instances: instances, cache: cache.scoped(to: tenant),
            sessions: sessions.scoped(to: tenant), limits: limits.scoped(to: tenant))
    }

    /// Watches the server, holds this process's lease there, writes down what its limits admitted by themselves, and gives back the memory of expired entries, until the task is cancelled or the service group shuts
    /// down. Run it once in a process, on whichever view; without it an embedded store works, but only forgets what is read.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await failover.run() }
                group.addTask { await instances.run() }
                group.addTask { await sessions.run() }
                group.addTask { await limits.run() }
                if let store = failover.local as? EmbeddedStore {
                    group.addTask { try? await store.removeExpiredEntries() }
                }
                // Without a server and with another local store nothing of the above stays; the service does.
                group.addTask { while (try? await failover.time.sleep(for: .seconds(3600))) != nil {} }
                await group.waitForAll()
            }
        }
    }
}

extension AgentState: CustomStringConvertible {
    /// What logs of its running call it; never what it holds.
    public var description: String { "AgentState" }
}
