public import HoldfastStore

extension Cache {
    /// Removes the entries whose keys match a pattern, and keeps fills that are under way for such keys from bringing them back.
    ///
    /// Patterns are Redis's (`*`, `?`, `[a-z]`, `\x`) and are matched against the key as callers write it, so `user?1` matches
    /// `user:1`, on every kind of store. A category's view matches within the category.
    ///
    /// Every entry that was there when the call began is gone when it returns. Cost: two SCANs over the store's keys, in pages of
    /// about 500, and an UNLINK for each match; never KEYS. A caller that is cancelled may leave a part undone. While the server is away
    /// it is done here, and on the server before calls go to it again.
    ///
    /// - Returns: how many entries were removed, where that was decided.
    /// - Throws: ``ErrorCode/invalidArgument`` or ``ErrorCode/tooLarge`` naming `pattern`.
    @discardableResult
    public func invalidate(_ pattern: String) async throws(StoreError) -> Decided<Int> {
        guard !pattern.isEmpty else { throw .invalid("pattern", "A pattern must not be empty") }
        guard pattern.utf8.count <= core.configuration.maximumKeyBytes else {
            throw StoreError(.tooLarge, "A pattern has at most \(core.configuration.maximumKeyBytes) bytes", field: "pattern")
        }
        return try await invalidate(.pattern(scope.place, scope.prefix + pattern))
    }

    /// Removes all entries of a category in this workspace. As ``invalidate(_:)`` otherwise.
    @discardableResult
    public func invalidate(category: CacheCategory) async throws(StoreError) -> Decided<Int> {
        try await self.category(category).invalidate("*")
    }

    /// Removes all entries of this workspace, or of the category where this is a category's view. As ``invalidate(_:)`` otherwise.
    @discardableResult
    public func clear() async throws(StoreError) -> Decided<Int> {
        scope.category == nil ? try await invalidate(.workspace(scope.place)) : try await invalidate("*")
    }

    /// One page of a listing of keys.
    public struct KeyPage: Sendable, Hashable {
        public let keys: [String]
        /// Where the next page begins; nil where this was the last one. Opaque.
        public let cursor: String?
    }

    /// The keys of this view that match a pattern, page by page: what is there throughout comes at least once, perhaps twice.
    ///
    /// - Parameters:
    ///   - cursor: nil for the first page, then the page's own.
    ///   - limit: about how many keys a page has, from 1 to 1,000. A page of a sparse pattern may have fewer, even none, and not be
    ///     the last.
    /// - Throws: ``ErrorCode/invalidArgument`` naming `cursor` or `limit`.
    public func keys(
        matching pattern: String = "*", cursor: String? = nil, limit: Int = 100
    ) async throws(StoreError) -> Decided<KeyPage> {
        guard (1...1000).contains(limit) else { throw .invalid("limit", "A page has 1 to 1000 keys") }
        guard let begin = UInt64(cursor ?? "0") else { throw .invalid("cursor", "This cursor is none that was handed out") }
        let whole = scope.prefix + pattern
        let glob = Glob(whole.utf8)
        let options = ScanOptions(
            match: scope.place.globs(startingWith: CacheChange.literalHead(of: whole)).entries, count: max(limit, 100))
        return try await core.read { (store, _) async throws(StoreError) -> KeyPage in
            var (position, keys, trips) = (begin, [String](), 0)
            repeat {
                let page = try await store(Command<ScanPage<Key>>.scan(position, options))
                position = page.cursor
                trips += 1
                for name in page.elements.compactMap({ scope.place.name(ofEntry: $0) }) where glob.matches(Array(name.utf8)) {
                    // By bytes: a combining character at the border belongs to the key.
                    keys.append(String(decoding: name.utf8.dropFirst(scope.prefix.utf8.count), as: UTF8.self))
                }
            } while position != 0 && keys.count < limit && trips < Self.longestSearch
            return KeyPage(keys: keys, cursor: position == 0 ? nil : String(position))
        }
    }

    /// How many round trips one page may take before it answers with what it has.
    private static let longestSearch = 50

    private func invalidate(_ change: CacheChange) async throws(StoreError) -> Decided<Int> {
        let decided = try await core.write([change]) { (store) async throws(StoreError) in try await change.remove(from: store) }
        core.near.count(scope) { $0.removals += decided.value }
        return decided
    }
}
