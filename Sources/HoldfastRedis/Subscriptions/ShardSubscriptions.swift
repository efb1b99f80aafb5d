import HoldfastStore
import NIOPosix

/// Who listens to a cluster's shard channels: over one connection to each node concerned, each channel at the node of its slot.
///
/// A subscription to a channel is a loop: find the node, listen there until that ends, tell of the gap, begin again. It ends when the node
/// says that the slot has gone, and when ``look()``, once a second, finds that another node serves it: one that is dead says nothing.
final class ShardSubscriptions: Sendable {
    private typealias Node = RedisConfiguration.Node

    /// A listener's present place.
    private struct Place {
        let node: Node
        let slot: Int
        let inbox: SubscriptionInbox
    }

    private struct State {
        var hubs: [Node: SubscriptionHub] = [:]
        var places: [ObjectIdentifier: Place] = [:]
        var isLooking = false
        var isClosed = false
    }

    private let cluster: Cluster
    private let state = Locked(State())

    init(_ cluster: Cluster) { self.cluster = cluster }

    func close() {
        let hubs = state.withLock { state in
            state.isClosed = true
            return state.hubs.values
        }
        for hub in hubs { hub.close() }
    }

    /// See ``SubscriptionHub/authenticate(_:)``.
    func authenticate(_ command: [Bytes]) async throws(StoreError) {
        for hub in state.withLock({ Array($0.hubs.values) }) { try await hub.authenticate(command) }
    }

    /// Runs the body while what is published on the channels is delivered to the inbox.
    func withListeners<Result: Sendable>(
        to channels: [ChannelSelector], _ inbox: SubscriptionInbox, _ body: () async throws -> Result
    ) async throws -> Result {
        let (beginnings, beginning) = AsyncThrowingStream<Void, any Error>.makeStream()
        return try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            for case .shardChannel(let channel) in Set(channels) {
                group.addTask {
                    do throws(StoreError) {
                        try await self.follow(channel, inbox) { beginning.yield() }
                    } catch {
                        beginning.finish(throwing: error)
                        inbox.finish()
                    }
                }
            }
            var begun = beginnings.makeAsyncIterator()
            for _ in Set(channels) { guard try await begun.next() != nil else { throw StoreError(.cancelled) } }
            return try await body()
        }
    }

    /// Until the task is cancelled.
    ///
    /// - Throws: why it cannot begin; later failures are gaps, except that the store is closed.
    private func follow(_ channel: Channel, _ inbox: SubscriptionInbox, begun: () -> Void) async throws(StoreError) {
        let slot = ClusterSlot.of(channel.bytes)
        var journey = cluster.journey(isIdempotent: true)
        var hasBegun = false
        var failures = 0
        while !Task.isCancelled {
            do throws(StoreError) {
                try await listen(to: channel, slot, inbox) {
                    failures = 0
                    if hasBegun { inbox.announceGap() } else { begun() }
                    hasBegun = true
                }
            } catch {
                // Otherwise it was the end of one hub only, whose node left the cluster before anybody listened there (``look()``).
                let isFinal = error.code == .shuttingDown && state.withLock { $0.isClosed }
                if isFinal || error.code == .cancelled { throw error }
                failures += 1
                let pause: Duration
                if hasBegun {
                    pause = cluster.configuration.backoff.pause(afterFailures: failures, fraction: .random(in: 0...1))
                } else {
                    // As any command does that a node cannot carry out yet, and no longer.
                    let word = ReplyError(error.message)
                    let redirection = error.code == .shuttingDown ? Redirection.wait : Redirection(word, host: "")
                    let step =
                        redirection.map { journey.next(after: $0, now: Uptime.nanoseconds) }
                        ?? journey.next(after: error, now: Uptime.nanoseconds)
                    guard case .go(_, let span, _) = step else { throw error }
                    pause = span
                }
                if pause > .zero { try? await Task.sleep(for: pause) }
                _ = await cluster.refresh()
            }
        }
    }

    private func listen(
        to channel: Channel, _ slot: Int, _ inbox: SubscriptionInbox, begun: () -> Void
    ) async throws(StoreError) {
        if !cluster.hasMap() { try await cluster.refresh().get() }
        let map = cluster.map
        guard let shard = map.shard(ofSlot: slot) else { throw Cluster.unserved(slot) }
        let node = map.shards[shard].primary
        let hub = try hub(to: node)
        // What it hears goes straight to the listener's inbox; only its end is its own.
        let (end, own) = Subscription.make(forwardingTo: inbox)
        try await hub.add(own, to: [.shardChannel(channel)])
        defer { hub.remove(own, from: [.shardChannel(channel)]) }
        take(Place(node: node, slot: slot, inbox: own))
        defer { leave(own) }
        begun()
        for await _ in end {}
        if state.withLock({ $0.isClosed }) { throw StoreError(.shuttingDown) }
    }

    private func hub(to node: Node) throws(StoreError) -> SubscriptionHub {
        let hub = state.withLock { state -> SubscriptionHub? in
            guard !state.isClosed else { return nil }
            let hub =
                state.hubs[node]
                ?? SubscriptionHub(cluster.connector(to: node), on: MultiThreadedEventLoopGroup.singleton.next())
            state.hubs[node] = hub
            return hub
        }
        guard let hub else { throw StoreError(.shuttingDown) }
        return hub
    }

    // MARK: - Slots that move

    private func take(_ place: Place) {
        let looks = state.withLock { state in
            state.places[ObjectIdentifier(place.inbox)] = place
            defer { state.isLooking = true }
            return !state.isLooking
        }
        guard looks else { return }
        // Detached: it is not the first listener's. It ends with the last one.
        Task.detached { [weak self] in
            while (try? await Task.sleep(for: .seconds(1))) != nil, await self?.look() ?? false {}
        }
    }

    private func leave(_ inbox: SubscriptionInbox) {
        _ = state.withLock { $0.places.removeValue(forKey: ObjectIdentifier(inbox)) }
    }

    /// Sends listeners on whose slot another node serves, and forgets nodes that nobody needs; whether anyone listens.
    private func look() async -> Bool {
        let (isAny, isLost) = state.withLock { state in
            state.isLooking = !state.places.isEmpty && !state.isClosed
            return (state.isLooking, state.places.values.contains { state.hubs[$0.node]?.isConnected != true })
        }
        guard isAny else { return false }
        if isLost { _ = await cluster.refresh() }
        guard cluster.hasMap() else { return true }
        let map = cluster.map
        let (strays, idle) = state.withLock { state in
            let strays = state.places.values.filter { place in
                map.shard(ofSlot: place.slot).map { map.shards[$0].primary != place.node } ?? false
            }
            let needed = Set(state.places.values.map(\.node)).union(map.nodes)
            let idle = state.hubs.filter { !needed.contains($0.key) }
            for node in idle.keys { state.hubs[node] = nil }
            return (strays, Array(idle.values))
        }
        for place in strays { place.inbox.finish() }
        for hub in idle { hub.close() }
        return true
    }
}

extension ChannelSelector {
    var isSharded: Bool { if case .shardChannel = self { true } else { false } }
}
