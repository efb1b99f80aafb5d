import HoldfastStore

/// A cursor over all nodes of a cluster, without state in this process: any process goes on where another stopped.
///
/// The slots are walked in their order: whoever serves the first is walked to its end, then whoever serves the next slot that is another
/// node's. From the top: 10 bits that tell the node, 14 bits of the slot, 40 bits of the node's own cursor. When the slot is another node's
/// by now (a failover, a slot that moved), the bits do not fit and that node is walked from its beginning.
///
/// So whatever moves meanwhile, each slot that is passed was served, when it was passed, by a node that had been walked to its end: keys may
/// come twice, but those that were there all along come, unless they were on their way themselves. A node that serves several ranges of slots
/// is walked once for each: that it was walked before could not be relied on, for it may have got slots since.
struct ClusterCursor: Equatable {
    /// 40 bits: beyond the size of any node's table, in Redis and in Valkey, whose cursors carry the slot too.
    static let largestInner: UInt64 = 0xFF_FFFF_FFFF

    var mark: UInt64
    var slot: Int
    var inner: UInt64

    init(node: RedisConfiguration.Node, slot: Int, inner: UInt64) {
        mark = Self.mark(node)
        self.slot = slot
        self.inner = inner
    }

    init(_ value: UInt64) {
        mark = value >> 54
        slot = Int(value >> 40 & 0x3FFF)
        inner = value & Self.largestInner
    }

    var value: UInt64 { mark << 54 | UInt64(slot) << 40 | inner }

    /// Where to go on at a node: at its beginning, if the cursor is another's.
    func inner(at node: RedisConfiguration.Node) -> UInt64 { mark == Self.mark(node) ? inner : 0 }

    /// FNV-1a, cut to 10 bits; never 0, so that only the beginning is 0.
    private static func mark(_ node: RedisConfiguration.Node) -> UInt64 {
        let hash = "\(node)".utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return hash % 1023 + 1
    }
}
