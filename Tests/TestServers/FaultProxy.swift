import HoldfastStore
import NIOCore
import NIOPosix

/// A network that can fail, between clients and a server on this machine.
///
///     let proxy = try await FaultProxy.start(to: server.port)
///     let store = try RedisStore(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: proxy.port)))
///     proxy.fault = .hang
public final class FaultProxy: Sendable {
    public enum Fault: Sendable, Hashable {
        case none
        /// Connections are closed, those that exist and new ones.
        case refuse
        /// Nothing is passed on, in either direction. What is there when the fault ends is passed on then.
        case hang
        /// Everything arrives this much later.
        case delay(Duration)
        /// So many bytes of replies are passed on over each connection, which then breaks.
        case cutReplies(after: Int)
        /// Requests arrive, replies do not. A connection that has lost some breaks when the fault ends.
        case dropReplies
        /// At most so many bytes a second in each direction.
        case throttle(bytesPerSecond: Int)
        /// Requests are held back, also when their client has gone. A connection that has some breaks when the fault ends, and
        /// ``FaultProxy/deliverHeldRequests()`` lets the server have them: late, as from a network that has kept them somewhere.
        case holdRequests
    }

    private struct State {
        var fault = Fault.none
        var wires: [ObjectIdentifier: Wire] = [:]
    }

    public let port: Int
    private let listener: any NIOCore.Channel
    private let state: Locked<State>

    /// - Parameter port: of 127.0.0.1, where the server listens.
    public static func start(to port: Int) async throws -> FaultProxy {
        let state = Locked(State())
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { client in
                let wire = Wire(client)
                state.withLock { $0.wires[ObjectIdentifier(wire)] = wire }
                client.closeFuture.whenComplete { _ in
                    if !wire.holdsRequests { state.withLock { $0.wires[ObjectIdentifier(wire)] = nil } }
                }
                let fault = state.withLock { $0.fault }
                return client.eventLoop.makeCompletedFuture {
                    try client.pipeline.syncOperations.addHandler(End(wire, isServer: false))
                    // Not before this channel is there. Who is refused does not reach the server even for a moment.
                    wire.loop.execute {
                        wire.become(fault)
                        if fault != .refuse { connect(wire, to: port) }
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return FaultProxy(listener, state)
    }

    private init(_ listener: any NIOCore.Channel, _ state: Locked<State>) {
        self.listener = listener
        self.state = state
        port = listener.localAddress?.port ?? 0
    }

    public var fault: Fault {
        get { state.withLock { $0.fault } }
        set {
            let wires = state.withLock { state in
                state.fault = newValue
                return Array(state.wires.values)
            }
            for wire in wires { wire.loop.execute { wire.become(newValue) } }
        }
    }

    /// Begins a fault, and returns when every connection has it: what is sent from then on meets it.
    public func begin(_ fault: Fault) async {
        self.fault = fault
        for wire in state.withLock({ Array($0.wires.values) }) { try? await wire.loop.submit {}.get() }
    }

    /// How many bytes ``Fault/holdRequests`` keeps.
    public func heldBytes() async -> Int {
        var count = 0
        for wire in state.withLock({ Array($0.wires.values) }) {
            count += (try? await wire.loop.submit { wire.heldBytes }.get()) ?? 0
        }
        return count
    }

    /// Passes on what ``Fault/holdRequests`` has kept, on the connections of then, and waits until the server has taken it all.
    ///
    /// - Returns: how many connections' requests were delivered.
    @discardableResult
    public func deliverHeldRequests() async -> Int {
        let wires = state.withLock { state in
            let late = state.wires.filter(\.value.hasLostClient)
            for id in late.keys { state.wires[id] = nil }
            return Array(late.values)
        }
        for wire in wires { await wire.deliverLate() }
        return wires.count
    }

    public func stop() async {
        fault = .refuse
        for wire in state.withLock({ Array($0.wires.values) }) { wire.loop.execute { wire.abandon() } }
        try? await listener.close()
    }

    private static func connect(_ wire: Wire, to port: Int) {
        ClientBootstrap(group: wire.loop)
            .channelInitializer { server in
                server.eventLoop.makeCompletedFuture {
                    try server.pipeline.syncOperations.addHandler(End(wire, isServer: true))
                }
            }
            .connect(host: "127.0.0.1", port: port)
            .whenComplete { result in
                // Where the server is not there the client sees its connection closed.
                if case .success(let server) = result { wire.connected(server) } else { wire.close() }
            }
    }
}

/// One client's connection, with the one to the server that belongs to it.
///
/// `@unchecked Sendable`: everything but `loop` and `lost` is reached on that loop only, to which both channels belong.
private final class Wire: @unchecked Sendable {
    let loop: any EventLoop
    private let client: any NIOCore.Channel
    private var server: (any NIOCore.Channel)?
    private var fault = FaultProxy.Fault.none
    /// What waits for the connection to the server, or for the end of a fault.
    private var held: [(isReply: Bool, bytes: ByteBuffer)] = []
    private var hasLostReplies = false
    private var isClosed = false
    private var passed = 0
    private var requests = Line()
    private var replies = Line()
    /// What ``FaultProxy/Fault/holdRequests`` keeps.
    private var late: [ByteBuffer] = []
    /// Whether the client has gone and left requests.
    private let lost = Locked(false)

    /// One direction: what is on its way, in order, and when each piece arrives.
    private struct Line {
        var pieces: [(moment: NIODeadline, bytes: ByteBuffer)] = []
        /// Until when it is busy with what is before.
        var busy = NIODeadline.uptimeNanoseconds(0)
    }

    var holdsRequests: Bool { !late.isEmpty }
    var heldBytes: Int { late.reduce(0) { $0 + $1.readableBytes } }
    var hasLostClient: Bool { lost.withLock { $0 } }

    init(_ client: any NIOCore.Channel) {
        self.client = client
        loop = client.eventLoop
    }

    func connected(_ server: any NIOCore.Channel) {
        self.server = server
        if isClosed { return close() }
        release()
    }

    func become(_ fault: FaultProxy.Fault) {
        if isClosed { return }
        self.fault = fault
        passed = 0
        if fault == .refuse || hasLostReplies || holdsRequests && fault != .holdRequests { return close() }
        release()
    }

    func close() {
        isClosed = true
        lost.withLock { $0 = holdsRequests }
        client.close(promise: nil)
        if !holdsRequests { server?.close(promise: nil) }
    }

    func abandon() {
        late = []
        close()
    }

    func deliverLate() async {
        let taken = loop.flatSubmit { [self] in
            guard let server, holdsRequests else { return loop.makeSucceededVoidFuture() }
            for bytes in late { server.write(bytes, promise: nil) }
            late = []
            server.flush()
            // It reads all that was sent before it closes its side.
            server.close(mode: .output, promise: nil)
            return server.closeFuture
        }
        try? await taken.get()
    }

    private func release() {
        let waiting = held
        held = []
        for (isReply, bytes) in waiting { carry(bytes, isReply: isReply) }
    }

    func carry(_ bytes: ByteBuffer, isReply: Bool) {
        if server == nil || fault == .hang { return held.append((isReply, bytes)) }
        switch fault {
        case .none, .hang: send(bytes, isReply, after: .zero)
        case .refuse: close()
        case .holdRequests where isReply: send(bytes, true, after: .zero)
        case .holdRequests: late.append(bytes)
        case .delay(let span): send(bytes, isReply, after: span)
        case .throttle(let rate):
            var rest = bytes
            while let slice = rest.readSlice(length: min(rest.readableBytes, max(1, rate / 20))), slice.readableBytes > 0 {
                send(slice, isReply, lasting: .microseconds(Int64(slice.readableBytes) * 1_000_000 / Int64(max(1, rate))))
            }
        case .dropReplies where isReply: hasLostReplies = true
        case .dropReplies: send(bytes, isReply, after: .zero)
        case .cutReplies(let limit) where isReply:
            let count = min(bytes.readableBytes, limit - passed)
            passed += count
            // What follows would be taken for the rest of it.
            if count < bytes.readableBytes { hasLostReplies = true }
            if count > 0, let part = bytes.getSlice(at: bytes.readerIndex, length: count) { send(part, true, after: .zero) }
            if passed >= limit { loop.scheduleTask(in: .milliseconds(1)) { self.close() } }
        case .cutReplies: send(bytes, isReply, after: .zero)
        }
    }

    private func send(_ bytes: ByteBuffer, _ isReply: Bool, after span: Duration) {
        deliver(bytes, isReply, at: .now() + .nanoseconds(span.milliseconds * 1_000_000))
    }

    private func send(_ bytes: ByteBuffer, _ isReply: Bool, lasting span: TimeAmount) {
        deliver(bytes, isReply, at: max(line(isReply).busy, .now()) + span)
    }

    private func line(_ isReply: Bool) -> Line { isReply ? replies : requests }

    private func change(_ isReply: Bool, _ body: (inout Line) -> Void) {
        if isReply { body(&replies) } else { body(&requests) }
    }

    /// Behind all that is on its way already, also where a timer is late.
    private func deliver(_ bytes: ByteBuffer, _ isReply: Bool, at moment: NIODeadline) {
        change(isReply) { line in
            line.busy = max(line.busy, moment)
            line.pieces.append((line.busy, bytes))
        }
        if line(isReply).pieces.count == 1 { pass(isReply) }
    }

    private func pass(_ isReply: Bool) {
        let target = isReply ? client : server
        while let first = line(isReply).pieces.first {
            guard first.moment <= .now() else {
                loop.scheduleTask(deadline: first.moment) { self.pass(isReply) }
                return
            }
            target?.writeAndFlush(first.bytes, promise: nil)
            change(isReply) { $0.pieces.removeFirst() }
        }
    }
}

/// Where one of a wire's two connections ends.
private final class End: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let wire: Wire
    private let isServer: Bool

    init(_ wire: Wire, isServer: Bool) {
        self.wire = wire
        self.isServer = isServer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { wire.carry(unwrapInboundIn(data), isReply: isServer) }
    func channelInactive(context: ChannelHandlerContext) { wire.close() }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { wire.close() }
}
