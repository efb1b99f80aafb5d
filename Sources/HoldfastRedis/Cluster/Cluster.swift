import HoldfastStore
import NIOPosix

/// A cluster's nodes: one connection to each, the slot table, and when to ask for it again.
///
/// How commands find their way stands in `Cluster+Travel.swift`, what each command means here in `ClusterRoute.swift`.
final class Cluster: Sendable {
    typealias Node = RedisConfiguration.Node

    /// A connection and where it goes.
    struct Link: Sendable {
        let connection: Connection
        let node: Node
    }

    private struct State {
        var map = SlotMap()
        var primaries: [Node: Connection] = [:]
        /// Connections that said READONLY, for reads from replicas.
        var replicas: [Node: Connection] = [:]
        /// Replicas that did not answer, and until when none is asked again, in nanoseconds of ``Uptime``.
        var avoided: [Node: UInt64] = [:]
        /// Connections that one caller at a time has for himself.
        var pools: [Node: ConnectionPool] = [:]
        /// Where this process publishes and listens.
        var home: Node?
        var hasListened = false
        var refreshing: Task<Result<Void, StoreError>, Never>?
        var refreshedAt: UInt64 = 0
        var succession = Succession()
        var isClosed = false
        /// Called for each call that a node sends elsewhere.
        var sentElsewhere: @Sendable () -> Void = {}
        /// Called when `home` is no node of the cluster any more.
        var lostHome: @Sendable () -> Void = {}

        /// What follows from another slot table, to be done without the lock.
        struct Consequences {
            /// Connections to nodes that are none any more.
            var retired: [Connection] = []
            /// Pools of nodes that are no primaries any more.
            var deserted: [ConnectionPool] = []
            /// Whom to tell that the home is no node any more.
            var lostHome: (@Sendable () -> Void)?
        }

        func replica(of shard: SlotMap.Shard) -> Node? {
            if avoided.isEmpty { return shard.replicas.randomElement() }
            let now = Uptime.nanoseconds
            return shard.replicas.filter { avoided[$0].map { $0 <= now } ?? true }.randomElement()
        }

        mutating func adopt(_ map: SlotMap, seeds: [Node]) -> Consequences {
            self.map = map
            refreshedAt = Uptime.nanoseconds
            let known = Set(map.nodes + seeds)
            let gone = primaries.filter { !known.contains($0.key) }
            for node in gone.keys { primaries[node] = nil }
            let noReplicas = replicas.filter { entry in !map.shards.contains { $0.replicas.contains(entry.key) } }
            for node in noReplicas.keys { (replicas[node], avoided[node]) = (nil, nil) }
            let isHomeless = home.map { !map.nodes.contains($0) } ?? false
            if isHomeless { home = nil }
            let deserted = pools.filter { entry in !map.shards.contains { $0.primary == entry.key } }
            for node in deserted.keys { pools[node] = nil }
            return Consequences(
                retired: Array(gone.values) + Array(noReplicas.values), deserted: Array(deserted.values),
                lostHome: isHomeless ? lostHome : nil)
        }
    }

    let configuration: RedisConfiguration
    let keyRules = CommandKeyRules()
    private let seeds: [Node]
    private let readsFromReplicas: Bool
    private let interval: UInt64
    private let connector: Connector
    private let state = Locked(State())

    /// For how long a replica that did not answer is not asked.
    private static let avoidance: UInt64 = 5_000_000_000

    /// A map that is younger than this is not asked for again: many calls notice a change at once.
    private static let freshness: UInt64 = 50_000_000

    /// - Throws: ``ErrorCode/invalidArgument`` for TLS settings that cannot work.
    init(_ cluster: RedisConfiguration.Cluster, of configuration: RedisConfiguration) throws(StoreError) {
        self.configuration = configuration
        seeds = cluster.nodes
        readsFromReplicas = cluster.readsFromReplicas
        interval = UInt64(cluster.refreshInterval.clampedNanoseconds)
        connector = try Connector(configuration, to: .fixed(ServerAddress(cluster.nodes[0])))
    }

    /// Where this process publishes and listens. Any node would do, because each passes publications on to all others; one for both
    /// keeps the messages of this process in the order in which it published them.
    ///
    /// - Throws: where the nodes are not known yet and cannot be asked.
    func home() async throws(StoreError) -> Node {
        if !hasMap() { try await refresh().get() }
        return state.withLock { state in state.home ?? move(&state) }
    }

    /// The same for a new connection of listeners: another node, because the last one was lost.
    func newHome() async -> Node {
        // A node that is only configured may have left the cluster: it would pass nothing on.
        if map.isEmpty { _ = await refresh() }
        return state.withLock { state in
            guard state.hasListened, let old = state.home else {
                state.hasListened = true
                return state.home ?? move(&state)
            }
            return move(&state, from: old)
        }
    }

    private func move(_ state: inout State, from old: Node? = nil) -> Node {
        let nodes = state.map.isEmpty ? seeds : state.map.nodes
        let home = nodes.filter { $0 != old }.randomElement() ?? nodes.first ?? seeds[0]
        state.home = home
        return home
    }

    /// Sets who hears that the listeners are at a node that has left the cluster: it stays connected, and hears nothing more.
    func whenHomeIsLost(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.lostHome = body } }

    var map: SlotMap { state.withLock { $0.map } }

    /// How many calls were sent and have no reply yet.
    var outstanding: Int { connections.reduce(0) { $0 + $1.outstanding } }

    var statistics: ClientStatistics { connections.reduce(ClientStatistics()) { $0 + $1.statistics } }

    var pools: [ConnectionPool] { state.withLock { Array($0.pools.values) } }

    private var connections: [Connection] { state.withLock { Array($0.primaries.values) + Array($0.replicas.values) } }

    /// Shows all nodes the credentials of now that there is a connection to.
    func authenticate() async throws(StoreError) {
        for pool in pools { pool.renew(isGraceful: true) }
        for connection in connections { try await connection.authenticate() }
    }

    func close(finishingWithin grace: Duration = .zero) async {
        state.withLock { $0.isClosed = true }
        for pool in pools { pool.close() }
        await withTaskGroup(of: Void.self) { group in
            for connection in connections { group.addTask { await connection.close(finishingWithin: grace) } }
        }
    }

    func closeWithoutWaiting() {
        state.withLock { $0.isClosed = true }
        for pool in pools { pool.close() }
        for connection in connections { connection.closeWithoutWaiting() }
    }

    // MARK: - Connections

    /// What a connection of its own to the node is made with.
    func connector(to node: Node) -> Connector { connector.aimed(at: ServerAddress(node), role: .any) }
    var anyConnector: Connector { connector(to: seeds[0]) }

    /// Sets who hears of each call that a node sends elsewhere, before it goes there.
    func whenSentElsewhere(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.sentElsewhere = body } }

    func isSentElsewhere() { state.withLock { $0.sentElsewhere }() }

    /// The connection for the next attempt; nil where the slot table names none.
    func link(to target: Journey.Target, slot: Int?, isRead: Bool) -> Link? {
        state.withLock { state in
            switch target {
            case .node(let node), .asking(let node): return link(to: node, &state)
            case .owner, .primary:
                guard let index = slot.map({ state.map.shard(ofSlot: $0) }) ?? state.map.shards.indices.randomElement() else {
                    return nil
                }
                let shard = state.map.shards[index]
                guard target == .owner, isRead, readsFromReplicas, let replica = state.replica(of: shard) else {
                    return link(to: shard.primary, &state)
                }
                let connection = state.replicas[replica] ?? connect(to: replica, .readReplica, isClosed: state.isClosed)
                state.replicas[replica] = connection
                return Link(connection: connection, node: replica)
            }
        }
    }

    /// Where a connection for exclusive use to the primary of a key comes from, and the node.
    ///
    /// - Throws: ``ErrorCode/serverBusy`` where no node serves the key's slot; where the nodes cannot be asked, why.
    func pool(for key: Key) async throws(StoreError) -> (pool: ConnectionPool, node: Node) {
        if !hasMap() { try await refresh().get() }
        let slot = ClusterSlot.of(key)
        let found = state.withLock { state -> (ConnectionPool, Node)? in
            guard let index = state.map.shard(ofSlot: slot) else { return nil }
            let node = state.map.shards[index].primary
            let pool = state.pools[node] ?? ConnectionPool(connector.aimed(at: ServerAddress(node), role: .any))
            if state.isClosed { pool.close() } else { state.pools[node] = pool }
            return (pool, node)
        }
        guard let found else { throw Self.unserved(slot) }
        return found
    }

    /// A replica that did not answer, or cannot, is left alone for a while: otherwise every other read would wait for it.
    func avoid(_ link: Link) {
        state.withLock { state in
            guard state.replicas[link.node] === link.connection else { return }
            state.avoided[link.node] = Uptime.nanoseconds &+ Self.avoidance
        }
    }

    /// An error line came to a caller who cannot be sent elsewhere: where it is about the slots the table is asked for again.
    func heed(_ error: ReplyError, from node: Node) {
        if Redirection(error, host: node.host) != nil { refreshLater() }
    }

    private func link(to node: Node, _ state: inout State) -> Link {
        let connection = state.primaries[node] ?? connect(to: node, .any, isClosed: state.isClosed)
        state.primaries[node] = connection
        return Link(connection: connection, node: node)
    }

    /// Makes a connection that connects when it is first used.
    private func connect(to node: Node, _ role: Handshake.Role, isClosed: Bool) -> Connection {
        let connector = connector.aimed(at: ServerAddress(node), role: role)
        let connection = Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next())
        if isClosed { connection.closeWithoutWaiting() }
        return connection
    }

    // MARK: - The slot table

    /// Notes what MOVED told, at once.
    func move(slot: Int, to node: Node) { state.withLock { $0.map.move(slot: slot, to: node) } }

    /// Whether a map is there; one that is older than the interval is asked for again in the background.
    func hasMap() -> Bool {
        let (isThere, isOld) = state.withLock { state in
            (!state.map.isEmpty, Uptime.nanoseconds &- state.refreshedAt > interval)
        }
        if isThere, isOld { refreshLater() }
        return isThere
    }

    func refreshLater() {
        guard !isFresh else { return }
        _ = refreshing()
    }

    /// Asks for the slot table; those who ask meanwhile share the answer, and each waits until its own deadline.
    ///
    /// - Returns: a failure of effect none where no node answered.
    func refresh() async -> Result<Void, StoreError> {
        if isFresh { return .success(()) }
        if let result = await refreshing().valueUnlessGivenUp() { return result }
        return .failure(StoreError(Task.isCancelled ? .cancelled : .deadlineExceeded))
    }

    private var isFresh: Bool {
        state.withLock { !$0.map.isEmpty && Uptime.nanoseconds &- $0.refreshedAt < Self.freshness }
    }

    private func refreshing() -> Task<Result<Void, StoreError>, Never> {
        state.withLock { state in
            if let task = state.refreshing { return task }
            // Detached: the deadline of the call that noticed is not that of the others who wait.
            let task = Task.detached { await self.ask() }
            state.refreshing = task
            return task
        }
    }

    private func ask() async -> Result<Void, StoreError> {
        let inquiry = await Inquiry<SlotMap>.of(informants, epoch: \.epoch) { await self.slots(of: $0) }
        if let map = inquiry.best?.answer, !map.isEmpty {
            let consequences = state.withLock { state in
                let follows = state.succession.follows(
                    map.epoch, after: state.map.isEmpty ? nil : state.map.epoch, isCertain: inquiry.isComplete,
                    now: Uptime.nanoseconds)
                return follows ? state.adopt(map, seeds: seeds) : State.Consequences()
            }
            for connection in consequences.retired { connection.retire() }
            // Nobody is to wait for ever on a node that was cut off.
            for pool in consequences.deserted { pool.desert() }
            consequences.lostHome?()
        }
        state.withLock { $0.refreshing = nil }
        guard let best = inquiry.best else { return .failure(Self.failure(inquiry.failure)) }
        return best.answer.isEmpty ? .failure(StoreError(.serverBusy, "The cluster serves no slots yet")) : .success(())
    }

    /// Some of the nodes that are known, and some of the configuration's.
    private var informants: [Node] {
        let known = state.withLock { $0.map.nodes }.shuffled().prefix(4)
        return Array(Set(known).union(seeds.shuffled().prefix(known.isEmpty ? 8 : 2)))
    }

    /// The slot table as a node has it.
    func slots(of node: Node) async -> Result<SlotMap, StoreError> {
        let link = state.withLock { self.link(to: node, &$0) }
        let replies = await link.connection.many(2) { writer in
            writer.command(["CLUSTER", "SLOTS"])
            writer.command(["CLUSTER", "INFO"])
        }
        do throws(StoreError) {
            let replies = try replies.get()
            var map = try SlotMap(replies[0], host: node.host)
            // A node that was removed from the cluster, or has not joined it yet, knows nothing of it, whatever its epoch.
            map.epoch = map.isEmpty ? -1 : ClusterInfo(replies[1]).epoch
            return .success(map)
        } catch {
            return .failure(error)
        }
    }

    /// All nodes that a node knows, those without slots included; none where it does not say.
    func members(by node: Node) async -> Set<Node> {
        let link = state.withLock { self.link(to: node, &$0) }
        guard case .success(let reply) = await link.connection.one({ $0.command(["CLUSTER", "NODES"]) }) else { return [] }
        return ClusterNodes(reply).all
    }

    private static func failure(_ failure: StoreError?) -> StoreError {
        guard let failure else { return StoreError(.connectionFailed, "No node of the cluster answered in time") }
        // Nothing of the caller's was sent.
        let code: ErrorCode = failure.code == .serverRefused || failure.code == .shuttingDown ? failure.code : .connectionFailed
        return StoreError(code, "No node of the cluster answered; one says: \(failure.message)")
    }
}
