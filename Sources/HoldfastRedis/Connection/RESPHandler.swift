import HoldfastStore
import NIOCore

/// Who gets what a connection receives, on its event loop.
protocol ConnectionReceiver: AnyObject, Sendable {
    /// What one turn of the loop brought; returns an error to end the connection with. Items may be taken out with
    /// ``RESPItem/take()``: nobody looks at them afterwards.
    func received(_ items: inout [RESPItem]) -> StoreError?
    func writabilityChanged(to isWritable: Bool)
    /// The connection, which was introduced, has ended.
    ///
    /// - Parameter identity: how the server knows it, and may still, where it has said so.
    func closed(_ channel: any NIOCore.Channel, _ error: StoreError, _ identity: ServerSideIdentity?)
}

/// The end of a connection's pipeline: bytes to items, first for the handshake, then for the receiver.
final class RESPHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    // Touched for every reply, and by the event loop only: the run-time exclusivity check is left out.
    @exclusivity(unchecked) private var parser = RESPParser()
    @exclusivity(unchecked) private var items: [RESPItem] = []
    @exclusivity(unchecked) private var handshake: Handshake?
    @exclusivity(unchecked) private var failure: (any Error)?
    private var identity: ServerSideIdentity?
    private let introduced: EventLoopPromise<Void>
    private let receiver: any ConnectionReceiver

    init(handshake: Handshake, introduced: EventLoopPromise<Void>, receiver: any ConnectionReceiver) {
        self.handshake = handshake
        self.introduced = introduced
        self.receiver = receiver
    }

    func handlerAdded(context: ChannelHandlerContext) {
        guard context.channel.isActive else { return end(context, StoreError(.connectionFailed)) }
        guard let step = handshake?.begin() else { return }
        take(step, context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard failure == nil else { return }
        unwrapInboundIn(data).withUnsafeReadableBytes { parser.feed($0) }
        do throws(StoreError) {
            while let item = try parser.next() { items.append(item) }
        } catch {
            deliver(context)
            end(context, error)
        }
    }

    /// Nobody stands behind it in the pipeline who would want to know too.
    func channelReadComplete(context: ChannelHandlerContext) { deliver(context) }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if handshake == nil { receiver.writabilityChanged(to: context.channel.isWritable) }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(context, error) }

    func channelInactive(context: ChannelHandlerContext) {
        if handshake != nil {
            introduced.fail(failure ?? ClosedAtOnce())
        } else {
            let error = failure as? StoreError
            receiver.closed(context.channel, error ?? StoreError(.connectionLost, effect: .unknown), identity)
        }
        context.fireChannelInactive()
    }

    private func deliver(_ context: ChannelHandlerContext) {
        guard !items.isEmpty else { return }
        if handshake != nil { introduce(context) }
        guard handshake == nil, !items.isEmpty else { return }
        let error = receiver.received(&items)
        items.removeAll(keepingCapacity: true)
        if let error { end(context, error) }
    }

    private func introduce(_ context: ChannelHandlerContext) {
        var used = 0
        for item in items {
            guard handshake != nil else { break }
            used += 1
            guard case .reply(let reply) = item, let step = handshake?.receive(reply) else { continue }
            take(step, context)
        }
        items.removeFirst(used)
    }

    private func take(_ step: Handshake.Step, _ context: ChannelHandlerContext) {
        switch step {
        case .wait: break
        case .send(let commands):
            var writer = CommandWriter()
            for command in commands { writer.command(command) }
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: writer.buffer)), promise: nil)
        case .done:
            identity = handshake?.identity
            handshake = nil
            introduced.succeed()
        case .failed(let error):
            introduced.fail(error)
            end(context, error)
        }
    }

    private func end(_ context: ChannelHandlerContext, _ error: any Error) {
        if failure == nil { failure = error }
        context.close(promise: nil)
    }
}
