import HoldfastStore
import NIOCore
import NIOPosix

/// Says OK to a connection's first words and answers all later ones with the same bytes, whatever they were, or by closing.
final class HostilePeer: Sendable {
    private struct State {
        var answers: [String?]
        /// How many connections are still listened to.
        var listens: Int
        var open = 0
        var commands = 0

        /// For the connection that comes now; the last one is for all that follow.
        mutating func nextAnswer() -> String? { answers.count > 1 ? answers.removeFirst() : answers.first ?? nil }
    }

    let port: Int
    private let listener: any NIOCore.Channel
    private let state: Locked<State>

    var openConnections: Int { state.withLock { $0.open } }
    /// How many times it was sent something, first words apart.
    var commandCount: Int { state.withLock { $0.commands } }

    /// - Parameters:
    ///   - answers: one for each connection, nil to close it instead; the last is for all further ones.
    ///   - count: how many connections are listened to; further ones are closed before their first words.
    static func start(answering answers: String?..., listeningTo count: Int = .max) async throws -> HostilePeer {
        let state = Locked(State(answers: answers, listens: count))
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Answerer(state))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return HostilePeer(listener, state)
    }

    private init(_ listener: any NIOCore.Channel, _ state: Locked<State>) {
        self.listener = listener
        self.state = state
        port = listener.localAddress?.port ?? 0
    }

    func stop() async throws { try await listener.close() }

    private final class Answerer: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let state: Locked<State>
        private var answer: String?
        private var isFirst = true

        init(_ state: Locked<State>) { self.state = state }

        func channelActive(context: ChannelHandlerContext) {
            let isListenedTo = state.withLock { state in
                state.open += 1
                answer = state.nextAnswer()
                state.listens -= 1
                return state.listens >= 0
            }
            if !isListenedTo { context.close(promise: nil) }
        }

        func channelInactive(context: ChannelHandlerContext) { state.withLock { $0.open -= 1 } }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if isFirst {
                isFirst = false
                // Each command begins with its count of words; no word of a greeting does.
                let count = unwrapInboundIn(data).readableBytesView.count { $0 == UInt8(ascii: "*") }
                context.writeAndFlush(
                    wrapOutboundOut(ByteBuffer(string: String(repeating: "+OK\r\n", count: count))), promise: nil)
                return
            }
            state.withLock { $0.commands += 1 }
            guard let answer else { return context.close(promise: nil) }
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer)), promise: nil)
        }
    }
}
