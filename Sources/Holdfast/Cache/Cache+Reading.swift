public import HoldfastStore

extension Cache {
    /// The value of a key.
    ///
    /// Cost: nothing but this process for a near hit, which does not suspend; one round trip otherwise. While the server is away:
    /// what is near (its age is in ``CacheSource/stale(age:)`` once it could not be confirmed in time), then this process's local
    /// store; a miss then means "not known here". With ``OutageBehavior/closed`` a value is served that is near and fresh until the server
    /// counts as away, and everything else refused.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/decodingFailed`` where the entry was written as another type. An entry that a newer version of
    ///   Holdfast wrote is a miss.
    @inlinable nonisolated(nonsending) public func get<Value: Codable & Sendable>(
        _ key: String, as type: Value.Type = Value.self
    ) async throws(StoreError) -> Cached<Value> {
        if let found: NearBox<Value> = near(key) { return .hit(found.value, from: found.source) }
        return try await fetch(key, as: type)
    }

    /// The value of a key with its version, for a later conditional write. As ``get(_:as:)`` otherwise: a near copy has the version that
    /// it was read with, which a write that is refused drops.
    nonisolated(nonsending) public func getVersioned<Value: Codable & Sendable>(
        _ key: String, as type: Value.Type = Value.self
    ) async throws(StoreError) -> Cached<Versioned<Value>> {
        if let found: NearBox<Versioned<Value>> = near(key) { return .hit(found.value, from: found.source) }
        return try await fetch(try checked(key)) { (envelope) throws(StoreError) in
            Versioned(
                value: try CacheCodec.decode(type, from: envelope), version: CacheVersion(stamp: envelope.stamp))
        }
    }

    /// The bytes that ``setBytes(_:_:ttl:if:)`` kept. As ``get(_:as:)`` otherwise.
    nonisolated(nonsending) public func getBytes(_ key: String) async throws(StoreError) -> Cached<Bytes> {
        if let found: NearBox<Bytes> = near(key) { return .hit(found.value, from: found.source) }
        return try await fetch(try checked(key)) { (envelope) throws(StoreError) in try CacheCodec.bytes(from: envelope) }
    }

    /// The values of several keys, in their order. One round trip for those that are not near.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/tooLarge`` for more than ``CacheConfiguration/maximumBatch`` keys; as ``get(_:as:)`` otherwise.
    nonisolated(nonsending) public func getMany<Value: Codable & Sendable>(
        _ keys: [String], as type: Value.Type = Value.self
    ) async throws(StoreError) -> [Cached<Value>] {
        try checkBatch(keys.count)
        var found: [Cached<Value>] = []
        var missing: [(place: Int, key: String, ticket: NearCache.Ticket)] = []
        for key in keys {
            let key = try checked(key)
            if let near: NearBox<Value> = near(key) {
                found.append(.hit(near.value, from: near.source))
            } else {
                missing.append((found.count, key, core.ticket(scope, key)))
                found.append(.miss(by: .server))
            }
        }
        if missing.isEmpty { return found }
        let commands = missing.map { Command<Bytes?>.get(scope.entry($0.key)) }
        let decided = try await core.read { (store, _) async throws(StoreError) in try await store.pipeline(commands) }
        for (one, bytes) in zip(missing, decided.value) {
            found[one.place] = try take(bytes, one.key, one.ticket, decided.by, Self.decoder(type))
        }
        return found
    }

    /// Whether there is a fresh value for a key, without reading it. One round trip.
    public func exists(_ key: String) async throws(StoreError) -> Decided<Bool> { try await ttl(key).map { $0 != nil } }

    /// How long the value of a key stays fresh; nil where there is none. One round trip.
    public func ttl(_ key: String) async throws(StoreError) -> Decided<Duration?> {
        let entry = scope.entry(try checked(key))
        // The header, which says how much of the entry's life is fail-safe time, and not the value.
        let decided = try await core.read { (store, _) async throws(StoreError) in
            try await store.pipeline(.getrange(entry, 0, Envelope.fixedHeaderSize - 1), .pttl(entry))
        }
        return decided.map { header, left in
            guard let left = left.remaining, let grace = Envelope.grace(inHeader: header),
                let stamp = Envelope.stamp(inHeader: header), core.speaks(stamp, by: decided.by)
            else { return nil }
            let fresh = left - grace
            return fresh > .zero ? fresh : nil
        }
    }

    /// An entry as it is stored, whatever wrote it and fresh or not: for listings, the HTTP layer and tools. One round trip.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/unsupportedFormat`` and ``/HoldfastStore/ErrorCode/decodingFailed`` where the stored bytes cannot be read.
    public func entry(_ key: String) async throws(StoreError) -> Decided<Envelope?> {
        let entry = scope.entry(try checked(key))
        let decided = try await core.read { (store, _) async throws(StoreError) in try await store(.get(entry)) }
        guard let bytes = decided.value else { return Decided(nil, by: decided.by) }
        return Decided(try Envelope(decoding: bytes), by: decided.by)
    }

    // MARK: - Inside

    typealias Decoder<Value> = (Envelope) throws(StoreError) -> Value

    static func decoder<Value: Codable>(_ type: Value.Type) -> Decoder<Value> {
        { (envelope) throws(StoreError) in try CacheCodec.decode(type, from: envelope) }
    }

    /// The box of a fresh value that is near: handed out as it lies there, so that a hit allocates nothing.
    @inlinable func near<Value: Sendable>(_ key: String) -> NearBox<Value>? {
        guard let object = core.near.find(scope, key, ObjectIdentifier(Value.self)) else { return nil }
        // What is kept as a value of a type is a box of that type; a checked cast costs a look into the runtime's tables.
        return unsafeDowncast(object, to: NearBox<Value>.self)
    }

    @usableFromInline func fetch<Value: Codable & Sendable>(
        _ key: String, as type: Value.Type
    ) async throws(StoreError) -> Cached<Value> {
        try await fetch(try checked(key), Self.decoder(type))
    }

    private enum Answer<Value: Sendable>: Sendable {
        case stored(Bytes?)
        case near(Value, age: Duration)
    }

    private func fetch<Value: Sendable>(
        _ key: String, _ decode: Decoder<Value>
    ) async throws(StoreError) -> Cached<Value> {
        let entry = scope.entry(key)
        let ticket = core.ticket(scope, key)
        let decided = try await core.read { (store, decider) async throws(StoreError) -> Answer<Value> in
            if decider.isLocal, let usable = core.near.findUsable(scope, key, as: Value.self) {
                return .near(usable.value, age: usable.age)
            }
            return .stored(try await store(.get(entry)))
        }
        switch decided.value {
        case .stored(let bytes): return try take(bytes, key, ticket, decided.by, decode)
        case .near(let value, let age):
            core.near.count(scope) { $0.staleHits += 1 }
            return .hit(value, from: .stale(age: age, by: decided.by))
        }
    }

    /// What a stored entry means now; a fresh value is kept near.
    func take<Value: Sendable>(
        _ bytes: Bytes?, _ key: String, _ ticket: NearCache.Ticket, _ decider: Decider, _ decode: Decoder<Value>
    ) throws(StoreError) -> Cached<Value> {
        guard let bytes, let envelope = try envelope(bytes), core.isFresh(envelope, by: decider) else {
            core.near.count(scope) { $0.misses += 1 }
            return .miss(by: decider)
        }
        let value = try decode(envelope)
        let life = envelope.expiry.map { $0 - core.now }
        core.near.count(scope) { $0.storeHits += 1 }
        // Not positive where the writer's clock is behind ours: the store says that it is fresh, we cannot say for how long.
        if life ?? .seconds(1) > .zero {
            core.near.put(
                value, scope, key, size: envelope.payload.count, life: life, grace: envelope.grace, ticket: ticket,
                from: NearCache.Origin(decider, isRead: true))
        }
        return .hit(value, from: CacheSource(decider))
    }

    /// The envelope; nil, which makes it a miss, where a newer version wrote it.
    func envelope(_ bytes: Bytes) throws(StoreError) -> Envelope? {
        do throws(StoreError) {
            return try Envelope(decoding: bytes)
        } catch {
            if error.code == .unsupportedFormat { return nil }
            throw error
        }
    }
}
