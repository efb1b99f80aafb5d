import HoldfastStore
import NIOCore
import Synchronization

/// One connection that many callers share, made when first needed and made again when lost.
///
/// Callers on any thread write their command into one outgoing buffer, under a lock, and wait. Who is alone sends himself. Where
/// there are several, whoever finds nobody on his way to send wakes the event loop, which sends all that has gathered with one write. So the
/// busier it is, the fewer writes and wakes a command costs; nothing waits for a timer to fill a batch.
final class Connection: Sendable {
    typealias Answered<Value> = UnsafeContinuation<Result<Value, StoreError>, Never>

    /// Continuations are unsafe for speed: ``CommandQueue``'s third invariant is that each is resumed exactly once.
    enum Waiter {
        case one(Answered<Reply>)
        case many(Answered<[Reply]>)
        /// The connection itself, which only wants to see that the server answers.
        case nobody

        func fail(_ error: StoreError) {
            switch self {
            case .one(let continuation): continuation.resume(returning: .failure(error))
            case .many(let continuation): continuation.resume(returning: .failure(error))
            case .nobody: break
            }
        }
    }

    typealias Queue = CommandQueue<Waiter>

    struct State {
        var queue: Queue
        var line: Line?
        /// An array that has been sent, whose memory is used again.
        var spare: [UInt8] = []
        /// Whether several callers were answered together the last time, who may soon come again together.
        var servesSeveral = false
        var isTicking = false
        /// The last call's, when it was last looked whether anybody uses the connection.
        var ticketAtLastLook: UInt64 = 0
        /// Which attempt to connect counts: what an earlier one brings is not wanted any more.
        var attempt = 0
        /// The connection that was lost with unanswered commands, until the next one has ended it on the server.
        var predecessor: ServerSideIdentity?
        var statistics = ClientStatistics()
        /// Called once when the connection that is there is there no more.
        var whenLost: (@Sendable () -> Void)?
        /// Who waits in ``close(finishingWithin:)``, and until when all of them do: the latest that one of them allows.
        var finishing: [CheckedContinuation<Void, Never>] = []
        var finishesBy = NIODeadline.uptimeNanoseconds(0)
    }

    let state: Locked<State>
    let eventLoop: any EventLoop
    /// Runs tasks on the connection's event loop.
    let executor: EventLoopExecutor
    private let connector: Connector
    private let timeout: UInt64
    private let tick: TimeAmount
    private let keepAlive: TimeAmount
    private let silentTicksAllowed: Int
    /// Whether it serves one caller: then it is not made again when lost, and ends when a call on it is given up.
    let isExclusive: Bool
    private let lastTicket = Atomic<UInt64>(0)

    init(_ connector: Connector, on eventLoop: any EventLoop, isExclusive: Bool = false) {
        let configuration = connector.configuration
        self.connector = connector
        self.eventLoop = eventLoop
        executor = EventLoopExecutor(eventLoop)
        self.isExclusive = isExclusive
        timeout = UInt64(configuration.commandTimeout.clampedNanoseconds)
        keepAlive = .nanoseconds(configuration.keepAlive.clampedNanoseconds)
        // A tick is how late a timeout may be told.
        tick = .nanoseconds(min(25_000_000, max(5_000_000, Int64(timeout / 10))))
        silentTicksAllowed = Int(clamping: timeout.multipliedReportingOverflow(by: 3).partialValue / UInt64(tick.nanoseconds))
        let limits = Queue.Limits(inFlight: configuration.maximumInFlight, queuedBytes: configuration.maximumQueuedBytes)
        state = Locked(State(queue: Queue(limits: limits)))
    }

    /// How many calls were sent and have no reply yet, those that nobody waits for any more included.
    var outstanding: Int { state.withLock { $0.queue.sentCount } }

    /// Whether anything is still to be sent, or a reply is to come.
    var isBusy: Bool { state.withLock { $0.queue.count > 0 } }

    /// Whether the caller is on its event loop.
    var isOnItsLoop: Bool { eventLoop.inEventLoop }

    /// What has become of its calls so far.
    var statistics: ClientStatistics {
        var statistics = state.withLock { state in
            var statistics = state.statistics
            statistics.outstanding = state.queue.sentCount
            return statistics
        }
        // Each call has a ticket, so nothing is counted where it would cost one.
        statistics.calls = Int(clamping: lastTicket.load(ordering: .relaxed))
        return statistics
    }

    /// Whether it takes no more calls, though some may still wait.
    var isEnding: Bool { state.withLock { $0.queue.isFinishing } }

    // MARK: - Callers

    /// Sends one command and waits for its reply.
    ///
    /// - Parameter extra: nanoseconds on top of the connection's timeout, for a command that waits on the server.
    nonisolated(nonsending) func one(
        extra: UInt64 = 0, _ encode: (inout CommandWriter) -> Void
    ) async -> Result<Reply, StoreError> {
        let ticket = lastTicket.add(1, ordering: .relaxed).newValue
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { submit(.one($0), ticket, extra: extra, replies: nil, encode) }
        } onCancel: {
            cancel(ticket)
        }
    }

    /// Sends several commands, with one write, and waits for all their replies.
    nonisolated(nonsending) func many(
        _ count: Int, extra: UInt64 = 0, _ encode: (inout CommandWriter) -> Void
    ) async -> Result<[Reply], StoreError> {
        let ticket = lastTicket.add(1, ordering: .relaxed).newValue
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { submit(.many($0), ticket, extra: extra, replies: count, encode) }
        } onCancel: {
            cancel(ticket)
        }
    }

    private func submit(
        _ waiter: Waiter, _ ticket: UInt64, extra: UInt64 = 0, replies: Int?, _ encode: (inout CommandWriter) -> Void
    ) {
        let now = Uptime.nanoseconds
        let (moment, isBeyond) = (now &+ timeout).addingReportingOverflow(extra)
        var deadline = Queue.Deadline(moment: isBeyond ? .max : moment)
        if let callers = Uptime.callersDeadline, callers < deadline.moment {
            deadline = Queue.Deadline(moment: callers, isCallers: true)
        }
        let isOnLoop = eventLoop.inEventLoop
        var bytes: [UInt8] = []
        let (submission, turn) = state.withLock { state -> (Queue.Submission, Turn) in
            // Asked for under the lock: whoever is cancelled later finds the ticket in the queue.
            if Task.isCancelled { return (.refused(StoreError(.cancelled)), .nobodys) }
            let submission = state.queue.submit(
                waiter, ticket: ticket, now: now, deadline: deadline, replies: replies, encode: encode)
            guard case .send = submission, !isOnLoop else { return (submission, .loops) }
            return (submission, state.turn(&bytes))
        }
        switch submission {
        case .queued: break
        case .send: take(turn, &bytes)
        case .connect: eventLoop.execute { self.connect() }
        case .refused(let error):
            if error.code == .overloaded { state.withLock { $0.statistics.overloaded += 1 } }
            waiter.fail(error)
        }
    }

    private func cancel(_ ticket: UInt64) {
        let abandoned = state.withLock { state in
            let gone = state.queue.abandon(ticket)
            if gone != nil { state.statistics.cancelled += 1 }
            return gone
        }
        guard let gone = abandoned else { return }
        gone.waiter.fail(StoreError(.cancelled, effect: gone.effect))
        endIfExclusive(gone.effect)
    }

    /// What was sent and is not waited for any more would still be carried out later: a blocking pop would take an element for nobody.
    private func endIfExclusive(_ effect: StoreError.Effect) {
        if isExclusive, effect == .unknown { hangUp() }
    }

    /// Ends the connection that is there, as if it were lost.
    func hangUp() { state.withLock { $0.line }?.channel.close(promise: nil) }

    /// Shows the server the credentials of now, where the connection is there: a new one shows them by itself.
    ///
    /// - Throws: ``ErrorCode/serverRefused`` where they are not accepted; the connection stays what it was.
    func authenticate() async throws(StoreError) {
        guard isUsable, let command = Handshake.authentication(try await connector.configuration.identified()) else { return }
        if case .error(let error) = try await one({ $0.command(command) }).get() { throw Handshake.failure(error) }
    }

    /// Asks the server for a sign of life; where none comes, the connection ends as it does for any call.
    func ping() {
        submit(.nobody, lastTicket.add(1, ordering: .relaxed).newValue, replies: nil) { $0.command(["PING"]) }
    }

    /// Whether a call has a chance: the connection has not ended.
    var isUsable: Bool {
        state.withLock { state in
            guard case .ready = state.queue.phase else { return false }
            return state.line?.channel.isActive ?? false
        }
    }

    /// Ends the connection when what waits has been answered, or when the time is over: what waits then fails. All later calls fail.
    ///
    /// Who closes it meanwhile with a time of his own cuts none off that another has allowed; who allows none ends it at once.
    func close(finishingWithin grace: Duration) async {
        await withCheckedContinuation { (finished: CheckedContinuation<Void, Never>) in
            let end = NIODeadline.now() + .nanoseconds(grace.clampedNanoseconds)
            let waits = state.withLock { state in
                state.queue.finish()
                guard !state.queue.isFinished, grace > .zero else { return false }
                state.finishing.append(finished)
                state.finishesBy = max(state.finishesBy, end)
                return true
            }
            guard waits else { return finished.resume() }
            eventLoop.scheduleTask(deadline: end) { self.endFinishing() }
        }
        await close()
    }

    /// Lets those go on who wait for the end, where all has been answered or the time is over.
    private func endFinishing() {
        let finished = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            guard state.queue.isFinished || NIODeadline.now() >= state.finishesBy else { return [] }
            defer { state.finishing = [] }
            return state.finishing
        }
        for continuation in finished { continuation.resume() }
    }

    /// Ends the connection. What waits fails, and so do all later calls.
    func close() async {
        let (abandoned, channel) = state.withLock { state in
            defer { state.line = nil }
            return (state.queue.close(), state.line?.channel)
        }
        for gone in abandoned { gone.waiter.fail(StoreError(.shuttingDown, effect: gone.effect)) }
        try? await channel?.close()
    }

    /// The same without waiting for the socket.
    func closeWithoutWaiting() {
        let (abandoned, channel) = state.withLock { state in
            defer { state.line = nil }
            return (state.queue.close(), state.line?.channel)
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

    func connect() {
        let (startsTicking, attempt, predecessor) = state.withLock { state -> (Bool, Int?, ServerSideIdentity?) in
            guard case .connecting = state.queue.phase else { return (false, nil, nil) }
            defer { state.isTicking = true }
            state.attempt += 1
            return (!state.isTicking, state.attempt, state.predecessor)
        }
        guard let attempt else { return }
        if startsTicking { scheduleTick() }
        connector.connect(on: eventLoop, receiver: self, after: predecessor).whenComplete { result in
            switch result {
            case .success(let channel): self.connected(channel, attempt)
            case .failure(let error):
                self.connectingFailed(error as? StoreError ?? StoreError(.connectionFailed, "\(error)"), attempt)
            }
        }
    }

    private func connected(_ channel: any NIOCore.Channel, _ attempt: Int) {
        let socket = DirectSocket(channel, isPlain: connector.isPlain)
        let isWanted = state.withLock { state in
            guard state.attempt == attempt else { return false }
            state.queue.connected()
            guard case .ready = state.queue.phase else { return false }
            state.line = Line(channel: channel, socket: socket)
            state.predecessor = nil
            state.statistics.connected += 1
            return true
        }
        guard isWanted else { return channel.close(promise: nil) }
        drain()
        // The pool looks after those for exclusive use.
        if !isExclusive { scheduleKeepAlive(channel) }
    }

    /// A connection that nobody uses would not notice that its peer is gone: it asks now and then.
    ///
    /// By a strong reference, which ends with the channel: a single weak one would make each of the many retains that a call costs go through
    /// a side table (3,000 of 28,000 instructions of a lone GET).
    private func scheduleKeepAlive(_ channel: any NIOCore.Channel) {
        noteLastTicket()
        let looks = eventLoop.scheduleRepeatedTask(initialDelay: keepAlive, delay: keepAlive) { _ in
            if self.state.withLock({ $0.ticketAtLastLook }) == self.lastTicket.load(ordering: .relaxed) { self.ping() }
            self.noteLastTicket()
        }
        channel.closeFuture.whenComplete { _ in looks.cancel() }
    }

    private func noteLastTicket() {
        let last = lastTicket.load(ordering: .relaxed)
        state.withLock { $0.ticketAtLastLook = last }
    }

    private func connectingFailed(_ error: StoreError, _ attempt: Int) {
        let now = Uptime.nanoseconds
        let backoff = connector.configuration.backoff
        let fraction = Double.random(in: 0...1)
        let abandoned = state.withLock { state in
            guard state.attempt == attempt else { return [Queue.Abandoned]() }
            state.statistics.failedAttempts += 1
            let abandoned = state.queue.connectingFailed(error, now: now) { failures in
                UInt64(backoff.pause(afterFailures: failures, fraction: fraction).clampedNanoseconds)
            }
            // Who waits has just been taken out.
            if isExclusive { _ = state.queue.close(Self.exclusiveLoss) }
            return abandoned
        }
        for gone in abandoned { gone.waiter.fail(gone.effect == .none ? error : error.withUnknownEffect()) }
    }

    /// Sets what is called, once, when the connection that is there, or the next one, is lost or left.
    func whenLost(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.whenLost = body } }

    func tellLoss() {
        let told = state.withLock { state in
            defer { state.whenLost = nil }
            return state.whenLost
        }
        told?()
    }

    // MARK: - Leaving a connection for another

    /// How long replies of a connection that is being left are waited for.
    private static let farewell = TimeAmount.milliseconds(500)

    /// Makes a new connection, because the server at the other end is not the one to talk to any more. What is not sent yet goes over
    /// the new one.
    ///
    /// - Parameter isGraceful: whether what was sent may have its replies, for half a second; otherwise it fails at once. Who has one for
    ///   exclusive use goes on with it for as long as he has it.
    func renew(isGraceful: Bool) {
        if isExclusive, isGraceful { return eventLoop.execute { self.connect() } }
        // At once, so that a write that the loop was told of before carries nothing more to that server.
        state.withLock { $0.queue.leave() }
        eventLoop.execute { self.leave(isGraceful) }
    }

    /// On the event loop, where attempts to connect begin and end: what is decided here holds until it is done.
    private func leave(_ isGraceful: Bool) {
        let (channel, isConnecting) = state.withLock { state -> ((any NIOCore.Channel)?, Bool) in
            state.queue.leave()
            if case .connecting = state.queue.phase { return (nil, true) }
            return (state.line?.channel, false)
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

    func scheduleTick() {
        eventLoop.scheduleTask(in: tick) { self.ticked() }
    }

    /// The one timer of the connection: it runs while anything is waited for.
    private func ticked() {
        let now = Uptime.nanoseconds
        let (expired, stalled, goesOn, isFinished) = state.withLock { state in
            let expired = state.queue.expire(now: now)
            state.statistics.timedOut += expired.count
            // Three timeouts without a byte: what still waits is not coming, and a new connection may do better. One for exclusive use
            // is silent as long as its caller's command waits on the server; it ends when that call's own time is over.
            let isStalled = state.queue.tick() > silentTicksAllowed && !isExclusive
            state.isTicking = state.queue.count > 0
            return (expired, isStalled ? state.line?.channel : nil, state.isTicking, state.queue.isFinished)
        }
        for gone in expired {
            gone.waiter.fail(
                gone.isByCallersDeadline
                    ? StoreError(.deadlineExceeded, effect: gone.effect)
                    : StoreError(.timeout, "No reply within \(connector.configuration.commandTimeout)", effect: gone.effect))
        }
        stalled?.close(promise: nil)
        if let sent = expired.first(where: { $0.effect == .unknown }) { endIfExclusive(sent.effect) }
        if isFinished { endFinishing() }
        if goesOn { scheduleTick() }
    }
}
