public import HoldfastStore

/// Decoded values in this process, for a short while.
///
/// **Never older than its invalidation.** A value read from the store may arrive after it was changed here. Whoever is about to read
/// therefore takes a ``Ticket`` first, and a value is only put in while its ticket is still good; every change of a key makes the
/// tickets of that key void, before it goes to the store and again after it. Tickets are kept for 256 groups of keys, not for
/// each: a group's change costs its neighbours a put at worst.
///
/// **True to the server.** What is here was the server's value at ``State/trustedUntil`` minus the TTL: because no value is served longer
/// than that (``NearCoherence/timed``), or because the server has confirmed that it told of every change until then
/// (``NearCoherence/tracked``). A value is served while both its own time and that trust last.
@usableFromInline final class NearCache: Sendable {
    /// What was valid when a read or a write began.
    struct Ticket: Sendable {
        fileprivate let group: UInt64
        fileprivate let all: UInt64
        /// When it was taken: what is read or written with it was the store's value at that moment or later.
        fileprivate let moment: Duration
    }

    struct Value: Sendable {
        /// A ``NearBox`` of a value of this type.
        let object: any AnyObject & Sendable
        let type: ObjectIdentifier
        /// Served without asking the store until then, on the clock that never steps back.
        let freshUntil: Duration
        /// Served while the server is away until then.
        let usableUntil: Duration
    }

    private struct State {
        var table: NearTable<NearKey, Value>
        var groups = [UInt64](repeating: 0, count: 256)
        var all: UInt64 = 0
        var counters: [CacheCounters] = [CacheCounters()]
        /// Nil where changes are not told of.
        var coverage: ChangeCoverage?
        var coherence = NearCoherence.timed
        /// Until then what is here may be served, as far as its own time allows it.
        var trustedUntil = NearCache.forEver

        func ticket(_ key: NearKey, at moment: Duration) -> Ticket {
            Ticket(group: groups[State.group(key)], all: all, moment: moment)
        }
        static func group(_ key: NearKey) -> Int { key.hash & 255 }
    }

    /// Where a value came from, which decides whether its changes are told of.
    struct Origin: Equatable {
        let by: Decider
        /// Read from the store, not written to it.
        let isRead: Bool

        init(_ decider: Decider, isRead: Bool) { (by, self.isRead) = (decider, isRead) }
    }

    private static let forEver = Duration.seconds(1 << 60)

    private let configuration: NearCacheConfiguration
    private let time: any TimeSource
    private let state: Locked<State>

    init(_ configuration: NearCacheConfiguration, time: any TimeSource) {
        self.configuration = configuration
        self.time = time
        state = Locked(
            State(table: NearTable(maximumCount: configuration.entries, maximumBytes: configuration.bytes)))
    }

    // MARK: - Reading

    /// The ``NearBox`` of an entry, where there is a fresh value of this type. Allocates nothing.
    @usableFromInline func find(_ scope: CacheScope, _ key: String, _ type: ObjectIdentifier) -> (any AnyObject & Sendable)? {
        let now = time.uptime
        return key.withBytes { key in
            let hash = scope.head.hash(key)
            return state.withLock { state in
                guard state.trustedUntil > now else { return nil }
                let value = state.table.use(
                    hash, matches: { $0.isMade(of: scope.head, key) }, holds: { $0.type == type && $0.freshUntil > now })
                guard let value else { return nil }
                state.counters[scope.counter].nearHits += 1
                return value.object
            }
        }
    }

    /// A value that may be served while the server is away, with the time since it stopped being fresh.
    func findUsable<T: Sendable>(_ scope: CacheScope, _ key: String, as type: T.Type) -> (value: T, age: Duration)? {
        let now = time.uptime
        let (value, trustedUntil) = state.withLock { ($0.table.peek(scope.head.key(key)), $0.trustedUntil) }
        guard let value, value.usableUntil > now, let box = value.object as? NearBox<T> else { return nil }
        return (box.value, max(.zero, now - min(value.freshUntil, trustedUntil)))
    }

    func ticket(_ scope: CacheScope, _ key: String) -> Ticket {
        let now = time.uptime
        return state.withLock { $0.ticket(scope.head.key(key), at: now) }
    }

    /// Puts in what was read, unless it was changed here since the ticket.
    ///
    /// - Parameters:
    ///   - life: how long the entry itself stays fresh; nil for ever.
    ///   - grace: how long after that it may serve while the server is away.
    ///   - moment: when it was the store's value, where that is later than the ticket.
    func put<T: Sendable>(
        _ value: T, _ scope: CacheScope, _ key: String, size: Int, life: Duration?, grace: Duration, ticket: Ticket,
        asOf moment: Duration? = nil, from origin: Origin
    ) {
        insert(
            NearBox(value, origin.by), T.self, scope, key, size, life, grace, ticket, moment ?? ticket.moment, origin,
            isWrite: false)
    }

    // MARK: - Changing

    /// Removes the value of a key that is changed and makes its tickets void.
    func change(space: NearSpace, name: String) {
        let key = NearKey(space: space, name: name)
        state.withLock { state in
            state.table.remove(key)
            state.groups[State.group(key)] &+= 1
        }
    }

    /// Ends a write: puts the new value in unless someone else changed the key meanwhile, in which case nobody knows here whose
    /// value the store has.
    func finish<T: Sendable>(
        _ value: T, _ scope: CacheScope, _ key: String, size: Int, life: Duration?, grace: Duration, ticket: Ticket,
        from origin: Origin
    ) {
        insert(NearBox(value, origin.by), T.self, scope, key, size, life, grace, ticket, ticket.moment, origin, isWrite: true)
    }

    /// Removes the values of a space whose names pass the test, and makes all tickets void.
    func change(space: NearSpace, where matches: (String) -> Bool) {
        state.withLock { state in
            state.table.removeAll { $0.name(in: space).map(matches) ?? false }
            state.all &+= 1
        }
    }

    func removeAll() {
        state.withLock { state in
            state.table.removeAll()
            state.all &+= 1
        }
    }

    // MARK: - Trust

    var coherence: NearCoherence { state.withLock { $0.coherence } }

    /// From now on changes are told of. What is here, and what is being read, may have been changed before that.
    func trust(_ coverage: ChangeCoverage, elapsed: Duration) {
        let until = time.uptime - elapsed + configuration.ttl
        state.withLock { state in
            state.table.removeAll()
            state.all &+= 1
            (state.coherence, state.coverage, state.trustedUntil) = (.tracked, coverage, until)
        }
    }

    /// All that had changed so long ago is known here.
    func confirm(elapsed: Duration) {
        let until = time.uptime - elapsed + configuration.ttl
        state.withLock { if $0.coherence == .tracked { $0.trustedUntil = until } }
    }

    /// Changes are not told of for a while: nothing is served but to who has no server.
    func distrust() {
        let now = time.uptime
        state.withLock { state in
            state.all &+= 1
            (state.coherence, state.coverage, state.trustedUntil) = (.interrupted, nil, min(now, state.trustedUntil))
        }
    }

    /// Changes are not told of at all: from now on each value has its short time.
    func doWithoutTracking() {
        state.withLock { state in
            guard state.coherence != .timed else { return }
            state.table.removeAll()
            state.all &+= 1
            (state.coherence, state.coverage, state.trustedUntil) = (.timed, nil, Self.forEver)
        }
    }

    /// What is being read now is not kept.
    func voidTickets() { state.withLock { $0.all &+= 1 } }

    private func insert(
        _ object: any AnyObject & Sendable, _ type: Any.Type, _ scope: CacheScope, _ key: String, _ size: Int, _ life: Duration?,
        _ grace: Duration, _ ticket: Ticket, _ moment: Duration, _ origin: Origin, isWrite: Bool
    ) {
        let now = time.uptime
        let life = life ?? .seconds(1 << 32)
        let key = scope.head.key(key)
        state.withLock { state in
            let valid = state.ticket(key, at: now)
            let isGood = valid.group == ticket.group && valid.all == ticket.all
            // Nobody tells of a change of what was not read: our next reader reads it.
            let isUntold = state.coverage == .reads && !origin.isRead && !origin.by.isLocal
            if isGood, !isUntold {
                // A good ticket was taken since the coverage began: a change of it makes all tickets void.
                let isTold = state.coverage?.covers(scope.trackedPrefix, origin) ?? false
                let value = Value(
                    object: object, type: ObjectIdentifier(type),
                    // Its reply may have come late: the bound counts from when it was the store's value.
                    freshUntil: min(moment + (isTold ? configuration.trackedTTL : configuration.ttl), now + life),
                    usableUntil: now + life + grace)
                // 256 bytes for slot, links, box, the headers of box and name, and arrays that double.
                state.table.insert(value, for: key, cost: size + key.count + 256)
            } else if isWrite || isUntold {
                state.table.remove(key)
            }
            if isWrite { state.groups[State.group(key)] &+= 1 }
        }
    }

    // MARK: - Counting

    /// Where counts are kept for a category; the same for the same name. After 100 names the rest share one.
    func counter(for category: CacheCategory?) -> Int {
        guard let name = category?.name else { return 0 }
        return state.withLock { state in
            if let place = state.counters.firstIndex(where: { $0.category == name }) { return place }
            if state.counters.count > 100 { return 100 }
            state.counters.append(CacheCounters(category: name))
            return state.counters.count - 1
        }
    }

    func count(_ scope: CacheScope, _ add: (inout CacheCounters) -> Void) {
        state.withLock { add(&$0.counters[scope.counter]) }
    }

    var statistics: CacheStatistics {
        state.withLock { state in
            CacheStatistics(
                counters: state.counters, nearEntries: state.table.count, nearBytes: state.table.bytes,
                nearEvictions: state.table.evictions)
        }
    }
}

/// A value on the heap, so that a hit hands out a reference and copies nothing into a box of its own.
@usableFromInline final class NearBox<Value: Sendable>: Sendable {
    @usableFromInline let value: Value
    /// Who decided it.
    @usableFromInline let by: Decider

    init(_ value: Value, _ by: Decider) { (self.value, self.by) = (value, by) }

    @inlinable var source: CacheSource {
        switch by {
        case .server: .near
        case .local(let since): .local(since: since)
        }
    }
}

/// How the near cache knows that its values are the server's.
public enum NearCoherence: Sendable, Hashable {
    /// By time: each is served for ``NearCacheConfiguration/ttl`` at most.
    case timed
    /// The server tells of changes.
    case tracked
    /// It did, and is about to again: until then every read asks the store.
    case interrupted
}

extension ChangeCoverage {
    fileprivate func covers(_ prefix: Bytes, _ origin: NearCache.Origin) -> Bool {
        switch self {
        case .prefixes(let prefixes): !origin.by.isLocal && prefixes.contains(prefix)
        case .reads: !origin.by.isLocal && origin.isRead
        }
    }
}
