/// What an entry holds.
enum Value: Sendable {
    case string(Bytes)
    case hash(HashValue)
    case list(ListValue)
    case set(SetValue)
    case sortedSet(SortedSetValue)

    var type: EntryType {
        switch self {
        case .string: .string
        case .hash: .hash
        case .list: .list
        case .set: .set
        case .sortedSet: .sortedSet
        }
    }

    /// Moves the value out and leaves an empty string.
    mutating func take() -> Value {
        var taken = Value.string(Bytes())
        swap(&taken, &self)
        return taken
    }

    /// What it costs in memory, with the containers' overhead; see ``MemoryCost``.
    var cost: Int {
        switch self {
        case .string(let bytes): MemoryCost.bytes(bytes.count)
        case .hash(let hash): hash.cost
        case .list(let list): list.cost
        case .set(let set): set.cost
        case .sortedSet(let sortedSet): sortedSet.cost
        }
    }
}

/// What things cost in memory, for the limit. Estimates from the sizes of the parts on a 64-bit machine, on the high side, so that
/// resident memory stays within twice the accounted.
enum MemoryCost {
    /// A byte string on the heap: 32 bytes of array header, malloc's rounding and its own 16.
    static func bytes(_ count: Int) -> Int { 48 + count }
    /// A key with its slot: slot and entry (about 150), dictionary bucket (32 key + 8 value, at 75% load and doubling), free list.
    static let entry = 320
    /// A collection's own empty containers.
    static let collection = 64
    /// A hash field or a set member: slot, dictionary bucket.
    static let slot = 160
    /// A list element in a ring buffer that doubles.
    static let element = 64
    /// A sorted set's place in the order, beside its slot.
    static let ordered = 96
}
