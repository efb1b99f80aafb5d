import HoldfastStore
import NIOCore
import NIOPosix
import TestServers
import Testing

@testable import HoldfastRESP

@Suite(.timeLimit(.minutes(5))) struct ClientSubscriberTests {
    /// The mailbox overflows while the loop is busy, and the loop finds that when it publishes itself.
    @Test func whoPublishesOnTheLoopDoesNotWaitForThoseWhomThatEnds() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let (subscribers, channel) = (Subscribers(), HoldfastStore.Channel("flood"))
        let (isBusy, isFull, isPublished, hasEnded) = (Locked(false), Locked(false), Locked(false), Locked(false))
        let listener = try await loop.submit {
            NIOLoopBound(Listener(to: channel, of: subscribers, loop, limit: 1024, hasEnded), eventLoop: loop)
        }.get()
        loop.execute {
            isBusy.withLock { $0 = true }
            while !isFull.withLock({ $0 }) {}
            _ = subscribers.publish("on the loop", on: channel)
            isPublished.withLock { $0 = true }
        }
        try await eventually("the loop is busy") { isBusy.withLock { $0 } }
        #expect(subscribers.publish(Bytes([UInt8](repeating: 0, count: 2048)), on: channel) == 1)
        isFull.withLock { $0 = true }
        try await eventually("the publication is done") { isPublished.withLock { $0 } }
        try await eventually("the listener is ended") { hasEnded.withLock { $0 } }
        #expect(subscribers.publish("nobody is there", on: channel) == 0)
        try await loop.submit { listener.value.forget() }.get()
        try await group.shutdownGracefully()
    }
}

/// A client whose connection ends as a channel does: at once, and with it what it listened to.
private final class Listener: ClientConnection {
    let eventLoop: any EventLoop
    private let subscribers: Subscribers
    private let channel: HoldfastStore.Channel
    private let hasEnded: Locked<Bool>
    private var subscriber: ClientSubscriber?

    init(
        to channel: HoldfastStore.Channel, of subscribers: Subscribers, _ loop: any EventLoop, limit: Int,
        _ hasEnded: Locked<Bool>
    ) {
        self.eventLoop = loop
        self.subscribers = subscribers
        self.channel = channel
        self.hasEnded = hasEnded
        let client = Client(
            id: 1, connection: self, address: "", localAddress: "", connectedAt: SystemTime.system.now, isAuthenticated: true)
        let subscriber = ClientSubscriber(client, loop: loop, limit: limit)
        subscribers.subscribe(subscriber, to: [.channel(channel)])
        self.subscriber = subscriber
    }

    func flush() {}
    func goOn() {}

    func end() {
        guard let subscriber else { return }
        subscribers.unsubscribe(subscriber, from: [.channel(channel)])
        hasEnded.withLock { $0 = true }
    }

    func forget() { subscriber = nil }
}
