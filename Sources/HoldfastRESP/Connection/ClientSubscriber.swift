import HoldfastStore
import NIOCore

/// Takes publications for one client, from whatever thread publishes.
///
/// On the server's own loop a message is written at once; from elsewhere it waits in a mailbox, bounded like the client's output, for
/// the loop to fetch it. Deliveries come one at a time (``Subscribers`` holds its lock), and whoever delivers on the loop empties the
/// mailbox first, so the order of publications is kept.
final class ClientSubscriber: Subscriber {
    private struct Message {
        let channel: HoldfastStore.Channel
        let payload: Bytes
        let selector: ChannelSelector
    }

    private struct Mailbox {
        var messages: [Message] = []
        var bytes = 0
        var hasOverflown = false
    }

    private let loop: any EventLoop
    private let client: NIOLoopBound<Client>
    private let limit: Int
    private let mailbox = Locked(Mailbox())

    /// To be made on the client's loop.
    init(_ client: Client, loop: any EventLoop, limit: Int) {
        self.loop = loop
        self.client = NIOLoopBound(client, eventLoop: loop)
        self.limit = limit
    }

    func take(_ payload: Bytes, on channel: HoldfastStore.Channel, by selector: ChannelSelector) -> Bool {
        let message = Message(channel: channel, payload: payload, selector: selector)
        if loop.inEventLoop {
            fetch()
            write(message)
            return true
        }
        let isFirst = mailbox.withLock { mailbox in
            mailbox.bytes += payload.count + channel.bytes.count + 64
            if mailbox.bytes > limit { mailbox.hasOverflown = true }
            if !mailbox.hasOverflown { mailbox.messages.append(message) }
            return mailbox.messages.count == 1 || mailbox.hasOverflown
        }
        if isFirst { loop.execute { self.fetch() } }
        return true
    }

    private func fetch() {
        let fetched = mailbox.withLock { mailbox in
            defer { mailbox = Mailbox(hasOverflown: mailbox.hasOverflown) }
            return mailbox
        }
        for message in fetched.messages { write(message) }
        if fetched.hasOverflown { client.value.lose() }
    }

    private func write(_ message: Message) {
        let client = client.value
        var size = message.channel.bytes.count + message.payload.count
        if case .pattern(let pattern) = message.selector { size += pattern.count }
        guard client.admits(size, within: limit) else { return }
        switch message.selector {
        case .pattern(let pattern):
            client.writer.push(4)
            client.writer.bulk("pmessage")
            client.writer.bulk(pattern)
        case .channel:
            client.writer.push(3)
            client.writer.bulk("message")
        case .shardChannel:
            client.writer.push(3)
            client.writer.bulk("smessage")
        }
        client.writer.bulk(message.channel.bytes)
        client.writer.bulk(message.payload)
        client.scheduleFlush()
    }
}
