import HoldfastStore

/// Something that makes cached values invalid.
enum CacheChange: Hashable, Sendable {
    case entry(CachePlace, String)
    /// A glob over names.
    case pattern(CachePlace, String)
    /// A whole workspace.
    case workspace(CachePlace)
    /// All caches under a prefix, of all tenants.
    case everything(prefix: String)

    static func == (left: CacheChange, right: CacheChange) -> Bool {
        switch (left, right) {
        case (.entry(let place, let name), .entry(let other, let otherName)),
            (.pattern(let place, let name), .pattern(let other, let otherName)):
            place == other && name.hasSameBytes(as: otherName)
        case (.workspace(let place), .workspace(let other)): place == other
        case (.everything(let prefix), .everything(let other)): prefix == other
        default: false
        }
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(place)
        switch self {
        case .entry(_, let name), .pattern(_, let name): hasher.combine(name)
        case .workspace, .everything: break
        }
    }

    var place: CachePlace? {
        switch self {
        case .entry(let place, _), .pattern(let place, _), .workspace(let place): place
        case .everything: nil
        }
    }

    var prefix: String {
        switch self {
        case .entry(let place, _), .pattern(let place, _), .workspace(let place): place.namespace.prefix
        case .everything(let prefix): prefix
        }
    }
}

extension CacheChange {
    /// Removes from a store what the change makes invalid: leases first, then entries; answers how many entries.
    ///
    /// **Why twice.** A fill that is under way holds a lease and then sets an entry. One scan over both could pass the entry's place
    /// before the fill and the lease's place after it, and leave the stale entry. With the leases gone first, whatever was filled
    /// was filled before the second scan began, which therefore meets it; and whoever still fills finds no lease. Leases that
    /// appear meanwhile belong to misses that began after this call. SCAN promises no more than this needs.
    ///
    /// - Parameter time: the clocks of the caller's deadline, which is looked at with each page of a scan.
    func remove(from store: any Store, _ time: any TimeSource) async throws(StoreError) -> Int {
        switch self {
        case .entry(let place, let name):
            let entry = place.entry(name)
            return try await store.pipeline(.unlink([CachePlace.lease(of: entry)]), .unlink([entry])).1
        case .pattern(let place, let pattern):
            let glob = Glob(pattern.utf8)
            let globs = place.globs(startingWith: Self.literalHead(of: pattern))
            _ = try await Self.sweep(store, time, globs.leases) {
                place.name(ofLease: $0).map { glob.matches(Array($0.utf8)) } ?? false
            }
            return try await Self.sweep(store, time, globs.entries) {
                place.name(ofEntry: $0).map { glob.matches(Array($0.utf8)) } ?? false
            }
        case .workspace(let place):
            let globs = place.globs(startingWith: "")
            _ = try await Self.sweep(store, time, globs.leases) { place.name(ofLease: $0) != nil }
            return try await Self.sweep(store, time, globs.entries) { place.name(ofEntry: $0) != nil }
        case .everything(let prefix):
            var count = 0
            for glob in CachePlace.globs(prefix: prefix).reversed() {
                count += try await Self.sweep(store, time, glob) { _ in true }
            }
            return count
        }
    }

    private static func sweep(
        _ store: any Store, _ time: any TimeSource, _ glob: Bytes, _ isMeant: (Key) -> Bool
    ) async throws(StoreError) -> Int {
        try await store.changeKeys(matching: glob, time: time) {
            isMeant($0) ? .unlink([$0]) : nil
        } counting: { (removed: Int) in
            removed
        }
    }

    /// What stands before the first character of a glob that is not plain.
    static func literalHead(of pattern: String) -> String {
        String(pattern.prefix { !"*?[\\".contains($0) })
    }
}
