import HoldfastStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// An entry's name in the near cache, in the parts in which a call has them: joining them would allocate on the hot path.
///
/// Equal and hashed as the joined text: the entry `a:b` is the same as the entry `b` of the category `a`.
struct NearKey: Hashable {
    let space: NearSpace
    let prefix: String
    let key: String

    static func == (left: NearKey, right: NearKey) -> Bool {
        guard left.space == right.space else { return false }
        if left.prefix == right.prefix { return left.key.hasSameBytes(as: right.key) }
        // Reached when the dictionary passes a neighbour, so on the hot path too: joining would allocate.
        guard left.count == right.count else { return false }
        var (one, other) = (Letters(left), Letters(right))
        while let letter = one.next() { if letter != other.next() { return false } }
        return true
    }

    private var count: Int { prefix.utf8.count + key.utf8.count }

    private struct Letters: IteratorProtocol {
        var prefix: String.UTF8View.Iterator
        var key: String.UTF8View.Iterator

        init(_ name: NearKey) {
            prefix = name.prefix.utf8.makeIterator()
            key = name.key.utf8.makeIterator()
        }

        mutating func next() -> UInt8? { prefix.next() ?? key.next() }
    }

    func hash(into hasher: inout Hasher) {
        // The hasher takes bytes as a stream, so the border between the parts does not show.
        Self.feed(prefix, to: &hasher)
        Self.feed(key, to: &hasher)
        hasher.combine(space.hash)
    }

    private static func feed(_ text: String, to hasher: inout Hasher) {
        if text.isEmpty { return }
        let wasContiguous: Void? = text.utf8.withContiguousStorageIfAvailable {
            hasher.combine(bytes: UnsafeRawBufferPointer($0))
        }
        if wasContiguous == nil { for byte in text.utf8 { withUnsafeBytes(of: byte) { hasher.combine(bytes: $0) } } }
    }

    /// Category's prefix included.
    var name: String { prefix + key }
}

/// A workspace of a tenant, with the hash of its name, which is reckoned once for a view and not at each hit.
struct NearSpace: Hashable {
    let name: String
    let hash: Int

    init(_ place: CachePlace) {
        // NUL cannot stand in a workspace's name.
        name = place.namespace.head.lossyString + "\u{0}" + place.workspace
        hash = name.hashValue
    }

    static func == (left: NearSpace, right: NearSpace) -> Bool { left.hash == right.hash && left.name == right.name }
    func hash(into hasher: inout Hasher) { hasher.combine(hash) }
}

extension String {
    /// Whether both are the same bytes, as keys are compared: Swift's own equality takes "é" and "e" with an accent for one.
    func hasSameBytes(as other: String) -> Bool {
        guard utf8.count == other.utf8.count else { return false }
        // By memcmp: this is on the path of every near hit.
        let isSame = utf8.withContiguousStorageIfAvailable { one in
            other.utf8.withContiguousStorageIfAvailable { two in
                guard let left = one.baseAddress, let right = two.baseAddress else { return true }
                return memcmp(left, right, one.count) == 0
            }
        }
        return isSame.flatMap { $0 } ?? utf8.elementsEqual(other.utf8)
    }
}
