import HoldfastStore
import Testing

@testable import HoldfastRedis

/// The decisions of a cluster's client, without a cluster.
@Suite struct ClusterValueTests {
    private typealias Node = RedisConfiguration.Node
    private let node = Node(host: "10.0.0.1", port: 7000)

    // MARK: - Slots

    /// From the cluster specification, and from CLUSTER KEYSLOT of a server.
    @Test(arguments: [
        ("123456789", 12739), ("foo", 12182), ("bar", 5061), ("", 0), ("{user1000}.following", 3443),
        ("{user1000}.followers", 3443),
        ("user1000", 3443), ("foo{}{bar}", 8363), ("foo{{bar}}zap", 4015), ("foo{bar}{zap}", 5061), ("{", 4092), ("a{b", 13340),
    ]) func aKeyLiesInItsSlot(key: String, slot: Int) {
        #expect(ClusterSlot.of(Bytes(key)) == slot)
    }

    @Test func aKeysCompanionsShareItsSlot() {
        let key = Namespace(prefix: "holdfast:", tenant: "a{b").key("session:\("x{y}z")")
        #expect(ClusterSlot.of(key) == ClusterSlot.of(key.companion("deleted")))
    }

    // MARK: - The slot table

    private func range(_ first: Int64, _ last: Int64, _ nodes: [(Reply, Int64)]) -> Reply {
        .array([.integer(first), .integer(last)] + nodes.map { .array([$0.0, .integer($0.1), .bytes("id"), .array([])]) })
    }

    @Test func aTableIsReadWithItsGapsAndReplicas() throws {
        let map = try SlotMap(
            .array([
                range(0, 5, [(.bytes("a"), 1), (.bytes("b"), 2)]), range(7, 7, [(.null, 3)]), range(9, 16383, [(.bytes("a"), 1)]),
            ]), host: "asked")
        #expect(map.shards.map(\.primary) == [Node(host: "a", port: 1), Node(host: "asked", port: 3)])
        #expect(map.shards[0].replicas == [Node(host: "b", port: 2)])
        #expect([0, 5, 6, 7, 8, 9, 16383].map { map.shard(ofSlot: $0) } == [0, 0, nil, 1, nil, 0, 0])
        #expect(map.lowestSlots.map(\.slot) == [0, 7])
    }

    @Test(arguments: [
        Reply.integer(1), .array([.array([.integer(0)])]), .array([.array([.integer(5), .integer(1), .array([])])]),
        .array([.array([.integer(0), .integer(16384), .array([.bytes("a"), .integer(1)])])]),
        .array([.array([.integer(-1), .integer(1), .array([.bytes("a"), .integer(1)])])]),
        .array([.array([.integer(0), .integer(1), .array([.bytes("?"), .integer(1)])])]),
        .array([.array([.integer(0), .integer(1), .array([.bytes("a"), .integer(0)])])]),
    ]) func aTableThatIsNoneIsRefused(reply: Reply) {
        #expect(throws: StoreError.self) { try SlotMap(reply, host: "h") }
    }

    @Test func aServerWithoutClusterIsARefusalAndOneThatLoadsIsNot() {
        let none = #expect(throws: StoreError.self) {
            try SlotMap(.error(ReplyError("ERR This instance has cluster support disabled")), host: "h")
        }
        #expect(none?.code == .serverRefused)
        let loading = #expect(throws: StoreError.self) { try SlotMap(.error(ReplyError("LOADING soon")), host: "h") }
        #expect(loading?.code == .serverLoading)
    }

    @Test func aMovedSlotIsNotedAlsoForANodeThatIsNew() throws {
        var map = try SlotMap(.array([range(0, 16383, [(.bytes("a"), 1)])]), host: "h")
        map.move(slot: 7, to: node)
        #expect(map.shard(ofSlot: 7).map { map.shards[$0].primary } == node)
        map.move(slot: 7, to: Node(host: "a", port: 1))
        #expect(map.shard(ofSlot: 7) == 0)
    }

    // MARK: - Redirections

    @Test(arguments: [
        ("MOVED 3999 127.0.0.1:6381", Redirection.moved(slot: 3999, .init(host: "127.0.0.1", port: 6381))),
        ("MOVED 3999 :6381", .moved(slot: 3999, .init(host: "asked", port: 6381))),
        ("ASK 0 fe80::1:6381", .ask(.init(host: "fe80::1", port: 6381))), ("TRYAGAIN Multiple keys", .wait),
        ("CLUSTERDOWN The cluster is down", .wait), ("READONLY You cannot", .wait), ("LOADING x", .wait), ("MASTERDOWN x", .wait),
        ("MOVED 16384 a:1", nil), ("MOVED -1 a:1", nil), ("MOVED 1", nil), ("MOVED 1 a", nil), ("MOVED 1 a:0", nil),
        ("MOVED 1 ?:1", nil), ("ERR x", nil), ("WRONGTYPE x", nil), ("CROSSSLOT x", nil),
    ]) private func anErrorLineSaysWhereToGo(line: String, redirection: Redirection?) {
        #expect(Redirection(ReplyError(line), host: "asked") == redirection)
    }

    private func journey(deadline: UInt64 = 1_000_000_000, isIdempotent: Bool = true, retries: Bool = true) -> Journey {
        Journey(deadline: deadline, isIdempotent: isIdempotent, retries: retries)
    }

    private func target(_ step: Journey.Step) -> Journey.Target? {
        if case .go(let target, _, _) = step { target } else { nil }
    }

    @Test func redirectionsAreFollowedButNotForEver() {
        var journey = journey(deadline: 0)
        #expect(target(journey.next(after: .moved(slot: 1, node), now: 0)) == .node(node))
        #expect(target(journey.next(after: .ask(node), now: 0)) == .asking(node))
        for _ in 0..<(Journey.maximumRedirections - 2) { _ = journey.next(after: .ask(node), now: 0) }
        #expect(target(journey.next(after: .ask(node), now: 0)) == nil)
    }

    @Test func waitingEndsAtTheDeadline() {
        var journey = journey(deadline: 1_000_000_000)
        #expect(target(journey.next(after: .wait, now: 0)) == .primary)
        #expect(target(journey.next(after: .wait, now: 999_999_999)) == nil)
    }

    @Test(arguments: [
        (StoreError(.connectionFailed), false, true), (StoreError(.connectionLost, effect: .none), false, true),
        (StoreError(.connectionLost, effect: .unknown), false, false),
        (StoreError(.connectionLost, effect: .unknown), true, true),
        (StoreError(.timeout, effect: .none), true, false), (StoreError(.timeout, effect: .unknown), false, false),
        (StoreError(.timeout, effect: .unknown), true, true), (StoreError(.overloaded), true, false),
        (StoreError(.cancelled, effect: .unknown), true, false), (StoreError(.shuttingDown), true, false),
        (StoreError(.deadlineExceeded), true, false), (StoreError(.serverRefused), true, false),
    ]) func onlyWhatIsSafeIsSentOnceMore(error: StoreError, isIdempotent: Bool, goesOn: Bool) {
        var journey = journey(isIdempotent: isIdempotent)
        #expect((target(journey.next(after: error, now: 0)) != nil) == goesOn)
        if error.code == .timeout { #expect(target(journey.next(after: error, now: 0)) == nil, "once") }
        if error.effect == .unknown {
            var careful = Journey(deadline: .max, isIdempotent: isIdempotent, retries: false)
            #expect(target(careful.next(after: error, now: 0)) == nil, "where retries are off")
        }
    }

    // MARK: - What is known of the effect

    @Test func whatMayHaveHappenedStaysSoWhateverTheLastAttemptSays() {
        var journey = journey()
        #expect(journey.end(with: StoreError(.cancelled)).effect == StoreError.Effect.none)
        _ = journey.next(after: StoreError(.connectionFailed), now: 0)
        #expect(journey.end(with: StoreError(.cancelled)).effect == StoreError.Effect.none)
        _ = journey.next(after: StoreError(.connectionLost, effect: .unknown), now: 0)
        _ = journey.next(after: StoreError(.connectionFailed), now: 0)
        let error = journey.end(with: StoreError(.connectionFailed, "away", effect: .none, operation: "SET", field: "key"))
        #expect(error == StoreError(.connectionFailed, "away", effect: .unknown, operation: "SET", field: "key"))
        #expect(journey.end(with: StoreError(.cancelled)).effect == .unknown)
    }

    @Test func anErrorLineSaysNothingOfEarlierAttemptsUnlessItIsTheCommandsOwn() {
        var history = AttemptHistory()
        #expect(history.end(with: ReplyError("LOADING x")) == nil)
        history.add(StoreError(.connectionLost, effect: .none))
        #expect(!history.mayHaveHappened)
        history.add(StoreError(.timeout, effect: .unknown))
        for line in ["LOADING x", "READONLY x", "CLUSTERDOWN x", "OOM x"] {
            #expect(history.end(with: ReplyError(line))?.effect == .unknown, "\(line)")
        }
        for line in ["WRONGTYPE x", "ERR x", "NOSCRIPT x"] { #expect(history.end(with: ReplyError(line)) == nil, "\(line)") }
    }

    // MARK: - Scans, and answers of several nodes

    @Test func theNextSlotOfAnotherNodeIsFound() throws {
        let (a, b, c) = (Node(host: "a", port: 1), Node(host: "b", port: 1), Node(host: "c", port: 1))
        let ranges: [(Int64, Int64, Reply)] = [(2, 5460, "a"), (5461, 10922, "b"), (10923, 16382, "c")].map {
            ($0, $1, .bytes($2))
        }
        var map = try SlotMap(.array(ranges.map { range($0, $1, [($2, 1)]) }), host: "h")
        func next(_ slot: Int, _ done: Node?) -> String? {
            map.next(from: slot, notOf: done).map { "\($0.slot) \($0.node.host)" }
        }
        #expect(next(0, nil) == "2 a")
        #expect(next(2, a) == "5461 b" && next(5461, b) == "10923 c" && next(10923, c) == nil)
        #expect(next(16383, nil) == nil)
        // While b is walked, slots of a move to c and slots of c to a: both have been passed, or come.
        map.move(slot: 3, to: c)
        map.move(slot: 12000, to: a)
        #expect(next(5461, b) == "10923 c" && next(10923, c) == "12000 a" && next(12000, a) == "12001 c")
        // The slot at which b was begun is a's by now: nobody has walked a for it.
        map.move(slot: 5461, to: a)
        #expect(next(5461, b) == "5461 a" && next(5461, a) == "5462 b")
    }

    @Test func answersOfSeveralNodesMakeOne() {
        #expect(Gathering.sum.combine([.integer(1), .integer(2)]) == .integer(3))
        #expect(Gathering.concatenated.combine([.array([.null]), .array([.ok])]) == .array([.null, .ok]))
        #expect(Gathering.any.combine([.null, .bytes("x"), .null]) == .bytes("x"))
        #expect(Gathering.any.combine([.null]) == .null)
        #expect(
            Gathering.least.combine([.array([.integer(1), .integer(1)]), .array([.integer(1), .integer(0)])])
                == .array([.integer(1), .integer(0)]))
        #expect(Gathering.sum.combine([.integer(1), .error(.syntax)]) == .error(.syntax))
    }

    @Test func aClustersInfoTellsItsEpochAndState() {
        let info = ClusterInfo(.bytes("cluster_state:fail\r\ncluster_current_epoch:12\r\n"))
        #expect(info.isDown)
        #expect(info.epoch == 12)
        #expect(!ClusterInfo(.error(ReplyError("NOPERM"))).isDown)
    }
}
