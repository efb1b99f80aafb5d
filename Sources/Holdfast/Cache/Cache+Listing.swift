public import HoldfastStore

extension Cache {
    /// One page of a listing of keys.
    public struct KeyPage: Sendable, Hashable {
        public let keys: [String]
        /// Where the next page begins; nil where this was the last one. Opaque.
        public let cursor: String?
    }

    /// The keys of this view that match a pattern, page by page: what is there throughout comes once. While the store reorganizes its
    /// table, a key can come twice (SCAN promises no more), never not at all.
    ///
    /// - Parameters:
    ///   - cursor: nil for the first page, then the page's own.
    ///   - limit: at most how many keys a page has, from 1 to 1,000. It may have fewer, even none, and not be the last.
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming `cursor` or `limit`.
    public func keys(
        matching pattern: String = "*", cursor: String? = nil, limit: Int = 100
    ) async throws(StoreError) -> Decided<KeyPage> {
        guard (1...1000).contains(limit) else { throw .invalid("limit", "A page has 1 to 1000 keys") }
        let start = try cursor.map { (text) throws(StoreError) in try KeyCursor(text) } ?? KeyCursor(position: 0)
        let whole = scope.prefix + pattern
        let glob = Glob(whole.utf8)
        let match = scope.place.globs(startingWith: CacheChange.literalHead(of: whole)).entries
        return try await core.read { (store, _) async throws(StoreError) -> KeyPage in
            var search = KeySearch(start: start, limit: limit)
            while let (position, count) = search.next {
                let page = try await store(Command<ScanPage<Key>>.scan(position, ScanOptions(match: match, count: count)))
                let names = page.elements.compactMap { scope.place.name(ofEntry: $0) }
                search.take(names.filter { glob.matches(Array($0.utf8)) }, next: page.cursor)
            }
            // By bytes: a combining character at the border belongs to the key.
            let keys = search.names.map { String(decoding: $0.utf8.dropFirst(scope.prefix.utf8.count), as: UTF8.self) }
            return KeyPage(keys: keys, cursor: search.cursor?.text)
        }
    }
}

/// Where a listing goes on: at a position of SCAN, and, where one step of it has more keys than a page, behind one of that step's.
struct KeyCursor: Equatable {
    let position: UInt64
    /// The step's end and the last name that was given of it, in byte order.
    var within: (end: UInt64, name: String)?

    init(position: UInt64, within: (end: UInt64, name: String)? = nil) {
        self.position = position
        self.within = within
    }

    init(_ text: String) throws(StoreError) {
        let parts = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard let position = UInt64(parts[0]) else { throw Self.mistake }
        self.position = position
        if parts.count == 1 { return }
        guard parts.count == 3, let end = UInt64(parts[1]) else { throw Self.mistake }
        within = (end, String(parts[2]))
    }

    var text: String { within.map { "\(position).\($0.end).\($0.name)" } ?? "\(position)" }

    static func == (left: KeyCursor, right: KeyCursor) -> Bool { left.text.hasSameBytes(as: right.text) }

    private static var mistake: StoreError { .invalid("cursor", "This cursor is none that was handed out") }
}

/// Fills a page from steps of SCAN, none of which can be parted: how many keys a step has is the store's affair, and where one was left
/// half-way nothing in its reply would tell.
///
/// A step that does not fit is asked for again with a smaller count; one of the smallest that does not fit ends the page before it, or,
/// where the page is empty, is given in byte order from cursor to cursor. A value; its caller asks the store.
struct KeySearch {
    private(set) var names: [String] = []
    /// Where the next page begins; meaningful when ``next`` is nil.
    private(set) var cursor: KeyCursor?
    private let limit: Int
    private var count: Int
    private var steps = 0
    private var isDone = false

    init(start: KeyCursor, limit: Int) {
        cursor = start
        self.limit = limit
        // A dense table answers a little more than it is asked for; a sparse one should not be walked in tiny steps.
        count = start.within == nil ? max(100, limit - limit / 8) : 1
    }

    /// The step to ask for; nil when the page is done.
    var next: (position: UInt64, count: Int)? {
        guard !isDone, let cursor else { return nil }
        return (cursor.position, count)
    }

    /// Takes what the step answered, and its end.
    mutating func take(_ found: [String], next end: UInt64) {
        steps += 1
        var found = Array(Set(found.map(NameBytes.init))).map(\.name)
        // Behind what was given of the step; of another step, where the table was changed meanwhile, nothing was given.
        if let within = cursor?.within, within.end == end { found.removeAll { !within.name.comesBefore($0) } }
        if names.count + found.count <= limit {
            names += found
            cursor = end == 0 ? nil : KeyCursor(position: end)
            isDone = cursor == nil || names.count * 2 > limit || steps >= Self.longestSearch
            if count == 1, !isDone { count = names.isEmpty ? 100 : max(1, limit - names.count) }
        } else if count > 1 {
            let fitting = max(1, (limit - names.count) * 7 / 8)
            count = fitting < count ? fitting : count / 2
        } else {
            isDone = true
            guard names.isEmpty, let position = cursor?.position else { return }
            names = Array(found.sorted { $0.comesBefore($1) }.prefix(limit))
            cursor = names.last.map { KeyCursor(position: position, within: (end, $0)) }
        }
    }

    /// How many round trips one page may take before it answers with what it has.
    private static let longestSearch = 50

    /// Names are told apart by their bytes, not by Unicode's rules.
    private struct NameBytes: Hashable {
        let name: String
        init(_ name: String) { self.name = name }
        static func == (left: Self, right: Self) -> Bool { left.name.hasSameBytes(as: right.name) }
        func hash(into hasher: inout Hasher) { hasher.combine(Array(name.utf8)) }
    }
}

extension String {
    fileprivate func comesBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }
}
