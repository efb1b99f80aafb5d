import HoldfastStore
import NIOCore
import Synchronization

/// One connection that many callers share, made when first needed and made again when lost.
///
/// Callers on any thread write their command into one outgoing buffer, under a lock, and wait. Whoever finds no wake on its way
/// wakes the event loop, which sends all that has gathered with one write. So the busier it is, the fewer writes and wakes a
/// command costs; nothing waits for a timer to fill a batch.
final class Connection: Sendable {
    typealias Answered<Value> = UnsafeContinuation<Result<Value, StoreError>, Never>

    /// Continuations are unsafe for speed: ``CommandQueue``'s third invariant is that each is resumed exactly once.
    enum Waiter {
        case one(Answered<Reply>)
        case many(Answered<[Reply]>)

        func fail(_ error: StoreError) {
            switch self {
            case .one(let continuation): continuation.resume(returning: .failure(error))
            case .many(let continuation): continuation.resume(returning: .failure(error))
            }
        }
    }

    private typealias Queue = CommandQueue<Waiter>

    private struct State {
        var queue: Queue
        var channel: (any NIOCore.Channel)?
        var isTicking = false
    }

    private let state: Locked<State>
    private let eventLoop: any EventLoop
    private let connector: Connector
    private let timeout: UInt64
    private let tick: TimeAmount
    private let silentTicksAllowed: Int
    private let lastTicket = Atomic<UInt64>(0)

    init(_ connector: Connector, on eventLoop: any EventLoop) {
        let configuration = connector.configuration
        self.connector = connector
        self.eventLoop = eventLoop
        timeout = UInt64(configuration.commandTimeout.clampedNanoseconds)
        // A tick is how late a timeout may be told.
        tick = .nanoseconds(min(25_000_000, max(5_000_000, Int64(timeout / 10))))
        silentTicksAllowed = Int(clamping: timeout.multipliedReportingOverflow(by: 3).partialValue / UInt64(tick.nanoseconds))
        let limits = Queue.Limits(inFlight: configuration.maximumInFlight, queuedBytes: configuration.maximumQueuedBytes)
        state = Locked(State(queue: Queue(limits: limits)))
    }

    /// How many calls were sent and have no reply yet, those that nobody waits for any more included.
    var outstanding: Int { state.withLock { $0.queue.sentCount } }

    // MARK: - Callers

    /// Sends one command and waits for its reply.
    nonisolated(nonsending) func one(_ encode: (inout CommandWriter) -> Void) async -> Result<Reply, StoreError> {
        let ticket = lastTicket.add(1, ordering: .relaxed).newValue
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { submit(.one($0), ticket, replies: nil, encode) }
        } onCancel: {
            cancel(ticket)
        }
    }

    /// Sends several commands, with one write, and waits for all their replies.
    nonisolated(nonsending) func many(_ count: Int, _ encode: (inout CommandWriter) -> Void) async -> Result<[Reply], StoreError>
    {
        let ticket = lastTicket.add(1, ordering: .relaxed).newValue
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { submit(.many($0), ticket, replies: count, encode) }
        } onCancel: {
            cancel(ticket)
        }
    }

    private func submit(_ waiter: Waiter, _ ticket: UInt64, replies: Int?, _ encode: (inout CommandWriter) -> Void) {
        let now = Uptime.nanoseconds
        var deadline = Queue.Deadline(moment: now &+ timeout)
        if let callers = Uptime.callersDeadline, callers < deadline.moment {
            deadline = Queue.Deadline(moment: callers, isCallers: true)
        }
        let submission = state.withLock { state -> Queue.Submission in
            // Asked for under the lock: whoever is cancelled later finds the ticket in the queue.
            if Task.isCancelled { return .refused(StoreError(.cancelled)) }
            return state.queue.submit(waiter, ticket: ticket, now: now, deadline: deadline, replies: replies, encode: encode)
        }
        switch submission {
        case .queued: break
        case .wake: eventLoop.execute { self.drain() }
        case .connect: eventLoop.execute { self.connect() }
        case .refused(let error): waiter.fail(error)
        }
    }

    private func cancel(_ ticket: UInt64) {
        guard let gone = state.withLock({ $0.queue.abandon(ticket) }) else { return }
        gone.waiter.fail(StoreError(.cancelled, effect: gone.effect))
    }

    /// Ends the connection. What waits fails, and so do all later calls.
    func close() async {
        let (abandoned, channel) = state.withLock { state in
            defer { state.channel = nil }
            return (state.queue.close(), state.channel)
        }
        for gone in abandoned { gone.waiter.fail(StoreError(.shuttingDown, effect: gone.effect)) }
        try? await channel?.close()
    }

    /// The same without waiting for the socket.
    func closeWithoutWaiting() {
        let (abandoned, channel) = state.withLock { state in
            defer { state.channel = nil }
            return (state.queue.close(), state.channel)
        }
        for gone in abandoned { gone.waiter.fail(StoreError(.shuttingDown, effect: gone.effect)) }
        channel?.close(promise: nil)
    }

    // MARK: - On the event loop

    private func drain() {
        let (buffer, channel, startsTicking) = state.withLock { state in
            let buffer = state.queue.drain { ByteBuffer(bytes: $0) }
            let startsTicking = !state.isTicking && state.queue.count > 0
            if startsTicking { state.isTicking = true }
            return (buffer, state.channel, startsTicking)
        }
        if let buffer { channel?.writeAndFlush(buffer, promise: nil) }
        if startsTicking { scheduleTick() }
    }

    private func connect() {
        let startsTicking = state.withLock { state in
            defer { state.isTicking = true }
            return !state.isTicking
        }
        if startsTicking { scheduleTick() }
        connector.connect(on: eventLoop, receiver: self).whenComplete { result in
            switch result {
            case .success(let channel): self.connected(channel)
            case .failure(let error): self.connectingFailed(error as? StoreError ?? StoreError(.connectionFailed, "\(error)"))
            }
        }
    }

    private func connected(_ channel: any NIOCore.Channel) {
        let isWanted = state.withLock { state in
            state.queue.connected()
            guard case .ready = state.queue.phase else { return false }
            state.channel = channel
            return true
        }
        guard isWanted else { return channel.close(promise: nil) }
        drain()
    }

    private func connectingFailed(_ error: StoreError) {
        let now = Uptime.nanoseconds
        let backoff = connector.configuration.backoff
        let fraction = Double.random(in: 0...1)
        let abandoned = state.withLock { state in
            state.queue.connectingFailed(error, now: now) { failures in
                UInt64(backoff.pause(afterFailures: failures, fraction: fraction).clampedNanoseconds)
            }
        }
        for gone in abandoned { gone.waiter.fail(error) }
    }

    private func scheduleTick() {
        eventLoop.scheduleTask(in: tick) { self.ticked() }
    }

    /// The one timer of the connection: it runs while anything is waited for.
    private func ticked() {
        let now = Uptime.nanoseconds
        let (expired, stalled, goesOn) = state.withLock { state in
            let expired = state.queue.expire(now: now)
            // Three timeouts without a byte: what still waits is not coming, and a new connection may do better.
            let isStalled = state.queue.tick() > silentTicksAllowed
            state.isTicking = state.queue.count > 0
            return (expired, isStalled ? state.channel : nil, state.isTicking)
        }
        for gone in expired {
            gone.waiter.fail(
                gone.isByCallersDeadline
                    ? StoreError(.deadlineExceeded, effect: gone.effect)
                    : StoreError(.timeout, "No reply within \(connector.configuration.commandTimeout)", effect: gone.effect))
        }
        stalled?.close(promise: nil)
        if goesOn { scheduleTick() }
    }
}

extension Connection: ConnectionReceiver {
    func received(_ items: [RESPItem]) -> StoreError? {
        var answers: [Queue.Answer] = []
        answers.reserveCapacity(items.count)
        let failure = state.withLock { state -> StoreError? in
            state.queue.receivedSomething()
            for case .reply(let reply) in items {
                do throws(StoreError) {
                    if let answer = try state.queue.receive(reply) { answers.append(answer) }
                } catch {
                    return error
                }
            }
            return nil
        }
        for answer in answers {
            switch answer {
            case .one(.one(let continuation), let reply): continuation.resume(returning: .success(reply))
            case .many(.many(let continuation), let replies): continuation.resume(returning: .success(replies))
            case .one(let waiter, _), .many(let waiter, _): waiter.fail(StoreError(.internalError, effect: .unknown))
            }
        }
        return failure
    }

    func writabilityChanged(to isWritable: Bool) {
        state.withLock { $0.queue.isWritable = isWritable }
        if isWritable { drain() }
    }

    func closed(_ error: StoreError) {
        let abandoned = state.withLock { state in
            state.channel = nil
            return state.queue.disconnected()
        }
        for gone in abandoned {
            gone.waiter.fail(
                gone.effect == .none
                    ? StoreError(.connectionLost, "The connection was lost before the command was sent", effect: .none)
                    : StoreError(error.code, error.message, effect: .unknown))
        }
    }
}
