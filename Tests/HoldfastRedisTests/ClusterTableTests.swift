import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// What a cluster's client does when another node serves what one served before. Peers tell it so.
@Suite struct ClusterTableTests {
    /// A key of a slot within the range.
    private func key(in slots: ClosedRange<Int>) throws -> Key {
        try #require((0..<1000).lazy.map { Key(raw: Bytes("key-\($0)")) }.first { slots.contains(ClusterSlot.of($0)) })
    }

    // MARK: - SCAN

    /// While the second node is scanned, a slot of the first goes to the third.
    @Test func aScanVisitsEveryNodeThoughSlotsMoveMeanwhile() async throws {
        @Sendable func page(_ cursor: String, _ key: String) -> String { "*2\r\n$1\r\n\(cursor)\r\n*1\r\n$2\r\n\(key)\r\n" }
        let (moved, third) = (try key(in: 0...5000), Locked(0))
        let slot = ClusterSlot.of(moved)
        let cluster = try await ScriptedCluster.start([
            { $0[0] == "SCAN" ? page("0", "a1") : "-MOVED \(slot) 127.0.0.1:\(third.withLock { $0 })\r\n" },
            { $0[0] != "SCAN" ? "+OK\r\n" : $0[1] == "0" ? page("7", "b1") : page("0", "b2") },
            { $0[0] == "SCAN" ? page("0", "c1") : "$1\r\nv\r\n" },
        ])
        third.withLock { $0 = cluster.peers[2].port }
        let store = try RedisStore(cluster.configuration())
        var (cursor, found) = ("0", [String]())
        repeat {
            let parts = try #require(try await store(.raw("SCAN", Bytes(cursor))).elements)
            cursor = try #require(parts[0].bytes).lossyString
            found += parts[1].list?.map(\.lossyString) ?? []
            guard found.last == "b1" else { continue }
            cluster.table.withLock {
                $0 = [(0...slot - 1, 0), (slot...slot, 2), (slot + 1...5460, 0), (5461...10921, 1), (10922...16383, 2)]
            }
            #expect(try await store(.get(moved)) == "v")
        } while cursor != "0" && found.count < 20
        // The second begins anew once the table is another.
        #expect(found == ["a1", "b1", "b1", "b2", "c1"])
        await store.shutdown()
        try await cluster.stop()
    }

    // MARK: - Nodes that know nothing

    /// A node that was removed is still in the configuration. It answers, of a higher epoch and before all others.
    @Test func aRemovedNodesEmptyTableCountsForNothing() async throws {
        let cluster = try await ScriptedCluster.start([{ _ in "$1\r\nv\r\n" }])
        let removed = try await ScriptedPeer.start { command in
            switch command.prefix(2) {
            case ["CLUSTER", "SLOTS"]: "*0\r\n"
            case ["CLUSTER", "INFO"]: "$46\r\ncluster_state:fail\r\ncluster_current_epoch:99\r\n\r\n"
            default: "-CLUSTERDOWN Hash slot not served\r\n"
            }
        }
        let store = try RedisStore(
            cluster.configuration { $0.nodes.append(.init(host: "127.0.0.1", port: removed.port)) })
        guard case .cluster(let nodes) = store.topology else { return }
        #expect(try await store(.get(Key(raw: "k"))) == "v")
        #expect(nodes.map.nodes.map(\.port) == [cluster.peers[0].port])
        await store.shutdown()
        try await cluster.stop()
        try await removed.stop()
    }

    /// Others have only a moment once somebody has answered; not where that one knows nothing.
    @Test func othersAreWaitedForWhereTheFirstKnowsNothing() async {
        let nodes = [RedisConfiguration.Node(host: "knows-nothing", port: 1), .init(host: "knows", port: 1)]
        let inquiry = await Inquiry<Int64>.of(nodes, epoch: { $0 }) { node in
            guard node == nodes[1] else { return .success(-1) }
            // Twice the moment. Whoever is not waited for any more is cancelled, and has no answer.
            guard (try? await Task.sleep(for: .milliseconds(500))) != nil else { return .failure(StoreError(.cancelled)) }
            return .success(7)
        }
        #expect(inquiry.best?.answer == 7)
    }

    // MARK: - Nodes without slots

    @Test func allMembersAreReadByAddressAndName() {
        let lines = [
            "07c3 127.0.0.1:30004@31004,host4,shard-id=69bc slave e7d1 0 1426238317239 4 connected",
            "67ed 10.0.0.2:30002@31002 master - 0 1426238316232 2 connected 5461-10922",
            "6ec2 ::1:30003@31003, myself,master - 0 0 3",
            "824f :0@0 master,noaddr", "short", "",
        ]
        let nodes: [RedisConfiguration.Node] = [
            .init(host: "127.0.0.1", port: 30004), .init(host: "host4", port: 30004), .init(host: "10.0.0.2", port: 30002),
            .init(host: "::1", port: 30003),
        ]
        #expect(ClusterNodes(.bytes(Bytes(lines.joined(separator: "\n")))).all == Set(nodes))
        #expect(ClusterNodes(.error(ReplyError("NOPERM"))).all.isEmpty)
    }

    /// Its first slot is on its way to it. A script's word is only taken for a node that the cluster knows.
    @Test(arguments: [true, false]) func aScriptIsSentOnToANewNodeWithoutSlots(isMember: Bool) async throws {
        let asked = Locked<[String]>([])
        let new = try await ScriptedPeer.start { command in
            asked.withLock { $0.append(command[0]) }
            return command[0] == "EVAL" ? ":1\r\n" : "+OK\r\n"
        }
        let port = new.port
        let slot = ClusterSlot.of(Key(raw: "k"))
        let line = "67ed 127.0.0.1:\(isMember ? port : 1)@1 master - 0 0 2 connected\n"
        let cluster = try await ScriptedCluster.start([
            { command in
                switch command[0] {
                case "EVAL": "-ASK \(slot) 127.0.0.1:\(port)\r\n"
                case "CLUSTER": "$\(line.utf8.count)\r\n\(line)\r\n"
                default: "+OK\r\n"
                }
            }
        ])
        let store = try RedisStore(cluster.configuration())
        let reply = try await store.execute(.raw(["EVAL", "return 1", "1", "k"]))
        if isMember { #expect(reply == .integer(1)) } else { #expect(reply.refusal?.prefix == "ASK") }
        #expect(asked.withLock { $0.contains("EVAL") } == isMember)
        await store.shutdown()
        try await cluster.stop()
        try await new.stop()
    }

    // MARK: - Subscriptions

    /// A node that has left the cluster stays connected, and would never pass a message on. Nothing but the listener uses the store.
    @Test func listenersLeaveANodeThatHasLeftTheCluster() async throws {
        let subscribed = Locked<[Int]>([])
        func script(_ number: Int) -> ScriptedPeer.Script {
            { command in
                switch command[0] {
                case "SUBSCRIBE":
                    subscribed.withLock { $0.append(number) }
                    return ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
                case "UNSUBSCRIBE": return ">3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n"
                default: return "+PONG\r\n"
                }
            }
        }
        let cluster = try await ScriptedCluster.start([script(0), script(1)])
        var configuration = cluster.configuration { $0.refreshInterval = .milliseconds(1) }
        // That is how often the listener asks whether its connection is alive.
        configuration.commandTimeout = .milliseconds(500)
        let store = try RedisStore(configuration)
        var news: Subscription.Event?
        try await eventually("it does not listen") {
            do {
                news = try await store.withSubscription(to: [.channel(Channel("news"))]) { subscription in
                    let home = try #require(subscribed.withLock { $0.last })
                    cluster.table.withLock { $0 = [(0...16383, 1 - home)] }
                    try await eventually("it listens to nobody else") { subscribed.withLock { $0.last } == 1 - home }
                    return await subscription.first { _ in true }
                }
                return true
            } catch let error as StoreError {
                // A machine that stands still for half a second loses the first attempt.
                guard error.isServerFailure else { throw error }
                return false
            }
        }
        #expect(news == .gap(missed: nil))
        await store.shutdown()
        try await cluster.stop()
    }

    /// A peer that lets everybody listen to shard channels, where it answers at all; `subscribed` is told who was asked.
    private func stage(
        _ number: Int, _ subscribed: Locked<[Int]>, answers: Bool = true, publishing: @escaping @Sendable () -> String = { "" }
    ) -> ScriptedPeer.Script {
        @Sendable func confirmation(_ word: String, _ name: String) -> String {
            ">3\r\n$\(word.utf8.count)\r\n\(word)\r\n$\(name.utf8.count)\r\n\(name)\r\n:1\r\n"
        }
        return { command in
            switch command[0] {
            case "SSUBSCRIBE":
                subscribed.withLock { $0.append(number) }
                return answers ? confirmation("ssubscribe", command[1]) + publishing() : ""
            case "SUNSUBSCRIBE": return confirmation("sunsubscribe", command[1])
            default: return "+PONG\r\n"
            }
        }
    }

    /// Its connection is closed, as that of any node that nobody needs, while he still waits for its confirmation.
    @Test func aNewListenerWhoseNodeLeavesTheClusterBeginsAtTheNextOne() async throws {
        let channels = [try key(in: 0...5000), try key(in: 6000...10000)].map { Channel($0.bytes) }
        let subscribed = Locked<[Int]>([])
        let cluster = try await ScriptedCluster.start([
            stage(0, subscribed), stage(1, subscribed, answers: false), stage(2, subscribed),
        ])
        let store = try RedisStore(cluster.configuration { $0.refreshInterval = .milliseconds(1) })
        // Somebody has to listen, or nobody looks where slots are.
        try await store.withSubscription(to: [.shardChannel(channels[0])]) { _ in
            let listening = Task { try await store.withSubscription(to: [.shardChannel(channels[1])]) { _ in } }
            try await eventually("he waits") { subscribed.withLock { $0 } == [0, 1] }
            cluster.table.withLock { $0 = [(0...5460, 0), (5461...16383, 2)] }
            try await listening.value
        }
        #expect(subscribed.withLock { $0 } == [0, 1, 2])
        await store.shutdown()
        try await cluster.stop()
    }

    /// More than the usual buffer holds comes at once, and he has asked for a larger one.
    @Test func whatAListenerMissesIsWhatHeHasAgreedTo() async throws {
        let channel = Channel(try key(in: 0...8191).bytes)
        let (name, count) = (channel.bytes.lossyString, 20_000)
        let subscribed = Locked<[Int]>([])
        let burst = { @Sendable () -> String in
            (0..<count).map { number in
                let word = "\(number)"
                return ">3\r\n$8\r\nsmessage\r\n$\(name.utf8.count)\r\n\(name)\r\n$\(word.utf8.count)\r\n\(word)\r\n"
            }.joined()
        }
        let cluster = try await ScriptedCluster.start([stage(0, subscribed, publishing: burst), stage(1, subscribed)])
        let store = try RedisStore(cluster.configuration())
        try await store.withSubscription(to: [.shardChannel(channel)], whenFull: .dropNewest(limit: count)) { subscription in
            var events = subscription.makeAsyncIterator()
            for number in 0..<count {
                let event = await events.next()
                guard event == .message(channel: channel, payload: Bytes("\(number)")) else {
                    Issue.record("\(number): \(event as Any)")
                    return
                }
            }
        }
        await store.shutdown()
        try await cluster.stop()
    }

    /// Nobody has to run for that: the listener's own inbox says at once what is dropped.
    @Test func whatIsForwardedIsDroppedByTheListenersOwnRule() async {
        let channel = Channel("c")
        let (subscription, inbox) = Subscription.make(whenFull: .dropNewest(limit: 3000))
        let (end, relay) = Subscription.make(forwardingTo: inbox)
        for number in 0..<3002 { relay.deliver(Bytes("\(number)"), on: channel) }
        relay.announceGap()
        relay.finish()
        #expect(await end.first { _ in true } == nil)
        #expect(!relay.deliver("late", on: channel))
        relay.announceGap(missed: 7)
        inbox.finish()
        var events: [Subscription.Event] = []
        for await event in subscription { events.append(event) }
        #expect(events.first == .gap(missed: nil) && events.last == .gap(missed: 2) && events.count == 3002)
        let (ending, strict) = Subscription.make(whenFull: .end(limit: 1))
        let (_, other) = Subscription.make(forwardingTo: strict)
        #expect(other.deliver("1", on: channel))
        other.deliver("2", on: channel)
        #expect(!other.deliver("3", on: channel))
        var last: [Subscription.Event] = []
        for await event in ending { last.append(event) }
        #expect(last == [.message(channel: channel, payload: "1"), .gap(missed: nil)])
    }

    // MARK: - Silent nodes

    /// What is not idempotent is not sent again, but later calls go to who has taken the slots over.
    @Test(arguments: [false, true]) func aSilentNodesSlotsAreLookedForAgain(inPipeline: Bool) async throws {
        let (lost, other) = (try key(in: 0...8191), try key(in: 8192...16383))
        let silent = Locked<Set<Int>>([])
        let cluster = try await ScriptedCluster.start(
            silent: silent, [{ _ in "+OK\r\n" }, { $0[0] == "INCRBY" ? ":1\r\n" : "+OK\r\n" }])
        var configuration = cluster.configuration { $0.refreshInterval = .seconds(3600) }
        configuration.commandTimeout = .milliseconds(300)
        let store = try RedisStore(configuration)
        try await eventually("the slot table is not there") { (try? await store(.ping)) != nil }
        cluster.table.withLock { $0 = [(0...16383, 1)] }
        silent.withLock { $0 = [0] }
        try await eventually("the silent node is asked for ever") {
            do {
                guard inPipeline else { return try await store(.incr(lost)) == 1 }
                let (count, value) = try await store.pipeline(.incr(lost), .incr(other))
                return count == 1 && value == 1
            } catch let error as StoreError {
                // A machine that stands still meanwhile ends the silent connection first.
                guard error.code == .timeout || error.code == .connectionLost else { throw error }
                return false
            }
        }
        await store.shutdown()
        try await cluster.stop()
    }

    /// All nodes are silent, and the table is not there. The search for it is shared, and nobody waits for it longer than he has time.
    @Test(arguments: [false, true]) func whoHasNoTimeLeftDoesNotWaitForTheTable(isCancelled: Bool) async throws {
        let cluster = try await ScriptedCluster.start(silent: Locked([0]), [{ _ in "+OK\r\n" }])
        let store = try RedisStore(cluster.configuration())
        var context = CallContext()
        if !isCancelled { context.deadline = SystemTime().uptime + .milliseconds(100) }
        let call = Task {
            try await CallContext.$current.withValue(context) { try await store(.get(Key(raw: "k"))) }
        }
        let other = Task { try await store(.get(Key(raw: "other"))) }
        if isCancelled { call.cancel() }
        let error = await #expect(throws: StoreError.self) { try await call.value }
        #expect(error?.code == (isCancelled ? .cancelled : .deadlineExceeded) && error?.effect == StoreError.Effect.none)
        other.cancel()
        await store.shutdown()
        try await cluster.stop()
    }

    // MARK: - Pipelines

    /// What cannot be sent as a whole is not sent in part.
    @Test func aPipelineOverSlotsThatCannotBeSplitIsRefusedBeforeSending() async throws {
        let written = Locked(false)
        let cluster = try await ScriptedCluster.start([
            { command in
                if command[0] == "SET" { written.withLock { $0 = true } }
                return "+OK\r\n"
            }
        ])
        let store = try RedisStore(cluster.configuration())
        let (here, there) = (try key(in: 0...8191), try key(in: 8192...16383))
        let batch = Batch(.pipeline, [.strings(.set(here, "v", SetOptions())), .raw(["RENAME", here.bytes, there.bytes])])
        let error = await #expect(throws: StoreError.self) { try await store.execute(batch) }
        #expect(error?.code == .crossSlot && error?.effect == StoreError.Effect.none)
        #expect(!written.withLock { $0 })
        await store.shutdown()
        try await cluster.stop()
    }

    // MARK: - Which table counts

    @Test func anOlderTableCountsOnlyWhereAllHaveAnsweredOrNothingNewerIsToldForLong() {
        var succession = Succession()
        func follows(_ epoch: Int64, after present: Int64?, isCertain: Bool = false, now: UInt64) -> Bool {
            succession.follows(epoch, after: present, isCertain: isCertain, now: now)
        }
        #expect(follows(3, after: nil, now: 0))
        #expect(follows(7, after: 7, now: 0))
        #expect(follows(5, after: 7, isCertain: true, now: 0))
        #expect(!follows(5, after: 7, now: 10))
        #expect(!follows(5, after: 7, now: 9 + Succession.patience))
        #expect(follows(5, after: 7, now: 10 + Succession.patience))
        // Somebody who knows better begins the patience anew.
        #expect(!follows(5, after: 7, now: 20))
        #expect(follows(8, after: 7, now: 30))
        #expect(!follows(5, after: 8, now: 25 + Succession.patience))
    }
}
