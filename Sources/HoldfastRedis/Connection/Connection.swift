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
        /// Which attempt to connect counts: what an earlier one brings is not wanted any more.
        var attempt = 0
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

    /// Ends the connection once those who use it now have their replies, or their timeouts. Nobody may be given it any more.
    func retire() {
        let patience = TimeAmount.nanoseconds(Int64(clamping: timeout)) + .seconds(1)
        eventLoop.scheduleTask(in: patience) { self.closeWithoutWaiting() }
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
        let (startsTicking, attempt) = state.withLock { state -> (Bool, Int?) in
            guard case .connecting = state.queue.phase else { return (false, nil) }
            defer { state.isTicking = true }
            state.attempt += 1
            return (!state.isTicking, state.attempt)
        }
        guard let attempt else { return }
        if startsTicking { scheduleTick() }
        connector.connect(on: eventLoop, receiver: self).whenComplete { result in
            switch result {
            case .success(let channel): self.connected(channel, attempt)
            case .failure(let error):
                self.connectingFailed(error as? StoreError ?? StoreError(.connectionFailed, "\(error)"), attempt)
            }
        }
    }

    private func connected(_ channel: any NIOCore.Channel, _ attempt: Int) {
        let isWanted = state.withLock { state in
            guard state.attempt == attempt else { return false }
            state.queue.connected()
            guard case .ready = state.queue.phase else { return false }
            state.channel = channel
            return true
        }
        guard isWanted else { return channel.close(promise: nil) }
        drain()
    }

    private func connectingFailed(_ error: StoreError, _ attempt: Int) {
        let now = Uptime.nanoseconds
        let backoff = connector.configuration.backoff
        let fraction = Double.random(in: 0...1)
        let abandoned = state.withLock { state in
            guard state.attempt == attempt else { return [Queue.Abandoned]() }
            return state.queue.connectingFailed(error, now: now) { failures in
                UInt64(backoff.pause(afterFailures: failures, fraction: fraction).clampedNanoseconds)
            }
        }
        for gone in abandoned { gone.waiter.fail(error) }
    }

    // MARK: - Leaving a connection for another

    /// How long replies of a connection that is being left are waited for.
    private static let farewell = TimeAmount.milliseconds(500)

    /// Makes a new connection, because the server at the other end is not the one to talk to any more. What is not sent yet goes over
    /// the new one.
    ///
    /// - Parameter isGraceful: whether what was sent may have its replies, for half a second; otherwise it fails at once.
    func renew(isGraceful: Bool) { eventLoop.execute { self.leave(isGraceful) } }

    /// On the event loop, where attempts to connect begin and end: what is decided here holds until it is done.
    private func leave(_ isGraceful: Bool) {
        let (channel, isConnecting) = state.withLock { state -> ((any NIOCore.Channel)?, Bool) in
            state.queue.leave()
            if case .connecting = state.queue.phase { return (nil, true) }
            return (state.channel, false)
        }
        // An attempt that is under way goes to the wrong server: another one counts.
        if isConnecting { return connect() }
        guard let channel else { return }
        guard isGraceful else { return channel.close(promise: nil) }
        closeIfLeft(channel)
        eventLoop.scheduleTask(in: Self.farewell) { channel.close(promise: nil) }
    }

    /// Ends the pause after failed attempts: the next call connects.
    func retryNow() { state.withLock { $0.queue.retryNow() } }

    private func closeIfLeft(_ channel: any NIOCore.Channel) {
        if state.withLock({ $0.queue.hasLeft }) { channel.close(promise: nil) }
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
        let (failure, left) = state.withLock { state -> (StoreError?, (any NIOCore.Channel)?) in
            state.queue.receivedSomething()
            for case .reply(let reply) in items {
                do throws(StoreError) {
                    if let answer = try state.queue.receive(reply) { answers.append(answer) }
                } catch {
                    return (error, nil)
                }
            }
            return (nil, state.queue.hasLeft ? state.channel : nil)
        }
        for answer in answers {
            switch answer {
            case .one(.one(let continuation), let reply): continuation.resume(returning: .success(reply))
            case .many(.many(let continuation), let replies): continuation.resume(returning: .success(replies))
            case .one(let waiter, _), .many(let waiter, _): waiter.fail(StoreError(.internalError, effect: .unknown))
            }
        }
        if let left { left.close(promise: nil) }
        return failure
    }

    func writabilityChanged(to isWritable: Bool) {
        state.withLock { $0.queue.isWritable = isWritable }
        if isWritable { drain() }
    }

    func closed(_ channel: any NIOCore.Channel, _ error: StoreError) {
        let (abandoned, reconnects) = state.withLock { state -> ([Queue.Abandoned], Bool) in
            // One that came too late was never used.
            guard state.channel === channel else { return ([], false) }
            state.channel = nil
            let abandoned = state.queue.disconnected()
            guard case .connecting = state.queue.phase else { return (abandoned, false) }
            return (abandoned, true)
        }
        if reconnects { connect() }
        for gone in abandoned {
            gone.waiter.fail(
                gone.effect == .none
                    ? StoreError(.connectionLost, "The connection was lost before the command was sent", effect: .none)
                    : StoreError(error.code, error.message, effect: .unknown))
        }
    }
}
