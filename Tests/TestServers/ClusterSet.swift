public import HoldfastRedis
import HoldfastStore

/// A Redis Cluster of three primaries with a replica each.
///
///     let cluster = try await ClusterSet.start()
///     defer { cluster.stop() }
public final class ClusterSet: Sendable {
    public struct Options: Sendable {
        /// After how many milliseconds without an answer a node counts as failing. Long, unless a test kills nodes: a loaded machine
        /// is not to cause a failover by itself.
        public var nodeTimeout = 60_000
        /// Whether the nodes speak TLS, with each other too, and ``ClusterSet/configuration()`` does. They listen without TLS besides, for
        /// ``RedisProcess/ask(_:)``.
        public var tls = false

        public init() {}
    }

    /// The primaries at the start, then the replica of each.
    public let nodes: [RedisProcess]
    private let ids: [Bytes]
    private let tls: RedisConfiguration.TLS?

    public static let slots = [0...5460, 5461...10922, 10923...16383]

    /// Starts everything and waits until all nodes agree; 2 to 4 s.
    public static func start(_ options: Options = Options()) async throws -> ClusterSet {
        var nodes: [RedisProcess] = []
        for _ in 0..<6 { nodes.append(try await RedisProcess.start(node(options))) }
        var ids: [Bytes] = []
        for node in nodes { ids.append(try await node.ask("CLUSTER", "MYID").bytes ?? "") }
        for (number, node) in nodes.enumerated() {
            _ = try await node.ask("CLUSTER", "SET-CONFIG-EPOCH", Bytes(Int64(number + 1)))
        }
        try await meet(nodes)
        for (node, range) in zip(nodes, slots) {
            _ = try await node.ask("CLUSTER", "ADDSLOTSRANGE", Bytes(Int64(range.lowerBound)), Bytes(Int64(range.upperBound)))
        }
        for number in 3..<6 {
            try await polled("a replica was not accepted", every: .milliseconds(200)) {
                if try await nodes[number].ask("CLUSTER", "REPLICATE", ids[number - 3]) == .ok { return true }
                // A node that was held up for longer than the timeout has given its acquaintances up.
                try await meet(nodes)
                return false
            }
        }
        let cluster = ClusterSet(nodes, ids, options.tls ? .init(authorityFile: nodes[0].certificates?.authority) : nil)
        for node in nodes { try await cluster.isReady(node) }
        for node in nodes {
            _ = try await node.ask("CONFIG", "SET", "cluster-node-timeout", Bytes(Int64(options.nodeTimeout)))
            _ = try await node.ask("CONFIG", "SET", "cluster-replica-no-failover", "no")
        }
        return cluster
    }

    /// Makes each node known to all others, where it is not yet.
    private static func meet(_ nodes: [RedisProcess]) async throws {
        for (number, node) in nodes.enumerated() {
            for other in nodes[(number + 1)...] {
                _ = try await node.ask("CLUSTER", "MEET", "127.0.0.1", Bytes(Int64(other.servingPort)))
            }
        }
    }

    private init(_ nodes: [RedisProcess], _ ids: [Bytes], _ tls: RedisConfiguration.TLS?) {
        self.nodes = nodes
        self.ids = ids
        self.tls = tls
    }

    /// How to reach it, told of two of its nodes.
    public func configuration() -> RedisConfiguration {
        let seeds = [nodes[1], nodes[3]].map { RedisConfiguration.Node(host: "127.0.0.1", port: $0.servingPort) }
        return RedisConfiguration(endpoint: .cluster(.init(nodes: seeds)), tls: tls).patient
    }

    public func stop() {
        for node in nodes { node.stop() }
    }

    private static func node(_ options: Options) -> RedisProcess.Options {
        var node = RedisProcess.Options()
        node.unixSocket = false
        node.tls = options.tls
        node.needsBusPort = true
        // Nodes ping each other twice in each timeout, and so learn of each other sooner with a short one. While they do, none may be
        // taken for dead on a loaded machine.
        node.configuration = [
            "cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 2000",
            "cluster-replica-no-failover yes",
            "cluster-allow-replica-migration no", "repl-diskless-sync yes",
            // CLUSTER SLOTS leaves a replica out that has not heard of its primary yet.
            "repl-diskless-sync-delay 0", "repl-ping-replica-period 1",
        ]
        if options.tls { node.configuration += ["tls-cluster yes", "tls-replication yes"] }
        return node
    }

    /// Whether the node sees all slots served, each by a primary with a replica that follows it.
    private func isReady(_ node: RedisProcess) async throws {
        try await polled("the cluster's nodes do not agree", every: .milliseconds(100)) {
            let info = try await node.ask("CLUSTER", "INFO").bytes?.lossyString ?? ""
            guard info.contains("cluster_known_nodes:6") else {
                try await Self.meet(nodes)
                return false
            }
            guard info.contains("cluster_state:ok") else { return false }
            let ranges = try await node.ask("CLUSTER", "SLOTS").elements ?? []
            guard ranges.count == 3, ranges.allSatisfy({ $0.elements?.count == 4 }) else { return false }
            let role = try await node.ask("ROLE").elements ?? []
            return role.first?.bytes == "master" || role.dropFirst(3).first?.bytes == "connected"
        }
    }

    // MARK: - Moving slots

    /// Begins to move a slot from one primary to another: keys that are there stay until ``moveKeys(of:from:to:)``.
    public func beginMove(of slot: Int, from source: Int, to target: Int) async throws {
        try await set(slot, at: target, "IMPORTING", ids[source])
        try await set(slot, at: source, "MIGRATING", ids[target])
    }

    /// Moves the keys that the slot has now.
    public func moveKeys(of slot: Int, from source: Int, to target: Int) async throws {
        let port = Bytes(Int64(nodes[target].servingPort))
        while let key = try await nodes[source].ask("CLUSTER", "GETKEYSINSLOT", Bytes(Int64(slot)), "1").list?.first {
            let reply = try await nodes[source].ask("MIGRATE", "127.0.0.1", port, key, "0", "30000")
            guard [.ok, .status("NOKEY")].contains(reply) else { throw TestServerError("MIGRATE: \(reply)") }
        }
    }

    /// Ends the move: all primaries are told who serves the slot.
    public func endMove(of slot: Int, to target: Int) async throws {
        for node in [target] + (0..<3).filter({ $0 != target }) { try await set(slot, at: node, "NODE", ids[target]) }
    }

    /// A whole move.
    public func move(slot: Int, from source: Int, to target: Int) async throws {
        try await beginMove(of: slot, from: source, to: target)
        try await moveKeys(of: slot, from: source, to: target)
        try await endMove(of: slot, to: target)
    }

    private func set(_ slot: Int, at node: Int, _ state: Bytes, _ id: Bytes) async throws {
        let reply = try await nodes[node].ask("CLUSTER", "SETSLOT", Bytes(Int64(slot)), state, id)
        guard reply == .ok else { throw TestServerError("CLUSTER SETSLOT \(slot) \(state): \(reply)") }
    }
}
