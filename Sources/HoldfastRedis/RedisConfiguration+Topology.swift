public import HoldfastStore

extension RedisConfiguration {
    /// A TCP address of a server, a sentinel or a node of a cluster.
    public struct Node: Hashable, Sendable, CustomStringConvertible {
        public var host: String
        public var port: Int

        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }

        public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    }

    /// Sentinels, who know which server is the primary now.
    ///
    /// The configuration's user, password, database and TLS are the primary's. Sentinels have credentials of their own, or none.
    public struct Sentinel: Hashable, Sendable {
        /// Some of the sentinels, at least one; the others are learned from these.
        public var nodes: [Node]
        /// The name under which they watch the primary, such as `mymaster`.
        public var primary: String
        /// The ACL user at the sentinels; nil for the default user.
        public var username: String?
        /// The password at the sentinels; nil or empty for none. The primary's is not tried there.
        public var password: String?
        /// Whether the configuration's TLS, where there is one, is used towards the sentinels too.
        public var usesTLS = true

        public init(nodes: [Node], primary: String, username: String? = nil, password: String? = nil) {
            self.nodes = nodes
            self.primary = primary
            self.username = username
            self.password = password
        }
    }
}

extension RedisConfiguration {
    /// A Redis or Valkey Cluster. The configuration's user, password and TLS are those of every node; the database must be 0.
    public struct Cluster: Hashable, Sendable {
        /// Some of the nodes, at least one; the others are learned from these.
        public var nodes: [Node]
        /// Whether replicas answer commands that only read. What they answer may be older than what was written before.
        public var readsFromReplicas = false
        /// How old the slot table may grow. It is asked for again at once where a node says that a slot has moved.
        public var refreshInterval: Duration = .seconds(30)

        public init(nodes: [Node], readsFromReplicas: Bool = false) {
            self.nodes = nodes
            self.readsFromReplicas = readsFromReplicas
        }
    }
}

extension RedisConfiguration {
    /// Asks the sentinels once where the primary is: for programs that look at a deployment. A ``RedisStore`` asks by itself.
    ///
    /// - Returns: nil where the endpoint names no sentinels.
    /// - Throws: ``HoldfastStore/ErrorCode/connectionFailed`` where none answers, ``HoldfastStore/ErrorCode/serverRefused`` where they
    ///   refuse us or do not know the name.
    public func primaryBySentinels() async throws(StoreError) -> Node? {
        guard case .sentinel(let sentinel) = endpoint else { return nil }
        try validate()
        return try await Sentinels(sentinel, of: self).primary()
    }
}
