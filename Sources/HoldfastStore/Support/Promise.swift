/// What somebody else does for one caller, who may leave before it is done.
///
/// The caller leaves when it is cancelled or its deadline (``CallContext/deadline``) passes, and is told that it may have been done.
/// What it has waited for goes on: what was begun on a disk and what memory makes of it are never apart because a caller has left.
package final class Promise<Output: Sendable>: Sendable {
    private typealias Outcome = Result<Output, StoreError>

    private enum State {
        case open
        case awaited(CheckedContinuation<Outcome, Never>)
        case settled(Outcome)
    }

    private let state = Locked(State.open)

    package init() {}

    /// Tells the caller how it has ended. The first time counts.
    package func settle(_ outcome: Result<Output, StoreError>) {
        let caller = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
            if case .settled = state { return nil }
            defer { state = .settled(outcome) }
            if case .awaited(let caller) = state { return caller }
            return nil
        }
        caller?.resume(returning: outcome)
    }

    /// Does it, for a caller who waits elsewhere: from a task of its own, which has neither the caller's deadline nor its cancellation.
    package func settle(by work: () async throws(StoreError) -> Output) async {
        do throws(StoreError) {
            settle(.success(try await work()))
        } catch {
            settle(.failure(error))
        }
    }

    /// Waits for it; one caller, once.
    ///
    /// - Throws: how it failed; ``ErrorCode/deadlineExceeded`` or ``ErrorCode/cancelled`` for the caller's sake, with an unknown effect.
    package func wait(_ time: any TimeSource) async throws(StoreError) -> Output {
        let timer = leave(at: CallContext.current?.deadline, time)
        defer { timer?.cancel() }
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let known = state.withLock { state -> Outcome? in
                    if case .settled(let outcome) = state { return outcome }
                    state = .awaited(continuation)
                    return nil
                }
                if let known { continuation.resume(returning: known) }
            }
        } onCancel: {
            settle(.failure(StoreError(.cancelled, "Cancelled before it was done", effect: .unknown)))
        }
        return try outcome.get()
    }

    private func leave(at deadline: Duration?, _ time: any TimeSource) -> Task<Void, Never>? {
        guard let deadline else { return nil }
        let late = Outcome.failure(StoreError(.deadlineExceeded, effect: .unknown))
        guard deadline > time.uptime else {
            settle(late)
            return nil
        }
        return Task {
            if (try? await time.sleep(for: deadline - time.uptime)) != nil { self.settle(late) }
        }
    }
}
