import HoldfastStore

/// What became invalid while the server could not be told: removed there before any call goes to it again.
///
/// Each change is one entry of the outbox, however often it happens. Bounded: when there are too many, those of each workspace collapse
/// into "clear it", and those into "clear everything". That costs recomputing, never a stale value.
struct CacheOutbox: Sendable {
    static let action = "cache.invalidate@1"

    let outbox: Outbox
    let limit: Int

    init(_ outbox: Outbox, limit: Int = 10_000) {
        self.outbox = outbox
        // What collapses needs room for the wider ones before the others go.
        self.limit = max(2, min(limit, outbox.configuration.maximumEntries / 2))
    }

    var count: Int { outbox.count(of: Self.action) }

    /// - Throws: ``/HoldfastStore/ErrorCode/outboxFull``, ``/HoldfastStore/ErrorCode/storageFailed``; the change must not be made then.
    func add(_ changes: [CacheChange]) async throws(StoreError) {
        for change in changes {
            try await outbox.add(Outbox.Item(widest(change)))
            if count > limit { try await collapse() }
        }
    }

    /// The change, or one that waits already and contains it.
    private func widest(_ change: CacheChange) -> CacheChange {
        let wider = [CacheChange.everything(prefix: change.prefix)] + (change.place.map { [.workspace($0)] } ?? [])
        return wider.first { outbox.contains(named: $0.name) } ?? change
    }

    private func collapse() async throws(StoreError) {
        let waiting = outbox.entries(of: Self.action)
        let changes = waiting.compactMap(CacheChange.init)
        let places = Set(changes.compactMap(\.place))
        let wider: Set<CacheChange> =
            places.count <= limit / 2
            ? Set(places.map { .workspace($0) } + changes.filter { $0.place == nil })
            : Set(changes.map { .everything(prefix: $0.prefix) })
        // First what contains the others, then away with them.
        for change in wider { try await outbox.add(Outbox.Item(change)) }
        let names = Set(wider.map(\.name))
        try await outbox.withdraw(waiting.filter { !($0.name.map(names.contains) ?? false) })
    }
}

extension Outbox.Item {
    init(_ change: CacheChange) {
        self.init(CacheOutbox.action, arguments: change.words, about: change.name, named: change.name)
    }
}

extension CacheChange {
    /// What it is as a list: its kind, the prefix, and where it has them workspace, key or pattern, and tenant.
    var words: [Bytes] {
        switch self {
        case .entry(let place, let key): ["entry"] + place.words(key)
        case .pattern(let place, let pattern): ["pattern"] + place.words(pattern)
        case .workspace(let place): ["workspace"] + place.words("")
        case .everything(let prefix): ["everything", Bytes(prefix)]
        }
    }

    /// The same for the same change, and for no other.
    var name: Bytes { Bytes(ByteList.encode(["cache"] + words)) }

    init?(_ entry: OutboxEntry) {
        let words = entry.arguments.compactMap(\.string)
        guard words.count == entry.arguments.count, words.count >= 2 else { return nil }
        if words[0] == "everything" {
            self = .everything(prefix: words[1])
            return
        }
        guard words.count >= 4 else { return nil }
        let namespace = Namespace(prefix: words[1], tenant: words.count > 4 ? words[4] : nil)
        let place = CachePlace(namespace: namespace, workspace: words[2])
        switch words[0] {
        case "entry": self = .entry(place, words[3])
        case "pattern": self = .pattern(place, words[3])
        case "workspace": self = .workspace(place)
        default: return nil
        }
    }
}

extension CachePlace {
    fileprivate func words(_ name: String) -> [Bytes] {
        [Bytes(namespace.prefix), Bytes(workspace), Bytes(name)] + (namespace.tenant.map { [Bytes($0)] } ?? [])
    }
}
