import Testing

@testable import HoldfastStore

/// The contents of a key space in a form that can be compared: without slots, costs, usage and revisions.
struct Contents: Equatable {
    enum Content: Equatable {
        case string(Bytes)
        case hash([Bytes: Bytes])
        case list([Bytes])
        case set(Set<Bytes>)
        case sortedSet([ScoredMember])
    }

    struct Item: Equatable {
        let content: Content
        let expiry: Timestamp?
    }

    private(set) var items: [Key: Item] = [:]

    init(_ keyspace: Keyspace) {
        for slot in keyspace.entries {
            if let expiry = slot.value.expiry, expiry <= keyspace.now { continue }
            items[slot.key] = Item(content: Content(slot.value.value), expiry: slot.value.expiry)
        }
    }
}

extension Contents.Content {
    init(_ value: Value) {
        switch value {
        case .string(let bytes): self = .string(bytes)
        case .hash(let hash): self = .hash(Dictionary(uniqueKeysWithValues: hash.fields.map { ($0.key, $0.value) }))
        case .list(let list): self = .list(Array(list.elements))
        case .set(let set): self = .set(Set(set.members.map(\.key)))
        case .sortedSet(let sortedSet): self = .sortedSet(sortedSet.elements(0..<sortedSet.count))
        }
    }
}

extension Keyspace {
    /// The invariants at the top of `Keyspace.swift`, counted anew.
    ///
    /// - Parameter evictable: which keys should be candidates for eviction; nil for those that expire.
    func checkInvariants(evictable: ((Key) -> Bool)? = { _ in true }) {
        var bytes = 0
        var expiring = 0
        for slot in entries {
            let entry = slot.value
            bytes += entry.cost
            if entry.expiry != nil { expiring += 1 }
            #expect(entry.cost == MemoryCost.entry + MemoryCost.bytes(slot.key.bytes.count) + entry.value.recountedCost)
            let isCandidate = limits.policy != .noEviction && (evictable?(slot.key) ?? (entry.expiry != nil))
            #expect((entry.candidate != nil) == isCandidate)
            if let place = entry.candidate { #expect(entries.key(at: candidates[place]) == slot.key) }
        }
        #expect(bytes == usedBytes)
        #expect(expiring == expiries.count)
    }
}

extension Value {
    fileprivate var recountedCost: Int {
        switch self {
        case .string(let bytes): return MemoryCost.bytes(bytes.count)
        case .hash(let hash):
            #expect(!hash.isEmpty)
            return hash.fields.reduce(MemoryCost.collection) {
                $0 + MemoryCost.slot + MemoryCost.bytes($1.key.count) + MemoryCost.bytes($1.value.count)
            }
        case .list(let list):
            #expect(!list.isEmpty)
            return list.elements.reduce(MemoryCost.collection) { $0 + MemoryCost.element + MemoryCost.bytes($1.count) }
        case .set(let set):
            #expect(!set.isEmpty)
            return set.members.reduce(MemoryCost.collection) { $0 + MemoryCost.slot + MemoryCost.bytes($1.key.count) }
        case .sortedSet(let sortedSet):
            #expect(!sortedSet.isEmpty && sortedSet.order.count == sortedSet.count)
            return sortedSet.members.reduce(MemoryCost.collection) {
                $0 + MemoryCost.slot + MemoryCost.ordered + MemoryCost.bytes($1.key.count)
            }
        }
    }
}

/// Every change tells itself as commands that give the same result later and elsewhere.
@Suite struct EffectTests {
    /// One seed's program, with the clock moving: its effects, carried out long after, make the same key space.
    @Test(arguments: 0..<40) func effectsCarriedOutElsewhereMakeTheSameKeySpace(_ seed: UInt64) {
        var sampler = Sampler(seed: seed)
        // Half of the programs also evict.
        let limits = Keyspace.Limits(maximumBytes: seed.isMultiple(of: 2) ? 0 : 4500, policy: .allKeysRandom)
        var original = Keyspace(limits: limits, seed: seed)
        var copy = Keyspace(limits: Keyspace.Limits(policy: .allKeysRandom), seed: seed + 1)
        original.advance(to: Timestamp(milliseconds: 1_000_000))
        original.recordEffects()
        for step in 0..<600 {
            if step.isMultiple(of: 10) { original.advance(to: Timestamp(milliseconds: original.now.milliseconds + 500)) }
            _ = original.execute(sampler.operation())
            for effect in original.takeEffects() {
                if case .error(let error) = copy.execute(effect) { Issue.record("\(effect): \(error)") }
            }
        }
        original.removeExpired(limit: .max)
        for effect in original.takeEffects() { _ = copy.execute(effect) }
        copy.advance(to: original.now)
        #expect(Contents(original) == Contents(copy))
        original.checkInvariants()
        copy.checkInvariants()
    }

    /// What WATCH needs: an operation that has effects gives the keys it names new revisions, one that has none leaves them.
    @Test(arguments: 0..<10) func revisionsChangeWithEachChangeAndOnlyThen(_ seed: UInt64) {
        var sampler = Sampler(seed: 100 + seed)
        var keyspace = Keyspace(seed: seed)
        keyspace.advance(to: Timestamp(milliseconds: 1_000_000))
        keyspace.recordEffects()
        var seen: Set<UInt64> = []
        for _ in 0..<2000 {
            let operation = sampler.operation()
            let before = Contents(keyspace)
            let keys = before.items.keys.map { ($0, keyspace.revision(of: $0)) }
            _ = keyspace.execute(operation)
            let effects = keyspace.takeEffects()
            let after = Contents(keyspace)
            if effects.isEmpty { #expect(before == after, "\(operation) changed something and said nothing") }
            for (key, revision) in keys {
                let touched = effects.contains { $0.keys.contains(key) }
                let new = keyspace.revision(of: key)
                if before.items[key] != after.items[key] { #expect(new != revision, "\(operation) on \(key)") }
                if !touched { #expect(new == revision, "\(operation) touched \(key)") }
            }
            for key in after.items.keys where before.items[key] != after.items[key] {
                #expect(seen.insert(keyspace.revision(of: key)).inserted, "\(operation) used a revision of \(key) twice")
            }
        }
    }

    @Test func effectsAreDeterministic() throws {
        func effects(_ setup: [String], _ line: String) throws -> [String] {
            var keyspace = Keyspace(seed: 1)
            keyspace.advance(to: Timestamp(milliseconds: 1000))
            for line in setup { _ = keyspace.execute(try WireTests.parse(line)) }
            keyspace.recordEffects()
            _ = keyspace.execute(try WireTests.parse(line))
            return keyspace.takeEffects().map { $0.arguments.map(\.lossyString).joined(separator: " ") }
        }
        #expect(try effects(["SADD s a"], "SPOP s") == ["SREM s a"])
        #expect(try effects(["SET n 1"], "INCRBYFLOAT n 0.5") == ["SET n 1.5"])
        #expect(try effects(["HSET h f 1"], "HINCRBYFLOAT h f 0.5") == ["HSET h f 1.5"])
        #expect(try effects(["HSET h f 1"], "HINCRBY h f 2") == ["HSET h f 3"])
        #expect(try effects(["SET n 1"], "EXPIRE n 5") == ["PEXPIREAT n 6000"])
        #expect(try effects([], "SET n 1 EX 5") == ["SET n 1 PXAT 6000"])
        #expect(try effects(["ZADD z 1 a"], "ZINCRBY z 2 a") == ["ZADD z 3.0 a"])
        #expect(try effects(["ZADD z 1 a 2 b"], "ZPOPMAX z") == ["ZREM z b"])
        #expect(try effects(["ZADD z 1 a"], "ZADD z GT 0 a") == [])
        #expect(try effects(["SADD s a", "SADD d x"], "SUNIONSTORE d s") == ["DEL d", "SADD d a"])
        #expect(try effects(["RPUSH l a b"], "LMPOP 1 l LEFT") == ["LPOP l 1"])
    }
}
