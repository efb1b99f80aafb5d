public import HoldfastStore

extension Cache {
    /// Removes the entries whose keys match a pattern, and keeps fills that are under way for such keys from bringing them back.
    ///
    /// Patterns are Redis's (`*`, `?`, `[a-z]`, `\x`) and are matched against the key as callers write it, so `user?1` matches
    /// `user:1`, on every kind of store. A category's view matches within the category.
    ///
    /// Every entry that was there when the call began is gone when it returns. Cost: two SCANs over the store's keys, in pages of
    /// about 500, and an UNLINK for each match; never KEYS. A caller that is cancelled, or whose deadline passes, may leave a part undone. While
    /// the server is away it is done here, and on the server before calls go to it again, with ``OutageBehavior/closed`` too.
    ///
    /// - Returns: how many entries were removed, where that was decided.
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` or ``/HoldfastStore/ErrorCode/tooLarge`` naming `pattern`. Between two pages
    ///   ``/HoldfastStore/ErrorCode/deadlineExceeded`` and ``/HoldfastStore/ErrorCode/cancelled``, with an unknown effect once an entry was
    ///   removed, or the server is to hear of it.
    @discardableResult
    public func invalidate(_ pattern: String) async throws(StoreError) -> Decided<Int> {
        guard !pattern.isEmpty else { throw .invalid("pattern", "A pattern must not be empty") }
        guard pattern.utf8.count <= core.configuration.maximumKeyBytes else {
            throw StoreError(.tooLarge, "A pattern has at most \(core.configuration.maximumKeyBytes) bytes", field: "pattern")
        }
        return try await invalidate(.pattern(scope.place, scope.prefix + pattern))
    }

    /// Removes all entries of a category in this workspace. As ``invalidate(_:)`` otherwise.
    @discardableResult
    public func invalidate(category: CacheCategory) async throws(StoreError) -> Decided<Int> {
        try await self.category(category).invalidate("*")
    }

    /// Removes all entries of this workspace, or of the category where this is a category's view. As ``invalidate(_:)`` otherwise.
    @discardableResult
    public func clear() async throws(StoreError) -> Decided<Int> {
        scope.category == nil ? try await invalidate(.workspace(scope.place)) : try await invalidate("*")
    }

    private func invalidate(_ change: CacheChange) async throws(StoreError) -> Decided<Int> {
        let time = core.failover.time
        // Before anything is kept for the server.
        try CallContext.checkTime(time, operation: "SCAN")
        let decided = try await core.write([change], policy: .localThenReplay) { (store) async throws(StoreError) in
            try await change.remove(from: store, time)
        }
        core.near.count(scope) { $0.removals += decided.value }
        return decided
    }
}
