/// Elements in order, with O(√n) insertion, removal and access by rank: the order behind sorted sets and expiries.
///
/// Chunks of at most 512 elements: a binary search over the chunks' first elements, another inside one chunk, and a move of at
/// most 512 elements in one piece of memory. For the sizes that live in a process this beats a skip list, whose every step is a
/// cache miss; counting ranks adds the chunks' sizes, about a microsecond for a million elements.
struct SortedList<Element: Comparable> {
    private static var chunkLimit: Int { 512 }

    private var chunks: ContiguousArray<ContiguousArray<Element>> = []
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }
    var first: Element? { chunks.first?.first }
    var last: Element? { chunks.last?.last }

    /// Inserts an element that is not in the list yet.
    mutating func insert(_ element: Element) {
        count += 1
        guard !chunks.isEmpty else {
            chunks.append([element])
            return
        }
        let chunk = Swift.max(0, firstChunk { $0[0] > element } - 1)
        let position = chunks[chunk].firstIndexInOrder { $0 > element }
        chunks[chunk].insert(element, at: position)
        if chunks[chunk].count > Self.chunkLimit {
            let half = chunks[chunk].count / 2
            let upper = ContiguousArray(chunks[chunk][half...])
            chunks[chunk].removeSubrange(half...)
            chunks.insert(upper, at: chunk + 1)
        }
    }

    /// Removes an element; false where it is not in the list.
    @discardableResult
    mutating func remove(_ element: Element) -> Bool {
        guard !chunks.isEmpty else { return false }
        let chunk = Swift.max(0, firstChunk { $0[0] > element } - 1)
        let position = chunks[chunk].firstIndexInOrder { $0 >= element }
        guard position < chunks[chunk].count, chunks[chunk][position] == element else { return false }
        removeElement(chunk, position)
        return true
    }

    mutating func popFirst() -> Element? {
        guard let first else { return nil }
        removeElement(0, 0)
        return first
    }

    /// The number of elements in front of the first for which `isAtOrBehind` holds. The predicate must be monotonic.
    func rank(where isAtOrBehind: (Element) -> Bool) -> Int {
        // The chunk before the first whose head is behind may still hold the boundary.
        let chunk = Swift.max(0, firstChunk { isAtOrBehind($0[0]) } - 1)
        guard chunk < chunks.count else { return 0 }
        var rank = 0
        for earlier in chunks[..<chunk] { rank += earlier.count }
        return rank + chunks[chunk].firstIndexInOrder(where: isAtOrBehind)
    }

    /// The element at a rank.
    subscript(rank: Int) -> Element {
        let (chunk, position) = locate(rank)
        return chunks[chunk][position]
    }

    /// The elements of a range of ranks, in order.
    subscript(ranks: Range<Int>) -> [Element] {
        guard !ranks.isEmpty else { return [] }
        var elements: [Element] = []
        elements.reserveCapacity(ranks.count)
        var (chunk, position) = locate(ranks.lowerBound)
        while elements.count < ranks.count {
            let take = Swift.min(chunks[chunk].count - position, ranks.count - elements.count)
            elements.append(contentsOf: chunks[chunk][position..<(position + take)])
            chunk += 1
            position = 0
        }
        return elements
    }

    private mutating func removeElement(_ chunk: Int, _ position: Int) {
        chunks[chunk].remove(at: position)
        count -= 1
        if chunks[chunk].isEmpty { chunks.remove(at: chunk) }
    }

    private func locate(_ rank: Int) -> (chunk: Int, position: Int) {
        precondition(rank >= 0 && rank < count, "rank \(rank) out of 0..<\(count)")
        var rest = rank
        var chunk = 0
        while rest >= chunks[chunk].count {
            rest -= chunks[chunk].count
            chunk += 1
        }
        return (chunk, rest)
    }

    private func firstChunk(where predicate: (ContiguousArray<Element>) -> Bool) -> Int {
        chunks.firstIndexInOrder(where: predicate)
    }
}

extension SortedList: Sequence {
    func makeIterator() -> some IteratorProtocol<Element> { chunks.joined().makeIterator() }
}

extension SortedList: Sendable where Element: Sendable {}

extension ContiguousArray {
    /// The first index for which a monotonic predicate holds, or the count. Binary search.
    fileprivate func firstIndexInOrder(where predicate: (Element) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if predicate(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
