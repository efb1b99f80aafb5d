/// A dictionary whose entries keep a fixed place for as long as they live: what scans and random picks need.
///
/// The place (slot) gives Redis's SCAN guarantee for nothing: a scan walks the slots in order, an entry never moves, so one that is
/// there from the first page to the last is returned exactly once. It also makes a random pick O(1). The price is that the slots
/// of removed entries are reused but not given back until the tail is free: memory follows the peak count, not the current one.
struct SlotTable<Key: Hashable, Value> {
    struct Slot {
        let key: Key
        var value: Value
    }

    private var index: [Key: Int] = [:]
    private var slots: ContiguousArray<Slot?> = []
    private var free: [Int] = []

    var count: Int { index.count }
    var isEmpty: Bool { index.isEmpty }

    /// Slots in use and free ones between them.
    var slotCount: Int { slots.count }

    func slot(of key: Key) -> Int? { index[key] }

    /// Reads or changes the entry in a slot that is in use; a free one traps.
    ///
    /// Reading a part of an entry this way copies the whole of it first, and counts its references: ``look(at:_:)`` does not.
    subscript(slot: Int) -> Value {
        _read { yield slots[slot]!.value }
        _modify { yield &slots[slot]!.value }
    }

    /// Looks at the entry in a slot that is in use, or changes it, where it stands.
    @inline(__always)
    mutating func look<R>(at slot: Int, _ body: (inout Value) -> R) -> R { body(&slots[slot]!.value) }

    func key(at slot: Int) -> Key? { slots.indices.contains(slot) ? slots[slot]?.key : nil }

    func value(for key: Key) -> Value? {
        guard let slot = index[key] else { return nil }
        return slots[slot]?.value
    }

    /// Adds or replaces; answers the value that was there.
    @discardableResult
    mutating func set(_ value: Value, for key: Key) -> Value? {
        if let slot = index[key] {
            defer { slots[slot]?.value = value }
            return slots[slot]?.value
        }
        insert(value, for: key)
        return nil
    }

    /// Adds a key that is not there yet and answers its slot.
    @discardableResult
    mutating func insert(_ value: Value, for key: Key) -> Int {
        let slot: Int
        if let reused = free.popLast() {
            slot = reused
            slots[slot] = Slot(key: key, value: value)
        } else {
            slot = slots.count
            slots.append(Slot(key: key, value: value))
        }
        index[key] = slot
        return slot
    }

    @discardableResult
    mutating func remove(_ key: Key) -> Value? {
        guard let slot = index.removeValue(forKey: key) else { return nil }
        let value = slots[slot]?.value
        slots[slot] = nil
        if index.isEmpty {
            slots = []
            free = []
            index = [:]
        } else {
            free.append(slot)
        }
        return value
    }

    /// A random entry's slot; nil when empty. O(1) while the table is not mostly free slots.
    func randomSlot(using generator: inout some RandomNumberGenerator) -> Int? {
        guard !isEmpty else { return nil }
        for _ in 0..<64 {
            let slot = Int.random(in: 0..<slots.count, using: &generator)
            if slots[slot] != nil { return slot }
        }
        let start = Int.random(in: 0..<slots.count, using: &generator)
        return (start..<slots.count).first { slots[$0] != nil } ?? (0..<start).first { slots[$0] != nil }
    }

    /// Entries at random: up to `count` different ones, or, where it is negative, that many draws in which one can come twice.
    func draw(_ count: Int64, using generator: inout some RandomNumberGenerator) -> [Slot] {
        guard !isEmpty, count != 0 else { return [] }
        if count < 0 {
            return (0..<count.magnitude).compactMap { _ in randomSlot(using: &generator).flatMap { slots[$0] } }
        }
        // Few of many are drawn until they differ; many of few are all shuffled.
        guard count < Int64(self.count / 3) else { return Array(shuffled(using: &generator).prefix(Int(clamping: count))) }
        var drawn: Set<Int> = []
        while drawn.count < Int(count) {
            if let slot = randomSlot(using: &generator) { drawn.insert(slot) }
        }
        return drawn.sorted().compactMap { slots[$0] }
    }

    /// Visits the entries from a cursor on, until about `count` slots were looked at; answers the cursor for the next page, 0 at
    /// the end.
    func scan(from cursor: UInt64, count: Int, _ visit: (Key, Value) -> Void) -> UInt64 {
        guard cursor < UInt64(slots.count) else { return 0 }
        let start = Int(cursor)
        let end = count >= slots.count - start ? slots.count : start + count
        for slot in start..<end {
            if let entry = slots[slot] { visit(entry.key, entry.value) }
        }
        return end == slots.count ? 0 : UInt64(end)
    }
}

extension SlotTable: Sequence {
    func makeIterator() -> AnyIterator<Slot> {
        var rest = slots.makeIterator()
        return AnyIterator {
            while let slot = rest.next() {
                if let slot { return slot }
            }
            return nil
        }
    }
}

extension SlotTable: Sendable where Key: Sendable, Value: Sendable {}
extension SlotTable.Slot: Sendable where Key: Sendable, Value: Sendable {}
