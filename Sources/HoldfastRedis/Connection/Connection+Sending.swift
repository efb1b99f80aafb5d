import HoldfastStore
import NIOCore

// Who sends what has gathered. A caller who is alone on the connection sends his command himself: no thread is woken for it. Where there are
// several the event loop sends, so that one write takes along what all have gathered.

extension Connection {
    /// The connection that is there.
    struct Line {
        let channel: any NIOCore.Channel
        let socket: DirectSocket?
        /// What a caller could not send at once; it goes before all else.
        var rest: [UInt8] = []
        /// Whether a caller sends at this moment: then nobody else does.
        var isUsedByCaller = false
        /// Whether the channel holds bytes that the socket has not taken: then all goes through the channel.
        var hasBacklog = false
    }

    /// How what somebody has taken goes out.
    struct Way {
        let channel: any NIOCore.Channel
        /// Nil where it goes through the channel.
        let socket: DirectSocket?
    }

    enum Turn {
        case callers(Way)
        case loops
        /// The server has ended the connection: the event loop, which hears of it at any moment, tells all who wait.
        case nobodys
    }

    /// On the thread of a caller who was told to send: does what ``State/turn(_:)`` says.
    func take(_ turn: Turn, _ bytes: inout [UInt8]) {
        switch turn {
        case .callers(let way): send(&bytes, asCaller: way)
        case .loops: eventLoop.execute { self.drain() }
        // Deadlines count all the same.
        case .nobodys: if state.withLock({ $0.startsTicking() }) { scheduleTick() }
        }
    }

    private func send(_ bytes: inout [UInt8], asCaller way: Way) {
        let sent = way.socket?.send(bytes)
        let (goesOn, startsTicking) = state.withLock { ($0.callerHasSent(&bytes, way, sent), $0.startsTicking()) }
        if sent == nil { way.channel.close(promise: nil) }
        if goesOn { eventLoop.execute { self.drain() } }
        if startsTicking { scheduleTick() }
    }

    /// On the event loop: sends what has gathered, and what gathers meanwhile.
    func drain() {
        var bytes: [UInt8] = []
        // Other connections of the loop have their turn too.
        for _ in 0..<4 {
            let (way, startsTicking) = state.withLock { ($0.takeOnLoop(&bytes), $0.startsTicking()) }
            if startsTicking { scheduleTick() }
            guard let way else { return }
            send(bytes, onLoop: way)
        }
        state.withLock { $0.giveBack(&bytes) }
        eventLoop.execute { self.drain() }
    }

    private func send(_ bytes: [UInt8], onLoop way: Way) {
        var sent = 0
        if let socket = way.socket {
            guard let count = socket.send(bytes) else { return way.channel.close(promise: nil) }
            sent = count
        }
        if sent == bytes.count { return }
        // Noted before: the channel may write some of it at once and say, still in that call, that it takes more. What is sent then must not
        // pass the rest by way of the socket.
        state.withLock { $0.line?.hasBacklog = true }
        // This is the event loop, so nothing has to be asked or handed over.
        way.channel.pipeline.syncOperations.writeAndFlush(NIOAny(ByteBuffer(bytes: bytes[sent...])), promise: nil)
        let backlog = try? way.channel.syncOptions?.getOption(.bufferedWritableBytes)
        state.withLock { $0.line?.hasBacklog = backlog != 0 }
    }
}

extension Connection.State {
    /// Who sends, where a caller was told to: himself, if he is alone on a connection whose socket has taken all before.
    mutating func turn(_ bytes: inout [UInt8]) -> Connection.Turn {
        guard let line, let socket = line.socket, !line.hasBacklog, !servesSeveral, queue.sentCount == 0 else { return .loops }
        guard socket.isOpen else { return .nobodys }
        guard take(&bytes) else { return .loops }
        self.line?.isUsedByCaller = true
        return .callers(Connection.Way(channel: line.channel, socket: socket))
    }

    /// - Parameter count: how much of it the socket has taken; nil where it is broken.
    /// - Returns: whether the event loop has to go on.
    mutating func callerHasSent(_ bytes: inout [UInt8], _ way: Connection.Way, _ count: Int?) -> Bool {
        // Otherwise lost meanwhile, and perhaps made again.
        guard line?.channel === way.channel else { return false }
        line?.isUsedByCaller = false
        guard let count else { return false }
        if count < bytes.count {
            line?.rest = Array(bytes[count...])
            return true
        }
        giveBack(&bytes)
        return queue.goesOn()
    }

    mutating func takeOnLoop(_ bytes: inout [UInt8]) -> Connection.Way? {
        guard let line, !line.isUsedByCaller else { return nil }
        if !line.rest.isEmpty {
            bytes = line.rest
            self.line?.rest = []
            return Connection.Way(channel: line.channel, socket: nil)
        }
        guard take(&bytes) else { return nil }
        return Connection.Way(channel: line.channel, socket: line.hasBacklog ? nil : line.socket)
    }

    private mutating func take(_ bytes: inout [UInt8]) -> Bool {
        if bytes.capacity == 0 { swap(&bytes, &spare) }
        if queue.take(&bytes) { return true }
        giveBack(&bytes)
        return false
    }

    /// A usual buffer is kept for the next turn, a large one is not.
    mutating func giveBack(_ bytes: inout [UInt8]) {
        if bytes.capacity <= 64 << 10 { swap(&bytes, &spare) }
    }

    /// Whether the timer has to be started for what waits.
    mutating func startsTicking() -> Bool {
        guard !isTicking, queue.count > 0 else { return false }
        isTicking = true
        return true
    }
}
