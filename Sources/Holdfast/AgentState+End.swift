import HoldfastStore

extension AgentState {
    /// What is left to do at the end of a process, when no more calls come and before the server's store is closed: gives the server
    /// what single failures have left here since the last call or ping, where it is not known to be away, and the outbox's folder
    /// what it could not be told.
    ///
    ///     try await state.run()                  // until the end is wanted
    ///     await state.finish()
    ///     await store.shutdown()
    ///
    /// Of all tenants, on whichever view it is called. Also from a task that was cancelled.
    ///
    /// - Parameter limit: how long handing over may take at most, and then how long the folder; a server that fails meanwhile is asked again.
    /// - Returns: whether the server has taken everything. What it has not is in the outbox's folder for the next start, or, where
    ///   it has none, ends with the process.
    @discardableResult
    public func finish(within limit: Duration = .seconds(2)) async -> Bool {
        let isDone = await failover.handOver(within: limit)
        // What the folder does not take now is carried out once more after the next start. From a task of its own, because the one that calls
        // this may have been cancelled.
        await Task { [failover] in
            try? await CallContext.within(limit, by: failover.time, as: "holdfast.end").run { () async throws(StoreError) in
                try await failover.outbox.settleFolder()
            }
        }.value
        return isDone && limits.backlog.keys == 0
    }
}
