/// A Redis-shaped key space as a plain value: what commands and procedures mean.
///
/// It has no lock, clock or I/O of its own. ``EmbeddedStore`` holds one behind a lock, sets ``now`` before each operation and takes
/// the effects after it. The families' commands stand in files of their names beside this one; each has its typed functions, which
/// procedures call, and the switch that gives them Redis's replies.
///
/// Invariants:
/// 1. An entry whose expiry is not after ``now`` is never seen: every access goes through `slot(of:)`, and what Redis counts as a read
///    through `slot(reading:)`.
/// 2. `usedBytes` is the sum of all entries' costs, `expiries` holds exactly the entries with an expiry, `candidates` exactly those
///    that may be evicted: entries are added, changed and removed only by `put`, `change`, `setExpiry` and `removeEntry` (and all
///    at once by `removeAll`). Each of these shows an entry to the snapshot before it changes it.
/// 3. A collection is never empty: `change` removes an entry whose collection became so.
/// 4. Every change emits effects that, carried out on the state before it, give the state after it, at any later time.
public struct Keyspace: Sendable {
    public struct Limits: Sendable, Hashable {
        /// Accounted bytes of all entries; 0 for no limit.
        public var maximumBytes: Int
        public var policy: EvictionPolicy
        public var scope: EvictionScope

        public init(maximumBytes: Int = 0, policy: EvictionPolicy = .noEviction, scope: EvictionScope = .everyKey) {
            self.maximumBytes = maximumBytes
            self.policy = policy
            self.scope = scope
        }
    }

    /// A value of Redis's own limit: 512 MiB for strings.
    static let maximumStringLength = 512 * 1024 * 1024
    /// How many elements of a collection one effect names at most: as many as Redis's own SPOP.
    static let elementsPerEffect = 1024

    public let limits: Limits
    /// The time at which operations happen. It goes back only where the wall clock was set back (``advance(to:)``). Nothing that is kept
    /// rests on its direction: expiries are moments in the order of time, and an entry whose memory was given back does not return.
    public internal(set) var now = Timestamp(milliseconds: 0)
    /// Accounted memory of all entries.
    public private(set) var usedBytes = 0
    public internal(set) var expiredCount = 0
    public internal(set) var evictedCount = 0
    /// How often a key was read, and was there.
    public internal(set) var hitCount = 0
    /// How often a key was read, and was not there.
    public internal(set) var missCount = 0

    var entries = SlotTable<Key, Entry>()
    var expiries = SortedList<ExpiryMark>()
    /// The slots of the entries that may be evicted, in no order.
    var candidates: ContiguousArray<Int> = []
    var random: RandomSource
    /// Keys without an entry that somebody watches; see `Keyspace+Watch.swift`.
    var absences: [Key: Absence] = [:]
    private var revision: UInt64 = 0
    private var recordsEffects = false
    private var effects: [Operation] = []
    /// The effects as bytes, for a journal.
    var log = EffectLog()
    /// The snapshot that is being taken; see `Keyspace+Snapshot.swift`.
    var snapshot: Snapshot?
    /// Counts snapshots; an entry with this number needs no copy.
    var snapshotNumber: UInt32 = 0
    /// While a journal is loaded no room is made: what was accepted once is.
    var isLoading = false

    public init(limits: Limits = Limits(), seed: UInt64 = .random(in: .min ... .max)) {
        self.limits = limits
        random = RandomSource(seed: seed)
    }

    public var count: Int { entries.count }

    /// By how much a moment may be earlier than the present one and be none of a clock that was set: callers read the clock first and
    /// overtake each other afterwards.
    private static let overtaking: Int64 = 1000

    /// Moves the clock. A moment that is earlier by a second at most is ignored. One that is earlier by more is followed: the wall clock was
    /// set back, and time would stand still here for as long as it had been ahead.
    public mutating func advance(to moment: Timestamp) {
        if moment > now || moment.milliseconds < now.milliseconds - Self.overtaking { now = moment }
    }

    // MARK: - Entries

    /// The slot of a live entry, which counts as used; nil where there is none. An expired one is removed.
    mutating func slot(of key: Key) -> Int? {
        guard let slot = entries.slot(of: key) else { return nil }
        if let expiry = entries.look(at: slot, { $0.expiry }), expiry <= now {
            expire(key)
            return nil
        }
        let random = limits.policy.isFrequency ? Double.random(in: 0..<1, using: &self.random) : 1
        let now = now
        entries.look(at: slot) { $0.usage.touch(now, random: random) }
        return slot
    }

    /// The same for a command that reads, which Redis counts as a hit or a miss (`lookupKeyRead`). What is looked up in order to change
    /// it is not counted.
    mutating func slot(reading key: Key) -> Int? {
        guard let slot = slot(of: key) else {
            missCount &+= 1
            return nil
        }
        hitCount &+= 1
        return slot
    }

    mutating func type(at slot: Int) -> EntryType { entries.look(at: slot) { $0.value.type } }

    /// Puts a value at a key, replacing what is there. Does not emit.
    mutating func put(_ value: Value, at key: Key, expiry: Timestamp?) {
        let slot: Int
        if let existing = entries.slot(of: key) {
            slot = existing
            preserve(slot)
            entries[slot].value = value
        } else {
            let entry = Entry(value: value, snapshot: snapshotNumber, revision: 0)
            slot = entries.insert(entry, for: Key(raw: key.bytes.compacted()))
            entries[slot].usage.lastUsed = now.milliseconds
            updateCandidacy(at: slot)
            noteArrival(of: key)
        }
        setExpiry(expiry, at: slot)
        account(at: slot, key)
    }

    /// Removes an entry, expired or not. Does not emit.
    @discardableResult
    mutating func removeEntry(_ key: Key) -> Entry? {
        guard let slot = entries.slot(of: key) else { return nil }
        preserve(slot)
        if let expiry = entries[slot].expiry { expiries.remove(ExpiryMark(moment: expiry, slot: slot)) }
        if let place = entries[slot].candidate { removeCandidate(at: place) }
        usedBytes -= entries[slot].cost
        return entries.remove(key)
    }

    /// Removes everything. Does not emit.
    mutating func removeAll() {
        preserveAll()
        entries = SlotTable()
        expiries = SortedList()
        candidates = []
        usedBytes = 0
    }

    /// The revision of a live entry; 0 where there is none. Two equal answers mean that nothing changed in between.
    public mutating func revision(of key: Key) -> UInt64 {
        guard let slot = entries.slot(of: key) else { return 0 }
        if let expiry = entries[slot].expiry, expiry <= now { return 0 }
        return entries[slot].revision
    }

    mutating func nextRevision() -> UInt64 {
        revision += 1
        return revision
    }

    mutating func account(at slot: Int, _ key: Key) {
        let own = MemoryCost.entry + MemoryCost.bytes(key.bytes.count)
        let revision = nextRevision()
        usedBytes += entries.look(at: slot) { entry in
            let (old, new) = (entry.cost, own + entry.value.cost)
            entry.cost = new
            entry.revision = revision
            return new - old
        }
    }

    // MARK: - Effects

    /// Whether something may be changed: the question of whoever is about to; the key space itself does as it is told.
    package var writeAdmission: WriteAdmission { log.admission }

    /// Begins to keep the effects of what follows; ``takeEffects()`` hands them out.
    mutating func recordEffects() { recordsEffects = true }

    /// What has changed since the last call, as commands that give the same result whenever and wherever they are carried out.
    mutating func takeEffects() -> [Operation] {
        defer { effects = [] }
        return effects
    }

    /// Tells of a change. The operation is only built when someone listens.
    mutating func emit(_ effect: @autoclosure () -> Operation) {
        if log.isOn { log.append(effect()) }
        if recordsEffects { effects.append(effect()) }
    }

    /// Tells of a change of several elements at once, in as many commands as it takes: a collection may have more elements than a
    /// Redis takes arguments from a client, and the way up to Redis is `redis-cli --pipe`.
    mutating func emit<Element>(_ elements: @autoclosure () -> [Element], as command: ([Element]) -> Operation) {
        guard log.isOn || recordsEffects else { return }
        elements().forEachPart(of: Self.elementsPerEffect) { emit(command($0)) }
    }
}

extension EvictionPolicy {
    var isFrequency: Bool { self == .allKeysLFU || self == .volatileLFU }
}

/// SplitMix64 (Steele, Lea, Flood 2014): fast, seedable, and good enough for sampling. Not for secrets.
public struct RandomSource: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
