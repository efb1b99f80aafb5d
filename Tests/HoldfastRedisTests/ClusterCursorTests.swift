import HoldfastStore
import Testing

@testable import HoldfastRedis

/// Where a scan of a cluster goes on, played through without a cluster.
@Suite struct ClusterCursorTests {
    private typealias Node = RedisConfiguration.Node

    private static let nodes = (0..<4).map { Node(host: "n", port: 7000 + $0) }

    /// A table in which the nodes serve such ranges of slots, one after the other.
    private func map(_ ranges: [(length: Int, node: Int)]) throws -> SlotMap {
        var first = 0
        let rows = ranges.map { length, node -> Reply in
            defer { first += length }
            return .array([
                .integer(Int64(first)), .integer(Int64(first + length - 1)),
                .array([.bytes("n"), .integer(Int64(Self.nodes[node].port))]),
            ])
        }
        return try SlotMap(.array(rows), host: "n")
    }

    @Test func aCursorIsReadBackAndKnowsItsNodeAndItsTable() throws {
        var map = try map([(8192, 0), (8192, 1)])
        let node = Self.nodes[1]
        for walk in [ClusterCursor.Walk.ofNodes, .ofSlots] {
            let cursor = ClusterCursor(walk, map, node, slot: 8192, inner: ClusterCursor.largestInner)
            #expect(ClusterCursor(cursor.value) == cursor)
            #expect(cursor.place(map) == .init(walk: walk, slot: 8192, node: node, inner: ClusterCursor.largestInner))
            #expect(cursor.place(map)?.inner(at: Self.nodes[0]) == 0)
        }
        #expect(ClusterCursor(.ofNodes, map, node, slot: 0).value != 0, "0 is the end")
        let (still, moving) = (
            ClusterCursor(.ofNodes, map, node, slot: 8192, inner: 7), ClusterCursor(.ofSlots, map, node, slot: 8192, inner: 7)
        )
        map.move(slot: 0, to: node)
        #expect(still.place(map) == .init(walk: .ofSlots, slot: 8192, node: node, inner: 0))
        #expect(moving.place(map) == .init(walk: .ofSlots, slot: 8192, node: node, inner: 7))
        map.move(slot: 0, to: Self.nodes[0])
        #expect(still.place(map)?.inner == 7, "it is the table that it was")
    }

    @Test func tablesOfOneMeaningHaveOneFingerprint() throws {
        var map = try map([(100, 0), (100, 1)])
        #expect(map.fingerprint != (try self.map([(101, 0), (99, 1)])).fingerprint)
        #expect(map.fingerprint == (try self.map([(50, 0), (50, 0), (100, 1)])).fingerprint)
        map.move(slot: 100, to: Self.nodes[0])
        #expect(map.fingerprint == (try self.map([(101, 0), (99, 1)])).fingerprint)
    }

    @Test func whereNothingMovesEachNodeIsWalkedOnceHoweverManyRangesItServes() throws {
        let map = try map((0..<64).map { (256, $0 % 4) })
        var (cursor, walked) = (ClusterCursor.none, [Int]())
        repeat {
            let place = try #require(cursor.place(map))
            walked.append(place.node.port - 7000)
            cursor = ClusterCursor(behind: place, map, now: map, asked: place.node, inner: place.inner == 2 ? 0 : place.inner + 1)
        } while cursor != .none && walked.count < 100
        #expect(walked == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    }

    /// Slots move between pages and while pages are on their way, and the table tells it at once or later. What did not move is found.
    /// Marks have 9 bits, so by chance a table may be taken for another: these histories are without such a chance.
    @Test func whatDoesNotMoveIsFoundWhateverElseDoes() throws {
        for seed in 1...60 {
            var random = RandomSource(seed: UInt64(seed))
            let (sample, pages) = (64, UInt64.random(in: 1...4, using: &random))
            func slot(_ place: Int) -> Int { place * ClusterSlot.count / sample }
            var owner = (0..<sample).map { $0 * 4 / sample }
            let stays = (0..<sample).map { _ in Bool.random(using: &random) }
            var map = try map(owner.map { (ClusterSlot.count / sample, $0) })
            // Moves that the table does not tell yet.
            var untold: [Int] = []
            func change() {
                for _ in 0..<Int.random(in: 0...3, using: &random) {
                    if let place = stays.indices.filter({ !stays[$0] }).randomElement(using: &random) {
                        owner[place] = Int.random(in: 0..<4, using: &random)
                        untold.append(place)
                    }
                }
                while !untold.isEmpty, Bool.random(using: &random) {
                    let place = untold.removeFirst()
                    for offset in 0..<(ClusterSlot.count / sample) {
                        map.move(slot: slot(place) + offset, to: Self.nodes[owner[place]])
                    }
                }
            }
            let quiet = Int.random(in: 0...8, using: &random)
            var (cursor, found, count) = (ClusterCursor.none, Set<Int>(), 0)
            repeat {
                if count > quiet, count < quiet + 20 { change() }
                let before = map
                guard let place = cursor.place(before) else { break }
                if count > quiet, count < quiet + 20 { change() }
                // A node's pages: of the slots that it serves now, those whose turn it is.
                let (inner, node) = (place.inner, place.node.port - 7000)
                found.formUnion(owner.indices.filter { owner[$0] == node && UInt64($0) % pages == inner })
                cursor = ClusterCursor(
                    behind: place, before, now: map, asked: place.node, inner: inner + 1 == pages ? 0 : inner + 1)
                count += 1
            } while cursor != .none && count < 2000
            #expect(count < 2000)
            #expect(stays.indices.filter { stays[$0] && !found.contains($0) } == [])
        }
    }
}
