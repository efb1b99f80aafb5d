import HoldfastStore

/// Which nodes serve which slots: a value that is swapped whole.
struct SlotMap: Equatable {
    typealias Node = RedisConfiguration.Node

    struct Shard: Equatable {
        var primary: Node
        var replicas: [Node] = []
    }

    private(set) var shards: [Shard] = []
    /// The shard of each slot; ``unserved`` where there is none.
    private var shardOfSlot = [UInt16](repeating: SlotMap.unserved, count: ClusterSlot.count)
    /// Who serves which slots, as a number that is the same in every process; that two tables share one is chance.
    private(set) var fingerprint: UInt64 = 0
    /// The cluster's epoch as the node that told this knew it: of two maps the one with the higher epoch is the newer.
    var epoch: Int64 = 0

    private static let unserved = UInt16.max
    /// No cluster has more nodes (the specification recommends at most 1000).
    private static let largest = 4096

    init() {}

    /// Reads the reply to CLUSTER SLOTS.
    ///
    /// - Parameter host: of the node that was asked; it stands for a node that does not know its own address.
    /// - Throws: ``ErrorCode/serverRefused`` where the server is no cluster's node, ``ErrorCode/unexpectedReply`` for another shape.
    init(_ reply: Reply, host: String) throws(StoreError) {
        if case .error(let error) = reply { throw Self.failure(error) }
        guard let ranges = reply.elements else { throw StoreError(.unexpectedReply, operation: "CLUSTER SLOTS") }
        var known: [Node: Int] = [:]
        for range in ranges {
            guard let parts = range.elements, parts.count >= 3, let first = parts[0].integer, let last = parts[1].integer,
                (0..<Int64(ClusterSlot.count)).contains(first), first <= last, last < Int64(ClusterSlot.count),
                let primary = Self.node(parts[2], host: host)
            else {
                throw StoreError(.unexpectedReply, "CLUSTER SLOTS has another shape than expected", operation: "CLUSTER SLOTS")
            }
            let index = known[primary] ?? shards.count
            if index == shards.count {
                guard index < Self.largest else { throw StoreError(.unexpectedReply, "More than \(Self.largest) shards") }
                known[primary] = index
                shards.append(Shard(primary: primary, replicas: parts.dropFirst(3).compactMap { Self.node($0, host: host) }))
            }
            let mark = primary.fingerprint
            for slot in first...last { assign(Int(slot), to: index, mark) }
        }
    }

    /// - Parameter mark: the primary's fingerprint.
    private mutating func assign(_ slot: Int, to shard: Int, _ mark: UInt64) {
        let old = shardOfSlot[slot]
        if old != Self.unserved { fingerprint ^= Self.mix(slot, shards[Int(old)].primary.fingerprint) }
        fingerprint ^= Self.mix(slot, mark)
        shardOfSlot[slot] = UInt16(shard)
    }

    /// splitmix64.
    private static func mix(_ slot: Int, _ mark: UInt64) -> UInt64 {
        var bits = mark &+ UInt64(slot + 1) &* 0x9E37_79B9_7F4A_7C15
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }

    private static func failure(_ error: ReplyError) -> StoreError {
        let failure = StoreError(error, operation: "CLUSTER SLOTS")
        guard !failure.isServerFailure else { return failure }
        // Without the slots nothing can be done at all.
        if failure.code == .permissionMissing {
            return StoreError(.serverRefused, failure.message, operation: "CLUSTER SLOTS")
        }
        return StoreError(.serverRefused, "The server is no node of a cluster: \(error.line)", operation: "CLUSTER SLOTS")
    }

    /// `[address, port, …]`; the address is null or empty where it is the one that was asked, and `?` where nobody knows it.
    private static func node(_ reply: Reply, host: String) -> Node? {
        guard let parts = reply.elements, parts.count >= 2, let port = parts[1].integer, (1...65_535).contains(port) else {
            return nil
        }
        let address = parts[0].bytes?.string ?? ""
        guard address != "?" else { return nil }
        return Node(host: address.isEmpty ? host : address, port: Int(port))
    }

    var isEmpty: Bool { shards.isEmpty }
    var nodes: [Node] { shards.flatMap { [$0.primary] + $0.replicas } }

    func shard(ofSlot slot: Int) -> Int? {
        let shard = shardOfSlot[slot]
        return shard == Self.unserved ? nil : Int(shard)
    }

    /// The lowest slot of each shard that has any.
    var lowestSlots: [(slot: Int, shard: Int)] {
        var seen = Set<UInt16>()
        var lowest: [(slot: Int, shard: Int)] = []
        for (slot, shard) in shardOfSlot.enumerated() where shard != Self.unserved && seen.insert(shard).inserted {
            lowest.append((slot, Int(shard)))
        }
        return lowest
    }

    /// The first slot, from the given one on, that anyone serves, but for this node; and who serves it. Cost: O(slots).
    func next(from slot: Int, notOf done: Node? = nil) -> (slot: Int, node: Node)? {
        for slot in slot..<ClusterSlot.count {
            guard let shard = shard(ofSlot: slot), shards[shard].primary != done else { continue }
            return (slot, shards[shard].primary)
        }
        return nil
    }

    /// Notes that a slot has moved, as MOVED tells.
    mutating func move(slot: Int, to node: Node) {
        var shard = shards.firstIndex { $0.primary == node }
        if shard == nil, shards.count < Self.largest {
            shard = shards.count
            shards.append(Shard(primary: node))
        }
        if let shard { assign(slot, to: shard, node.fingerprint) }
    }
}
