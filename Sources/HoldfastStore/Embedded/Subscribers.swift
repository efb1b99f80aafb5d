/// Who listens to what in this process.
///
/// A publication is delivered to each subscription once for its channel and once for each matching pattern, as in Redis.
public final class Subscribers: Sendable {
    private struct State {
        var channels: [Channel: [ObjectIdentifier: SubscriptionInbox]] = [:]
        var patterns: [Bytes: (glob: Glob, inboxes: [ObjectIdentifier: SubscriptionInbox])] = [:]
    }

    private let state = Locked(State())

    public init() {}

    public func add(_ inbox: SubscriptionInbox, to selectors: [ChannelSelector]) {
        let id = ObjectIdentifier(inbox)
        state.withLock { state in
            for selector in selectors {
                switch selector {
                case .channel(let channel): state.channels[channel, default: [:]][id] = inbox
                case .pattern(let pattern): state.patterns[pattern, default: (Glob(pattern), [:])].inboxes[id] = inbox
                }
            }
        }
    }

    /// Removes a subscription and ends it.
    public func remove(_ inbox: SubscriptionInbox, from selectors: [ChannelSelector]) {
        let id = ObjectIdentifier(inbox)
        state.withLock { state in
            for selector in selectors {
                switch selector {
                case .channel(let channel):
                    state.channels[channel]?[id] = nil
                    if state.channels[channel]?.isEmpty == true { state.channels[channel] = nil }
                case .pattern(let pattern):
                    state.patterns[pattern]?.inboxes[id] = nil
                    if state.patterns[pattern]?.inboxes.isEmpty == true { state.patterns[pattern] = nil }
                }
            }
        }
        inbox.finish()
    }

    /// Delivers and answers to how many subscriptions. The order of publications on one channel is the order of delivery, because
    /// delivering happens under the lock; it only appends to bounded buffers, and resuming a reader enqueues it on its executor.
    public func publish(_ payload: Bytes, on channel: Channel) -> Int {
        state.withLock { state in
            var count = 0
            for inbox in (state.channels[channel] ?? [:]).values where inbox.deliver(payload, on: channel) { count += 1 }
            for (glob, inboxes) in state.patterns.values where glob.matches(channel.bytes) {
                for inbox in inboxes.values where inbox.deliver(payload, on: channel) { count += 1 }
            }
            return count
        }
    }
}
