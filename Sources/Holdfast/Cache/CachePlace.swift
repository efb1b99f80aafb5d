import HoldfastStore

/// One workspace of one tenant. All keys of the cache are built and read here.
///
/// ```
/// <prefix>[t:<tenant>:]cache:{workspace}:{key}              the entry, an Envelope
/// {<the entry's whole key>}:lease                           the lease that a miss created, a random token
/// ```
struct CachePlace: Hashable, Sendable {
    let namespace: Namespace
    let workspace: String

    /// What the keys of all entries of a tenant begin with.
    static func head(of namespace: Namespace) -> Bytes { namespace.key("cache:").bytes }

    /// The entry that a key is of, whatever its tenant and workspace; nil for any other key.
    static func entry(of key: Key, prefix: String) -> (place: CachePlace, name: String)? {
        guard key.bytes.starts(with: prefix.utf8) else { return nil }
        var words = key.bytes.dropFirst(prefix.utf8.count).split(
            separator: UInt8(ascii: ":"), maxSplits: 4, omittingEmptySubsequences: false)[...]
        func word() -> String? { words.popFirst().flatMap(KeyPattern.decode) }
        var namespace = Namespace(prefix: prefix)
        if words.first?.elementsEqual("t".utf8) == true {
            words.removeFirst()
            guard let tenant = word() else { return nil }
            namespace = namespace.scoped(to: tenant)
        }
        guard words.popFirst()?.elementsEqual("cache".utf8) == true, let workspace = word() else { return nil }
        // A name has no bare colon.
        guard words.count == 1, let name = word() else { return nil }
        return (CachePlace(namespace: namespace, workspace: workspace), name)
    }

    func entry(_ name: String) -> Key { namespace.key("cache:\(workspace):\(name)") }

    static func lease(of entry: Key) -> Key { entry.companion("lease") }

    /// The name of an entry of this place; nil for any other key.
    func name(ofEntry key: Key) -> String? { name(key.bytes, after: namespace.key("cache:\(workspace):").bytes) }

    /// The name of the entry that a lease of this place belongs to; nil for any other key.
    func name(ofLease key: Key) -> String? {
        guard key.bytes.count > Self.leaseEnd.count, key.bytes.suffix(Self.leaseEnd.count).elementsEqual(Self.leaseEnd) else {
            return nil
        }
        let entry = key.bytes.dropLast(Self.leaseEnd.count)
        return name(entry, after: Bytes([UInt8(ascii: "{")] + namespace.key("cache:\(workspace):").bytes))
    }

    private static let leaseEnd = Array("}:lease".utf8)

    private func name(_ key: Bytes, after head: Bytes) -> String? {
        key.starts(with: head) ? KeyPattern.decode(key.dropFirst(head.count)) : nil
    }

    /// Globs for the entries and for the leases of this place whose names begin with a literal text.
    func globs(startingWith literal: String) -> (entries: Bytes, leases: Bytes) {
        let head = Glob.escape(entry(literal).bytes)
        return (Bytes(head + Array("*".utf8)), Bytes(Array("{".utf8) + head + Array("*".utf8) + Self.leaseEnd))
    }

    /// Globs for all keys of all caches under a prefix, whatever the tenant.
    static func globs(prefix: String) -> [Bytes] {
        let head = Glob.escape(prefix.utf8)
        let entries = ["cache:*", "t:*:cache:*"].map { head + Array($0.utf8) }
        return (entries + entries.map { Array("{".utf8) + $0 + leaseEnd }).map { Bytes($0) }
    }
}
