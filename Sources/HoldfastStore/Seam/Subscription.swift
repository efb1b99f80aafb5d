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
}

/// The messages of one subscription, in the order of their publication.
///
/// The buffer holds ``bufferLimit`` messages. A reader that is slower loses the oldest ones and is told by
/// ``Event/gap(missed:)``; the same event, with `missed` nil, says that the connection was lost and restored, so that anything
/// may have been missed.
public struct Subscription: AsyncSequence, Sendable {
    public enum Event: Hashable, Sendable {
        case message(channel: Channel, payload: Bytes)
        /// Messages were missed: that many, or an unknown number.
        case gap(missed: Int?)
    }

    public static let bufferLimit = 1024

    /// The limit of the subscriptions that are begun in this task, for who passes messages on and bounds them elsewhere.
    @TaskLocal public static var currentBufferLimit = bufferLimit

    let inbox: SubscriptionInbox

    public struct AsyncIterator: AsyncIteratorProtocol {
        let inbox: SubscriptionInbox
        /// The next event; nil when the subscription has ended or the task was cancelled.
        public mutating func next() async -> Event? { await inbox.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(inbox: inbox) }

    /// For stores: the inbox that the store delivers to and the sequence that reads from it. One reader at a time.
    public static func make(bufferLimit: Int = Subscription.currentBufferLimit) -> (Subscription, SubscriptionInbox) {
        let inbox = SubscriptionInbox(limit: bufferLimit)
        return (Subscription(inbox: inbox), inbox)
    }
}
