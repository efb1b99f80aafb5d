import DequeModule

/// The bounded queue between a store that delivers and one reader that may be slow.
///
/// Delivering never waits: when the buffer is full the oldest message goes, and the reader sees a gap in its place.
public final class SubscriptionInbox: Sendable {
    private struct State {
        var buffer = Deque<Subscription.Event>()
        var missed: Int? = 0
        var reader: CheckedContinuation<Subscription.Event?, Never>?
        var isFinished = false

        mutating func takeNext() -> Subscription.Event? {
            if missed != 0 {
                defer { missed = 0 }
                return .gap(missed: missed)
            }
            return buffer.popFirst()
        }
    }

    private let limit: Int
    private let state = Locked(State())

    init(limit: Int) { self.limit = Swift.max(1, limit) }

    /// Adds one message; false when the subscription has ended.
    @discardableResult
    public func deliver(_ payload: Bytes, on channel: Channel) -> Bool {
        hand { state in
            if state.buffer.count >= limit {
                state.buffer.removeFirst()
                state.missed = state.missed.map { $0 + 1 }
            }
            state.buffer.append(.message(channel: channel, payload: payload))
        }
    }

    /// Tells the reader that messages may have been missed here, in front of what is still to be delivered: that many, or nil for an
    /// unknown number.
    ///
    /// What is buffered was published before the gap and stays readable, behind the announcement: order between the two is given
    /// up so that the announcement cannot be lost.
    public func announceGap(missed: Int? = nil) {
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
