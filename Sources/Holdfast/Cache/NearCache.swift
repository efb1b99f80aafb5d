import HoldfastStore

/// Decoded values in this process, for a short while.
///
/// **Never older than its invalidation.** A value read from the store may arrive after it was changed here. Whoever is about to read
/// therefore takes a ``Ticket`` first, and a value is only put in while its ticket is still good; every change of a key makes the
/// tickets of that key void, before it goes to the store and again after it. Tickets are kept for 256 groups of keys, not for
/// each: a group's change costs its neighbours a put at worst.
@usableFromInline final class NearCache: Sendable {
    /// What was valid when a read or a write began.
    struct Ticket: Sendable {
        fileprivate let group: UInt64
        fileprivate let all: UInt64
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

        func ticket(_ key: NearKey) -> Ticket { Ticket(group: groups[State.group(key)], all: all) }
        static func group(_ key: NearKey) -> Int { key.hash & 255 }
    }

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
        let value = state.withLock { $0.table.peek(scope.head.key(key)) }
        guard let value, value.usableUntil > now, let box = value.object as? NearBox<T> else { return nil }
        return (box.value, max(.zero, now - value.freshUntil))
    }

    func ticket(_ scope: CacheScope, _ key: String) -> Ticket { state.withLock { $0.ticket(scope.head.key(key)) } }

    /// Puts in what was read, unless it was changed here since the ticket.
    ///
    /// - Parameters:
    ///   - life: how long the entry itself stays fresh; nil for ever.
    ///   - grace: how long after that it may serve while the server is away.
    func put<T: Sendable>(
        _ value: T, _ scope: CacheScope, _ key: String, size: Int, life: Duration?, grace: Duration, ticket: Ticket
    ) {
        insert(NearBox(value), T.self, scope.head.key(key), size, life, grace, ticket, isWrite: false)
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
        _ value: T, _ scope: CacheScope, _ key: String, size: Int, life: Duration?, grace: Duration, ticket: Ticket
    ) {
        insert(NearBox(value), T.self, scope.head.key(key), size, life, grace, ticket, isWrite: true)
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

    private func insert(
        _ object: any AnyObject & Sendable, _ type: Any.Type, _ key: NearKey, _ size: Int, _ life: Duration?, _ grace: Duration,
        _ ticket: Ticket, isWrite: Bool
    ) {
        let now = time.uptime
        let life = life ?? .seconds(1 << 32)
        let value = Value(
            object: object, type: ObjectIdentifier(type), freshUntil: now + min(configuration.ttl, life),
            usableUntil: now + life + grace)
        state.withLock { state in
            let now = state.ticket(key)
            let isGood = now.group == ticket.group && now.all == ticket.all
            if isGood {
                // 256 bytes for slot, links, box, the headers of box and name, and arrays that double.
                state.table.insert(value, for: key, cost: size + key.count + 256)
            } else if isWrite {
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
    init(_ value: Value) { self.value = value }
}
