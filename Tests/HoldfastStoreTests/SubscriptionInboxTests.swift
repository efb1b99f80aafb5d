import HoldfastStore
import Testing

/// What waits for a reader is bounded in bytes, not in messages alone.
@Suite struct SubscriptionInboxTests {
    private static let large = Bytes([UInt8](repeating: 1, count: Subscription.maximumBytes / 2))

    /// What a reader gets after two messages that fill the buffer, and a third.
    private func events(_ overflow: Subscription.Overflow) async -> [Subscription.Event] {
        let (subscription, inbox) = Subscription.make(whenFull: overflow)
        for channel in ["", "", "c"] { inbox.deliver(Self.large, on: Channel(Bytes(channel))) }
        inbox.finish()
        var events: [Subscription.Event] = []
        for await event in subscription { events.append(event) }
        return events
    }

    private func message(_ channel: Bytes) -> Subscription.Event { .message(channel: Channel(channel), payload: Self.large) }

    @Test func theOldestGoForTheirSize() async {
        #expect(await events(.dropOldest(limit: 100)) == [.gap(missed: 2), message("c")])
    }

    @Test func theNewestGoForTheirSize() async {
        #expect(await events(.dropNewest(limit: 100)) == [message(""), message(""), .gap(missed: 1)])
    }

    @Test func aSubscriptionEndsForItsSize() async {
        #expect(await events(.end(limit: 100)) == [message(""), message(""), .gap(missed: nil)])
    }

    @Test func aMessageOfWhateverSizeIsDelivered() async {
        let (subscription, inbox) = Subscription.make(whenFull: .dropOldest(limit: 100))
        let payload = Bytes([UInt8](repeating: 1, count: Subscription.maximumBytes + 1))
        inbox.deliver("before", on: Channel("c"))
        inbox.deliver(payload, on: Channel("c"))
        inbox.deliver("after", on: Channel("c"))
        var events = subscription.makeAsyncIterator()
        let (gap, after) = (await events.next(), await events.next())
        #expect(gap == .gap(missed: 2) && after == .message(channel: Channel("c"), payload: "after"))
        inbox.deliver(payload, on: Channel("c"))
        let alone = await events.next()
        #expect(alone == .message(channel: Channel("c"), payload: payload))
    }
}
