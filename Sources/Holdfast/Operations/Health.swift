public import HoldfastStore

/// How the process and its server are: at a glance from what is known, and in depth by real probes.
public struct Health: Sendable {
    /// The overall state.
    public enum Status: String, Sendable, Hashable, Comparable, CaseIterable {
        case healthy
        /// Everything is served, some of it otherwise than configured: the server is away, or a figure is past its warning.
        case degraded
        /// Not fit to serve: the server refuses our credentials or configuration, or nothing can be stored.
        case unhealthy

        private var rank: Int { Status.allCases.firstIndex(of: self) ?? 0 }
        public static func < (left: Status, right: Status) -> Bool { left.rank < right.rank }
    }

    /// How things are with the configured server.
    public enum Server: Sendable, Hashable {
        /// None is configured: this process is the store.
        case disabled
        case connected
        /// Away since then; operations are decided here.
        case disconnected(since: Timestamp)
        /// It does not accept our credentials or configuration.
        case refused

        /// The word for `/health`: `disabled`, `connected`, `disconnected` or `refused`.
        public var word: String {
            switch self {
            case .disabled: "disabled"
            case .connected: "connected"
            case .disconnected: "disconnected"
            case .refused: "refused"
            }
        }
    }

    let failover: Failover
    let namespace: Namespace

    public init(failover: Failover, namespace: Namespace) {
        self.failover = failover
        self.namespace = namespace
    }

    /// What is known without asking. Costs a lock.
    public var server: Server {
        guard failover.server != nil else { return .disabled }
        if failover.refusal != nil { return .refused }
        return failover.localSince.map { .disconnected(since: $0) } ?? .connected
    }

    /// How the append-only file of the store in this process is; nil where there is none.
    public var journal: JournalStatus? { (failover.local as? EmbeddedStore)?.journalStatus }

    /// The state at a glance, from ``server`` and ``journal``: where the disk fails and this process is the store, nothing can be stored.
    public var status: Status {
        switch server {
        case .disabled: journal?.failure == nil ? .healthy : .unhealthy
        case .connected: .healthy
        case .disconnected: .degraded
        case .refused: .unhealthy
        }
    }
}
