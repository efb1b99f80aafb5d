/// Carries out one piece of work after the other, in the order in which they were given.
///
/// What was given is carried out whatever becomes of whoever waits for it: neither a cancellation nor a deadline of the caller's reaches
/// it. So what a step has begun on a disk and what memory makes of it are never apart because a caller has left.
package final class SerialWork: Sendable {
    /// Ends when all that was given has ended.
    private let last = Locked<Task<Void, Never>?>(nil)

    package init() {}

    package func perform<Output: Sendable>(
        _ work: @escaping @Sendable () async throws(StoreError) -> Output
    ) async throws(StoreError) -> Output {
        let task = last.withLock { last in
            let previous = last
            let task = Task.detached { () async -> Result<Output, StoreError> in
                await previous?.value
                do throws(StoreError) {
                    return .success(try await work())
                } catch {
                    return .failure(error)
                }
            }
            last = Task.detached { _ = await task.value }
            return task
        }
        return try await task.value.get()
    }
}
