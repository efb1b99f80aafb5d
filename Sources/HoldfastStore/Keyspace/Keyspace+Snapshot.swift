// A picture of the whole key space at one moment, taken in small parts while it goes on changing.
//
// An entry that is about to change, and that the picture does not have yet, gives its value to the picture first. Values are
// copy-on-write, so that costs a reference; the change that follows copies that one value. Nothing else waits for the picture: it
// is taken slot by slot, so many at a time, and an entry made after its beginning is never in it.

/// An entry as it was when a snapshot began.
struct SnapshotItem: Sendable {
    let key: Key
    let value: Value
    let expiry: Timestamp?
}

extension Keyspace {
    struct Snapshot: Sendable {
        /// The slots before this one are done.
        var nextSlot = 0
        /// What changed before its slot's turn came, and is to be handed out.
        var preserved: [SnapshotItem] = []
        /// All entries of the moment at which everything was removed; takes the place of the slots.
        var removed: SlotTable<Key, Entry>?
    }

    /// Begins a picture of this moment.
    mutating func beginSnapshot() {
        snapshotNumber += 1
        snapshot = Snapshot()
    }

    mutating func endSnapshot() { snapshot = nil }

    /// The next part of the picture, from about so many slots (more where entries were changed meanwhile); nil at the end, which
    /// also ends the snapshot.
    mutating func nextSnapshotPart(slots: Int) -> [SnapshotItem]? {
        guard var state = snapshot else { return nil }
        var items = state.preserved
        state.preserved = []
        let count = state.removed?.slotCount ?? entries.slotCount
        let end = min(count, state.nextSlot + slots)
        for slot in state.nextSlot..<max(end, state.nextSlot) {
            if let removed = state.removed {
                guard let key = removed.key(at: slot), removed[slot].snapshot != snapshotNumber else { continue }
                items.append(SnapshotItem(key: key, value: removed[slot].value, expiry: removed[slot].expiry))
            } else if let key = entries.key(at: slot), entries[slot].snapshot != snapshotNumber {
                items.append(SnapshotItem(key: key, value: entries[slot].value, expiry: entries[slot].expiry))
                entries[slot].snapshot = snapshotNumber
            }
        }
        state.nextSlot = end
        snapshot = state
        if items.isEmpty, end >= count {
            snapshot = nil
            return nil
        }
        return items
    }

    /// Called before an entry changes.
    mutating func preserve(_ slot: Int) {
        guard snapshot != nil else { return }
        preserveNow(slot)
    }

    private mutating func preserveNow(_ slot: Int) {
        // While all entries of the beginning lie aside, none of those in the table is among them.
        guard snapshot?.removed == nil, entries[slot].snapshot != snapshotNumber, let key = entries.key(at: slot) else { return }
        snapshot?.preserved.append(SnapshotItem(key: key, value: entries[slot].value, expiry: entries[slot].expiry))
        entries[slot].snapshot = snapshotNumber
    }

    /// Called before all entries go. The first time only: what is made afterwards is younger than the picture.
    mutating func preserveAll() {
        guard snapshot != nil, snapshot?.removed == nil else { return }
        snapshot?.removed = entries
    }
}

extension SnapshotItem {
    /// How many elements of a collection one command takes: as Redis's own rewrite.
    private static let elementsPerCommand = 64

    /// Writes commands that make the entry.
    func write(to writer: inout CommandWriter) {
        switch value {
        case .string(let bytes):
            return Operation.strings(.set(key, bytes, SetOptions(expiration: expiry.map(Expiration.at)))).write(to: &writer)
        case .hash(let hash):
            write(hash.fields, to: &writer) { .hashes(.hset(key, $0.map { HashField($0.key, $0.value) })) }
        case .list(let list): write(list.elements, to: &writer) { .lists(.rpush(key, Array($0))) }
        case .set(let set): write(set.members, to: &writer) { .sets(.sadd(key, $0.map(\.key))) }
        case .sortedSet(let sortedSet):
            write(sortedSet.order, to: &writer) {
                .sortedSets(.zadd(key, $0.map { ScoredMember($0.member, $0.score) }, ZAddOptions()))
            }
        }
        if let expiry { Operation.keys(.pexpireat(key, expiry, nil)).write(to: &writer) }
    }

    private func write<S: Sequence>(_ elements: S, to writer: inout CommandWriter, _ command: ([S.Element]) -> Operation) {
        elements.forEachPart(of: Self.elementsPerCommand) { command($0).write(to: &writer) }
    }
}
