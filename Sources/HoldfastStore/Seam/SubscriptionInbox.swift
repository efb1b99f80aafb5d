import DequeModule

/// The bounded queue between a store that delivers and one reader that may be slow.
///
/// Delivering never waits: when the buffer is full it is done as ``Subscription/Overflow`` says, and the reader sees a gap.
public final class SubscriptionInbox: Sendable {
    private struct State {
        /// Messages, and behind them gaps of what was dropped there.
        var buffer = Deque<Subscription.Event>()
        var messages = 0
        /// Of the messages.
        var bytes = 0
        /// What was missed in front of the buffer.
        var missed: Int? = 0
        var reader: CheckedContinuation<Subscription.Event?, Never>?
        var isFinished = false

        mutating func takeNext() -> Subscription.Event? {
            if missed != 0 {
                defer { missed = 0 }
                return .gap(missed: missed)
            }
            guard let event = buffer.popFirst() else { return nil }
            forget(event)
            return event
        }

        mutating func add(_ message: Subscription.Event, _ overflow: Subscription.Overflow) {
            while isFull(for: message, overflow) {
                switch overflow {
                case .dropOldest:
                    forget(buffer.removeFirst())
                    missed = missed.map { $0 + 1 }
                case .dropNewest:
                    if case .gap(let count?)? = buffer.last {
                        buffer[buffer.count - 1] = .gap(missed: count + 1)
                    } else {
                        buffer.append(.gap(missed: 1))
                    }
                    return
                case .end:
                    buffer.append(.gap(missed: nil))
                    isFinished = true
                    return
                }
            }
            buffer.append(message)
            messages += 1
            bytes += message.size
        }

        /// Whether there is no room; for one message there always is, whatever its size.
        private func isFull(for message: Subscription.Event, _ overflow: Subscription.Overflow) -> Bool {
            messages >= overflow.limit || (messages > 0 && bytes + message.size > Subscription.maximumBytes)
        }

        /// Counts an event out that is buffered no more.
        private mutating func forget(_ event: Subscription.Event) {
            guard case .message = event else { return }
            messages -= 1
            bytes -= event.size
        }
    }

    private let overflow: Subscription.Overflow
    /// Who gets everything in its place.
    private let target: SubscriptionInbox?
    private let state = Locked(State())

    init(_ overflow: Subscription.Overflow, forwardingTo target: SubscriptionInbox? = nil) {
        self.overflow = overflow
        self.target = target
    }

    /// Adds one message; false when the subscription has ended.
    @discardableResult
    public func deliver(_ payload: Bytes, on channel: Channel) -> Bool {
        if let target { return !isFinished && target.deliver(payload, on: channel) }
        return hand { state in state.add(.message(channel: channel, payload: payload), overflow) }
    }

    /// Tells the reader that messages may have been missed here, in front of what is still to be delivered: that many, or nil for an
    /// unknown number.
    ///
    /// What is buffered was published before the gap and stays readable, behind the announcement: order between the two is given
    /// up so that the announcement cannot be lost.
    public func announceGap(missed: Int? = nil) {
        if let target {
            if !isFinished { target.announceGap(missed: missed) }
            return
        }
        hand { state in state.missed = missed.flatMap { missed in state.missed.map { $0 + missed } } }
    }

    /// Ends the subscription: the reader gets what is buffered, then nil.
    public func finish() {
        let reader = state.withLock { state -> CheckedContinuation<Subscription.Event?, Never>? in
            state.isFinished = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: nil)
    }

    private var isFinished: Bool { state.withLock { $0.isFinished } }

    @discardableResult
    private func hand(_ change: (inout State) -> Void) -> Bool {
        let (accepted, wake) = state.withLock {
            state -> (Bool, (CheckedContinuation<Subscription.Event?, Never>, Subscription.Event?)?) in
            guard !state.isFinished else { return (false, nil) }
            change(&state)
            guard let reader = state.reader else { return (true, nil) }
            state.reader = nil
            return (true, (reader, state.takeNext()))
        }
        if let (reader, event) = wake { reader.resume(returning: event) }
        return accepted
    }

    func next() async -> Subscription.Event? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready = state.withLock { state -> Subscription.Event?? in
                    if let event = state.takeNext() { return .some(event) }
                    if state.isFinished || Task.isCancelled || state.reader != nil { return .some(nil) }
                    state.reader = continuation
                    return nil
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            let reader = state.withLock { state -> CheckedContinuation<Subscription.Event?, Never>? in
                defer { state.reader = nil }
                return state.reader
            }
            reader?.resume(returning: nil)
        }
    }
}

extension Subscription.Event {
    fileprivate var size: Int {
        switch self {
        case .message(let channel, let payload): channel.bytes.count + payload.count
        case .gap: 0
        }
    }
}
