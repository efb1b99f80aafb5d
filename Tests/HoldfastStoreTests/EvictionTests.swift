import Testing

@testable import HoldfastStore

/// Redis's `maxmemory-policy`, and what may never be evicted.
@Suite struct EvictionTests {
    private func key(_ number: Int) -> Key { Key(raw: Bytes("key:\(number)")) }

    private func keyspace(
        _ policy: EvictionPolicy, _ scope: EvictionScope = .everyKey, entries: Int = 100
    ) -> Keyspace {
        var keyspace = Keyspace(
            limits: Keyspace.Limits(maximumBytes: entries * 500, policy: policy, scope: scope), seed: 1)
        keyspace.advance(to: Timestamp(milliseconds: 1_000_000))
        return keyspace
    }

    private func set(_ keyspace: inout Keyspace, _ key: Key, expiry: Int? = nil) -> Reply {
        let expiration = expiry.map { Expiration.after(.seconds($0)) }
        let value = Bytes([UInt8](repeating: 0, count: 500 - 416 - key.bytes.count))
        return keyspace.execute(.strings(.set(key, value, SetOptions(expiration: expiration))))
    }

    private func survivors(_ keyspace: inout Keyspace, _ range: Range<Int>) -> Int {
        range.count { keyspace.exists(key($0)) }
    }

    /// Filled far past its limit with cache entries among accepted work, as a service would: only cache entries go.
    @Test func onlyCacheEntriesAreEvictedAndTheLimitHolds() {
        var keyspace = keyspace(.allKeysLRU, .cacheEntries(prefix: "holdfast:"))
        let kinds = ["cache:w:", "session:", "t:acme:cache:w:", "job:", "cachet:"]
        var accepted: [Key] = []
        for number in 0..<1000 {
            let kind = kinds[number % kinds.count]
            let isCache = kind.hasSuffix("cache:w:")
            if !isCache, accepted.count >= 60 { continue }
            let key = Key(raw: Bytes("holdfast:\(kind)\(number)"))
            #expect(set(&keyspace, key) == .ok)
            if !isCache { accepted.append(key) }
            #expect(keyspace.usedBytes <= keyspace.limits.maximumBytes)
        }
        #expect(keyspace.evictedCount > 100)
        for key in accepted { #expect(keyspace.exists(key) == true) }
        keyspace.checkInvariants(evictable: {
            $0.bytes.lossyString.contains(":cache:") || $0.bytes.starts(with: "holdfast:cache:".utf8)
        })
    }

    @Test func acceptedWorkIsRefusedRatherThanLost() {
        var keyspace = keyspace(.allKeysLRU, .cacheEntries(prefix: ""))
        var stored = 0
        while set(&keyspace, key(stored)) == .ok { stored += 1 }
        #expect(set(&keyspace, key(stored)) == .error(.outOfMemory))
        #expect(survivors(&keyspace, 0..<stored) == stored && stored >= 99)
        // What frees memory still works, and makes room.
        #expect(keyspace.execute(.keys(.del([key(0)]))) == .integer(1))
        #expect(set(&keyspace, key(stored)) == .ok)
    }

    @Test func nothingIsEvictedWithoutAPolicy() {
        var keyspace = keyspace(.noEviction)
        for number in 0..<300 { _ = set(&keyspace, key(number), expiry: 100) }
        #expect(keyspace.evictedCount == 0)
        #expect(keyspace.usedBytes <= keyspace.limits.maximumBytes)
        #expect(set(&keyspace, key(300)) == .error(.outOfMemory))
        #expect(keyspace.execute(.hashes(.hset(Key(raw: "h"), [HashField("a", "b")]))) == .error(.outOfMemory))
        #expect(keyspace.execute(.strings(.get(key(0)))) != .null)
    }

    @Test func whatCanNeverFitEvictsNothing() {
        var keyspace = keyspace(.allKeysRandom)
        for number in 0..<50 { _ = set(&keyspace, key(number)) }
        let huge = Bytes([UInt8](repeating: 0, count: 60_000))
        #expect(keyspace.execute(.strings(.set(key(0), huge, SetOptions()))) == .error(.outOfMemory))
        #expect(survivors(&keyspace, 0..<50) == 50)
    }

    @Test func theLeastRecentlyUsedGoFirst() {
        var keyspace = keyspace(.allKeysLRU)
        for number in 0..<99 {
            keyspace.advance(to: Timestamp(milliseconds: keyspace.now.milliseconds + 1))
            _ = set(&keyspace, key(number))
        }
        // The first half is used again, then half as many new ones come.
        keyspace.advance(to: Timestamp(milliseconds: keyspace.now.milliseconds + 1000))
        for number in 0..<50 { _ = keyspace.execute(.strings(.get(key(number)))) }
        for number in 100..<125 { _ = set(&keyspace, key(number)) }
        #expect(survivors(&keyspace, 0..<50) > 45)
        #expect(survivors(&keyspace, 50..<99) < 30)
    }

    @Test func whatWasUsedBeforeTheClockWasSetBackGoesFirst() {
        var keyspace = keyspace(.allKeysLRU)
        for number in 0..<50 { _ = set(&keyspace, key(number)) }
        keyspace.advance(to: Timestamp(milliseconds: keyspace.now.milliseconds - 500_000))
        for number in 50..<99 { _ = set(&keyspace, key(number)) }
        for number in 100..<125 { _ = set(&keyspace, key(number)) }
        #expect(survivors(&keyspace, 50..<99) > 40)
        #expect(survivors(&keyspace, 0..<50) < 35)
    }

    @Test func theLeastFrequentlyUsedGoFirst() {
        var keyspace = keyspace(.allKeysLFU)
        for number in 0..<99 { _ = set(&keyspace, key(number)) }
        for _ in 0..<200 { for number in 0..<50 { _ = keyspace.execute(.strings(.get(key(number)))) } }
        // Used later than the others, but seldom.
        for number in 50..<99 { _ = keyspace.execute(.strings(.get(key(number)))) }
        for number in 100..<125 { _ = set(&keyspace, key(number)) }
        // Five candidates are looked at: the best of them, not of all.
        #expect(survivors(&keyspace, 0..<50) >= 47)
        #expect(survivors(&keyspace, 50..<99) < 40)
    }

    @Test func frequencyDecaysByOneAMinute() {
        var usage = Usage()
        for _ in 0..<1000 { usage.touch(Timestamp(milliseconds: 0), random: 0) }
        #expect(usage.frequency == 255)
        #expect(usage.decayed(Timestamp(milliseconds: 10 * 60_000)) == 245)
        #expect(usage.decayed(Timestamp(milliseconds: 1000 * 60_000)) == 0)
    }

    @Test(arguments: [EvictionPolicy.volatileLRU, .volatileLFU, .volatileRandom, .volatileTTL])
    func volatilePoliciesTouchOnlyWhatExpires(_ policy: EvictionPolicy) {
        var keyspace = keyspace(policy)
        for number in 0..<50 { _ = set(&keyspace, key(number)) }
        for number in 50..<99 { _ = set(&keyspace, key(number), expiry: 1000 + number) }
        for number in 100..<149 { #expect(set(&keyspace, key(number), expiry: 5000) == .ok) }
        #expect(survivors(&keyspace, 0..<50) == 50)
        #expect(keyspace.evictedCount >= 45)
        keyspace.checkInvariants(evictable: nil)
        // With nothing left that expires, writes are refused.
        for number in 50..<200 { keyspace.persist(key(number)) }
        while set(&keyspace, key(Int.random(in: 1000...9999, using: &keyspace.random))) == .ok {}
        #expect(survivors(&keyspace, 0..<50) == 50)
    }

    @Test func theSoonestToExpireGoFirst() {
        var keyspace = keyspace(.volatileTTL)
        for number in 0..<99 { _ = set(&keyspace, key(number), expiry: 1000 + number * 10) }
        for number in 100..<120 { _ = set(&keyspace, key(number), expiry: 9000) }
        #expect(survivors(&keyspace, 0..<19) == 0)
        #expect(survivors(&keyspace, 21..<99) == 78)
    }

    @Test func randomEvictionSparesNobodyForEver() {
        var keyspace = keyspace(.allKeysRandom)
        for number in 0..<99 { _ = set(&keyspace, key(number)) }
        for number in 100..<2000 { #expect(set(&keyspace, key(number)) == .ok) }
        #expect(survivors(&keyspace, 0..<99) == 0)
    }

    @Test func unionsAndCopiesMakeRoomForTheirResult() {
        var keyspace = Keyspace(limits: Keyspace.Limits(maximumBytes: 10_000), seed: 1)
        let members = (0..<30).map { Bytes("member:\($0)") }
        #expect(keyspace.execute(.sets(.sadd(key(0), members))) == .integer(30))
        #expect(keyspace.execute(.sets(.sunionstore(key(1), [key(0)]))) == .error(.outOfMemory))
        #expect(keyspace.execute(.keys(.copy(key(0), key(1), replace: false))) == .error(.outOfMemory))
        #expect(keyspace.execute(.sortedSets(.zunionstore(key(1), [key(0)], Combination()))) == .error(.outOfMemory))
        #expect(keyspace.exists(key(1)) == false)
    }
}
