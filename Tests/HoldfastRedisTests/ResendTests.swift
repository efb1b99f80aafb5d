import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// What is sent once more when its answer was lost: only what gives the same answer twice.
@Suite struct ResendTests {
    /// Closes the connection in place of the first answer to a command of this name; tells how often it came.
    private func calls(
        of operation: Operation, _ body: (RedisStore, Operation) async throws -> Void
    ) async throws -> Int {
        let (name, count) = ("\(operation.name)", Locked(0))
        let peer = try await ScriptedPeer.start { command in
            guard command[0] == name else { return "+OK\r\n" }
            let number = count.withLock { count in
                count += 1
                return count
            }
            return number == 1 ? nil : ":0\r\n"
        }
        let store = try RedisStore(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: peer.port)).patient)
        try await body(store, operation)
        await store.shutdown()
        try await peer.stop()
        return count.withLock { $0 }
    }

    private static let key = Key(raw: "k")

    @Test(
        arguments: [
            .keys(.del([key])), .keys(.unlink([key])), .keys(.persist(key)), .sets(.sadd(key, ["m"])), .sets(.srem(key, ["m"])),
            .sortedSets(.zrem(key, ["m"])), .lists(.lset(key, 0, "v")), .server(.flushdb), .strings(.incrby(key, 1)),
            .keys(.pexpireat(key, Timestamp(milliseconds: 1), .ifNone)), .raw(["DEL", "k"]), .raw(["SET", "k", "v"]),
        ] as [Operation])
    func whatMayBeAnsweredOtherwiseIsNotSentAgain(operation: Operation) async throws {
        let count = try await calls(of: operation) { (store, operation) async throws in
            let error = await #expect(throws: StoreError.self) { try await store.execute(operation) }
            #expect(error?.code == .connectionLost && error?.effect == .unknown, "\(error as Any)")
        }
        #expect(count == 1)
    }

    @Test(
        arguments: [
            .strings(.get(key)), .strings(.set(key, "v", SetOptions())), .raw(["MSET", "k", "v"]),
            .keys(.pexpireat(key, Timestamp(milliseconds: 1), nil)),
        ] as [Operation])
    func whatIsAnsweredTheSameIsSentAgain(operation: Operation) async throws {
        let count = try await calls(of: operation) { (store, operation) async throws in
            #expect(try await store.execute(operation) == .integer(0))
        }
        #expect(count == 2)
    }
}
