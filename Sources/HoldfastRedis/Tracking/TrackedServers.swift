import HoldfastStore

/// Which servers hold a store's keys, so that each can be listened to.
enum TrackedServers: Sendable {
    case server(ServerLink)
    case cluster(Cluster)

    /// The servers of one moment, and which keys are whose.
    struct Picture: Sendable {
        /// Nil in place of a node where there is one server, wherever it is.
        let nodes: [RedisConfiguration.Node?]
        fileprivate let owners: SlotOwners?
    }

    /// - Throws: where a cluster's nodes cannot be asked.
    func picture() async throws(StoreError) -> Picture {
        guard case .cluster(let cluster) = self else { return Picture(nodes: [nil], owners: nil) }
        // A node that has gone is noticed here first where nothing else is asked for.
        try await cluster.refresh().get()
        let owners = cluster.map.owners
        return Picture(nodes: Array(owners.ranges.keys), owners: owners)
    }

    /// Whether keys are where they were. A cluster's slot table that has become old is asked for again in the background.
    func isStill(_ picture: Picture) -> Bool {
        guard case .cluster(let cluster) = self else { return true }
        return cluster.hasMap() && cluster.map.owners == picture.owners
    }

    /// What a new connection to the server is made with.
    func connector(to node: RedisConfiguration.Node?) -> Connector {
        switch self {
        case .server(let link): link.connector
        case .cluster(let cluster): node.map(cluster.connector(to:)) ?? cluster.anyConnector
        }
    }

    /// The connections that calls for the server's keys go over.
    func connections(to node: RedisConfiguration.Node?) -> [Connection] {
        switch self {
        case .server(let link): link.connections
        case .cluster(let cluster):
            node.flatMap { cluster.link(to: .node($0), slot: nil, isRead: false)?.connection }.map { [$0] } ?? []
        }
    }

    var isCluster: Bool { if case .cluster = self { true } else { false } }

    /// Whether only a primary may answer. A single server is what it is; with sentinels and in a cluster others take its place.
    var mustBePrimary: Bool {
        switch self {
        case .server(let link): link.isFollowing
        case .cluster: true
        }
    }
}

/// Which primary serves which slots, in a form that two tables of the same meaning share.
struct SlotOwners: Equatable, Sendable {
    var ranges: [RedisConfiguration.Node: [ClosedRange<Int>]] = [:]
}

extension SlotMap {
    /// Cost: O(slots).
    var owners: SlotOwners {
        var owners = SlotOwners()
        var (first, owner) = (0, shard(ofSlot: 0))
        for slot in 1...ClusterSlot.count {
            let next = slot < ClusterSlot.count ? shard(ofSlot: slot) : nil
            guard next != owner || slot == ClusterSlot.count else { continue }
            if let owner { owners.ranges[shards[owner].primary, default: []].append(first...(slot - 1)) }
            (first, owner) = (slot, next)
        }
        return owners
    }
}
