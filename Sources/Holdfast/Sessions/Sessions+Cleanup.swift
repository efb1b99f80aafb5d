public import HoldfastStore

extension Sessions {
    /// What a clean-up did.
    public struct Cleanup: Hashable, Sendable {
        /// Indexes looked at.
        public var indexes: Int
        /// Entries removed: of sessions that have ended.
        public var removed: Int
        /// Entries whose sessions are there.
        public var live: Int

        public init(indexes: Int = 0, removed: Int = 0, live: Int = 0) {
            self.indexes = indexes
            self.removed = removed
            self.live = live
        }
    }

    /// Removes from all users' indexes what belongs to no session any more.
    ///
    /// Nothing depends on it but memory: sessions end by themselves, whoever reads an index removes such entries, and each index ends
    /// with its last entry. It goes over the whole key space in bounded steps and stops between two of them when the task is
    /// cancelled or its caller's deadline passes. One instance at a time is enough.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/unavailable`` while the server is away, ``/HoldfastStore/ErrorCode/cancelled``,
    ///   ``/HoldfastStore/ErrorCode/deadlineExceeded``; with an unknown effect once something was removed.
    public func cleanup() async throws(StoreError) -> Cleanup {
        try await failover.perform(.fail) { (store, _) async throws(StoreError) in
            var report = Cleanup()
            do throws(StoreError) { try await sweep(store, &report) } catch {
                throw report.removed > 0 ? error.withUnknownEffect() : error
            }
            return report
        }.value
    }

    private func sweep(_ store: any Store, _ report: inout Cleanup) async throws(StoreError) {
        let scan = store.scan(matching: keys.allIndexes, type: .sortedSet, pageSize: 500, time: failover.time)
        var pages = scan.makeAsyncIterator()
        while let page = try await pages.next(isolation: nil) {
            for index in page {
                report.indexes += 1
                report.removed += try await store.run(
                    Procedure(SessionProcedures.indexSweep, keys: [index], arguments: []) { $0.integer.map { Int($0) } })
                let sifted = try await sift(index, in: store)
                report.removed += sifted.removed
                report.live += sifted.live
            }
        }
    }

    /// Cleans up every ``Configuration/cleanupInterval`` until cancelled. What cannot be done now, as while the server is away, is left
    /// to the next time.
    public func run() async {
        while (try? await failover.time.sleep(for: max(configuration.cleanupInterval, .seconds(1)))) != nil {
            _ = try? await cleanup()
        }
    }
}
