import HoldfastStore
import NIOCore

/// One connection: hands what comes to the endpoint, and what the client's writer holds to the socket.
///
/// It reads no more while the peer does not take its replies, so a slow client holds no more memory than one batch of replies, nor while
/// the client's next request waits for the disk; one that is sent what it did not ask for (messages, MONITOR) is disconnected when more
/// than the limit waits for it.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let endpoint: Endpoint
    private var client: Client?
    private var context: ChannelHandlerContext?
    private var isPaused = false
    private var wantsRead = false

    init(endpoint: Endpoint) { self.endpoint = endpoint }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        client = endpoint.admit(
            self, address: context.remoteAddress?.text ?? "?:0", localAddress: context.localAddress?.text ?? "?:0")
        if client == nil {
            let line = context.channel.allocator.buffer(string: "-ERR max number of clients reached\r\n")
            context.writeAndFlush(wrapOutboundOut(line), promise: nil)
            context.close(promise: nil)
        }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let client { endpoint.remove(client) }
        client = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // MARK: - In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let client, !client.isClosing else { return }
        let received = unwrapInboundIn(data)
        endpoint.statistics.receivedBytes += received.readableBytes
        client.lastActive = endpoint.time.now
        do throws(RequestParser.Violation) {
            try client.parser.feed(received, endpoint.configuration.requestLimits)
        } catch {
            client.writer.error(error.line)
            client.isClosing = true
        }
        serve(client)
    }

    private func serve(_ client: Client) {
        var hasMore = true
        while hasMore {
            hasMore = context?.channel.isWritable == true && endpoint.serve(client)
            flush()
        }
    }

    func read(context: ChannelHandlerContext) {
        if isPaused || client?.isHeld == true { wantsRead = true } else { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isPaused = !context.channel.isWritable
        goOn()
        context.fireChannelWritabilityChanged()
    }
}

extension ConnectionHandler: ClientConnection {
    var eventLoop: any EventLoop { endpoint.loop }

    func flush() {
        guard let client, let context else { return }
        if client.isLost { return end() }
        if !client.writer.isEmpty, context.channel.isWritable || client.isClosing {
            endpoint.statistics.sentBytes += client.writer.count
            var buffer = context.channel.allocator.buffer(capacity: client.writer.count)
            buffer.writeBytes(client.writer.bytes)
            client.writer.removeAll()
            context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
        }
        let listens = client.subscriptionCount > 0 || client.isMonitor
        let limit = listens ? endpoint.configuration.listenerOutputBytes : endpoint.configuration.outputBytes
        if client.isClosing || client.writer.count > limit { end() }
    }

    func goOn() {
        guard !isPaused, let client else { return }
        flush()
        serve(client)
        guard wantsRead, !isPaused, !client.isHeld else { return }
        wantsRead = false
        context?.read()
    }

    func end() {
        client?.isClosing = true
        // What was written is sent first as far as the peer takes it at once.
        context?.close(promise: nil)
    }
}

extension SocketAddress {
    /// As Redis shows an address.
    fileprivate var text: String {
        guard let host = ipAddress, let port else { return description }
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
