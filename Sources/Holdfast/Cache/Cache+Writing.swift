public import HoldfastStore

extension Cache {
    /// Keeps a value, replacing what was there.
    ///
    /// A fill that is still under way for the key (``getOrSet(_:ttl:as:factory:)``) can no longer overwrite it. One round trip, atomic.
    /// While the server is away the value is kept here, and the server's older one is removed before calls go to it again; with
    /// ``OutageBehavior/closed`` it is refused, unless the TTL is zero.
    ///
    /// - Parameters:
    ///   - value: nil is a value too, and is told from a miss.
    ///   - ttl: nil for the category's, or the default one. Zero means "do not keep": what was there is removed.
    ///   - condition: writes only where this holds, decided in the same atomic step; nil to write in any case. The version is one of
    ///     ``getVersioned(_:as:)`` or of an earlier write.
    /// - Returns: who keeps it, and its version.
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming `key`, `ttl` or `value`; ``/HoldfastStore/ErrorCode/tooLarge`` naming `key` or `value`. With a
    ///   condition: ``/HoldfastStore/ErrorCode/preconditionFailed`` where it does not hold, ``/HoldfastStore/ErrorCode/unavailable`` while the server is away,
    ///   because it cannot be known here. Nothing is changed then.
    @discardableResult
    public func set<Value: Codable & Sendable>(
        _ key: String, _ value: Value, ttl: Duration? = nil, if condition: CacheCondition? = nil
    ) async throws(StoreError) -> CacheWrite {
        try await keep(value, try CacheCodec.encode(value), try checked(key), ttl, condition)
    }

    /// Keeps bytes as they are. As ``set(_:_:ttl:if:)`` otherwise; only ``getBytes(_:)`` and ``entry(_:)`` read them.
    @discardableResult
    public func setBytes(
        _ key: String, _ bytes: Bytes, ttl: Duration? = nil, if condition: CacheCondition? = nil
    ) async throws(StoreError) -> CacheWrite {
        try await keep(bytes, Envelope(codec: .bytes, payload: bytes), try checked(key), ttl, condition)
    }

    /// Keeps several values with one TTL. One round trip; each entry is written whole, but the entries together are not atomic.
    ///
    /// - Returns: how many are kept: all, or none where the TTL is zero and what was there is removed.
    @discardableResult
    public func setMany<Value: Codable & Sendable>(
        _ values: [String: Value], ttl: Duration? = nil
    ) async throws(StoreError) -> Decided<Int> {
        try checkBatch(values.count)
        var operations: [Operation] = []
        var kept = 0
        var changes: [CacheChange] = []
        for (key, value) in values {
            let entry = scope.entry(try checked(key))
            changes.append(scope.change(key))
            // The lease first: a fill that squeezes in between began after this call; the other way round it may be old.
            operations.append(.keys(.unlink([CachePlace.lease(of: entry)])))
            if let write = try prepare(try CacheCodec.encode(value), ttl: ttl) {
                operations.append(.strings(.set(entry, write.bytes, SetOptions(expiration: .after(write.kept)))))
                kept += 1
            } else {
                operations.append(.keys(.unlink([entry])))
            }
        }
        if operations.isEmpty { return Decided(0, by: core.failover.decider) }
        let batch = Batch(.pipeline, operations)
        core.near.count(scope) { $0.writes += values.count }
        // Where nothing is kept it only removes.
        let policy = kept == 0 ? OutagePolicy.localThenReplay : core.outagePolicy
        return try await core.write(changes, policy: policy) { [kept] (store) async throws(StoreError) in
            try Self.check(try await store.execute(batch))
            return kept
        }
    }

    /// - Parameter replies: about the lease and the entry of each key by turns.
    /// - Throws: the first error, with an unknown effect where another entry was changed. A lease that is gone is no change.
    private static func check(_ replies: [Reply]) throws(StoreError) {
        for case .error(let error) in replies {
            let failure = StoreError(error, operation: "SET")
            let isAnyDone = stride(from: 1, to: replies.count, by: 2).contains { place in
                if case .error = replies[place] { false } else { true }
            }
            throw isAnyDone ? failure.withUnknownEffect() : failure
        }
    }

    /// Removes an entry, and keeps a fill that is under way from bringing it back. One round trip.
    ///
    /// While the server is away it is removed here, and on the server before calls go to it again, with ``OutageBehavior/closed`` too.
    ///
    /// - Parameter condition: as for ``set(_:_:ttl:if:)``.
    /// - Returns: whether there was one, where that decided.
    @discardableResult
    public func delete(_ key: String, if condition: CacheCondition? = nil) async throws(StoreError) -> Decided<Bool> {
        let change = scope.change(try checked(key))
        if let condition { return try await deleteConditionally(key, change, condition) }
        let decided = try await core.write([change], policy: .localThenReplay) { (store) async throws(StoreError) in
            try await change.remove(from: store, core.failover.time)
        }
        core.near.count(scope) { $0.removals += decided.value }
        return decided.map { $0 > 0 }
    }

    // MARK: - Inside

    private func keep<Value: Sendable>(
        _ value: Value, _ envelope: Envelope, _ key: String, _ ttl: Duration?, _ condition: CacheCondition?
    ) async throws(StoreError) -> CacheWrite {
        guard let write = try prepare(envelope, ttl: ttl) else {
            return CacheWrite(by: try await delete(key, if: condition).by, version: nil)
        }
        let (entry, change) = (scope.entry(key), scope.change(key))
        core.near.count(scope) { $0.writes += 1 }
        core.announce(change)
        let ticket = core.ticket(scope, key)
        do throws(StoreError) {
            // What cannot be known here is not decided here.
            let decided = try await core.perform([change], policy: condition == nil ? core.outagePolicy : .fail) {
                (store) async throws(StoreError) in
                if let condition {
                    let step = Procedure.cacheWrite(entry, if: condition, value: write.bytes, kept: write.kept)
                    guard try await store.run(step) else { throw Self.refused }
                } else {
                    _ = try await store.transaction(
                        .set(entry, write.bytes, expiration: .after(write.kept)), .unlink([CachePlace.lease(of: entry)]))
                }
            }
            core.flights.forget(scope.flight(key))
            core.near.finish(
                value, scope, key, size: write.bytes.count, life: write.lifetime, grace: write.kept - write.lifetime,
                ticket: ticket, from: NearCache.Origin(decided.by, isRead: false))
            return CacheWrite(by: decided.by, version: write.version)
        } catch {
            core.announce(change)
            throw error
        }
    }

    private func deleteConditionally(
        _ key: String, _ change: CacheChange, _ condition: CacheCondition
    ) async throws(StoreError) -> Decided<Bool> {
        let step = Procedure.cacheWrite(scope.entry(key), if: condition, value: nil, kept: .milliseconds(1))
        core.announce(change)
        defer { core.announce(change) }
        let decided = try await core.perform([change], policy: .fail) { (store) async throws(StoreError) in
            guard try await store.run(step) else { throw Self.refused }
        }
        // Nothing was there where absence was the condition.
        let isRemoved = condition != .absent
        core.near.count(scope) { $0.removals += isRemoved ? 1 : 0 }
        return Decided(isRemoved, by: decided.by)
    }

    private static var refused: StoreError {
        StoreError(
            .preconditionFailed, "The entry is at another version", operation: CacheProcedures.write.identifier, field: "version")
    }

    struct Write {
        let bytes: Bytes
        let version: CacheVersion
        let lifetime: Duration
        /// How long the store keeps it: the TTL and the fail-safe time.
        let kept: Duration
    }

    /// The bytes of a value; nil where it is not to be kept.
    func prepare(_ envelope: Envelope, ttl: Duration?) throws(StoreError) -> Write? {
        guard let lifetime = try core.lifetime(ttl, scope.category) else { return nil }
        var envelope = envelope
        let now = core.now
        let version = CacheVersion(at: core.nextStamp, random: core.random())
        envelope.stamp = version.stamp
        envelope.expiry = now + lifetime
        envelope.grace = min(max(.zero, core.configuration.failSafe), Envelope.longestGrace)
        let bytes = try envelope.encoded()
        guard bytes.count <= core.configuration.maximumValueBytes else {
            throw StoreError(
                .tooLarge, "An encoded value has at most \(core.configuration.maximumValueBytes) bytes", field: "value")
        }
        return Write(bytes: bytes, version: version, lifetime: lifetime, kept: lifetime + envelope.grace)
    }
}
