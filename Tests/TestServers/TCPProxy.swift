import HoldfastStore
import NIOCore
import NIOPosix

/// Stands between a client and a server on 127.0.0.1, and can become a hole in which bytes vanish: a partition as nobody is told of it.
///
///     let proxy = try await TCPProxy.start(to: server.port)
///     proxy.swallow()    // both sides still think that they are connected
public final class TCPProxy: Sendable {
    private struct State {
        var isSwallowing = false
        var stranded: Set<ObjectIdentifier> = []
        var channels: [ObjectIdentifier: any NIOCore.Channel] = [:]
    }

    public let port: Int
    private let listener: any NIOCore.Channel
    private let state: Locked<State>

    public static func start(to target: Int) async throws -> TCPProxy {
        let state = Locked(State())
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 256)
            // Nothing is read before there is somewhere to send it.
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { client in
                ClientBootstrap(group: client.eventLoop)
                    .channelOption(.autoRead, value: false)
                    .connect(host: "127.0.0.1", port: target)
                    .flatMapThrowing { server in
                        try client.pipeline.syncOperations.addHandler(Relay(to: server, state))
                        try server.pipeline.syncOperations.addHandler(Relay(to: client, state))
                        state.withLock { state in
                            for channel in [client, server] { state.channels[ObjectIdentifier(channel)] = channel }
                        }
                        for channel in [client, server] { try channel.syncOptions?.setOption(.autoRead, value: true) }
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return TCPProxy(listener, state)
    }

    private init(_ listener: any NIOCore.Channel, _ state: Locked<State>) {
        self.listener = listener
        self.state = state
        port = listener.localAddress?.port ?? 0
    }

    /// From now on nothing passes, in either direction: not what comes over new connections either.
    public func swallow() { state.withLock { $0.isSwallowing = true } }

    /// From now on nothing passes over the connections that exist, which stay open; new ones work. As when a router has forgotten them.
    public func strand() { state.withLock { $0.stranded.formUnion($0.channels.keys) } }

    /// Lets bytes pass again. What was swallowed is gone, so connections that exist are closed.
    public func heal() {
        let channels = state.withLock { state in
            state.isSwallowing = false
            return Array(state.channels.values)
        }
        for channel in channels { channel.close(promise: nil) }
    }

    public func stop() async throws {
        heal()
        try await listener.close()
    }

    private final class Relay: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let peer: any NIOCore.Channel
        private let state: Locked<State>

        init(to peer: any NIOCore.Channel, _ state: Locked<State>) {
            self.peer = peer
            self.state = state
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let isLost = state.withLock { $0.isSwallowing || $0.stranded.contains(ObjectIdentifier(context.channel)) }
            guard !isLost else { return }
            peer.writeAndFlush(unwrapInboundIn(data), promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) {
            state.withLock { state in
                state.channels[ObjectIdentifier(context.channel)] = nil
                state.stranded.remove(ObjectIdentifier(context.channel))
            }
            peer.close(promise: nil)
            context.fireChannelInactive()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
