import HoldfastStore

/// What a ``Cache`` sees: one workspace of one tenant, and perhaps one category in it.
@usableFromInline final class CacheScope: Sendable {
    let place: CachePlace
    let category: CacheCategory?
    /// Where the counts of this scope are kept; see ``CacheCounters``.
    let counter: Int
    /// Namespace and workspace, for the near cache and the flights.
    let space: NearSpace
    /// What a category puts before each key.
    let prefix: String
    /// Space and prefix, as the near cache wants them.
    let head: NearHead
    /// What the keys of all entries of the tenant begin with.
    let trackedPrefix: Bytes

    init(place: CachePlace, category: CacheCategory?, counter: Int) {
        self.place = place
        self.category = category
        self.counter = counter
        space = NearSpace(place)
        prefix = category.map { $0.name + ":" } ?? ""
        head = NearHead(space: space, prefix: prefix)
        trackedPrefix = CachePlace.head(of: place.namespace)
    }

    /// The name of an entry: its key with the category's prefix.
    func name(_ key: String) -> String { prefix + key }

    func entry(_ key: String) -> Key { place.entry(name(key)) }

    func change(_ key: String) -> CacheChange { .entry(place, name(key)) }

    func flight(_ key: String) -> SingleFlight.Name { SingleFlight.Name(space: space, key: name(key)) }
}
