import HoldfastStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// An entry's name in the near cache: its space, its category's prefix and its key, one after the other.
///
/// One run of bytes, so that the entry `a:b` is the same as the entry `b` of the category `a`, and so that names are told apart as
/// the store does, byte by byte. A hit does not make one: it asks by ``NearHead`` and key, as it has them.
struct NearKey: HashedKey {
    private let bytes: [UInt8]
    let hash: Int

    init(space: NearSpace, name: String) { self.init(NearHead(space: space, prefix: ""), name) }

    fileprivate init(_ head: NearHead, _ key: String) {
        bytes = head.bytes + key.utf8
        hash = key.withBytes { head.hash($0) }
    }

    var count: Int { bytes.count }

    /// Whether this is the entry of this head and key.
    func isMade(of head: NearHead, _ key: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count == head.bytes.count + key.count else { return false }
        return bytes.withUnsafeBytes { bytes in
            bytes.hasSameBytes(as: head.bytes, at: 0) && bytes.hasSameBytes(as: key, at: head.bytes.count)
        }
    }

    /// The name with the category's prefix; nil where the entry is of another space.
    func name(in space: NearSpace) -> String? {
        guard bytes.starts(with: space.bytes) else { return nil }
        return String(decoding: bytes.dropFirst(space.bytes.count), as: UTF8.self)
    }
}

/// What the names of all entries of a view begin with, hashed once for the view and not at each hit.
struct NearHead: Sendable {
    fileprivate let bytes: [UInt8]
    private let hasher: ByteHasher

    init(space: NearSpace, prefix: String) {
        bytes = space.bytes + prefix.utf8
        var hasher = ByteHasher()
        bytes.withUnsafeBytes { hasher.combine($0) }
        self.hasher = hasher
    }

    /// The hash of the name of this head and a key.
    func hash(_ key: UnsafeRawBufferPointer) -> Int { hasher.hash(key) }

    func key(_ key: String) -> NearKey { NearKey(self, key) }
}

/// A workspace of a tenant.
struct NearSpace: Hashable, Sendable {
    fileprivate let bytes: [UInt8]

    init(_ place: CachePlace) {
        // NUL cannot stand in a workspace's name: no space's bytes begin with those of another one.
        bytes = Array(place.namespace.head) + [0] + place.workspace.utf8 + [0]
    }
}

extension String {
    /// The bytes of the text, where they are if that is possible.
    @inline(__always)
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        var text = self
        return text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }

    /// Whether both are the same bytes, as keys are compared: Swift's own equality takes "é" and "e" with an accent for one.
    func hasSameBytes(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}

extension UnsafeRawBufferPointer {
    fileprivate func hasSameBytes(as other: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        guard let here = baseAddress, let there = other.baseAddress else { return other.isEmpty }
        return memcmp(here + offset, there, other.count) == 0
    }

    fileprivate func hasSameBytes(as other: [UInt8], at offset: Int) -> Bool {
        other.withUnsafeBytes { hasSameBytes(as: $0, at: offset) }
    }
}
