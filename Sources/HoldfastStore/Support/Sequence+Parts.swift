extension Sequence {
    /// Hands out the elements in order, at most so many at a time; nothing where there are none.
    func forEachPart(of size: Int, _ body: ([Element]) -> Void) {
        var part: [Element] = []
        part.reserveCapacity(Swift.min(size, underestimatedCount))
        for element in self {
            part.append(element)
            if part.count == size {
                body(part)
                part.removeAll(keepingCapacity: true)
            }
        }
        if !part.isEmpty { body(part) }
    }
}

extension Array {
    /// Hands out the elements in order, at most so many at a time; nothing where there are none. All of them as they are where they are
    /// no more.
    func forEachPart(of size: Int, _ body: ([Element]) -> Void) {
        guard count > size else { return isEmpty ? () : body(self) }
        for start in stride(from: 0, to: count, by: size) { body(Array(self[start..<Swift.min(start + size, count)])) }
    }
}
