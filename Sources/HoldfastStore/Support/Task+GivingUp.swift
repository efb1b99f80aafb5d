extension Task where Failure == Never {
    /// The task's value; nil where whoever asks is cancelled, or the deadline of its ``CallContext`` passes, before that.
    ///
    /// The task goes on: it is shared, and the deadline of one who waits is not that of the others. `value` by itself would keep each
    /// of them to its end.
    package func valueUnlessGivenUp(_ time: any TimeSource = .system) async -> Success? {
        let waiter = Locked(Waiter<Success>())
        @Sendable func end(_ value: Success?) {
            let continuation = waiter.withLock { $0.end(value) }
            continuation?.resume(returning: value)
        }
        let timer = CallContext.current?.deadline.map { deadline in
            Task<Void, Never>.detached {
                guard (try? await time.sleep(for: deadline - time.uptime)) != nil else { return }
                end(nil)
            }
        }
        defer { timer?.cancel() }
        Task<Void, Never>.detached { end(await value) }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = waiter.withLock { $0.begin(continuation) }
                if isOver { continuation.resume(returning: waiter.withLock { $0.value }) }
            }
        } onCancel: {
            end(nil)
        }
    }
}

/// One who waits: it is answered once, by whatever comes first.
private struct Waiter<Value: Sendable> {
    private var continuation: CheckedContinuation<Value?, Never>?
    private var isOver = false
    private(set) var value: Value?

    /// - Returns: whether the end has come before.
    mutating func begin(_ continuation: CheckedContinuation<Value?, Never>) -> Bool {
        if !isOver { self.continuation = continuation }
        return isOver
    }

    mutating func end(_ value: Value?) -> CheckedContinuation<Value?, Never>? {
        if isOver { return nil }
        (isOver, self.value) = (true, value)
        defer { continuation = nil }
        return continuation
    }
}
