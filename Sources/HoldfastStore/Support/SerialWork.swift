/// Carries out one piece of work after the other, in the order in which they were given.
///
/// What was given is carried out whatever becomes of whoever waits for it: neither a cancellation nor a deadline of the caller's reaches
/// it. The caller itself leaves when either comes; see ``Promise``.
package final class SerialWork: Sendable {
    private struct State {
        /// Ends when all that was given has ended.
        var last: Task<Void, Never>?
        var count = 0
    }

    private let state = Locked(State())
    private let time: any TimeSource

    /// - Parameter time: the clocks of the callers' deadlines.
    package init(time: any TimeSource) { self.time = time }

    /// How many pieces are being done or wait for that.
    package var count: Int { state.withLock { $0.count } }

    package func perform<Output: Sendable>(
        _ work: @escaping @Sendable () async throws(StoreError) -> Output
    ) async throws(StoreError) -> Output {
        let promise = Promise<Output>()
        begin { await promise.settle(by: work) }
        return try await promise.wait(time)
    }

    /// Gives something for which nobody waits.
    package func begin(_ work: @escaping @Sendable () async -> Void) {
        state.withLock { state in
            let previous = state.last
            state.count += 1
            state.last = Task.detached {
                await previous?.value
                await work()
                self.state.withLock { $0.count -= 1 }
            }
        }
    }
}
