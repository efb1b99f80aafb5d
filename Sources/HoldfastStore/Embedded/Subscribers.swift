/// Who takes messages from ``Subscribers``.
package protocol Subscriber: AnyObject, Sendable {
    /// Takes one message without waiting, called under a lock; false when it takes none any more.
    ///
    /// - Parameter selector: what it listens to, and so got the message by.
    func take(_ payload: Bytes, on channel: Channel, by selector: ChannelSelector) -> Bool
}

extension SubscriptionInbox: Subscriber {
    package func take(_ payload: Bytes, on channel: Channel, by selector: ChannelSelector) -> Bool {
        deliver(payload, on: channel)
    }
}

/// Who listens to what in this process.
///
/// A publication is delivered to each subscription once for its channel and once for each matching pattern, as in Redis.
public final class Subscribers: Sendable {
    private struct State {
        var channels: [Channel: [ObjectIdentifier: any Subscriber]] = [:]
        var shardChannels: [Channel: [ObjectIdentifier: any Subscriber]] = [:]
        var patterns: [Bytes: (glob: Glob, subscribers: [ObjectIdentifier: any Subscriber])] = [:]
    }

    private let state = Locked(State())

    public init() {}

    public func add(_ inbox: SubscriptionInbox, to selectors: [ChannelSelector]) { subscribe(inbox, to: selectors) }

    /// Adds a subscriber to what it listens to; twice is once.
    package func subscribe(_ subscriber: any Subscriber, to selectors: [ChannelSelector]) {
        let id = ObjectIdentifier(subscriber)
        state.withLock { state in
            for selector in selectors {
                switch selector {
                case .channel(let channel): state.channels[channel, default: [:]][id] = subscriber
                case .shardChannel(let channel): state.shardChannels[channel, default: [:]][id] = subscriber
                case .pattern(let pattern):
                    state.patterns[pattern, default: (Glob(pattern), [:])].subscribers[id] = subscriber
                }
            }
        }
    }

    /// Removes a subscription and ends it.
    public func remove(_ inbox: SubscriptionInbox, from selectors: [ChannelSelector]) {
        unsubscribe(inbox, from: selectors)
        inbox.finish()
    }

    /// Removes a subscriber from some of what it listens to.
    package func unsubscribe(_ subscriber: any Subscriber, from selectors: [ChannelSelector]) {
        let id = ObjectIdentifier(subscriber)
        state.withLock { state in
            for selector in selectors {
                switch selector {
                case .channel(let channel):
                    state.channels[channel]?[id] = nil
                    if state.channels[channel]?.isEmpty == true { state.channels[channel] = nil }
                case .shardChannel(let channel):
                    state.shardChannels[channel]?[id] = nil
                    if state.shardChannels[channel]?.isEmpty == true { state.shardChannels[channel] = nil }
                case .pattern(let pattern):
                    state.patterns[pattern]?.subscribers[id] = nil
                    if state.patterns[pattern]?.subscribers.isEmpty == true { state.patterns[pattern] = nil }
                }
            }
        }
    }

    /// The channels that somebody listens to by name, with how many do.
    package var channels: [(channel: Channel, count: Int)] { state.withLock { $0.channels.map { ($0.key, $0.value.count) } } }

    /// The shard channels that somebody listens to, with how many do.
    package var shardChannels: [(channel: Channel, count: Int)] {
        state.withLock { $0.shardChannels.map { ($0.key, $0.value.count) } }
    }

    /// How many different patterns are listened to.
    package var patternCount: Int { state.withLock { $0.patterns.count } }

    /// Delivers and answers to how many subscriptions. The order of publications on one channel is the order of delivery, because
    /// delivering happens under the lock; it only appends to bounded buffers, and resuming a reader enqueues it on its executor.
    public func publish(_ payload: Bytes, on channel: Channel) -> Int {
        state.withLock { state in
            var count = 0
            for subscriber in (state.channels[channel] ?? [:]).values
            where subscriber.take(payload, on: channel, by: .channel(channel)) {
                count += 1
            }
            for (pattern, (glob, subscribers)) in state.patterns where glob.matches(channel.bytes) {
                for subscriber in subscribers.values where subscriber.take(payload, on: channel, by: .pattern(pattern)) {
                    count += 1
                }
            }
            return count
        }
    }

    /// The same for a shard channel.
    public func publish(_ payload: Bytes, onShard channel: Channel) -> Int {
        state.withLock { state in
            (state.shardChannels[channel] ?? [:]).values.count { $0.take(payload, on: channel, by: .shardChannel(channel)) }
        }
    }
}
