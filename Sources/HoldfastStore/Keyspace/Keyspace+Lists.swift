import DequeModule

// The meaning of the list commands. Typed functions first, for procedures; the replies to commands last.

/// The elements of a list.
struct ListValue: CollectionValue {
    static var type: EntryType { .list }

    private(set) var elements: Deque<Bytes> = []
    private(set) var cost = MemoryCost.collection

    init() {}
    init?(_ value: consuming Value) {
        guard case .list(let list) = consume value else { return nil }
        self = list
    }

    var wrapped: Value { .list(self) }
    var isEmpty: Bool { elements.isEmpty }
    var count: Int { elements.count }

    private static func cost(of element: Bytes) -> Int { MemoryCost.element + MemoryCost.bytes(element.count) }

    mutating func push(_ element: Bytes, at end: ListEnd) {
        insert(element, at: end == .left ? 0 : elements.count)
    }

    mutating func insert(_ element: Bytes, at index: Int) {
        elements.insert(element.compacted(), at: index)
        cost += Self.cost(of: element)
    }

    mutating func pop(from end: ListEnd) -> Bytes? {
        guard let element = end == .left ? elements.popFirst() : elements.popLast() else { return nil }
        cost -= Self.cost(of: element)
        return element
    }

    mutating func replace(at index: Int, with element: Bytes) {
        cost += element.count - elements[index].count
        elements[index] = element.compacted()
    }

    mutating func remove(at index: Int) { cost -= Self.cost(of: elements.remove(at: index)) }

    /// Keeps the elements of these indices.
    mutating func trim(to range: Range<Int>) {
        for element in elements[range.upperBound...] { cost -= Self.cost(of: element) }
        for element in elements[..<range.lowerBound] { cost -= Self.cost(of: element) }
        elements.removeLast(elements.count - range.upperBound)
        elements.removeFirst(range.lowerBound)
    }
}

extension Keyspace {
    public mutating func llen(_ key: Key) throws(ReplyError) -> Int { try collection(ListValue.self, at: key)?.count ?? 0 }

    /// The elements from index `start` to `end`, both included; negative from the end.
    public mutating func lrange(_ key: Key, _ start: Int64, _ end: Int64) throws(ReplyError) -> [Bytes] {
        guard let list = try collection(ListValue.self, at: key) else { return [] }
        return Array(list.elements[RankRange(start, end, count: list.count).range])
    }

    /// The element at an index, negative from the end; nil where there is none.
    public mutating func lindex(_ key: Key, _ index: Int64) throws(ReplyError) -> Bytes? {
        guard let list = try collection(ListValue.self, at: key) else { return nil }
        return list.place(index).map { list.elements[$0] }
    }

    /// Puts elements at the list's head, one after the other, and answers the new length.
    @discardableResult
    public mutating func lpush(_ key: Key, _ elements: [Bytes]) throws(ReplyError) -> Int {
        try push(key, elements, at: .left)
    }

    /// Puts elements at the list's tail and answers the new length.
    @discardableResult
    public mutating func rpush(_ key: Key, _ elements: [Bytes]) throws(ReplyError) -> Int {
        try push(key, elements, at: .right)
    }

    /// Takes the first element; nil where there is no such key.
    @discardableResult
    public mutating func lpop(_ key: Key) throws(ReplyError) -> Bytes? { try pop(key, from: .left, count: 1)?.first }

    /// Takes the last element; nil where there is no such key.
    @discardableResult
    public mutating func rpop(_ key: Key) throws(ReplyError) -> Bytes? { try pop(key, from: .right, count: 1)?.first }

    /// Keeps the elements from index `start` to `end`, both included, and removes the others.
    public mutating func ltrim(_ key: Key, _ start: Int64, _ end: Int64) throws(ReplyError) {
        let removed = try changeExisting(ListValue.self, at: key, changed: { $0 > 0 }) { list in
            let before = list.count
            list.trim(to: RankRange(start, end, count: before).range)
            return before - list.count
        }
        if let removed, removed > 0 { emit(.lists(.ltrim(key, start, end))) }
    }

    /// Removes up to `count` elements that equal this one, from the head, or, negative, from the tail; 0 for all.
    @discardableResult
    public mutating func lrem(_ key: Key, _ count: Int64, _ element: Bytes) throws(ReplyError) -> Int {
        let removed = try changeExisting(ListValue.self, at: key, changed: { $0 > 0 }) { list in
            list.remove(element, atMost: count == 0 ? .max : Int(clamping: count.magnitude), fromTail: count < 0)
        }
        guard let removed, removed > 0 else { return 0 }
        emit(.lists(.lrem(key, count, element)))
        return removed
    }

    /// Takes an element from one end and puts it at an end of another list (or the same); nil where the source does not exist.
    @discardableResult
    public mutating func lmove(
        _ source: Key, _ destination: Key, from: ListEnd, to: ListEnd
    ) throws(ReplyError) -> Bytes? {
        guard let list = try collection(ListValue.self, changing: source) else { return nil }
        _ = try collection(ListValue.self, changing: destination)
        guard let element = from == .left ? list.elements.first : list.elements.last else { return nil }
        return try move(element, source, destination, from: from, to: to)
    }

    private mutating func move(
        _ element: Bytes, _ source: Key, _ destination: Key, from: ListEnd, to: ListEnd
    ) throws(ReplyError) -> Bytes {
        if source == destination {
            _ = try changeExisting(ListValue.self, at: source) { list in
                if let element = list.pop(from: from) { list.push(element, at: to) }
            }
        } else {
            _ = try changeExisting(ListValue.self, at: source) { $0.pop(from: from) }
            try change(ListValue.self, at: destination) { $0.push(element, at: to) }
        }
        emit(.lists(.lmove(source, destination, from: from, to: to)))
        return element
    }

    private mutating func push(_ key: Key, _ elements: [Bytes], at end: ListEnd) throws(ReplyError) -> Int {
        let length = try change(ListValue.self, at: key, changed: { _ in !elements.isEmpty }) { list in
            for element in elements { list.push(element, at: end) }
            return list.count
        }
        emit(elements) { .lists(end == .left ? .lpush(key, $0) : .rpush(key, $0)) }
        return length
    }

    /// Takes up to `count` elements from one end; nil where there is no such key.
    private mutating func pop(_ key: Key, from end: ListEnd, count: Int64) throws(ReplyError) -> [Bytes]? {
        let popped = try changeExisting(ListValue.self, at: key, changed: { !$0.isEmpty }) { list in
            (0..<min(Int(clamping: count), list.count)).compactMap { _ in list.pop(from: end) }
        }
        if let count = popped.map({ Int64($0.count) }), count > 0 {
            emit(.lists(end == .left ? .lpop(key, count: count) : .rpop(key, count: count)))
        }
        return popped
    }

    // MARK: - Commands

    mutating func lists(_ operation: ListOperation) throws(ReplyError) -> Reply {
        switch operation {
        case .lpush(let key, let elements): return Reply(try lpush(key, elements))
        case .rpush(let key, let elements): return Reply(try rpush(key, elements))
        case .lpushx(let key, let elements): return try pushToExisting(key, elements, at: .left)
        case .rpushx(let key, let elements): return try pushToExisting(key, elements, at: .right)
        case .lpop(let key, let count): return try popped(key, from: .left, count: count)
        case .rpop(let key, let count): return try popped(key, from: .right, count: count)
        case .llen(let key): return Reply(try llen(key))
        case .lrange(let key, let start, let end): return Reply(try lrange(key, start, end))
        case .lindex(let key, let index): return Reply(try lindex(key, index))
        case .lset(let key, let index, let element): return try set(key, index, element)
        case .linsert(let key, let place, let pivot, let element): return try insert(key, place, pivot, element)
        case .lrem(let key, let count, let element): return Reply(try lrem(key, count, element))
        case .ltrim(let key, let start, let end):
            try ltrim(key, start, end)
            return .ok
        case .lmove(let source, let destination, let from, let to):
            return Reply(try lmove(source, destination, from: from, to: to))
        case .lpos(let key, let element, let search): return try positions(key, element, search)
        case .lmpop(let keys, let end, let count): return try popFirstNonEmpty(keys, end, count ?? 1)
        }
    }

    private mutating func pushToExisting(_ key: Key, _ elements: [Bytes], at end: ListEnd) throws(ReplyError) -> Reply {
        guard slot(of: key) != nil else { return .integer(0) }
        return Reply(try push(key, elements, at: end))
    }

    private mutating func popped(_ key: Key, from end: ListEnd, count: Int64?) throws(ReplyError) -> Reply {
        guard let count else { return Reply(try pop(key, from: end, count: 1)?.first) }
        guard count >= 0 else { throw .notPositive }
        return try pop(key, from: end, count: count).map { Reply($0) } ?? .null
    }

    private mutating func set(_ key: Key, _ index: Int64, _ element: Bytes) throws(ReplyError) -> Reply {
        let done: Void? = try changeExisting(ListValue.self, at: key) { list throws(ReplyError) in
            guard let place = list.place(index) else { throw ReplyError("ERR index out of range") }
            list.replace(at: place, with: element)
        }
        guard done != nil else { throw .noSuchKey }
        emit(.lists(.lset(key, index, element)))
        return .ok
    }

    private mutating func insert(
        _ key: Key, _ place: ListPlace, _ pivot: Bytes, _ element: Bytes
    ) throws(ReplyError) -> Reply {
        let length = try changeExisting(ListValue.self, at: key, changed: { $0 > 0 }) { list in
            guard let found = list.elements.firstIndex(of: pivot) else { return -1 }
            list.insert(element, at: place == .before ? found : found + 1)
            return list.count
        }
        guard let length else { return .integer(0) }
        if length > 0 { emit(.lists(.linsert(key, place, pivot: pivot, element))) }
        return Reply(length)
    }

    private mutating func positions(_ key: Key, _ element: Bytes, _ search: ListSearch) throws(ReplyError) -> Reply {
        guard search.rank != 0 else { throw ListSearch.zeroRank }
        let found = try collection(ListValue.self, at: key)?.positions(of: element, search) ?? []
        if search.count == nil { return found.first.map { Reply($0) } ?? .null }
        return .array(found.map { Reply($0) })
    }

    private mutating func popFirstNonEmpty(_ keys: [Key], _ end: ListEnd, _ count: Int64) throws(ReplyError) -> Reply {
        guard count > 0 else { throw ReplyError("ERR count should be greater than 0") }
        for key in keys {
            guard let elements = try pop(key, from: end, count: count) else { continue }
            return .array([.bytes(key.bytes), Reply(elements)])
        }
        return .null
    }
}

extension ListValue {
    /// The place of an index, which counts from the end where negative; nil where the list has none.
    fileprivate func place(_ index: Int64) -> Int? {
        let place = index < 0 ? index + Int64(count) : index
        return place >= 0 && place < Int64(count) ? Int(place) : nil
    }

    fileprivate mutating func remove(_ element: Bytes, atMost limit: Int, fromTail: Bool) -> Int {
        let places = fromTail ? Array(elements.indices.reversed()) : Array(elements.indices)
        let found = places.lazy.filter { [elements] in elements[$0] == element }.prefix(limit)
        let doomed = Array(found).sorted(by: >)
        for place in doomed { remove(at: place) }
        return doomed.count
    }

    fileprivate func positions(of element: Bytes, _ search: ListSearch) -> [Int] {
        let wanted = search.count ?? 1
        let compared = search.maximumComparisons == 0 ? count : min(count, Int(clamping: search.maximumComparisons))
        var toSkip = Int64(clamping: search.rank.magnitude) - 1
        var found: [Int] = []
        for step in 0..<compared {
            let place = search.rank > 0 ? step : count - 1 - step
            guard elements[place] == element else { continue }
            if toSkip > 0 {
                toSkip -= 1
                continue
            }
            found.append(place)
            if wanted > 0, Int64(found.count) == wanted { break }
        }
        return found
    }
}
