import HoldfastStore

/// A cursor over all nodes of a cluster, without state in this process: any process goes on where another stopped.
///
/// As long as nothing moves, the nodes are walked in the order of the lowest slot that each serves, each once. The cursor bears a mark of the
/// slot table: once that is another, a node that was walked may have got slots since. From then on the slots are walked in their order:
/// whoever serves the next one to his end, then whoever serves the next that is another's. What stands before has been done: those slots were
/// served by nodes whose lowest slots stand before too.
///
/// So each slot that is passed was served, when it was passed, by a node that had been walked to its end: keys may come twice, but those that
/// were there all along come, unless they were on their way themselves.
///
/// From the top: a bit that tells which walk it is, 9 bits of the mark, 14 bits of the slot, 40 bits of the node's own cursor.
struct ClusterCursor: Equatable {
    typealias Node = RedisConfiguration.Node

    enum Walk: UInt64 {
        case ofNodes, ofSlots
    }

    /// Where a page is asked for.
    struct Place: Equatable {
        var walk: Walk
        let slot: Int
        /// Who serves the slot.
        let node: Node
        /// Its own cursor.
        var inner: UInt64

        /// The node's own cursor at the node that is asked in the end.
        func inner(at asked: Node) -> UInt64 { asked == node ? inner : 0 }
    }

    /// 40 bits: beyond the size of any node's table, in Redis and in Valkey, whose cursors carry the slot too.
    static let largestInner: UInt64 = 0xFF_FFFF_FFFF

    private(set) var walk = Walk.ofNodes
    private var mark: UInt64 = 0
    private(set) var slot = 0
    private(set) var inner: UInt64 = 0

    /// The beginning, and the end.
    static let none = ClusterCursor(0)

    init(_ value: UInt64) {
        walk = Walk(rawValue: value >> 63) ?? .ofSlots
        mark = value >> 54 & 0x1FF
        slot = Int(value >> 40 & 0x3FFF)
        inner = value & Self.largestInner
    }

    init(_ walk: Walk, _ map: SlotMap, _ node: Node, slot: Int, inner: UInt64 = 0) {
        self.walk = walk
        self.slot = slot
        self.inner = inner
        mark = Self.mark(walk, map, node)
    }

    var value: UInt64 { walk.rawValue << 63 | mark << 54 | UInt64(slot) << 40 | inner }

    /// Where to go on; nil where nobody serves any more slots. A node whose mark does not fit is walked from its beginning.
    func place(_ map: SlotMap) -> Place? {
        guard let (slot, node) = map.next(from: slot) else { return nil }
        let fits = self == .none || (slot == self.slot && mark == Self.mark(walk, map, node))
        return Place(walk: fits ? walk : .ofSlots, slot: slot, node: node, inner: fits ? inner : 0)
    }

    /// Behind a page; ``none`` at the end.
    ///
    /// - Parameters:
    ///   - map: by which the place was found.
    ///   - now: the table since the page has come.
    ///   - asked: who answered it.
    ///   - inner: that node's cursor; 0 where it has been walked to its end.
    init(behind place: Place, _ map: SlotMap, now: SlotMap, asked: Node, inner: UInt64) {
        let isStill = asked == place.node && map.fingerprint == now.fingerprint
        let walk = isStill ? place.walk : .ofSlots
        if inner != 0 {
            self.init(walk, now, asked, slot: place.slot, inner: inner)
        } else if walk == .ofNodes {
            let next = now.lowestSlots.first { $0.slot > place.slot }
            self = next.map { ClusterCursor(walk, now, now.shards[$0.shard].primary, slot: $0.slot) } ?? .none
        } else {
            // From this slot on: it may be another's by now.
            let next = now.next(from: place.slot, notOf: asked)
            self = next.map { ClusterCursor(walk, now, $0.node, slot: $0.slot) } ?? .none
        }
    }

    /// Of the node, and of the table where that counts. Never 0, so that only the beginning is 0.
    private static func mark(_ walk: Walk, _ map: SlotMap, _ node: Node) -> UInt64 {
        let mark = walk == .ofNodes ? node.fingerprint ^ map.fingerprint : node.fingerprint
        return mark % 511 + 1
    }
}

extension RedisConfiguration.Node {
    /// The same in every process: FNV-1a.
    var fingerprint: UInt64 {
        "\(self)".utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
