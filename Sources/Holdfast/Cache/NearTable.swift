/// A bounded map that keeps what is used again: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).
///
/// New keys enter a small queue, a tenth of the room. Those used again before they reach its end move to the main queue; the others
/// leave, and only their hashes are remembered for a while: a key that comes back then enters the main queue at once. In the main
/// queue a used key goes round again, up to three times. So a scan over many keys passes through the small queue and leaves what is
/// in use where it is, and a hit changes one counter and moves nothing.
///
/// Invariants:
/// 1. `index` holds exactly the live slots; each live slot is linked in the queue it names; free slots are in `free`.
/// 2. `bytes` is the sum of the live slots' costs; after `insert` count and bytes are within their limits.
struct NearTable<Key: HashedKey, Value> {
    enum Place { case small, main }

    struct Slot {
        var cost: Int
        var place: Place
        /// Towards the newer and towards the older neighbour; -1 at the ends.
        var newer = -1
        var older = -1
    }

    struct Queue {
        var newest = -1
        var oldest = -1
        var count = 0
        var bytes = 0
    }

    let maximumCount: Int
    let maximumBytes: Int
    private var index = PlaceIndex()
    private var slots: ContiguousArray<Slot?> = []
    // What a hit touches stands apart from the slots, so that it need not copy one.
    private var keys: ContiguousArray<Key?> = []
    private var values: ContiguousArray<Value?> = []
    private var uses: ContiguousArray<UInt8> = []
    private var free: [Int] = []
    private var small = Queue()
    private var main = Queue()
    private var ghosts = GhostQueue()
    private(set) var evictions = 0

    init(maximumCount: Int, maximumBytes: Int) {
        self.maximumCount = maximumCount
        self.maximumBytes = maximumBytes
    }

    var count: Int { small.count + main.count }
    var bytes: Int { small.bytes + main.bytes }

    /// A value, without counting as use.
    func peek(_ key: Key) -> Value? { place(of: key).flatMap { values[$0] } }

    /// The value of the key of this hash that `matches`, if it `holds`; counts as use.
    @inline(__always)
    mutating func use(_ hash: Int, matches: (Key) -> Bool, holds: (Value) -> Bool) -> Value? {
        guard let place = place(of: hash, where: matches), let value = values[place], holds(value) else { return nil }
        if uses[place] < 3 { uses[place] += 1 }
        return value
    }

    private func place(of key: Key) -> Int? { place(of: key.hash) { $0 == key } }

    @inline(__always)
    private func place(of hash: Int, where matches: (Key) -> Bool) -> Int? {
        index.find(hash) { place in keys[place].map(matches) ?? false }
    }

    /// Puts a value in, replacing the key's old one. One that would take more than a tenth of the bytes is not taken.
    mutating func insert(_ value: Value, for key: Key, cost: Int) {
        guard maximumCount > 0, cost <= maximumBytes / 10 else {
            remove(key)
            return
        }
        if let place = place(of: key), let slot = slots[place] {
            values[place] = value
            slots[place]?.cost = cost
            change(slot.place) { $0.bytes += cost - slot.cost }
            makeRoom(count: 0, bytes: 0)
            return
        }
        makeRoom(count: 1, bytes: cost)
        let queue: Place = ghosts.remove(key.hash) ? .main : .small
        let place = free.popLast() ?? slots.count
        if place == slots.count {
            slots.append(nil)
            keys.append(nil)
            values.append(nil)
            uses.append(0)
        }
        slots[place] = Slot(cost: cost, place: queue)
        keys[place] = key
        values[place] = value
        uses[place] = 0
        index.insert(place, hash: key.hash)
        link(place, into: queue)
    }

    mutating func remove(_ key: Key) {
        if let place = place(of: key) { release(place) }
    }

    mutating func removeAll(where matches: (Key) -> Bool) {
        for place in keys.indices where keys[place].map(matches) ?? false { release(place) }
    }

    mutating func removeAll() {
        self = NearTable(maximumCount: maximumCount, maximumBytes: maximumBytes, evictions: evictions)
    }

    private init(maximumCount: Int, maximumBytes: Int, evictions: Int) {
        self.init(maximumCount: maximumCount, maximumBytes: maximumBytes)
        self.evictions = evictions
    }

    // MARK: - Eviction

    private mutating func makeRoom(count extra: Int, bytes more: Int) {
        while count > 0, count + extra > maximumCount || bytes + more > maximumBytes {
            // The small queue has a tenth of the room; where it has less, the main one gives.
            let smallIsFull = small.count * 10 >= maximumCount || small.bytes * 10 >= maximumBytes
            if main.count == 0 || (small.count > 0 && smallIsFull) { shrinkSmall() } else { shrinkMain() }
        }
    }

    private mutating func shrinkSmall() {
        let place = small.oldest
        guard let key = keys[place] else { return }
        if uses[place] > 0 {
            unlink(place)
            uses[place] = 0
            link(place, into: .main)
        } else {
            release(place)
            evictions += 1
            ghosts.add(key.hash, capacity: maximumCount)
        }
    }

    private mutating func shrinkMain() {
        let place = main.oldest
        if uses[place] > 0 {
            unlink(place)
            uses[place] -= 1
            link(place, into: .main)
        } else {
            release(place)
            evictions += 1
        }
    }

    // MARK: - Links

    private mutating func release(_ place: Int) {
        guard slots[place] != nil else { return }
        unlink(place)
        index.remove(place)
        slots[place] = nil
        keys[place] = nil
        values[place] = nil
        free.append(place)
    }

    private mutating func link(_ place: Int, into queue: Place) {
        guard let cost = slots[place]?.cost else { return }
        let newest = queue == .small ? small.newest : main.newest
        slots[place]?.place = queue
        slots[place]?.older = newest
        slots[place]?.newer = -1
        if newest >= 0 { slots[newest]?.newer = place }
        change(queue) { queue in
            queue.newest = place
            if queue.oldest < 0 { queue.oldest = place }
            queue.count += 1
            queue.bytes += cost
        }
    }

    private mutating func unlink(_ place: Int) {
        guard let slot = slots[place] else { return }
        if slot.newer >= 0 { slots[slot.newer]?.older = slot.older }
        if slot.older >= 0 { slots[slot.older]?.newer = slot.newer }
        change(slot.place) { queue in
            if queue.newest == place { queue.newest = slot.older }
            if queue.oldest == place { queue.oldest = slot.newer }
            queue.count -= 1
            queue.bytes -= slot.cost
        }
    }

    private mutating func change(_ place: Place, _ body: (inout Queue) -> Void) {
        switch place {
        case .small: body(&small)
        case .main: body(&main)
        }
    }
}

/// A key that knows its hash; equal ones have the same.
protocol HashedKey: Equatable {
    var hash: Int { get }
}

/// The hashes of keys that left lately, oldest first out. Two keys of one hash only cost a key a better place than it earned.
private struct GhostQueue {
    private var present: [Int: Int] = [:]
    private var order: [(hash: Int, turn: Int)] = []
    private var first = 0
    private var turn = 0

    mutating func add(_ hash: Int, capacity: Int) {
        turn += 1
        present[hash] = turn
        order.append((hash, turn))
        while order.count - first > max(1, capacity) { forgetOldest() }
        // Half of the array is passed: move up. Amortized constant.
        if first > capacity + 16 {
            order.removeFirst(first)
            first = 0
        }
    }

    mutating func remove(_ hash: Int) -> Bool { present.removeValue(forKey: hash) != nil }

    private mutating func forgetOldest() {
        let oldest = order[first]
        first += 1
        if present[oldest.hash] == oldest.turn { present[oldest.hash] = nil }
    }
}
