public import HoldfastStore

extension Cache {
    /// Keeps a value, replacing what was there.
    ///
    /// A fill that is still under way for the key (``getOrSet(_:ttl:as:factory:)``) can no longer overwrite it. One round trip, atomic.
    /// While the server is away the value is kept here, and the server's older one is removed before calls go to it again.
    ///
    /// - Parameters:
    ///   - value: nil is a value too, and is told from a miss.
    ///   - ttl: nil for the category's, or the default one. Zero means "do not keep": what was there is removed.
    /// - Returns: who keeps it.
    /// - Throws: ``ErrorCode/invalidArgument`` naming `key`, `ttl` or `value`; ``ErrorCode/tooLarge`` naming `key` or `value`.
    @discardableResult
    public func set<Value: Codable & Sendable>(
        _ key: String, _ value: Value, ttl: Duration? = nil
    ) async throws(StoreError) -> Decider {
        try await keep(value, try CacheCodec.encode(value), try checked(key), ttl)
    }

    /// Keeps bytes as they are. As ``set(_:_:ttl:)`` otherwise; only ``getBytes(_:)`` and ``entry(_:)`` read them.
    @discardableResult
    public func setBytes(_ key: String, _ bytes: Bytes, ttl: Duration? = nil) async throws(StoreError) -> Decider {
        try await keep(bytes, Envelope(codec: .bytes, payload: bytes), try checked(key), ttl)
    }

    /// Keeps several values with one TTL. One round trip; each entry is written whole, but the entries together are not atomic.
    @discardableResult
    public func setMany<Value: Codable & Sendable>(
        _ values: [String: Value], ttl: Duration? = nil
    ) async throws(StoreError) -> Decider {
        try checkBatch(values.count)
        var operations: [Operation] = []
        var changes: [CacheChange] = []
        for (key, value) in values {
            let entry = scope.entry(try checked(key))
            changes.append(scope.change(key))
            // The lease first: a fill that squeezes in between began after this call; the other way round it may be old.
            operations.append(.keys(.unlink([CachePlace.lease(of: entry)])))
            if let write = try prepare(try CacheCodec.encode(value), ttl: ttl) {
                operations.append(.strings(.set(entry, write.bytes, SetOptions(expiration: .after(write.kept)))))
            } else {
                operations.append(.keys(.unlink([entry])))
            }
        }
        if operations.isEmpty { return core.failover.decider }
        let batch = Batch(.pipeline, operations)
        core.near.count(scope) { $0.writes += values.count }
        return try await core.write(changes) { (store) async throws(StoreError) in
            for reply in try await store.execute(batch) {
                if case .error(let error) = reply { throw StoreError(error, operation: "SET") }
            }
        }.by
    }

    /// Removes an entry, and keeps a fill that is under way from bringing it back. One round trip.
    ///
    /// While the server is away it is removed here, and on the server before calls go to it again.
    ///
    /// - Returns: whether there was one, where that decided.
    @discardableResult
    public func delete(_ key: String) async throws(StoreError) -> Decided<Bool> {
        let change = scope.change(try checked(key))
        let decided = try await core.write([change]) { (store) async throws(StoreError) in try await change.remove(from: store) }
        core.near.count(scope) { $0.removals += decided.value }
        return decided.map { $0 > 0 }
    }

    // MARK: - Inside

    private func keep<Value: Sendable>(
        _ value: Value, _ envelope: Envelope, _ key: String, _ ttl: Duration?
    ) async throws(StoreError) -> Decider {
        guard let write = try prepare(envelope, ttl: ttl) else { return try await delete(key).by }
        let (entry, change) = (scope.entry(key), scope.change(key))
        core.near.count(scope) { $0.writes += 1 }
        core.announce(change)
        let ticket = core.near.ticket(scope, key)
        do throws(StoreError) {
            let decided = try await core.perform([change]) { (store) async throws(StoreError) in
                _ = try await store.transaction(
                    .set(entry, write.bytes, expiration: .after(write.kept)), .unlink([CachePlace.lease(of: entry)]))
            }
            core.flights.forget(scope.flight(key))
            core.near.finish(
                value, scope, key, size: write.bytes.count, life: write.lifetime, grace: write.kept - write.lifetime,
                ticket: ticket)
            return decided.by
        } catch {
            core.announce(change)
            throw error
        }
    }

    struct Write {
        let bytes: Bytes
        let lifetime: Duration
        /// How long the store keeps it: the TTL and the fail-safe time.
        let kept: Duration
    }

    /// The bytes of a value; nil where it is not to be kept.
    func prepare(_ envelope: Envelope, ttl: Duration?) throws(StoreError) -> Write? {
        guard let lifetime = try core.lifetime(ttl, scope.category) else { return nil }
        var envelope = envelope
        let now = core.now
        envelope.stamp = now.milliseconds
        envelope.expiry = now + lifetime
        envelope.grace = min(max(.zero, core.configuration.failSafe), Envelope.longestGrace)
        let bytes = try envelope.encoded()
        guard bytes.count <= core.configuration.maximumValueBytes else {
            throw StoreError(
                .tooLarge, "An encoded value has at most \(core.configuration.maximumValueBytes) bytes", field: "value")
        }
        return Write(bytes: bytes, lifetime: lifetime, kept: lifetime + envelope.grace)
    }
}
