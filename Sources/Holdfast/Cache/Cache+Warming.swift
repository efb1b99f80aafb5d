public import HoldfastStore

/// How an entry is computed ahead of its first reader.
struct CacheWarmer: Sendable {
    let group: String
    let key: String
    /// Answers who keeps it.
    let run: @Sendable (Cache) async throws -> Decider
}

extension Cache {
    /// Registers how an entry is computed when its group is warmed, replacing what was registered for the group and key.
    ///
    /// Registrations belong to the process: whichever tenant and workspace is warmed later, its own view is given to the factory.
    /// At most 1,000.
    ///
    /// - Parameters:
    ///   - group: a name to warm it by; by default the view's category, or `default`.
    ///   - ttl: as for ``set(_:_:ttl:if:)``, with the TTL of the category that is named like the group.
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` or ``/HoldfastStore/ErrorCode/tooLarge`` naming `key`, `ttl` or `group`.
    public func registerWarmer<Value: Codable & Sendable>(
        _ key: String, group: String? = nil, ttl: Duration? = nil, as type: Value.Type = Value.self,
        factory: @escaping @Sendable (Cache) async throws -> Value
    ) throws(StoreError) {
        let key = try checked(key)
        _ = try core.lifetime(ttl, scope.category)
        let group = group ?? scope.category?.name ?? Self.defaultGroup
        guard !group.isEmpty else { throw .invalid("group", "A group's name must not be empty") }
        let category = scope.category
        let warmer = CacheWarmer(group: group, key: scope.name(key)) { cache in
            var cache = cache
            if let category { cache = try cache.category(category) }
            return try await cache.refresh(key, ttl: ttl, as: type) { [cache] in try await factory(cache) }.by
        }
        let isKept = core.warmers.withLock { warmers in
            warmers.removeAll { $0.group == group && $0.key == warmer.key }
            if warmers.count < 1000 { warmers.append(warmer) }
            return warmers.last?.key == warmer.key
        }
        guard isKept else { throw StoreError(.tooLarge, "At most 1000 warmers can be registered", field: "group") }
    }

    public static let defaultGroup = "default"

    /// The groups that can be warmed, in alphabetical order.
    public var warmGroups: [String] { Set(core.warmers.withLock { $0.map(\.group) }).sorted() }

    /// What warming did.
    public struct WarmReport: Sendable, Hashable {
        /// The keys that were computed, in alphabetical order.
        public internal(set) var warmed: [String] = []
        /// The keys whose factories failed.
        public internal(set) var failed: [String] = []
        /// Who keeps them: this process where the server went away before the last was computed.
        public internal(set) var by: Decider
    }

    /// Computes the entries of a group anew, in this view's tenant and workspace, eight at a time.
    ///
    /// An entry that is changed while its factory runs is left as it was changed. Two round trips an entry.
    ///
    /// - Parameter group: the group; nil for the view's category, or all groups.
    /// - Throws: ``/HoldfastStore/ErrorCode/notFound`` naming `group` where nothing is registered for it; the store's error where it means that
    ///   the server is away (``OutageBehavior/closed``) or refuses us, with an unknown effect once an entry has been computed. No further
    ///   factory is begun then. Other failures of factories are in the report.
    public func warm(_ group: String? = nil) async throws(StoreError) -> WarmReport {
        let group = group ?? scope.category?.name
        let warmers = core.warmers.withLock { $0.filter { group == nil || $0.group == group } }
        if let group, warmers.isEmpty {
            throw StoreError(.notFound, "Nothing is registered to warm '\(group.prefix(64))'", field: "group")
        }
        let plain = withoutCategory
        let decider = core.failover.decider
        let outcome = await withTaskGroup(
            of: (key: String, result: Result<Decider, any Error>).self, returning: Result<WarmReport, StoreError>.self
        ) { tasks in
            var (report, waiting) = (WarmReport(by: decider), warmers[...])
            var obstacle: StoreError?
            func startNext() {
                guard obstacle == nil, let warmer = waiting.popFirst() else { return }
                tasks.addTask {
                    do {
                        return (warmer.key, .success(try await warmer.run(plain)))
                    } catch {
                        return (warmer.key, .failure(error))
                    }
                }
            }
            for _ in 0..<8 { startNext() }
            for await (key, result) in tasks {
                switch result {
                case .success(let keeper):
                    if keeper.isLocal { report.by = keeper }
                    report.warmed.append(key)
                case .failure(let error as StoreError) where error.isOutage || error.isRefusal: obstacle = obstacle ?? error
                case .failure: report.failed.append(key)
                }
                startNext()
            }
            if let obstacle { return .failure(report.warmed.isEmpty ? obstacle : obstacle.withUnknownEffect()) }
            report.warmed.sort()
            report.failed.sort()
            return .success(report)
        }
        return try outcome.get()
    }

    /// Keeps entries that the caller has computed. As ``setMany(_:ttl:)``.
    @discardableResult
    public func warm<Value: Codable & Sendable>(
        with entries: [String: Value], ttl: Duration? = nil
    ) async throws(StoreError) -> Decided<Int> {
        try await setMany(entries, ttl: ttl)
    }
}
