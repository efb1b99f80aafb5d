public import HoldfastStore

extension RedisStore: ChangeTracking {
    /// Listens over one more connection to each server that holds keys; see ``RedisConfiguration/clientTracking``.
    ///
    /// - Returns: nil where that is off; where replicas answer reads: a replica may answer with what was changed, and told of, before; and to
    ///   the second who asks where reads are told of: one cache for each store.
    public func trackChanges(
        of prefixes: [Bytes], confirmingEvery interval: Duration, _ observe: @escaping @Sendable (KeyChangeEvent) -> Void
    ) -> ChangeTrackingHandle? {
        guard configuration.clientTracking != .off else { return nil }
        if case .cluster(let cluster) = configuration.endpoint, cluster.readsFromReplicas { return nil }
        let servers: TrackedServers =
            switch topology {
            case .server(let link): .server(link)
            case .cluster(let cluster): .cluster(cluster)
            }
        let tracker = ChangeTracker(servers, configuration, prefixes: prefixes, interval: interval, observe)
        guard trackers.begin(tracker, alone: configuration.clientTracking == .reads) else { return nil }
        return ChangeTrackingHandle(
            add: { tracker.add($0) }, end: { [trackers] in trackers.end(tracker) })
    }
}
