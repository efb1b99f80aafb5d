public import HoldfastStore

/// How long entries stay: looks at it and changes it, one key at a time or over all keys of a namespace.
///
/// It keeps to its namespace: keys of another prefix or tenant are refused with ``/HoldfastStore/ErrorCode/wrongTenant``. All spans are rounded
/// down to milliseconds and must be at least one.
public struct TTLManager: Sendable {
    private let store: any Store
    private let namespace: Namespace
    private let time: any TimeSource

    /// - Parameter time: the clocks of ``/HoldfastStore/CallContext/deadline``.
    public init(store: any Store, namespace: Namespace, time: any TimeSource = .system) {
        self.store = store
        self.namespace = namespace
        self.time = time
    }

    /// How long an entry still stays. One round trip.
    public func timeToLive(_ key: Key) async throws(StoreError) -> TimeToLive {
        try await store(.pttl(try own(key)))
    }

    /// Lets an entry end this long from now, whatever it was before; false where there is no such key. One round trip.
    public func set(_ key: Key, to span: Duration) async throws(StoreError) -> Bool {
        try await store(.pexpire(try own(key), try positive(span)))
    }

    /// Gives an entry that has an expiry a new one, this long from now; false where there is no such key or it stays for ever.
    /// One round trip.
    public func refresh(_ key: Key, to span: Duration) async throws(StoreError) -> Bool {
        try await store(.pexpire(try own(key), try positive(span), if: .ifAny))
    }

    /// Lets an entry stay for ever; false where there is no such key or it did already. One round trip.
    public func persist(_ key: Key) async throws(StoreError) -> Bool { try await store(.persist(try own(key))) }

    /// The keys of the namespace that stay for ever, in no order, each once.
    ///
    /// - Parameters:
    ///   - pattern: only keys that begin so.
    ///   - limit: how many keys to answer at most, so that the answer stays bounded.
    /// - Returns: the keys, and whether the scan came to its end before the limit. Cost: two round trips for each 500 keys of the
    ///   whole database, whatever their namespace.
    public func keysWithoutTTL(
        startingWith pattern: KeyPattern = "", limit: Int = 10_000
    ) async throws(StoreError) -> (keys: [Key], isComplete: Bool) {
        var found: Set<Key> = []
        var pages = store.scan(matching: namespace.glob(startingWith: pattern), time: time).makeAsyncIterator()
        while let page = try await pages.next(isolation: nil) {
            for key in try await withoutTTL(page) {
                if found.count >= limit, !found.contains(key) { return (Array(found), false) }
                found.insert(key)
            }
        }
        return (Array(found), true)
    }

    /// Lets every key of the namespace that stays for ever end this long from now; how many that were.
    ///
    /// An entry that gets an expiry from someone else meanwhile keeps theirs. Sweeping again changes nothing more.
    ///
    /// - Parameter pattern: only keys that begin so. There is no default: to end everything, say `""`.
    public func sweep(startingWith pattern: KeyPattern, to span: Duration) async throws(StoreError) -> Int {
        let span = try positive(span)
        return try await store.changeKeys(matching: namespace.glob(startingWith: pattern), time: time) { key in
            namespace.suffix(of: key.bytes) == nil ? nil : .pexpire(key, span, if: .ifNone)
        } counting: { (isChanged: Bool) in
            isChanged ? 1 : 0
        }
    }

    private func withoutTTL(_ page: [Key]) async throws(StoreError) -> [Key] {
        let keys = page.filter { namespace.suffix(of: $0.bytes) != nil }
        let left = try await store.pipeline(keys.map { Command<TimeToLive>.pttl($0) })
        return zip(keys, left).filter { $0.1 == .forever }.map(\.0)
    }

    private func own(_ key: Key) throws(StoreError) -> Key {
        guard namespace.suffix(of: key.bytes) != nil else {
            throw StoreError(.wrongTenant, "The key is not of this prefix and tenant", field: "key")
        }
        return key
    }

    private func positive(_ span: Duration) throws(StoreError) -> Duration {
        guard span.milliseconds > 0 else { throw .invalid("span", "must be at least one millisecond") }
        return span
    }
}
