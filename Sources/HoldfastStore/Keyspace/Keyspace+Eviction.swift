/// Which entry goes when memory is full: Redis's `maxmemory-policy`.
public enum EvictionPolicy: String, Sendable, Hashable, CaseIterable {
    case noEviction = "noeviction"
    case allKeysLRU = "allkeys-lru"
    case allKeysLFU = "allkeys-lfu"
    case allKeysRandom = "allkeys-random"
    case volatileLRU = "volatile-lru"
    case volatileLFU = "volatile-lfu"
    case volatileRandom = "volatile-random"
    case volatileTTL = "volatile-ttl"

    var onlyExpiring: Bool {
        switch self {
        case .volatileLRU, .volatileLFU, .volatileRandom, .volatileTTL: true
        case .noEviction, .allKeysLRU, .allKeysLFU, .allKeysRandom: false
        }
    }
}

/// Which keys the policy may touch at all.
public enum EvictionScope: Sendable, Hashable {
    /// Any key, as in Redis.
    case everyKey
    /// Only entries of caches, `<prefix>[t:<tenant>:]cache:…`: accepted work is refused with OOM rather than thrown away.
    case cacheEntries(prefix: String)

    func contains(_ key: Bytes) -> Bool {
        guard case .cacheEntries(let prefix) = self else { return true }
        guard key.starts(with: prefix.utf8) else { return false }
        var rest = key.dropFirst(prefix.utf8.count)
        if rest.starts(with: "t:".utf8) {
            guard let end = rest.dropFirst(2).firstIndex(of: UInt8(ascii: ":")) else { return false }
            rest = rest[(end + 1)...]
        }
        // A cache's own bookkeeping (`{…}:suffix`) goes by itself, with its expiry.
        return rest.starts(with: "cache:".utf8)
    }
}

/// How recently and often an entry was used.
struct Usage: Sendable {
    /// The last use, milliseconds; after the present where the clock was set back since.
    var lastUsed: Int64 = 0
    /// Morris counter of uses, as Redis's LFU: grows logarithmically, decays by one a minute.
    var frequency: UInt8 = Usage.initialFrequency

    /// New entries begin above zero, so that they are not the first to go.
    static let initialFrequency: UInt8 = 5

    /// Redis's `lfu-log-factor` 10 and `lfu-decay-time` 1 minute.
    mutating func touch(_ now: Timestamp, random: Double) {
        frequency = decayed(now)
        if frequency < .max {
            let base = Double(max(0, Int(frequency) - Int(Self.initialFrequency)))
            if random < 1 / (base * 10 + 1) { frequency += 1 }
        }
        lastUsed = now.milliseconds
    }

    func decayed(_ now: Timestamp) -> UInt8 {
        let minutes = max(0, now.milliseconds - lastUsed) / 60_000
        return UInt8(max(0, Int64(frequency) - minutes))
    }
}

extension Keyspace {
    /// Makes room for a write that may add this much, by the policy.
    ///
    /// Room is made before the write and for its whole growth, so that accounted memory never exceeds the limit (Redis lets the last
    /// write exceed it). Keys that the write itself names may go, as in Redis.
    ///
    /// - Throws: Redis's OOM when nothing (more) may be evicted.
    mutating func makeRoom(for growth: Int) throws(ReplyError) {
        guard limits.maximumBytes > 0, !isLoading else { return }
        // What can never fit does not throw everything else out first.
        guard growth <= limits.maximumBytes else { throw .outOfMemory }
        while usedBytes > limits.maximumBytes - growth {
            guard let victim = pickVictim() else { throw .outOfMemory }
            evictedCount += 1
            removeEntry(victim)
            emit(.keys(.del([victim])))
        }
    }

    /// As Redis does: the best of a few random candidates (`maxmemory-samples` 5), which is close to the best of all.
    private mutating func pickVictim() -> Key? {
        guard limits.policy != .noEviction, !candidates.isEmpty else { return nil }
        if limits.policy == .volatileTTL, limits.scope == .everyKey, let soonest = expiries.first {
            return entries.key(at: soonest.slot)
        }
        var best: (slot: Int, score: Int64)?
        for _ in 0..<min(5, candidates.count) {
            let slot = candidates[Int.random(in: 0..<candidates.count, using: &random)]
            let score = evictionScore(entries[slot])
            if score < best?.score ?? .max { best = (slot, score) }
        }
        return best.flatMap { entries.key(at: $0.slot) }
    }

    /// The lowest goes first.
    private func evictionScore(_ entry: Entry) -> Int64 {
        switch limits.policy {
        // What was used after now was used before the clock was set back, and thus before all else.
        case .allKeysLRU, .volatileLRU: entry.usage.lastUsed - (entry.usage.lastUsed > now.milliseconds ? .max : 0)
        case .allKeysLFU, .volatileLFU: Int64(entry.usage.decayed(now))
        case .volatileTTL: entry.expiry?.milliseconds ?? .max - 1
        case .allKeysRandom, .volatileRandom, .noEviction: 0
        }
    }

    /// Keeps the candidates right after an entry came or its expiry changed.
    mutating func updateCandidacy(at slot: Int) {
        guard let key = entries.key(at: slot) else { return }
        let entry = entries[slot]
        let qualifies =
            limits.policy != .noEviction && (!limits.policy.onlyExpiring || entry.expiry != nil)
            && limits.scope.contains(key.bytes)
        switch (qualifies, entry.candidate) {
        case (true, nil):
            entries[slot].candidate = candidates.count
            candidates.append(slot)
        case (false, let place?):
            entries[slot].candidate = nil
            removeCandidate(at: place)
        default: break
        }
    }

    /// The last one takes the place that becomes free.
    mutating func removeCandidate(at place: Int) {
        let moved = candidates.removeLast()
        guard place < candidates.count else { return }
        candidates[place] = moved
        entries[moved].candidate = place
    }
}
