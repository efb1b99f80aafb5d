import HoldfastStore

/// What all views of a cache share: one of these in a process, whatever the number of tenants, workspaces and categories.
@usableFromInline final class CacheCore: Sendable {
    let failover: Failover
    let configuration: CacheConfiguration
    /// Randomness for lease tokens and jitter.
    let random: @Sendable () -> UInt64
    @usableFromInline let near: NearCache
    let flights: SingleFlight
    let waiting: CacheOutbox
    private let coverage: CacheCoverage
    let warmers = Locked<[CacheWarmer]>([])
    private let stamps = Locked(CacheStamps())
    let prefix: String

    init(
        failover: Failover, prefix: String, configuration: CacheConfiguration, random: @escaping @Sendable () -> UInt64
    ) {
        self.failover = failover
        self.prefix = prefix
        self.configuration = configuration
        self.random = random
        near = NearCache(configuration.near, time: failover.time)
        coverage = CacheCoverage(failover.server, configuration.near)
        flights = SingleFlight(time: failover.time)
        waiting = CacheOutbox(failover.outbox)
        if failover.server == nil { return }
        let (local, time) = (failover.local, failover.time)
        failover.outbox.register(
            ReplayAction(CacheOutbox.action, endures: true) {
                [weak self] (entry, server) async throws(StoreError) in
                guard let change = CacheChange(entry) else {
                    throw StoreError(.unsupportedFormat, "The entry has not the form of \(entry.action)")
                }
                let latest = self?.latestStamp
                _ = try await change.remove(from: server, time)
                if let latest { self?.hasHeard(until: latest) }
                _ = try? await change.remove(from: local, time)
            })
        failover.whenReturnIsCertain { [weak self] in await self?.serverReturns() }
        failover.whenServerHasReturned { [weak self] in self?.serverHasReturned() }
        if configuration.outage == .closed { failover.whenServerGoesAway { [weak self] in self?.near.removeAll() } }
    }

    var now: Timestamp { failover.time.now }

    /// For whoever is about to read or write what may be kept near.
    func ticket(_ scope: CacheScope, _ key: String) -> NearCache.Ticket {
        coverage.include(scope.trackedPrefix) { { [weak self] in self?.heard($0) } }
        return near.ticket(scope, key)
    }

    /// What the server tells of changes by others, and of our own.
    private func heard(_ event: KeyChangeEvent) {
        switch event {
        case .established(let coverage, let elapsed): near.trust(coverage, elapsed: elapsed)
        case .confirmed(let elapsed): near.confirm(elapsed: elapsed)
        case .changed(let keys):
            for key in keys {
                if let entry = CachePlace.entry(of: key, prefix: prefix) { announce(.entry(entry.place, entry.name)) }
            }
        case .flushed: announce(.everything(prefix: prefix))
        case .disturbed: near.voidTickets()
        case .lost: near.distrust()
        case .unavailable: near.doWithoutTracking()
        }
    }

    // MARK: - Calls to the store

    /// What an outage means for a call that does not only remove.
    var outagePolicy: OutagePolicy { configuration.outage == .closed ? .fail : .local }

    /// A look into the store that decides: the server, or while that is away this process's local store, unless calls are refused then.
    func read<Output: Sendable>(
        _ body: (_ store: any Store, _ decider: Decider) async throws(StoreError) -> Output
    ) async throws(StoreError) -> Decided<Output> {
        try await failover.perform(outagePolicy, body)
    }

    /// A change: made where it is decided, and remembered for the server where that is not the server.
    ///
    /// The near cache and flights hear of it before, so that nothing new joins what is about to be invalid, and after, so that nothing
    /// that was read meanwhile stays; whether it succeeded or not, for a lost reply says nothing.
    func write<Output: Sendable>(
        _ changes: [CacheChange], policy: OutagePolicy, _ body: (_ store: any Store) async throws(StoreError) -> Output
    ) async throws(StoreError) -> Decided<Output> {
        for change in changes { announce(change) }
        defer { for change in changes { announce(change) } }
        return try await perform(changes, policy: policy, body)
    }

    /// As ``write(_:policy:_:)`` without telling the near cache, for a writer that does so itself.
    func perform<Output: Sendable>(
        _ changes: [CacheChange], policy: OutagePolicy,
        _ body: (_ store: any Store) async throws(StoreError) -> Output
    ) async throws(StoreError) -> Decided<Output> {
        try await failover.perform(policy) { (store, decider) async throws(StoreError) in
            if decider.isLocal {
                // Kept before it is done: if the server returns in between, the next call to it comes after this.
                try await waiting.add(changes)
                do throws(StoreError) { return try await body(store) } catch { throw error.withUnknownEffect() }
            }
            let output = try await body(store)
            // It went to the server before that counted as away, and what was filled here since may be older.
            if failover.localSince != nil { try await removeHere(changes) }
            return output
        }
    }

    /// What has been done on the server.
    ///
    /// - Throws: with an unknown effect where there was no time for all of it.
    private func removeHere(_ changes: [CacheChange]) async throws(StoreError) {
        do throws(StoreError) {
            for change in changes { _ = try await change.remove(from: failover.local, failover.time) }
        } catch {
            throw error.withUnknownEffect()
        }
    }

    /// Whether what a factory computes is kept by that side, and a lease given for it. This process keeps it only while the server counts as
    /// away. What single failures send here is different: of a write the server hears before any call goes to it, and then it is
    /// removed here too; of a fill nobody would tell, and a change that the server decides does not touch what lies here.
    func mayKeepFills(by decider: Decider) -> Bool { !decider.isLocal || decider == failover.decider }

    /// What this process kept until then is not believed any more: what single failures left here while the server was not yet
    /// counted as down, and what a local decision leaves that is still under way, which began before.
    private func hasHeard(until stamp: Timestamp) { stamps.withLock { $0.hear(until: stamp) } }

    /// After whatever was stamped until now, by whichever clock.
    private var latestStamp: Timestamp { max(now, stamps.withLock { $0.latest }) }

    /// The moment that a write's stamp bears: now, and after all that the server has heard of.
    var nextStamp: Timestamp {
        let now = now
        return stamps.withLock { $0.next(at: now) }
    }

    func announce(_ change: CacheChange) {
        switch change {
        case .entry(let place, let name):
            let space = NearSpace(place)
            near.change(space: space, name: name)
            flights.forget(SingleFlight.Name(space: space, key: name))
        case .pattern(let place, let pattern):
            let glob = Glob(pattern.utf8)
            near.change(space: NearSpace(place)) { glob.matches(Array($0.utf8)) }
            flights.forget(NearSpace(place)) { glob.matches(Array($0.utf8)) }
        case .workspace(let place):
            near.change(space: NearSpace(place)) { _ in true }
            flights.forget(NearSpace(place)) { _ in true }
        case .everything:
            near.removeAll()
            flights.forgetAll()
        }
    }

    // MARK: - The server returns

    /// Before calls go to the server again, which has heard what it missed: what was kept here meanwhile is forgotten.
    private func serverReturns() async {
        // A local decision that ends after this leaves an entry here, which is older than this moment.
        hasHeard(until: latestStamp)
        _ = try? await CacheChange.everything(prefix: prefix).remove(from: failover.local, failover.time)
        announce(.everything(prefix: prefix))
    }

    /// What was still decided here while others' hooks ran is older than what the server says from now on.
    private func serverHasReturned() {
        hasHeard(until: latestStamp)
        announce(.everything(prefix: prefix))
    }

    /// Whether an entry with this stamp says anything, fresh or stale: one of this process's own store that the server has heard of does not.
    func speaks(_ stamp: Int64, by decider: Decider) -> Bool {
        !decider.isLocal || CacheVersion(stamp: stamp).moment > stamps.withLock { $0.heard }
    }

    /// Whether an entry may be served as it is.
    func isFresh(_ envelope: Envelope, by decider: Decider) -> Bool {
        guard speaks(envelope.stamp, by: decider) else { return false }
        // Without fail-safe time the store's own clock ends an entry; only one that is kept beyond its TTL needs our clock.
        guard envelope.grace > .zero, let expiry = envelope.expiry else { return true }
        return now < expiry
    }

    // MARK: - Lifetimes

    /// How long an entry is to be kept; nil for not at all.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming `ttl` for a negative or absurdly long one.
    func lifetime(_ ttl: Duration?, _ category: CacheCategory?) throws(StoreError) -> Duration? {
        let ttl = ttl ?? category?.ttl ?? configuration.defaultTTL
        guard ttl >= .zero else { throw .invalid("ttl", "A TTL must not be negative") }
        guard ttl <= Self.longestTTL else { throw .invalid("ttl", "A TTL must be at most 100 years") }
        if ttl == .zero { return nil }
        // Redis counts in milliseconds and refuses zero of them.
        return max(.milliseconds(1), jittered(ttl))
    }

    private static let longestTTL: Duration = .seconds(100 * 365 * 86_400)

    private func jittered(_ ttl: Duration) -> Duration {
        guard configuration.jitter > 0 else { return ttl }
        let share = Double(random() >> 11) / Double(1 << 53) * min(1, configuration.jitter)
        return .milliseconds(Int64(Double(ttl.milliseconds) * (1 - share)))
    }

    /// 64 random bits are enough to tell the leases of one key apart for their few seconds.
    func newToken() -> Bytes { Bytes(String(random(), radix: 16)) }
}
