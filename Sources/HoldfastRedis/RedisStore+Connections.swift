public import HoldfastStore

extension RedisStore {
    /// A connection that nobody else uses while the body runs: for WATCH, blocking commands, and whatever depends on the connection's
    /// state.
    ///
    ///     try await store.withConnection { connection in
    ///         try await connection.watch(stock)
    ///         guard let left = try await connection(.get(stock))?.integer, left > 0 else { return }
    ///         _ = try await connection.transaction(.decr(stock), .rpush(orders, [order]))   // `conflict` where stock was changed
    ///     }
    ///
    /// At most ``RedisConfiguration/maximumConnections`` exist, on a cluster to each primary; when all are taken callers wait, first
    /// come, first served, until the command timeout or their deadline. See ``RedisConnection`` for what a lost connection and an
    /// abandoned call mean.
    ///
    /// - Parameter key: on a cluster, whose primary the connection leads to; all that is sent must lie in slots of that node. Left out of
    ///   account elsewhere.
    /// - Throws: besides what the body throws, ``HoldfastStore/ErrorCode/overloaded`` when none came free in time, and
    ///   ``HoldfastStore/ErrorCode/invalidArgument`` on a cluster without a key: it is not known which node is meant.
    public func withConnection<Result: Sendable>(
        to key: Key? = nil, _ body: (RedisConnection) async throws -> Result
    ) async throws -> Result {
        let pool: ConnectionPool
        var heed: @Sendable (ReplyError) -> Void = { _ in }
        switch topology {
        case .server(let link): pool = link.pool
        case .cluster(let cluster):
            guard let key else {
                throw StoreError(
                    .invalidArgument, "On a cluster a connection for exclusive use leads to the primary of a key: name it",
                    field: "key")
            }
            let (found, node) = try await cluster.pool(for: key)
            pool = found
            heed = { cluster.heed($0, from: node) }
        }
        let connection = RedisConnection(try await pool.lease(), digests: digests, subscriptions: self, heed: heed)
        defer { pool.giveBack(connection.base, isClean: connection.end()) }
        return try await body(connection)
    }

    /// Runs tasks on the event loop of the store's connection, where a call costs three system calls and no change of threads:
    ///
    ///     try await withTaskExecutorPreference(store.taskExecutor) { try await store(.get(key)) }
    ///
    /// For tasks that mostly call the store one call after the other. Whatever computes for long there makes every caller of the store
    /// wait, and what blocks there stops it. Nil on a cluster, whose nodes have loops of their own; a preference of nil changes nothing.
    public var taskExecutor: (any TaskExecutor)? { link?.executor }

    /// Shows the credentials of now (``RedisConfiguration/credentials``) on the shared connections, on a cluster to every node, and on those
    /// that listen; closes those for exclusive use that idle, and the others when they are given back, so that the next are made with them.
    /// What tells of changes begins anew.
    ///
    /// In RESP2 a connection that listens is made anew: subscriptions see a gap.
    ///
    /// Call it when a password was changed whose sessions the server ends, or when a token is about to expire.
    ///
    /// - Throws: ``HoldfastStore/ErrorCode/serverRefused`` where they are not accepted; the connections then stay what they were.
    public func reauthenticate() async throws(StoreError) {
        switch topology {
        case .server(let server):
            server.pool.renew(isGraceful: true)
            for connection in server.connections { try await connection.authenticate() }
        case .cluster(let cluster): try await cluster.authenticate()
        }
        if let command = Handshake.authentication(try await configuration.identified()) {
            try await hub.authenticate(command)
            try await shards?.authenticate(command)
        }
        trackers.renew()
    }

    private var link: ServerLink? {
        if case .server(let link) = topology { link } else { nil }
    }

    /// How many connections for exclusive use are taken, how many idle, and how many callers wait for one.
    var poolCounts: (leased: Int, idle: Int, waiting: Int) {
        let pools =
            switch topology {
            case .server(let link): [link.pool]
            case .cluster(let cluster): cluster.pools
            }
        return pools.map(\.counts).reduce((0, 0, 0)) { ($0.0 + $1.leased, $0.1 + $1.idle, $0.2 + $1.waiting) }
    }

    /// Whether a connection for calls is there.
    var isConnected: Bool { link?.connections.contains(where: \.isUsable) ?? false }

    /// Whether the store is shutting down.
    var isEnding: Bool { link?.connections[0].isEnding ?? false }
}
