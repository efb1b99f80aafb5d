public import HoldfastStore

extension Cache {
    /// The value of a key, computed by the factory where there is none; and who decided, as ``CacheSource/by`` says.
    ///
    /// **One at a time.** Of all callers in this process that miss the same key at the same time one runs the factory, the others
    /// get its result; a caller that is cancelled leaves alone. Who joins is answered what the store had when that one began, or later: what
    /// another process has invalidated since is ended only where the server tells of changes. **Never back from the dead.** The value is kept only if the key was not
    /// deleted, invalidated or written since the miss; otherwise it is returned and forgotten (see ``CacheProcedures``).
    ///
    /// Cost: nothing for a near hit, one round trip for a hit; two before the factory and one after it for a miss. While the server is
    /// away: near cache, local store, then the factory, whose value is kept here; where single calls fail before the server counts as away,
    /// it is returned and not kept. With ``OutageBehavior/closed`` the call throws and the factory is not run, unless
    /// the outage begins while it runs. Where the store fails to keep the value, the call succeeds all the same.
    ///
    /// - Parameters:
    ///   - ttl: as for ``set(_:_:ttl:if:)``; zero returns the value without keeping it.
    ///   - factory: computes the value; nil is one. What it throws goes to all callers that wait, unless an entry past its TTL is
    ///     still within ``CacheConfiguration/failSafe``, which is then served; failures are not kept.
    /// - Throws: what the factory throws, or ``/HoldfastStore/StoreError`` as ``get(_:as:)`` and ``set(_:_:ttl:if:)``.
    @inlinable nonisolated(nonsending) public func getOrSet<Value: Codable & Sendable>(
        _ key: String, ttl: Duration? = nil, as type: Value.Type = Value.self,
        factory: @escaping @Sendable () async throws -> Value
    ) async throws -> Decided<Value> {
        if let found: NearBox<Value> = near(key) { return Decided(found.value, by: found.by) }
        let resolved = try await fetchOrCompute(key, ttl: ttl, as: type, factory: factory)
        return Decided(resolved.value, by: resolved.source.by)
    }

    /// A value with its source.
    public struct Resolved<Value: Sendable>: Sendable {
        public let value: Value
        public let source: CacheSource
        /// Who decided.
        public var by: Decider { source.by }

        @usableFromInline init(value: Value, source: CacheSource) {
            self.value = value
            self.source = source
        }
    }

    /// As ``getOrSet(_:ttl:as:factory:)``, and says where the value came from.
    @inlinable nonisolated(nonsending) public func resolve<Value: Codable & Sendable>(
        _ key: String, ttl: Duration? = nil, as type: Value.Type = Value.self,
        factory: @escaping @Sendable () async throws -> Value
    ) async throws -> Resolved<Value> {
        if let found: NearBox<Value> = near(key) { return Resolved(value: found.value, source: found.source) }
        return try await fetchOrCompute(key, ttl: ttl, as: type, factory: factory)
    }

    /// Computes a value anew, whether or not there is one, and keeps it by the same rules as ``getOrSet(_:ttl:as:factory:)``: not if
    /// the key was changed meanwhile. Until then readers get the old one. Two round trips.
    ///
    /// - Returns: the value, and who keeps it, or, where it is not kept, gave leave to.
    @discardableResult
    public func refresh<Value: Codable & Sendable>(
        _ key: String, ttl: Duration? = nil, as type: Value.Type = Value.self,
        factory: @escaping @Sendable () async throws -> Value
    ) async throws -> Decided<Value> {
        let key = try checked(key)
        let ticket = core.ticket(scope, key)
        let lookup = try await lease(key, evenWhenPresent: true)
        return try await compute(key, ttl, lease: lookup, ticket, factory)
    }

    // MARK: - Inside

    /// What is not near, from the store or the factory.
    @usableFromInline func fetchOrCompute<Value: Codable & Sendable>(
        _ key: String, ttl: Duration?, as type: Value.Type, factory: @escaping @Sendable () async throws -> Value
    ) async throws -> Resolved<Value> {
        let key = try checked(key)
        _ = try core.lifetime(ttl, scope.category)
        do {
            return try await core.flights.run(scope.flight(key)) {
                try await fill(key, ttl, type, factory)
            }
        } catch let error as StoreError where error.code == .deadlineExceeded {
            // The flight has no deadline, so its calls to the server end with none: it may be the server that was waited for.
            core.failover.askAtOnce()
            throw error
        }
    }

    private func fill<Value: Codable & Sendable>(
        _ key: String, _ ttl: Duration?, _ type: Value.Type, _ factory: @Sendable () async throws -> Value
    ) async throws -> Resolved<Value> {
        let ticket = core.ticket(scope, key)
        if case .hit(let value, let source) = try await fetch(key, as: type) { return Resolved(value: value, source: source) }
        // What is there and no hit is of no use, and must not keep the lease from being made.
        var looked = try await lease(key, evenWhenPresent: false)
        if let present = looked.value.bytes {
            if let envelope = try envelope(present), core.isFresh(envelope, by: looked.by) {
                return Resolved(value: try CacheCodec.decode(type, from: envelope), source: CacheSource(looked.by))
            }
            looked = try await lease(key, evenWhenPresent: true)
        }
        do {
            let computed = try await compute(key, ttl, lease: looked, ticket, factory)
            return Resolved(value: computed.value, source: .factory(by: computed.by))
        } catch {
            core.near.count(scope) { $0.factoryFailures += 1 }
            guard let stale = stale(looked, type) else { throw error }
            core.near.count(scope) { $0.staleHits += 1 }
            return stale
        }
    }

    /// The entry and a lease; no lease where the store is full, or where a single failure sends the call here, and then the value is computed
    /// and not kept.
    private func lease(_ key: String, evenWhenPresent: Bool) async throws(StoreError) -> Decided<CacheLookup> {
        let entry = scope.entry(key)
        let lookup = Procedure.cacheLookup(
            entry, token: core.newToken(), leaseTime: core.configuration.leaseTime, evenWhenPresent: evenWhenPresent)
        do throws(StoreError) {
            return try await core.read { (store, decider) async throws(StoreError) in
                if core.mayKeepFills(by: decider) { return try await store.run(lookup) }
                return CacheLookup(bytes: try await store(.get(entry)), token: Bytes())
            }
        } catch {
            // A server that is full counts as away.
            let isRefused = core.failover.server != nil && core.configuration.outage == .closed
            guard error.code == .outOfMemory, !isRefused else { throw error }
            return Decided(CacheLookup(bytes: nil, token: Bytes()), by: core.failover.decider)
        }
    }

    private func compute<Value: Codable & Sendable>(
        _ key: String, _ ttl: Duration?, lease: Decided<CacheLookup>, _ ticket: NearCache.Ticket,
        _ factory: () async throws -> Value
    ) async throws -> Decided<Value> {
        let value = try await factory()
        guard let write = try prepare(try CacheCodec.encode(value), ttl: ttl) else { return Decided(value, by: lease.by) }
        let moment = core.failover.time.uptime
        let decider = await keep(write, at: scope.entry(key), lease: lease)
        core.near.count(scope) { if decider != nil { $0.fills += 1 } else { $0.refusedFills += 1 } }
        if let decider {
            core.near.put(
                value, scope, key, size: write.bytes.count, life: write.lifetime, grace: write.kept - write.lifetime,
                ticket: ticket, asOf: moment, from: NearCache.Origin(decider, isRead: false))
        }
        return Decided(value, by: decider ?? lease.by)
    }

    /// Who keeps the value; nil for nobody. A fill that does not come about costs a later computation, nothing else: its error is no
    /// reason to refuse the value.
    private func keep(_ write: Write, at entry: Key, lease: Decided<CacheLookup>) async -> Decider? {
        if lease.value.token.isEmpty { return nil }
        let fill = Procedure.cacheFill(entry, token: lease.value.token, value: write.bytes, kept: write.kept)
        do throws(StoreError) {
            // Not remembered for the server: nobody invalidated what it has. Kept by who gave the lease, or by nobody: whoever else decides
            // now does not know what was invalidated since.
            let decided = try await core.read { (store, decider) async throws(StoreError) in
                guard decider == lease.by, core.mayKeepFills(by: decider) else { return false }
                return try await store.run(fill)
            }
            return decided.value ? decided.by : nil
        } catch {
            return nil
        }
    }

    /// An entry past its TTL that is still within its fail-safe time.
    private func stale<Value: Codable & Sendable>(_ found: Decided<CacheLookup>, _ type: Value.Type) -> Resolved<Value>? {
        guard let bytes = found.value.bytes, let envelope = try? Envelope(decoding: bytes), let expiry = envelope.expiry,
            core.speaks(envelope.stamp, by: found.by), core.now < expiry + envelope.grace,
            let value = try? CacheCodec.decode(type, from: envelope)
        else { return nil }
        return Resolved(value: value, source: .stale(age: max(.zero, core.now - expiry), by: found.by))
    }
}
