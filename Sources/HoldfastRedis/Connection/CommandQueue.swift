import DequeModule
import HoldfastStore

/// What waits for one connection: the bytes to be sent, and who gets which reply. A value; ``Connection`` does what it decides.
///
/// Invariants:
/// 1. `entries` are in the order of their bytes on the wire; the last `unsent` of them have their bytes in `outgoing`, the others
///    have been handed to the socket.
/// 2. Replies belong to `entries` in order, `remaining` of them each. An entry whose caller has gone stays as a tombstone
///    (`waiter` nil) until its last reply has come, so replies are never mismatched.
/// 3. A caller is answered exactly once: its waiter leaves the entry when it is answered, and no entry has one twice.
/// 4. What was not sent is never sent later, once its caller was told so: its entry has no waiter then, and ``take(_:)`` leaves
///    out the bytes of such entries (`hasHoles`).
/// 5. While the connection is being left for another (`isLeaving`) nothing more is sent over it; what is unsent outlives it.
struct CommandQueue<Waiter> {
    struct Limits {
        var inFlight: Int
        var queuedBytes: Int
    }

    enum Phase {
        /// No connection. Calls are answered with `failure` until `retryAt`, and begin to connect from then on.
        case idle(retryAt: UInt64, failure: StoreError?)
        case connecting
        case ready
        /// No more calls: they are answered with the error.
        case closed(StoreError)
    }

    /// What a caller's shell has to do after ``submit(_:ticket:now:deadline:replies:encode:)``.
    enum Submission {
        case refused(StoreError)
        /// It waits; someone else will send it.
        case queued
        /// It waits, and somebody has to begin to send.
        case send
        /// It waits, and a connection has to be made.
        case connect
    }

    /// A caller's answer that has come complete.
    enum Answer {
        case one(Waiter, Reply)
        case many(Waiter, [Reply])
    }

    /// A caller who will get no reply.
    struct Abandoned {
        let waiter: Waiter
        let effect: StoreError.Effect
        /// Whether the caller's own deadline ended before the connection's timeout.
        var isByCallersDeadline = false
    }

    /// Until when a call waits, in nanoseconds of ``Uptime``.
    struct Deadline {
        let moment: UInt64
        /// Whether it is the caller's own, which comes before the connection's timeout.
        var isCallers = false
    }

    private struct Entry {
        var waiter: Waiter?
        let ticket: UInt64
        let deadline: Deadline
        /// Bytes in `outgoing`, while unsent.
        let length: Int
        var remaining: Int32
        let isBatch: Bool
    }

    private let limits: Limits
    private var entries = Deque<Entry>()
    private var unsent = 0
    /// Whether the caller of some unsent entry has gone.
    private var hasHoles = false
    private var outgoing = CommandWriter()
    /// The replies so far of the batch in front.
    private var partial: [Reply] = []
    /// Whether somebody sends, or is on his way to.
    private var isScheduled = false
    private var isLeaving = false
    private(set) var isFinishing = false
    private(set) var phase = Phase.idle(retryAt: 0, failure: nil)
    private var failures = 0
    var isWritable = true
    /// How many ticks in a row have found replies awaited and nothing received.
    private var silentTicks = 0

    init(limits: Limits) { self.limits = limits }

    var count: Int { entries.count }
    /// How many entries await a reply, tombstones included.
    var sentCount: Int { entries.count - unsent }

    // MARK: - Callers

    /// Puts one command or batch in line.
    ///
    /// - Parameters:
    ///   - ticket: by which ``abandon(_:)`` finds it.
    ///   - replies: how many will come; nil for a single command.
    ///   - encode: writes exactly that many commands.
    mutating func submit(
        _ waiter: Waiter, ticket: UInt64, now: UInt64, deadline: Deadline, replies: Int?,
        encode: (inout CommandWriter) -> Void
    ) -> Submission {
        if let refusal = refusal(now: now) { return .refused(refusal) }
        if deadline.moment <= now { return .refused(StoreError(.deadlineExceeded)) }
        let before = outgoing.buffer.count
        encode(&outgoing)
        entries.append(
            Entry(
                waiter: waiter, ticket: ticket, deadline: deadline, length: outgoing.buffer.count - before,
                remaining: Int32(clamping: replies ?? 1), isBatch: replies != nil))
        unsent += 1
        switch phase {
        case .idle:
            phase = .connecting
            return .connect
        case .ready where !isScheduled && isWritable && !isLeaving:
            isScheduled = true
            return .send
        default: return .queued
        }
    }

    private func refusal(now: UInt64) -> StoreError? {
        switch phase {
        case .closed(let error): return error
        case .idle(let retryAt, let failure):
            if now < retryAt { return failure ?? StoreError(.connectionFailed) }
        case .connecting, .ready: break
        }
        guard !isFinishing else { return StoreError(.shuttingDown) }
        guard entries.count < limits.inFlight else {
            return StoreError(.overloaded, "\(limits.inFlight) calls are outstanding already")
        }
        guard outgoing.buffer.count < limits.queuedBytes else {
            return StoreError(.overloaded, "\(limits.queuedBytes) bytes wait to be sent already")
        }
        return nil
    }

    /// Takes a caller out who no longer waits; nil when it has been answered, or was not there.
    mutating func abandon(_ ticket: UInt64) -> Abandoned? {
        guard let index = entries.lastIndex(where: { $0.ticket == ticket && $0.waiter != nil }) else { return nil }
        return abandon(at: index)
    }

    private mutating func abandon(at index: Int) -> Abandoned? {
        guard let waiter = entries[index].waiter else { return nil }
        entries[index].waiter = nil
        let wasSent = index < entries.count - unsent
        if !wasSent { hasHoles = true }
        return Abandoned(waiter: waiter, effect: wasSent ? .unknown : .none)
    }

    // MARK: - The event loop

    /// Takes the bytes that wait, once the connection is ready and can take them.
    ///
    /// Whoever is given some sends them, in this order, and asks again: until there are none callers only gather (`isScheduled`).
    ///
    /// - Parameter bytes: what was sent before, whose memory is used for what comes; then what is to be sent.
    /// - Returns: whether there is anything.
    mutating func take(_ bytes: inout [UInt8]) -> Bool {
        isScheduled = false
        guard case .ready = phase, isWritable, !isLeaving else { return false }
        if hasHoles { closeHoles() }
        guard unsent > 0 else { return false }
        unsent = 0
        isScheduled = true
        outgoing.exchange(&bytes)
        return true
    }

    /// Whether more has gathered while somebody sent, so that he or another has to go on.
    mutating func goesOn() -> Bool {
        isScheduled = unsent > 0
        return isScheduled
    }

    /// Takes the unsent commands out whose callers have gone: one pass, however many they are.
    private mutating func closeHoles() {
        let firstUnsent = entries.count - unsent
        var kept: [UInt8] = []
        var waiting: [Entry] = []
        var position = 0
        for entry in entries[firstUnsent...] {
            if entry.waiter != nil {
                kept.append(contentsOf: outgoing.buffer[position..<(position + entry.length)])
                waiting.append(entry)
            }
            position += entry.length
        }
        entries.removeLast(unsent)
        entries.append(contentsOf: waiting)
        unsent = waiting.count
        outgoing = CommandWriter(written: kept)
        hasHoles = false
    }

    /// Matches one reply.
    ///
    /// - Returns: the answer that is complete with it, or nil: a batch not complete yet, or a tombstone.
    /// - Throws: ``ErrorCode/protocolViolation`` for a reply that nobody asked for.
    mutating func receive(_ reply: consuming Reply) throws(StoreError) -> Answer? {
        guard entries.count > unsent, let head = entries.first else {
            throw StoreError(.protocolViolation, "The server sent a reply to nothing", effect: .unknown)
        }
        guard head.isBatch else {
            entries.removeFirst()
            guard let waiter = head.waiter else { return nil }
            return .one(waiter, reply)
        }
        if head.waiter != nil { partial.append(reply) }
        if head.remaining > 1 {
            entries[0].remaining -= 1
            return nil
        }
        entries.removeFirst()
        defer { partial = [] }
        return head.waiter.map { .many($0, partial) }
    }

    mutating func receivedSomething() { silentTicks = 0 }

    /// Takes out everyone whose deadline has passed.
    mutating func expire(now: UInt64) -> [Abandoned] {
        var expired: [Abandoned] = []
        for index in entries.indices where entries[index].deadline.moment <= now {
            guard var abandoned = abandon(at: index) else { continue }
            abandoned.isByCallersDeadline = entries[index].deadline.isCallers
            expired.append(abandoned)
        }
        return expired
    }

    /// Counts one tick of the connection's timer.
    ///
    /// - Returns: how many in a row found replies awaited and nothing received. Ticks are counted and not time, because between two
    ///   of them the loop reads what is there: a process that was itself held up does not take that for the peer's silence.
    mutating func tick() -> Int {
        silentTicks = sentCount > 0 ? silentTicks + 1 : 0
        return silentTicks
    }

    // MARK: - The connection's life

    /// The connection is there. What waits should be drained.
    mutating func connected() {
        guard case .connecting = phase else { return }
        phase = .ready
        failures = 0
        isWritable = true
        silentTicks = 0
    }

    /// Connecting failed: nothing was sent. Calls fail with this error until the pause is over.
    mutating func connectingFailed(
        _ error: StoreError, now: UInt64, pause: (_ failures: Int) -> UInt64
    ) -> [Abandoned] {
        failures += 1
        if case .connecting = phase { phase = .idle(retryAt: now + pause(failures), failure: error) }
        return removeAll()
    }

    /// The connection ended. The next call connects again, at once; where it was being left for another, that one is connected to
    /// (phase `connecting`) if anything waits for it.
    mutating func disconnected() -> [Abandoned] {
        guard case .ready = phase else { return removeAll() }
        phase = .idle(retryAt: 0, failure: nil)
        guard isLeaving else { return removeAll() }
        isLeaving = false
        isScheduled = false
        partial = []
        let sent = entries.count - unsent
        let abandoned = entries.prefix(sent).compactMap { entry in
            entry.waiter.map { Abandoned(waiter: $0, effect: .unknown) }
        }
        entries.removeFirst(sent)
        if unsent > 0 { phase = .connecting }
        return abandoned
    }

    /// Begins to leave the connection for another: nothing more is sent over it. A pause after failed attempts ends.
    mutating func leave() {
        switch phase {
        case .idle: retryNow()
        case .ready: isLeaving = true
        case .connecting, .closed: break
        }
    }

    /// Whether the connection is being left and nothing is awaited from it any more.
    var hasLeft: Bool { isLeaving && sentCount == 0 }

    /// Ends the pause after failed attempts: the next call connects.
    mutating func retryNow() {
        if case .idle = phase { phase = .idle(retryAt: 0, failure: nil) }
    }

    /// No more calls; those that wait still get their replies.
    mutating func finish() { isFinishing = true }

    /// Whether the last reply that was waited for after ``finish()`` has come.
    var isFinished: Bool { isFinishing && entries.isEmpty }

    /// No more calls.
    mutating func close(_ error: StoreError = StoreError(.shuttingDown)) -> [Abandoned] {
        if case .closed = phase {} else { phase = .closed(error) }
        return removeAll()
    }

    private mutating func removeAll() -> [Abandoned] {
        let firstUnsent = entries.count - unsent
        var abandoned: [Abandoned] = []
        for (index, entry) in entries.enumerated() {
            guard let waiter = entry.waiter else { continue }
            abandoned.append(Abandoned(waiter: waiter, effect: index < firstUnsent ? .unknown : .none))
        }
        entries.removeAll()
        unsent = 0
        hasHoles = false
        outgoing = CommandWriter()
        partial = []
        isScheduled = false
        isLeaving = false
        return abandoned
    }
}
