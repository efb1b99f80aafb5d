import HoldfastStore
import HoldfastTesting
import Testing

/// One short command on a small key must not fill the memory of this process.
@Suite struct DrawTests {
    let store = EmbeddedStore()
    let names = Namespace(prefix: "draw:")

    private func commands(_ count: Int, hash: Key, set: Key, sortedSet: Key) -> [Command<[Bytes]>] {
        [.hrandfield(hash, count: count), .srandmember(set, count: count), .zrandmember(sortedSet, count: count)]
    }

    @Test func drawsWithRepetitionAreBounded() async throws {
        let (hash, set, sortedSet) = (names.key("hash"), names.key("set"), names.key("sortedSet"))
        for _ in 0...1 {
            for count in [-16_000_000, -100_001, -.max] {
                for command in commands(count, hash: hash, set: set, sortedSet: sortedSet) {
                    let error = await #expect(throws: StoreError.self) { try await store(command) }
                    #expect(error?.code == .commandFailed)
                    #expect(error?.description.contains("ERR value is out of range") == true)
                }
            }
            // The second time there are keys to draw from.
            _ = try await store(.hset(hash, "f", "v"))
            _ = try await store(.sadd(set, "m"))
            _ = try await store(.zadd(sortedSet, "m", 1))
        }
        for command in commands(-100_000, hash: hash, set: set, sortedSet: sortedSet) {
            #expect(try await store(command).count == 100_000)
        }
        for command in commands(.max, hash: hash, set: set, sortedSet: sortedSet) { #expect(try await store(command).count == 1) }
    }

    @Test func whatIsDrawnIsBoundedInBytes() async throws {
        let key = names.key("large")
        _ = try await store(.sadd(key, Bytes([UInt8](repeating: 1, count: 1 << 20))))
        #expect(try await store(.srandmember(key, count: -64)).count == 64)
        let error = await #expect(throws: StoreError.self) { try await store(.srandmember(key, count: -65)) }
        #expect(error?.code == .commandFailed)
    }
}
