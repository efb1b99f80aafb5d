import HoldfastTesting
import Testing

@testable import HoldfastStore

#if canImport(Glibc)
    import Glibc
#endif

/// What a memory limit promises: accounted bytes stay within it, and what the process really needs within twice of it.
///
/// In a run of their own (`HOLDFAST_MEMORY_TESTS=1`, as `scripts/test` does): what other tests take meanwhile would count as theirs.
/// Not by exit tests, whose monitor spins for ever on the children that other tests start (Swift 6.3).
@Suite(.serialized, .enabled(if: getenv("HOLDFAST_MEMORY_TESTS") != nil, "scripts/test runs them alone"))
struct MemoryTests {
    /// Different ways to fill a key space, small and large parts.
    enum Shape: CaseIterable {
        case tinyStrings, largeStrings, smallHashes, largeHash, largeSet, smallSortedSets, largeSortedSet, largeList, smallLists

        /// The write of this number. Their keys and members are of the sizes that services use.
        func operation(_ number: Int) -> Operation {
            let name = Bytes("session:\(number)")
            func key(per count: Int) -> Key { Key(raw: Bytes("holdfast:thing:\(number / count)")) }
            let text = Bytes([UInt8](repeating: 120, count: self == .largeStrings ? 10_000 : 16))
            return switch self {
            case .tinyStrings, .largeStrings: .strings(.set(key(per: 1), text, SetOptions()))
            case .smallHashes: .hashes(.hset(key(per: 4), [HashField(name, text)]))
            case .largeHash: .hashes(.hset(key(per: .max), [HashField(name, text)]))
            case .largeSet: .sets(.sadd(key(per: .max), [name]))
            case .smallSortedSets:
                .sortedSets(.zadd(key(per: 4), [ScoredMember(name, Double(number))], ZAddOptions()))
            case .largeSortedSet:
                .sortedSets(.zadd(key(per: .max), [ScoredMember(name, Double(number &* 7919 % 100_003))], ZAddOptions()))
            case .largeList: .lists(.rpush(key(per: .max), [text]))
            case .smallLists: .lists(.rpush(key(per: 4), [text]))
            }
        }
    }

    #if os(Linux) && canImport(Glibc)
        @Test(arguments: Shape.allCases) func residentMemoryStaysWithinTwiceTheLimit(_ shape: Shape) throws {
            let limit = 12 << 20
            Self.giveBackFreeMemory()
            let before = try Self.residentBytes()
            var keyspace = Keyspace(limits: Keyspace.Limits(maximumBytes: limit), seed: 1)
            var number = 0
            while true {
                if case .error(let error) = keyspace.execute(shape.operation(number)) {
                    #expect(error == .outOfMemory)
                    break
                }
                number += 1
            }
            let grown = try Self.residentBytes() - before
            #expect(keyspace.usedBytes <= limit)
            #expect(keyspace.usedBytes > limit * 99 / 100 - 10_000)
            #expect(grown <= 2 * limit, "\(shape): \(number) writes, \(grown) bytes resident for \(keyspace.usedBytes) accounted")
        }

        @Test func residentMemoryStaysWithinTwiceTheLimitWhileEntriesComeAndGo() throws {
            let limit = 8 << 20
            Self.giveBackFreeMemory()
            let before = try Self.residentBytes()
            var keyspace = Keyspace(limits: Keyspace.Limits(maximumBytes: limit, policy: .allKeysLRU), seed: 2)
            var random = RandomSource(seed: 3)
            for number in 0..<25_000 {
                let value = Bytes([UInt8](repeating: 120, count: Int.random(in: 1...2000, using: &random)))
                let key = Key(raw: Bytes("cache:\(number)"))
                #expect(keyspace.execute(.strings(.set(key, value, SetOptions()))) == .ok)
                #expect(keyspace.usedBytes <= limit)
            }
            #expect(keyspace.evictedCount > 15_000)
            let grown = try Self.residentBytes() - before
            #expect(grown <= 2 * limit, "\(grown) bytes resident for \(keyspace.usedBytes) accounted")
        }

        /// `malloc_trim`, which the module map does not show: what other tests freed must not hide what this one takes.
        static func giveBackFreeMemory() {
            guard let symbol = dlsym(nil, "malloc_trim") else { return }
            _ = unsafeBitCast(symbol, to: (@convention(c) (Int) -> Int32).self)(0)
        }

        /// The second number of /proc/self/statm: resident pages.
        static func residentBytes() throws -> Int {
            let file = try #require(fopen("/proc/self/statm", "r"))
            defer { fclose(file) }
            var text = [CChar](repeating: 0, count: 128)
            let read = try #require(fgets(&text, Int32(text.count), file))
            let pages = try #require(String(cString: read).split(separator: " ").dropFirst().first.flatMap { Int($0) })
            return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
        }
    #endif
}
