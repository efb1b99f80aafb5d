import Holdfast
import HoldfastStore
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Testing

@testable import HoldfastServer

/// A server on a port of the loopback, for what only a socket shows.
enum LiveServer {
    static let key = "live-secret"

    /// Serves while the body runs.
    static func serving(
        state: AgentState = .embedded(), configuration: HTTPServer.Configuration = HTTPServer.Configuration(),
        _ body: (_ port: Int) async throws -> Void
    ) async throws {
        var configuration = configuration
        configuration.port = 0
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        let server = HTTPServer(
            state: state, keys: try APIKeyRing(parsing: ["root:admin:\(key)"]), configuration: configuration, logger: logger
        ) { port in
            continuation.yield(port)
            continuation.finish()
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { continuation.finish() }
                try await server.run()
            }
            for await port in ports { try await body(port) }
            group.cancelAll()
            // A server that was cancelled says so.
            while let result = await group.nextResult() {
                if case .failure(let error) = result, !(error is CancellationError) { throw error }
            }
        }
    }
}

/// A connection on which a test says exactly what it wants.
final class RawConnection: Sendable {
    private struct State {
        var received: [UInt8] = []
        var isClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let channel: any NIOCore.Channel
    private let state: Locked<State>

    static func open(port: Int, tls: NIOSSLContext? = nil) async throws -> RawConnection {
        let state = Locked(State())
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: nil))
                    }
                    try channel.pipeline.syncOperations.addHandler(Receiver(state))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return RawConnection(channel, state)
    }

    private init(_ channel: any NIOCore.Channel, _ state: Locked<State>) {
        self.channel = channel
        self.state = state
    }

    /// Sends; that the peer does not want to hear it is no failure of the test.
    func send(_ text: String) async { try? await channel.writeAndFlush(ByteBuffer(string: text)) }

    func closeOutput() async { try? await channel.close(mode: .output) }

    func close() async { try? await channel.close() }

    var received: String { state.withLock { String(decoding: $0.received, as: UTF8.self) } }
    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Waits until what was received is enough, or the peer has closed its direction.
    func wait(until isEnough: @Sendable (String) -> Bool = { _ in false }) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while !isClosed, !isEnough(received) {
            try #require(ContinuousClock.now < deadline, "received: \(received)")
            let alarm = channel.eventLoop.scheduleTask(in: .seconds(1)) { [state] in Self.wake(state) }
            await withCheckedContinuation { continuation in
                let isNews = state.withLock { state in
                    let text = String(decoding: state.received, as: UTF8.self)
                    guard !state.isClosed, !isEnough(text) else { return true }
                    state.waiting.append(continuation)
                    return false
                }
                if isNews { continuation.resume() }
            }
            alarm.cancel()
        }
    }

    private static func wake(_ state: Locked<State>) {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    private final class Receiver: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let state: Locked<State>

        init(_ state: Locked<State>) { self.state = state }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = unwrapInboundIn(data)
            state.withLock { $0.received += Array(bytes.readableBytesView) }
            RawConnection.wake(state)
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case ChannelEvent.inputClosed? = event as? ChannelEvent { end(context) }
            context.fireUserInboundEventTriggered(event)
        }

        func channelInactive(context: ChannelHandlerContext) { end(context) }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { end(context) }

        private func end(_ context: ChannelHandlerContext) {
            state.withLock { $0.isClosed = true }
            RawConnection.wake(state)
            context.close(promise: nil)
        }
    }
}

/// Answers as they came over a connection.
struct RawAnswer {
    let status: Int
    let headers: [String: String]
    let body: String

    var json: JSONValue { JSONValue(json: Array(body.utf8)) ?? .null }

    /// Reads as many whole answers as there are, interim ones included.
    static func all(in text: String) -> [RawAnswer] {
        var answers: [RawAnswer] = []
        var rest = Array(text.utf8)[...]
        while let end = rest.firstRange(of: Array("\r\n\r\n".utf8)) {
            let lines = String(decoding: rest[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
            var headers: [String: String] = [:]
            for line in lines.dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1)
                headers[parts[0].lowercased()] = parts[1].drop { $0 == " " }.description
            }
            let status = lines.first.flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int($0) } ?? 0
            let length = headers["content-length"].flatMap { Int($0) } ?? 0
            rest = rest[end.upperBound...]
            guard rest.count >= length else { break }
            answers.append(
                RawAnswer(status: status, headers: headers, body: String(decoding: rest.prefix(length), as: UTF8.self)))
            rest = rest.dropFirst(length)
        }
        return answers
    }
}
