public import Synchronization

/// What was decided in this process and must still be done on the server: in order, bounded, and over a restart where it has a folder.
///
/// A service registers how its entries are carried out (``register(_:)``), and adds one before it acknowledges what it decided here.
/// ``Failover`` hands everything over when the server is back, before calls go to it again. See ``ReplayAction`` for how each entry
/// comes to have its effect exactly once.
///
/// It is kept in a store of its own, so that neither the memory limit nor the eviction of the embedded store touches it. Nothing is
/// dropped in silence: a full outbox refuses (``ErrorCode/outboxFull``), and what the server answers with an error becomes a dead
/// letter, which counts against the bound until somebody retries or drops it.
///
/// A folder that hangs costs no more than these bounds allow, and once more for what is on its way there: see `Outbox+Writing.swift`.
///
/// Invariants: an entry that was acknowledged stays in `entries` until the server has carried it out, it has become a dead letter, or a
/// later one of its name has taken its place. `names` leads to the entry that has the name.
public final class Outbox: Sendable {
    public struct Configuration: Sendable, Hashable {
        /// Entries and dead letters together.
        public var maximumEntries: Int
        /// What they take together, about.
        public var maximumBytes: Int
        /// The longest outage that is supported: markers on the server are kept so long, and what waited longer is not replayed any
        /// more but becomes a dead letter.
        public var longestOutage: Duration

        public init(
            maximumEntries: Int = 100_000, maximumBytes: Int = 256 << 20, longestOutage: Duration = .seconds(7 * 86_400)
        ) {
            self.maximumEntries = max(1, maximumEntries)
            self.maximumBytes = max(1, maximumBytes)
            self.longestOutage = longestOutage
        }
    }

    /// What a service wants to be done.
    public struct Item: Sendable {
        public var action: String
        public var subject: Bytes
        public var name: Bytes?
        public var keys: [Key]
        public var arguments: [Bytes]
        /// Of two items of one name the one that is not lower stays, whichever is added last; in the order of arrays.
        public var rank: [Int64]
        /// The present ``Outbox/epoch``, where the name is about it (``Outbox/name(_:of:in:)``): after a restart it goes on from there.
        public var epoch: Int?

        /// - Parameters:
        ///   - name: an entry of this name that still waits is replaced, at its place in the order.
        ///   - subject: entries about one subject, or with a key in common, are carried out in order; the first key where it is not given.
        public init(
            _ action: String, keys: [Key] = [], arguments: [Bytes] = [], about subject: Bytes? = nil, named name: Bytes? = nil,
            rank: [Int64] = [], epoch: Int? = nil
        ) {
            self.rank = rank
            self.epoch = epoch
            self.action = action
            self.keys = keys
            self.arguments = arguments
            self.subject = subject ?? keys.first?.bytes ?? Bytes(action)
            self.name = name
        }
    }

    struct Waiting {
        let entry: OutboxEntry
        /// Whether it, or what it has taken the place of, is kept for certain: only then it was acknowledged, and may be carried out.
        var isKept: Bool
        /// Whether somebody has begun to carry it out, or what it has taken the place of: it may have happened.
        var isTried = false
    }

    struct State {
        var entries: [Int64: Waiting] = [:]
        var names: [Bytes: Int64] = [:]
        /// How many entries there are of each action.
        var counts: [String: Int] = [:]
        var dead: [Int64: DeadLetter] = [:]
        /// The entries that are being written.
        var writes: [Int64: SharedRuns] = [:]
        var leavings = OutboxLeavings()
        /// What the folder may hold otherwise than this process, and who tells it.
        var owed = OutboxDebts()
        var settlement = SharedRuns()
        var actions: [String: ReplayAction] = [:]
        /// By the action's identifier.
        var preparations: [String: [Preparation]] = [:]
        var notes: [String: Bytes] = [:]
        var tables: [String: Restore] = [:]
        var claimedTables: Set<String> = []
        /// No entry has a smaller number.
        var first: Int64 = 1
        var next: Int64 = 1
        var revision: Int64 = 0
        var bytes = 0
        /// Since the start.
        var handedOver = 0
        /// For want of room, since the start.
        var refused = 0
        /// Counts the times at which all was handed over.
        var epoch = 0
        var isReplaying = false
        var waiters: [Int: CheckedContinuation<StoreError?, Never>] = [:]
        var nextWaiter = 0
    }

    public let configuration: Configuration
    let store: (any Store)?
    package let time: any TimeSource
    let state = Locked(State())
    /// How many entries are kept: changed under the lock, and read without it by every call.
    @usableFromInline let kept = Atomic(0)
    let observer: @Sendable (DeadLetter) -> Void
    /// What is decided about dead letters.
    let decisions: SerialWork

    static let entriesKey = Key(raw: "outbox:entries")
    static let deadKey = Key(raw: "outbox:dead")

    /// - Parameters:
    ///   - store: where it is kept, of its own and of nobody else; nil for memory only.
    ///   - observer: told of each dead letter, outside of locks.
    public init(
        keptIn store: (any Store)? = nil, configuration: Configuration = Configuration(), time: any TimeSource = .system,
        observer: @escaping @Sendable (DeadLetter) -> Void = { _ in }
    ) {
        self.store = store
        self.configuration = configuration
        self.time = time
        self.observer = observer
        decisions = SerialWork(time: time)
    }

    /// Says how entries of a kind are carried out; before ``load(into:)`` and before any is added.
    public func register(_ action: ReplayAction) { state.withLock { $0.actions[action.identifier] = action } }

    /// What has to come before an entry, beside the entries before it. False says that it cannot at present, for a reason in this process:
    /// the entry stays, with what follows it in its lane, and nobody waits for it.
    package typealias Preparation = @Sendable (_ server: any Store) async throws(StoreError) -> Bool

    /// Says what must be done on the server before each entry of an action is carried out, by whoever keeps something for it outside of
    /// the entries. Each of several is done.
    package func register(before action: String, _ prepare: @escaping Preparation) {
        state.withLock { $0.preparations[action, default: []].append(prepare) }
    }

    /// Whether nothing waits to be handed over.
    @inlinable public var isEmpty: Bool { kept.load(ordering: .acquiring) == 0 }

    /// Which stretch of local decisions this is: it rises when all that waited was handed over, and what was kept beside the entries in
    /// this process to answer by, until then, is of no use any more.
    public var epoch: Int { state.withLock { $0.epoch } }

    // MARK: - Adding

    /// Keeps something for the server. When it returns it was accepted, and will happen.
    ///
    /// A folder that takes its time goes on without a caller who leaves at its deadline or cancellation: what was done here already is told
    /// to the server all the same, once the folder has taken it.
    ///
    /// - Throws: ``ErrorCode/outboxFull`` with effect none; ``ErrorCode/storageFailed`` where the folder fails;
    ///   ``ErrorCode/deadlineExceeded`` or ``ErrorCode/cancelled``, with an unknown effect, for the caller's sake.
    public func add(_ item: Item) async throws(StoreError) {
        let promise = Promise<Void>()
        let (number, begins) = try state.withLock { (state) throws(StoreError) in
            let number = try place(item, &state)
            guard isDurable else {
                accept(number, &state)
                return (number, false)
            }
            return (number, state.writes[number, default: SharedRuns()].ask(promise))
        }
        guard isDurable else { return }
        // Without the caller's deadline, and not cancelled with it.
        if begins { Task.detached { await self.writeUntilKept(number) } }
        defer { state.withLock { $0.writes[number]?.leave(promise) } }
        do throws(StoreError) {
            try await promise.wait(time)
        } catch {
            throw StoreError(error.code, error.message, effect: error.effect, operation: item.action)
        }
    }

    /// Refuses what could not be added now; for a service that must know before it decides.
    ///
    /// - Throws: ``ErrorCode/outboxFull``.
    public func checkRoom(named name: Bytes? = nil) throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            if let name, state.names[name] != nil { return }
            guard hasRoom(bytes: 0, state) else { throw refusal(nil, &state) }
        }
    }

    private func place(_ item: Item, _ state: inout State) throws(StoreError) -> Int64 {
        let present = item.name.flatMap { state.names[$0] }.flatMap { state.entries[$0] }
        if let present, item.rank.lexicographicallyPrecedes(present.entry.rank) { return present.entry.number }
        state.revision += 1
        var entry = OutboxEntry(present?.entry.number ?? state.next, item, at: Moment(time), inPlaceOf: present?.entry)
        entry.revision = state.revision
        guard present != nil || hasRoom(bytes: entry.size, state),
            state.bytes + state.leavings.bytes + entry.size - (present?.entry.size ?? 0) <= configuration.maximumBytes
        else { throw refusal(item.action, &state) }
        var waiting = Waiting(entry: entry, isKept: false)
        if let present {
            (waiting.isKept, waiting.isTried) = (present.isKept, present.isTried)
            drop(present, &state)
        } else {
            state.next += 1
        }
        // A kept one in the place of a kept one: the number of those does not change for a moment, for calls read it without the lock.
        enter(waiting, &state)
        return entry.number
    }

    private func hasRoom(bytes: Int, _ state: State) -> Bool {
        state.entries.count + state.dead.count + state.leavings.count < configuration.maximumEntries
            && state.bytes + state.leavings.bytes + bytes <= configuration.maximumBytes
    }

    private func refusal(_ action: String?, _ state: inout State) -> StoreError {
        state.refused += 1
        return StoreError(
            .outboxFull, "\(state.entries.count) operations wait for the server, and \(state.dead.count) dead letters for you",
            operation: action)
    }

    // MARK: - For services that make many entries one

    /// How many entries of an action wait.
    public func count(of action: String) -> Int { state.withLock { $0.counts[action] ?? 0 } }

    public func contains(named name: Bytes) -> Bool { entry(named: name) != nil }

    /// What waits under a name.
    public func entry(named name: Bytes) -> OutboxEntry? {
        state.withLock { state in state.names[name].flatMap { state.entries[$0]?.entry } }
    }

    /// The entries of an action that wait, in their order. Looks at every entry.
    public func entries(of action: String) -> [OutboxEntry] {
        state.withLock { state in
            state.entries.values.map(\.entry).filter { $0.action == action }.sorted { $0.number < $1.number }
        }
    }

    /// Takes an entry back, where one of this name waits, passes the test, and nobody has begun to carry it out; whether that was so.
    ///
    /// False says that it may have happened: what undoes it must follow it as an entry of its own.
    public func withdraw(
        named name: Bytes, where matches: (OutboxEntry) -> Bool
    ) async throws(StoreError) -> Bool {
        let isGone = state.withLock { state in
            guard let waiting = state.names[name].flatMap({ state.entries[$0] }), !waiting.isTried, matches(waiting.entry) else {
                return false
            }
            remove(waiting, &state)
            owe(&state, entry: waiting.entry.number)
            return true
        }
        if isGone { try await settleFolder() }
        return isGone
    }

    /// Takes entries back that another one contains. Those that have changed since stay.
    public func withdraw(_ entries: [OutboxEntry]) async throws(StoreError) {
        state.withLock { state in
            for entry in entries {
                guard let waiting = state.entries[entry.number], waiting.entry == entry else { continue }
                remove(waiting, &state)
                owe(&state, entry: entry.number)
            }
        }
        try await settleFolder()
    }

    // MARK: - At the start

    /// Reads what an earlier process left, and lets each entry be seen in this process again.
    ///
    /// - Throws: ``ErrorCode/dataUnreadable`` where an entry cannot be read: nothing is lost then, the program that wrote it can.
    public func load(into local: any Store) async throws(StoreError) {
        guard let store else { return }
        let (entries, dead, notes) = try await store.pipeline(
            .hgetall(Self.entriesKey), .hgetall(Self.deadKey), .hgetall(Self.notesKey))
        let moment = Moment(time)
        var found: [OutboxEntry] = []
        for bytes in entries.values {
            guard let entry = OutboxEntry(decoding: bytes, at: moment) else { throw Self.unreadable }
            found.append(entry)
        }
        found.sort { $0.number < $1.number }
        var letters: [DeadLetter] = []
        for bytes in dead.values {
            guard let letter = DeadLetter(decoding: bytes, at: moment) else { throw Self.unreadable }
            letters.append(letter)
        }
        let actions = state.withLock { state in
            // Names of an epoch must go on to be found.
            state.epoch = max(state.epoch, found.compactMap(\.epoch).max() ?? 0)
            for entry in found { insert(Waiting(entry: entry, isKept: true, isTried: true), &state) }
            for letter in letters { bury(letter, &state) }
            for (name, value) in notes { state.notes[name.lossyString] = value }
            state.next = 1 + max(found.last?.number ?? 0, letters.map(\.entry.number).max() ?? 0)
            state.first = found.first?.number ?? state.next
            return state.actions
        }
        // What cannot be done here is done on the server all the same.
        for entry in found { try? await actions[entry.action]?.recall(entry, local) }
        try await restoreTables(store, local)
    }

    // MARK: - Names of an epoch

    /// A name under which an entry is replaced by those of its own epoch only, and after a restart as before it; its item says which epoch
    /// that is (``Item/epoch``).
    public static func name(_ word: String, of key: Key, in epoch: Int) -> Bytes {
        Bytes(Array("\(word):\(epoch):".utf8) + Array(key.bytes))
    }

    // MARK: - Under the lock

    func insert(_ waiting: Waiting, _ state: inout State) {
        enter(waiting, &state)
        if waiting.isKept { kept.add(1, ordering: .releasing) }
    }

    func remove(_ waiting: Waiting, _ state: inout State) {
        drop(waiting, &state)
        if state.writes[waiting.entry.number] != nil { state.leavings.add(waiting.entry.number, waiting.entry.size) }
        if waiting.isKept { kept.subtract(1, ordering: .releasing) }
    }

    private func enter(_ waiting: Waiting, _ state: inout State) {
        state.entries[waiting.entry.number] = waiting
        state.first = min(state.first, waiting.entry.number)
        if let name = waiting.entry.name { state.names[name] = waiting.entry.number }
        state.counts[waiting.entry.action, default: 0] += 1
        state.bytes += waiting.entry.size
    }

    private func drop(_ waiting: Waiting, _ state: inout State) {
        state.entries[waiting.entry.number] = nil
        if let name = waiting.entry.name, state.names[name] == waiting.entry.number { state.names[name] = nil }
        state.counts[waiting.entry.action, default: 0] -= 1
        state.bytes -= waiting.entry.size
    }

    /// In the place of an earlier letter of its number: of an entry that was changed while the server refused it.
    func bury(_ letter: DeadLetter, _ state: inout State) {
        _ = unearth(letter.entry.number, &state)
        state.dead[letter.entry.number] = letter
        state.bytes += letter.entry.size
    }

    func unearth(_ number: Int64, _ state: inout State) -> DeadLetter? {
        guard let letter = state.dead.removeValue(forKey: number) else { return nil }
        state.bytes -= letter.entry.size
        return letter
    }
}

extension OutboxEntry {
    /// Under which it is kept.
    var field: Bytes { Bytes(number) }
}
