import HoldfastTesting
import Testing

@testable import HoldfastStore

/// An entry whose time has come is never seen, whether or not its memory has been given back.
@Suite struct ExpiryTests {
    private let key = Key(raw: "k")

    private func keyspace(at milliseconds: Int64 = 1000) -> Keyspace {
        var keyspace = Keyspace(seed: 1)
        keyspace.advance(to: Timestamp(milliseconds: milliseconds))
        return keyspace
    }

    private func run(_ keyspace: inout Keyspace, _ line: String) throws -> Reply {
        keyspace.execute(try WireTests.parse(line))
    }

    @Test func anEntryEndsAtItsMillisecond() throws {
        var keyspace = keyspace()
        _ = try run(&keyspace, "SET k v PX 5")
        keyspace.advance(to: Timestamp(milliseconds: 1004))
        #expect(try run(&keyspace, "PTTL k") == .integer(1))
        #expect(try run(&keyspace, "GET k") == .bytes("v"))
        keyspace.advance(to: Timestamp(milliseconds: 1005))
        #expect(try run(&keyspace, "GET k") == .null)
        #expect(try run(&keyspace, "PTTL k") == .integer(-2))
    }

    /// The wall clock was an hour ahead, and is set right: time goes on from there, also for what was written before.
    @Test func aClockThatIsSetBackIsFollowed() throws {
        var keyspace = keyspace(at: 3_601_000)
        _ = try run(&keyspace, "SET before v PX 500")
        keyspace.advance(to: Timestamp(milliseconds: 1000))
        _ = try run(&keyspace, "SET k v PX 5")
        #expect(keyspace.nextExpiry == Timestamp(milliseconds: 1005))
        keyspace.advance(to: Timestamp(milliseconds: 1005))
        #expect(try run(&keyspace, "GET k") == .null)
        #expect(try run(&keyspace, "PTTL before") == .integer(3_600_495))
        keyspace.advance(to: Timestamp(milliseconds: 3_601_500))
        #expect(keyspace.removeExpired(limit: 10) == 1 && keyspace.count == 0)
        keyspace.checkInvariants()
    }

    /// Callers read the clock, and then come in another order.
    @Test func whoWasOvertakenTurnsNoClockBack() {
        var keyspace = keyspace(at: 5000)
        keyspace.advance(to: Timestamp(milliseconds: 4000))
        #expect(keyspace.now == Timestamp(milliseconds: 5000))
        keyspace.advance(to: Timestamp(milliseconds: 3999))
        #expect(keyspace.now == Timestamp(milliseconds: 3999))
    }

    /// Each family's first look at an expired entry finds nothing, and writes begin anew without its expiry.
    @Test(arguments: [
        ("SET k v", "APPEND k x", Reply.integer(1)), ("RPUSH k a b", "RPUSH k x", .integer(1)),
        ("SADD k a b", "SADD k x", .integer(1)), ("HSET k a 1", "HINCRBY k a 5", .integer(5)),
        ("ZADD k 1 a", "ZINCRBY k 5 a", .double(5)), ("SET k 7", "INCR k", .integer(1)),
        ("SADD k a", "SETNX k v", .integer(1)), ("SADD k a", "SUNIONSTORE k k", .integer(0)),
        ("SET k v", "RENAMENX other k", .integer(1)), ("SET k v", "DEL k", .integer(0)), ("SET k v", "TYPE k", .status("none")),
        ("SET k v", "PERSIST k", .integer(0)), ("SET k v", "EXPIRE k 100", .integer(0)),
        ("RPUSH k a", "LMOVE k k LEFT LEFT", .null),
    ]) func anExpiredEntryIsAsIfItHadNeverBeen(_ before: String, _ line: String, _ reply: Reply) throws {
        var keyspace = keyspace()
        _ = try run(&keyspace, "SET other o")
        _ = try run(&keyspace, before)
        _ = try run(&keyspace, "PEXPIRE k 10")
        keyspace.advance(to: Timestamp(milliseconds: 1010))
        #expect(try run(&keyspace, line) == reply)
        if keyspace.exists(key) { #expect(keyspace.expiry(of: key) == .some(nil)) }
        keyspace.checkInvariants()
    }

    @Test func theMemoryOfExpiredEntriesIsGivenBackInBites() throws {
        var keyspace = keyspace()
        for number in 0..<100 { _ = try run(&keyspace, "SET k\(number) v PX \(number + 1)") }
        _ = try run(&keyspace, "SET stays v")
        #expect(keyspace.nextExpiry == Timestamp(milliseconds: 1001))
        keyspace.advance(to: Timestamp(milliseconds: 1050))
        #expect(keyspace.removeExpired(limit: 20) == 20)
        #expect(keyspace.count == 81)
        #expect(keyspace.removeExpired(limit: 200) == 30)
        #expect(keyspace.removeExpired(limit: 200) == 0)
        #expect(keyspace.expiredCount == 50)
        keyspace.checkInvariants()
    }

    @Test func theStoreGivesMemoryBackByItself() async throws {
        let time = ManualTime()
        let store = EmbeddedStore(time: time)
        for number in 0..<500 {
            try await store(.set(Key(raw: Bytes("k\(number)")), "v", expiration: .after(.seconds(1))))
        }
        let sweeping = Task { try await store.removeExpiredEntries() }
        while time.sleeperCount == 0 { await Task.yield() }
        time.advance(by: .seconds(2))
        while store.statistics.keys > 0 { await Task.yield() }
        #expect(store.statistics.usedBytes == 0)
        #expect(store.statistics.expired == 500)
        sweeping.cancel()
        _ = await sweeping.result
    }

    @Test func writesInPlaceKeepTheExpiryAndReplacementsEndIt() throws {
        var keyspace = keyspace()
        for line in ["SET s 1", "HSET h a 1", "RPUSH l a", "SADD m a", "ZADD z 1 a"] { _ = try run(&keyspace, line) }
        for name in ["s", "h", "l", "m", "z"] { _ = try run(&keyspace, "PEXPIREAT \(name) 5000") }
        for line in ["INCR s", "HSET h b 2", "LSET l 0 b", "SADD m b", "ZADD z 2 b", "LMOVE l l LEFT RIGHT"] {
            _ = try run(&keyspace, line)
        }
        for name in ["s", "h", "l", "m", "z"] { #expect(try run(&keyspace, "PEXPIRETIME \(name)") == .integer(5000)) }
        for line in ["SET s 2", "SUNIONSTORE m m", "ZUNIONSTORE z 1 z"] { _ = try run(&keyspace, line) }
        for name in ["s", "m", "z"] { #expect(try run(&keyspace, "PTTL \(name)") == .integer(-1)) }
    }

    @Test func aCollectionThatBecameEmptyLeavesNoExpiryBehind() throws {
        var keyspace = keyspace()
        for (fill, drain) in [
            ("SADD k a", "SREM k a"), ("HSET k a 1", "HDEL k a"), ("RPUSH k a", "LPOP k"), ("ZADD k 1 a", "ZPOPMIN k"),
        ] {
            _ = try run(&keyspace, fill)
            _ = try run(&keyspace, "PEXPIRE k 100")
            _ = try run(&keyspace, drain)
            #expect(keyspace.count == 0 && keyspace.usedBytes == 0 && keyspace.nextExpiry == nil)
            _ = try run(&keyspace, fill)
            #expect(try run(&keyspace, "PTTL k") == .integer(-1))
            _ = try run(&keyspace, "DEL k")
        }
    }
}
