import HoldfastTesting
import Testing

@testable import HoldfastStore

/// What one command changes in a collection of any size can be read back, by us and by a Redis.
@Suite struct LargeEffectTests {
    private static let elements = (0..<3000).map { Bytes(Int64($0)) }
    private static let pairs = elements.flatMap { [$0, $0] }

    /// Keys that have many elements each.
    private static func filled() -> Keyspace {
        var keyspace = Keyspace(seed: 1)
        for command in [["SADD", "s"] + elements, ["ZADD", "z"] + pairs, ["HSET", "h"] + pairs] {
            _ = keyspace.execute(.raw(command))
        }
        return keyspace
    }

    @Test(arguments: [
        "SADD new *", "SREM s *", "SPOP s 2900", "SUNIONSTORE new s", "SINTERSTORE new s s", "SDIFFSTORE new s",
        "ZADD new **", "ZREM z *", "ZPOPMIN z 2900", "ZPOPMAX z 2900", "ZMPOP 1 z MIN COUNT 2900", "ZUNIONSTORE new 2 z s",
        "ZINTERSTORE new 2 z s", "ZDIFFSTORE new 1 z", "ZRANGESTORE new z 0 -1", "ZREMRANGEBYRANK z 0 2900",
        "HSET new **", "HMSET new **", "HDEL h *", "RPUSH new *", "LPUSH new *",
        "COPY z new", "RENAME z new", "MSET **", "DEL s z h *",
    ]) func theEffectsOfALargeChangeAreOfASizeThatEveryRedisTakes(_ line: String) {
        let change = line.split(separator: " ").flatMap {
            $0 == "*" ? Self.elements : $0 == "**" ? Self.pairs : [Bytes(String($0))]
        }
        var original = Self.filled()
        var copy = Self.filled()
        original.recordEffects()
        if case .error(let error) = original.execute(.raw(change)) { Issue.record("\(error)") }
        let effects = original.takeEffects()
        #expect(!effects.isEmpty)
        for effect in effects {
            // Of a hash and a sorted set each element is two arguments.
            #expect(effect.arguments.count <= 2 + 2 * 1024, "\(effect.name)")
            if case .error(let error) = copy.execute(effect) { Issue.record("\(effect.name): \(error)") }
        }
        #expect(Contents(copy) == Contents(original))
    }

    @Test func aLargeChangeIsOneTransactionOfTheJournal() async throws {
        let folder = SimulatedFolder()
        let store = try await EmbeddedStore.open(in: folder)
        _ = try await store(.sadd(Key(raw: "s"), Self.elements))
        try await store.close()
        let text = folder.text(of: SimulatedFolder.firstIncrement)
        #expect(text.hasPrefix(resp("MULTI")) && text.hasSuffix(resp("EXEC")))
        #expect(text.ranges(of: "SADD").count == 3)
    }

    /// A Redis writes as one command what its callers have sent as one, and its loader has no limit.
    @Test func aCommandOfMoreArgumentsThanAClientMaySendIsRead() throws {
        let count = 1024 * 1024 + 1
        let folder = SimulatedFolder()
        var text = Array("*\(count)\r\n$3\r\nDEL\r\n".utf8)
        for _ in 1..<count { text += "$1\r\nk\r\n".utf8 }
        folder.put(text, as: "commands")
        var reader = JournalReader(try folder.open("commands", .existing))
        guard case .command(let arguments, 0) = try reader.next() else {
            Issue.record("no command")
            return
        }
        #expect(arguments.count == count)
    }

    /// No length that fits into a file is a reason to refuse it; the strings of a key space are not bounded by what a client may send.
    @Test func aLongArgumentIsWaitedFor() throws {
        let folder = SimulatedFolder()
        folder.put(Array("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$600000000\r\nbegin".utf8), as: "commands")
        var reader = JournalReader(try folder.open("commands", .existing))
        let item = try reader.next()
        if case .torn(0) = item { return }
        Issue.record("not a torn end: \(item)")
    }
}
