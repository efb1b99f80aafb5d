import DequeModule
import HoldfastStore
import NIOCore

/// A connection over which a server tells of changes, and answers that it is still there.
///
/// It is not made again when lost: what was announced meanwhile is not known, so whoever keeps copies has to begin anew.
final class InvalidationStream: Sendable {
    private typealias Waiter = CheckedContinuation<Result<Reply, StoreError>, Never>

    private struct State {
        var channel: (any NIOCore.Channel)?
        var waiters = Deque<Waiter>()
        var isClosed = false
    }

    private let state = Locked(State())
    private let eventLoop: any EventLoop
    private let timeout: TimeAmount
    private let told: @Sendable (InvalidationMessage) -> Void
    private let ended: @Sendable () -> Void

    /// - Parameters:
    ///   - told: gets each announcement, on the event loop, in the server's order and before any later answer is given.
    ///   - ended: called once, when the connection that was there is there no more.
    init(
        on eventLoop: any EventLoop, timeout: Duration, told: @escaping @Sendable (InvalidationMessage) -> Void,
        ended: @escaping @Sendable () -> Void
    ) {
        self.eventLoop = eventLoop
        self.timeout = .nanoseconds(timeout.clampedNanoseconds)
        self.told = told
        self.ended = ended
    }

    func open(_ connector: Connector) async throws(StoreError) {
        let channel: any NIOCore.Channel
        do {
            channel = try await eventLoop.flatSubmit { connector.connect(on: self.eventLoop, receiver: self) }.get()
        } catch {
            throw error as? StoreError ?? StoreError(.connectionFailed, "\(error)")
        }
        let isClosed = state.withLock { state in
            state.channel = channel
            return state.isClosed
        }
        if isClosed { channel.close(promise: nil) }
    }

    /// Sends a command that is answered by one reply. Where none comes in time the connection ends: it cannot be trusted any more.
    ///
    /// - Throws: ``ErrorCode/connectionLost``; an error that the server answered is thrown too.
    @discardableResult
    func ask(_ command: [Bytes]) async throws(StoreError) -> Reply {
        var writer = CommandWriter()
        writer.command(command)
        let buffer = ByteBuffer(bytes: writer.take())
        let silence = eventLoop.scheduleTask(in: timeout) { self.close() }
        defer { silence.cancel() }
        let result = await withCheckedContinuation { (waiter: Waiter) in
            eventLoop.execute { self.send(buffer, waiter) }
        }
        let reply = try result.get()
        if case .error(let error) = reply { throw StoreError(error, operation: command.first?.lossyString) }
        return reply
    }

    /// On the event loop, so that waiters stand in the order of their commands.
    private func send(_ buffer: ByteBuffer, _ waiter: Waiter) {
        let channel = state.withLock { state -> (any NIOCore.Channel)? in
            guard let channel = state.channel, !state.isClosed else { return nil }
            state.waiters.append(waiter)
            return channel
        }
        guard let channel else { return waiter.resume(returning: .failure(Self.lost)) }
        channel.writeAndFlush(buffer, promise: nil)
    }

    func close() {
        let channel = state.withLock { state in
            state.isClosed = true
            return state.channel
        }
        channel?.close(promise: nil)
    }

    private static let lost = StoreError(.connectionLost, "The connection that tells of changes was lost", effect: .unknown)
}

extension InvalidationStream: ConnectionReceiver {
    func received(_ items: inout [RESPItem]) -> StoreError? {
        for item in items {
            switch InvalidationMessage(item) {
            case .nothing: break
            case .answer(let reply):
                guard let waiter = state.withLock({ $0.waiters.popFirst() }) else {
                    return StoreError(.protocolViolation, "The server answered what it was not asked", effect: .unknown)
                }
                waiter.resume(returning: .success(reply))
            case let message: told(message)
            }
        }
        return nil
    }

    func writabilityChanged(to isWritable: Bool) {}

    func closed(_ channel: any NIOCore.Channel, _ error: StoreError, _ identity: ServerSideIdentity?) {
        let waiters = state.withLock { state in
            defer { state.waiters.removeAll() }
            state.isClosed = true
            state.channel = nil
            return state.waiters
        }
        ended()
        for waiter in waiters { waiter.resume(returning: .failure(Self.lost)) }
    }
}
