/// The name of a publish/subscribe channel.
public struct Channel: Hashable, Sendable, CustomStringConvertible {
    public let bytes: Bytes
    public init(_ bytes: Bytes) { self.bytes = bytes }
    public var description: String { bytes.lossyString }
}

/// What a subscription listens to.
public enum ChannelSelector: Hashable, Sendable {
    case channel(Channel)
    /// Every channel whose name matches a glob (see ``Glob``).
    case pattern(Bytes)
    /// A shard channel: in a cluster its messages stay with the nodes that serve the slot of its name. A name for itself: what is
    /// published on the channel of the same name is not heard here, and patterns do not match it.
    case shardChannel(Channel)
}

/// The messages of one subscription, in the order of their publication.
///
/// They are buffered for the reader. What becomes of them when he is slow is said by ``Overflow``, and he is told of what he missed by
/// ``Event/gap(missed:)``; the same event, with `missed` nil, says that the connection was lost and restored, so that anything may have
/// been missed.
public struct Subscription: AsyncSequence, Sendable {
    public enum Event: Hashable, Sendable {
        case message(channel: Channel, payload: Bytes)
        /// Messages were missed: that many, or an unknown number.
        case gap(missed: Int?)
    }

    /// What happens when the reader is slower than the messages come. Limits are numbers of messages, at least 1; beside them
    /// ``Subscription/maximumBytes`` holds.
    public enum Overflow: Hashable, Sendable {
        /// The oldest that were not read go; a gap stands in their place. For who wants to know how things are now.
        case dropOldest(limit: Int)
        /// What comes is dropped until there is room; a gap stands in its place. For who works messages off and must not lose his place.
        case dropNewest(limit: Int)
        /// The subscription ends: the reader gets what is buffered, then a gap of unknown size, then the end. For whom a gap is a failure.
        case end(limit: Int)

        /// The oldest of ``bufferLimit`` go.
        public static let standard = Overflow.dropOldest(limit: bufferLimit)

        var limit: Int {
            switch self {
            case .dropOldest(let limit), .dropNewest(let limit), .end(let limit): Swift.max(1, limit)
            }
        }
    }

    /// Where no other limit is asked for.
    public static let bufferLimit = 1024

    /// Most that waits for a reader, channels and payloads together, whatever limit was asked for. A message that is larger waits alone.
    public static let maximumBytes = 16 * 1024 * 1024

    let inbox: SubscriptionInbox

    public struct AsyncIterator: AsyncIteratorProtocol {
        let inbox: SubscriptionInbox
        /// The next event; nil when the subscription has ended or the task was cancelled.
        public mutating func next() async -> Event? { await inbox.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(inbox: inbox) }

    /// For stores: the inbox that the store delivers to and the sequence that reads from it. One reader at a time.
    public static func make(whenFull overflow: Overflow = .standard) -> (Subscription, SubscriptionInbox) {
        let inbox = SubscriptionInbox(overflow)
        return (Subscription(inbox: inbox), inbox)
    }

    /// An inbox that passes on at once what it is given, so that the other one's ``Overflow`` alone says what becomes of it. It has an end of
    /// its own, which the sequence waits for; the other one does not end with it.
    package static func make(forwardingTo other: SubscriptionInbox) -> (Subscription, SubscriptionInbox) {
        let inbox = SubscriptionInbox(.standard, forwardingTo: other)
        return (Subscription(inbox: inbox), inbox)
    }
}
