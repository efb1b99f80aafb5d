import HTTPTypes
import Logging
import NIOCore
import NIOHTTP1

/// Performs what a ``ConnectionState`` decides. Stands between the HTTP parser and everything else on its channel.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// Triggered on the channel by whoever is about to read a request's body.
    struct WillReadBody: Sendable {}
    /// Triggered on the channel by whoever wants to know; fails where the peer sends no more.
    struct IsPeerThere: Sendable {}

    private let metrics: ConnectionMetrics
    private let logger: Logger
    private var state: ConnectionState
    private var timer: (task: Scheduled<Void>, deadline: NIODeadline)?
    private var isCounted = false
    private var inputIsClosed = false
    /// The first bytes of the request whose head is being read.
    private var headStart: [UInt8] = []
    private var headBytes = 0
    private var firstLineBytes: Int?

    init(limits: ConnectionLimits, metrics: ConnectionMetrics, logger: Logger) {
        self.metrics = metrics
        self.logger = logger
        state = ConnectionState(limits: limits, now: .now())
    }

    func channelActive(context: ChannelHandlerContext) {
        isCounted = true
        let open = metrics.opened()
        context.fireChannelActive()
        if open > state.limits.connections { return perform(state.fail(.tooManyConnections, now: .now()), context) }
        setTimer(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if isCounted { metrics.closed() }
        isCounted = false
        _ = state.close()
        timer?.task.cancel()
        timer = nil
        context.fireChannelInactive()
    }

    // MARK: - What comes in

    /// What has just arrived, before it is parsed.
    /// - Returns: whether it is to be parsed.
    func admit(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) -> Bool {
        guard !state.ignoresInput else {
            perform(state.discarded(bytes.readableBytes), context)
            return false
        }
        state.bytesArrived(now: .now())
        if state.isBeforeBody {
            if headStart.count < 32 { headStart += bytes.readableBytesView.prefix(32 - headStart.count) }
            if firstLineBytes == nil, let end = bytes.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
                firstLineBytes = headBytes + end - bytes.readerIndex
            }
            headBytes += bytes.readableBytes
        }
        return true
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            guard head.version != .http1_1 || head.headers["host"].count == 1 else {
                return perform(state.fail(.badHost, now: .now()), context)
            }
            guard state.headArrived(head, now: .now()) else { return }
        case .body(let bytes):
            guard !state.ignoresInput else { return }
            state.bodyArrived(bytes.readableBytes)
        case .end:
            (headStart, headBytes, firstLineBytes) = ([], 0, nil)
            guard !state.ignoresInput else { return }
            state.requestEnded(now: .now())
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        // Nobody else asks for what only is to be drained.
        if state.ignoresInput { context.read() }
        setTimer(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case let error as HTTPParserError:
            let isPastFirstLine = firstLineBytes.map { $0 <= state.limits.headerBytes } ?? false
            perform(state.fail(.unreadable(error, start: headStart, isPastFirstLine: isPastFirstLine), now: .now()), context)
        // The parser complains of what comes after its first complaint.
        case is ByteToMessageDecoderError: break
        default: context.fireErrorCaught(error)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            inputIsClosed = true
            perform(state.inputClosed(), context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: - What goes out

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !state.ignoresOutput else {
            promise?.succeed()
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(var head) where head.status.code >= 200:
            let asksToEnd = head.headers[canonicalForm: "connection"].contains { $0.lowercased() == "close" }
            if state.answerBegins(endsConnection: asksToEnd), !asksToEnd { head.headers.add(name: "Connection", value: "close") }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end:
            context.write(data, promise: promise)
            perform(state.answerEnded(now: .now()), context)
            setTimer(context)
        default: context.write(data, promise: promise)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        // This direction is closed, or about to be, once the answer has left.
        if mode == .output, state.ignoresOutput {
            promise?.succeed()
        } else {
            context.close(mode: mode, promise: promise)
        }
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        if event is IsPeerThere {
            if inputIsClosed { promise?.fail(ChannelError.inputClosed) } else { promise?.succeed() }
            return
        }
        guard event is WillReadBody else { return context.triggerUserOutboundEvent(event, promise: promise) }
        if state.readsBody(now: .now()) {
            context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
        }
        promise?.succeed()
    }

    // MARK: - Performing

    private func perform(_ action: ConnectionState.Action, _ context: ChannelHandlerContext) {
        switch action {
        case .none: return
        case .close: context.close(promise: nil)
        case .refuse(let refusal):
            metrics.refused(refusal.reason)
            logger.debug("refused what came over a connection", metadata: ["reason": "\(refusal.reason.rawValue)"])
            write(refusal.problem, context)
            finish(context)
        case .finish: finish(context)
        }
    }

    /// Closes this direction behind what has been written, and ends whoever waits for more requests.
    private func finish(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.flush()
        // Not within the parser's own call: closing what the peer has closed already tears the pipeline down.
        context.eventLoop.execute { bound.value.close(mode: .output, promise: nil) }
        context.fireErrorCaught(HTTPParserError.closedConnection)
        context.read()
        setTimer(context)
    }

    private func write(_ problem: Problem, _ context: ChannelHandlerContext) {
        let requestID = RequestHeaders.requestID([:])
        let answer = problem.answer(requestID: requestID)
        guard let content = answer.content else { return }
        var headers = HTTPHeaders(answer.headers.map { ($0.name.rawName, $0.value) })
        headers.add(name: "Content-Type", value: content.mediaType)
        headers.add(name: "Content-Length", value: content.bytes.count.description)
        headers.add(name: "X-Request-ID", value: requestID)
        headers.add(name: "X-Content-Type-Options", value: "nosniff")
        headers.add(name: "Cache-Control", value: "no-store")
        headers.add(name: "Connection", value: "close")
        let status = HTTPResponseStatus(statusCode: answer.status.code, reasonPhrase: answer.status.reasonPhrase)
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: content.bytes)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    // MARK: - Time

    /// One timer, moved only when it would ring too late: a request that comes and is answered at once costs none.
    private func setTimer(_ context: ChannelHandlerContext) {
        guard let deadline = state.deadline else { return }
        if let timer {
            guard deadline < timer.deadline else { return }
            timer.task.cancel()
        }
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        let task = context.eventLoop.scheduleTask(deadline: deadline) { bound.value.handler.ring(bound.value.context) }
        timer = (task, deadline)
    }

    private func ring(_ context: ChannelHandlerContext) {
        timer = nil
        perform(state.expire(now: .now()), context)
        setTimer(context)
    }
}

@available(*, unavailable)
extension ConnectionHandler: Sendable {}

/// Shows a ``ConnectionHandler`` the bytes before they are parsed.
final class ConnectionTap: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let handler: ConnectionHandler

    init(_ handler: ConnectionHandler) { self.handler = handler }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if handler.admit(unwrapInboundIn(data), context) { context.fireChannelRead(data) }
    }
}

@available(*, unavailable)
extension ConnectionTap: Sendable {}
