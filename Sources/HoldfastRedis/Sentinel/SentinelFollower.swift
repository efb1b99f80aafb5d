import HoldfastStore
import NIOPosix

/// Keeps a store's connections at the primary that the sentinels name.
///
/// A new connection asks for the address (``primary()``) and checks by ROLE that a primary is there. Connections that exist are renewed
/// when a sentinel tells of a promotion, which it is listened to for; and when a reply says that the server is none any more
/// (``demoted()``), or does not come (``suspect()``).
///
/// Whoever makes one must ``close()`` it: it listens until then.
final class SentinelFollower: Sendable {
    private typealias Node = RedisConfiguration.Node

    private struct State {
        /// The address that was handed out last.
        var current: Node?
        var watch: Task<Void, Never>?
        var isChecking = false
        var demotedAt: UInt64 = 0
        var isClosed = false
        weak var link: ServerLink?
        weak var hub: SubscriptionHub?
        weak var trackers: Trackers?
    }

    /// `+promoted-slave` comes from the sentinel that leads the failover, before `+switch-master`, which waits for the other replicas.
    private static let events: [ChannelSelector] = [
        .channel(Channel("+switch-master")), .channel(Channel("+promoted-slave")),
    ]

    private let sentinels: Sentinels
    private let listening: SubscriptionHub
    private let backoff: Backoff
    private let state = Locked(State())

    /// - Throws: ``ErrorCode/invalidArgument`` for TLS settings that cannot work.
    init(_ sentinel: RedisConfiguration.Sentinel, of configuration: RedisConfiguration) throws(StoreError) {
        let sentinels = Sentinels(sentinel, of: configuration)
        self.sentinels = sentinels
        backoff = configuration.backoff
        // Another sentinel each time: one that has just failed is not asked again at once.
        let connector = try Connector(sentinels.configuration, to: .found { ServerAddress(sentinels.next()) })
        listening = SubscriptionHub(connector, on: MultiThreadedEventLoopGroup.singleton.next())
    }

    /// The address for a new connection.
    func primary() async throws(StoreError) -> ServerAddress {
        watch()
        let node = try await sentinels.primary()
        // Whichever connection learns it first, the others are not to stay where they are.
        leave(for: node)
        return ServerAddress(node)
    }

    /// Whose connections are renewed.
    func lead(_ link: ServerLink, _ hub: SubscriptionHub, _ trackers: Trackers) {
        state.withLock { ($0.link, $0.hub, $0.trackers) = (link, hub, trackers) }
    }

    func close() {
        let watch = state.withLock { state in
            state.isClosed = true
            return state.watch
        }
        watch?.cancel()
        listening.close()
    }

    // MARK: - Signs of a failover

    /// How long a second demotion is taken for the same one: many calls learn of it at once.
    private static let moment: UInt64 = 100_000_000

    /// A reply said that the server is a replica: the next connection finds the primary.
    func demoted() {
        let (link, hub, trackers) = state.withLock { state -> (ServerLink?, SubscriptionHub?, Trackers?) in
            let now = Uptime.nanoseconds
            guard now &- state.demotedAt > Self.moment else { return (nil, nil, nil) }
            state.demotedAt = now
            return (state.link, state.hub, state.trackers)
        }
        link?.renew(isGraceful: true)
        hub?.renew()
        trackers?.renew()
    }

    /// A reply did not come: perhaps there is another primary. Asks in the background, once at a time.
    func suspect() {
        let begins = state.withLock { state in
            defer { state.isChecking = true }
            return !state.isChecking && !state.isClosed
        }
        guard begins else { return }
        // Detached: the deadline of the call that noticed is not this one's.
        Task.detached { [weak self] in
            await self?.check()
            self?.state.withLock { $0.isChecking = false }
        }
    }

    /// Asks where the primary is, and leaves the present one where it is another.
    private func check() async {
        guard let node = try? await sentinels.primary() else { return }
        move(to: node)
    }

    private func move(to node: Node) {
        if !leave(for: node) { state.withLock { $0.link }?.retryNow() }
    }

    /// Renews all connections where they go to another server; whether they do.
    @discardableResult
    private func leave(for node: Node) -> Bool {
        let (link, hub, trackers, moves) = state.withLock { state in
            defer { state.current = node }
            return (state.link, state.hub, state.trackers, state.current != nil && state.current != node)
        }
        guard moves else { return false }
        link?.renew(isGraceful: false)
        hub?.renew()
        trackers?.renew()
        return true
    }

    // MARK: - Listening to a sentinel

    /// Begins with the first connection, so that a store that is never used disturbs nobody.
    private func watch() {
        state.withLock { state in
            guard state.watch == nil, !state.isClosed else { return }
            state.watch = Task.detached { [weak self, listening, backoff] in
                var failures = 0
                while !Task.isCancelled {
                    let (subscription, inbox) = Subscription.make()
                    do throws(StoreError) {
                        try await listening.add(inbox, to: Self.events)
                        failures = 0
                        await self?.heed(subscription)
                        listening.remove(inbox, from: Self.events)
                    } catch {
                        failures += 1
                        let pause = backoff.pause(afterFailures: failures, fraction: .random(in: 0...1))
                        guard error.code != .shuttingDown, (try? await Task.sleep(for: pause)) != nil else { return }
                    }
                }
            }
        }
    }

    private func heed(_ subscription: Subscription) async {
        // What happened before we listened, or while the connection to the sentinel was away, was not heard.
        await check()
        for await event in subscription {
            if case .message(_, let payload) = event, let node = SentinelAnswer.node(ofSwitch: payload, name: sentinels.name) {
                move(to: node)
            } else {
                await check()
            }
        }
    }
}
