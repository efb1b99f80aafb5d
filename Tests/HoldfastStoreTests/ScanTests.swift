import Testing

@testable import HoldfastStore

/// Redis's guarantee: what is there from the first page to the last is returned at least once.
@Suite struct ScanTests {
    /// A thing that can be scanned: how its elements come, go, and are shown page by page.
    enum Scanned: CaseIterable {
        case keys, hash, set, sortedSet

        func add(_ member: Bytes) -> HoldfastStore.Operation {
            switch self {
            case .keys: .strings(.set(Key(raw: member), "v", SetOptions()))
            case .hash: .hashes(.hset(Self.key, [HashField(member, "v")]))
            case .set: .sets(.sadd(Self.key, [member]))
            case .sortedSet: .sortedSets(.zadd(Self.key, [ScoredMember(member, 1)], ZAddOptions()))
            }
        }

        func remove(_ member: Bytes) -> HoldfastStore.Operation {
            switch self {
            case .keys: .keys(.del([Key(raw: member)]))
            case .hash: .hashes(.hdel(Self.key, [member]))
            case .set: .sets(.srem(Self.key, [member]))
            case .sortedSet: .sortedSets(.zrem(Self.key, [member]))
            }
        }

        func page(_ keyspace: inout Keyspace, _ cursor: UInt64, _ options: ScanOptions) throws -> (UInt64, [Bytes]) {
            switch self {
            case .keys: try read(&keyspace, Command<ScanPage<Key>>.scan(cursor, options)) { $0.bytes }
            case .hash: try read(&keyspace, Command<ScanPage<HashField>>.hscan(Self.key, cursor, options)) { $0.name }
            case .set: try read(&keyspace, Command<ScanPage<Bytes>>.sscan(Self.key, cursor, options)) { $0 }
            case .sortedSet:
                try read(&keyspace, Command<ScanPage<ScoredMember>>.zscan(Self.key, cursor, options)) { $0.member }
            }
        }

        private func read<E>(
            _ keyspace: inout Keyspace, _ command: Command<ScanPage<E>>, _ member: (E) -> Bytes
        ) throws -> (UInt64, [Bytes]) {
            let page = try command.output(of: keyspace.execute(command.operation))
            return (page.cursor, page.elements.map(member))
        }

        static let key = Key(raw: "scanned")
    }

    @Test(arguments: Scanned.allCases, 0..<10)
    func whatStaysIsReturnedWhileOthersComeAndGo(_ scanned: Scanned, _ seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        var keyspace = Keyspace(seed: seed)
        let staying = (0..<200).map { Bytes("stays:\($0)") }
        var passing = (0..<300).map { Bytes("goes:\($0)") }
        var nextName = 300
        for member in (staying + passing).shuffled(using: &random) { _ = keyspace.execute(scanned.add(member)) }
        var seen: Set<Bytes> = []
        var cursor: UInt64 = 0
        var pages = 0
        repeat {
            let (next, members) = try scanned.page(&keyspace, cursor, ScanOptions(count: Int.random(in: 1...30, using: &random)))
            seen.formUnion(members)
            cursor = next
            pages += 1
            for _ in 0..<Int.random(in: 0...20, using: &random) {
                if Bool.random(using: &random), !passing.isEmpty {
                    let gone = passing.remove(at: Int.random(in: passing.indices, using: &random))
                    _ = keyspace.execute(scanned.remove(gone))
                } else {
                    passing.append(Bytes("goes:\(nextName)"))
                    _ = keyspace.execute(scanned.add(Bytes("goes:\(nextName)")))
                    nextName += 1
                }
            }
        } while cursor != 0 && pages < 10_000
        #expect(cursor == 0)
        #expect(seen.isSuperset(of: staying))
    }

    @Test(arguments: Scanned.allCases) func aPatternSelectsAndAnUnknownCursorEnds(_ scanned: Scanned) throws {
        var keyspace = Keyspace(seed: 1)
        for member: Bytes in ["apple", "apricot", "bread"] { _ = keyspace.execute(scanned.add(member)) }
        let (end, found) = try scanned.page(&keyspace, 0, ScanOptions(match: "ap*", count: 100))
        #expect(end == 0 && Set(found) == ["apple", "apricot"])
        #expect(try scanned.page(&keyspace, .max, ScanOptions()) == (0, []))
    }

    @Test func aScanOfOneTypeShowsNoOthers() throws {
        var keyspace = Keyspace(seed: 1)
        _ = keyspace.execute(Scanned.keys.add("text"))
        _ = keyspace.execute(Scanned.set.add("member"))
        let (_, found) = try Scanned.keys.page(&keyspace, 0, ScanOptions(type: "set"))
        #expect(found == [Scanned.key.bytes])
    }
}
