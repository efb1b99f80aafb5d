public import HoldfastStore

/// Values that are dear to compute, kept for a while: on the server where there is one, in this process where there is none.
///
///     let state = AgentState.embedded()
///     try await state.cache.set("user:123", user, ttl: .seconds(300))
///     let user = try await state.cache.get("user:123", as: User.self).value
///
/// A value of this type is a cheap view of one workspace; ``workspace(_:)``, ``category(_:)`` and ``scoped(to:)`` give others. All
/// views of a process share one near cache and one set of flights.
///
/// **Types.** Values are any `Codable` type, kept as JSON beside their type's name. Reading one as another type throws
/// ``/HoldfastStore/ErrorCode/decodingFailed``; ``JSONValue`` reads all of them.
///
/// **Outages.** While a configured server is away, reads are answered by the near cache and this process's local store, writes and
/// invalidations are made there and remembered, and before calls go to the server again what was remembered is removed there, so
/// that nothing outlives its invalidation. No call fails because the server is away; or, with ``OutageBehavior/closed``
/// (``CacheConfiguration/outage``), every one that does not only remove, and nothing is served from here but what is near, until the server
/// counts as away.
///
/// **Limits.** Keys of 1 to 1,024 bytes, values up to 16 MiB encoded, 1,000 entries a call; see ``CacheConfiguration``.
public struct Cache: Sendable {
    @usableFromInline let core: CacheCore
    @usableFromInline let scope: CacheScope

    /// The workspace of a cache that was asked for none.
    public static let defaultWorkspace = "default"

    /// One of these is made for a process; views of it are cheap.
    ///
    /// - Parameter random: randomness for lease tokens and jitter.
    public init(
        failover: Failover, namespace: Namespace = Namespace(), configuration: CacheConfiguration = CacheConfiguration(),
        random: @escaping @Sendable () -> UInt64 = { .random(in: .min ... .max) }
    ) {
        core = CacheCore(failover: failover, prefix: namespace.prefix, configuration: configuration, random: random)
        scope = CacheScope(
            place: CachePlace(namespace: namespace, workspace: Self.defaultWorkspace), category: nil, counter: 0)
    }

    init(core: CacheCore, scope: CacheScope) {
        self.core = core
        self.scope = scope
    }

    // MARK: - Views

    public var tenant: String? { scope.place.namespace.tenant }
    public var workspace: String { scope.place.workspace }
    public var category: CacheCategory? { scope.category }
    public var configuration: CacheConfiguration { core.configuration }

    /// The entries of another workspace of the same tenant.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming `workspace` where the name is empty, over 255 bytes or has a NUL in it.
    public func workspace(_ name: String) throws(StoreError) -> Cache {
        guard !name.isEmpty, name.utf8.count <= 255, !name.utf8.contains(0) else {
            throw .invalid("workspace", "A workspace's name has 1 to 255 bytes and no NUL")
        }
        return view(scope.place.namespace, name, scope.category)
    }

    /// The entries of a category of this workspace; see ``CacheCategory``.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming `category` where its name has other characters than `A-Z a-z 0-9 _ - .`.
    public func category(_ category: CacheCategory) throws(StoreError) -> Cache {
        guard category.isValid else { throw .invalid("category", "A category's name has letters, digits, '_', '-' and '.'") }
        return view(scope.place.namespace, scope.place.workspace, category)
    }

    /// The entries of a configured category of this workspace.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/notFound`` naming `category` where none of that name is configured.
    public func category(named name: String) throws(StoreError) -> Cache {
        guard let category = core.configuration.categories.first(where: { $0.name == name }) else {
            throw StoreError(.notFound, "No cache category of this name is configured", field: "category")
        }
        return try self.category(category)
    }

    /// How many writes and invalidations of this process's cache, all tenants together, wait for the server to be back.
    public var pendingChanges: Int { core.waiting.count }

    /// The same workspace of another tenant.
    public func scoped(to tenant: String) -> Cache {
        view(scope.place.namespace.scoped(to: tenant), scope.place.workspace, scope.category)
    }

    private func view(_ namespace: Namespace, _ workspace: String, _ category: CacheCategory?) -> Cache {
        Cache(
            core: core,
            scope: CacheScope(
                place: CachePlace(namespace: namespace, workspace: workspace), category: category,
                counter: core.near.counter(for: category)))
    }

    var withoutCategory: Cache { view(scope.place.namespace, scope.place.workspace, nil) }

    /// What this process's cache did since it began: all tenants and workspaces together. No round trip.
    public var statistics: CacheStatistics { core.near.statistics }

    /// How this process's near cache knows at this moment that its values are the server's.
    public var nearCoherence: NearCoherence { core.near.coherence }

    // MARK: - Checks

    func checked(_ key: String) throws(StoreError) -> String {
        guard !key.isEmpty else { throw .invalid("key", "A key must not be empty") }
        guard scope.prefix.utf8.count + key.utf8.count <= core.configuration.maximumKeyBytes else {
            throw StoreError(.tooLarge, "A key has at most \(core.configuration.maximumKeyBytes) bytes", field: "key")
        }
        return key
    }

    func checkBatch(_ count: Int) throws(StoreError) {
        guard count <= core.configuration.maximumBatch else {
            throw StoreError(.tooLarge, "At most \(core.configuration.maximumBatch) entries in one call", field: "keys")
        }
    }
}
