/// Finds places in an array by the hashes of what stands there: a hash table with chains.
///
/// The keys stay where they are, so one can be sought that is not there in one piece. The place of an entry is never changed.
///
/// Invariant: each place that was inserted and not removed stands in exactly one chain, the one of its hash.
struct PlaceIndex {
    private struct Link {
        var hash: Int
        /// The next place of the chain; -1 at its end.
        var next: Int
    }

    /// The first place of each chain. A power of two of them, at least as many as there are entries.
    private var heads = ContiguousArray(repeating: -1, count: 16)
    /// By place.
    private var links: ContiguousArray<Link> = []
    private(set) var count = 0

    /// The place of this hash that passes the test.
    @inline(__always)
    func find(_ hash: Int, where matches: (Int) -> Bool) -> Int? {
        var place = heads[chain(hash)]
        while place >= 0 {
            let link = links[place]
            if link.hash == hash, matches(place) { return place }
            place = link.next
        }
        return nil
    }

    /// Adds a place that is not there; places are small numbers, used again once they are free.
    mutating func insert(_ place: Int, hash: Int) {
        if count == heads.count { grow() }
        while links.count <= place { links.append(Link(hash: 0, next: -1)) }
        links[place].hash = hash
        link(place)
        count += 1
    }

    /// Removes a place that is there.
    mutating func remove(_ place: Int) {
        let chain = chain(links[place].hash)
        if heads[chain] == place {
            heads[chain] = links[place].next
        } else {
            var before = heads[chain]
            while links[before].next != place { before = links[before].next }
            links[before].next = links[place].next
        }
        count -= 1
    }

    private func chain(_ hash: Int) -> Int { hash & (heads.count - 1) }

    private mutating func link(_ place: Int) {
        let chain = chain(links[place].hash)
        links[place].next = heads[chain]
        heads[chain] = place
    }

    private mutating func grow() {
        let chains = heads
        heads = ContiguousArray(repeating: -1, count: 2 * chains.count)
        for first in chains {
            var place = first
            while place >= 0 {
                let next = links[place].next
                link(place)
                place = next
            }
        }
    }
}
