extension Task where Failure == Never {
    /// The task's value; nil where whoever asks is cancelled, or the deadline of its ``CallContext`` passes, before that.
    ///
    /// The task goes on: it is shared, and the deadline of one who waits is not that of the others. `value` by itself would keep each
    /// of them to its end.
    package func valueUnlessGivenUp(_ time: any TimeSource = .system) async -> Success? {
        let promise = Promise<Success>()
        Task<Void, Never>.detached { promise.settle(.success(await value)) }
        return try? await promise.wait(time)
    }
}
