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

    // MARK: - Several together

    private static let (counter, other) = (Key(raw: "counter"), Key(raw: "{counter}other"))
    private static let reset = Operation.strings(.set(counter, "0", SetOptions()))

    private static let batches: [(operations: [Operation], isRepeated: Bool)] = [
        ([.strings(.get(counter)), reset], false),
        ([.strings(.mget([other, counter])), .raw(["MSET", "counter", "0"])], false),
        ([.hashes(.hgetall(counter)), .keys(.pexpireat(counter, Timestamp(milliseconds: 1), nil))], false),
        ([.strings(.get(other)), .strings(.mget([counter]))], true),
        ([reset, .strings(.get(counter))], true),
        ([.strings(.get(other)), reset], true),
        ([reset, .raw(["SETEX", "counter", "10", "1"])], true),
    ]

    /// A peer that carries out a batch, or the first command of it, and closes the connection in place of the first answer to its last one;
    /// then tells how often the last one came.
    private func calls(
        of operations: [Operation], _ mode: Batch.Mode, onCluster: Bool
    ) async throws -> (count: Int, result: Result<[Reply], StoreError>) {
        let (last, count) = (mode == .transaction ? "EXEC" : operations[operations.count - 1].name, Locked(0))
        let script: ScriptedPeer.Script = { command in
            guard command[0] == last else { return "+OK\r\n" }
            let number = count.withLock { count in
                count += 1
                return count
            }
            guard number > 1 else { return nil }
            return mode == .transaction ? "*\(operations.count)\r\n" + operations.map { _ in ":0\r\n" }.joined() : ":0\r\n"
        }
        let cluster = try await ScriptedCluster.start([script, script])
        let alone = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: cluster.peers[0].port)).patient
        let store = try RedisStore(onCluster ? cluster.configuration() : alone)
        let result: Result<[Reply], StoreError>
        do throws(StoreError) {
            result = .success(try await store.execute(Batch(mode, operations)))
        } catch {
            result = .failure(error)
        }
        await store.shutdown()
        try await cluster.stop()
        return (count.withLock { $0 }, result)
    }

    /// Sent twice, the read would be answered what the batch itself had written.
    @Test(arguments: [false, true])
    func whatReadsAndThenWritesAKeyIsNotSentAgain(onCluster: Bool) async throws {
        for mode in [Batch.Mode.transaction, .pipeline] {
            for (operations, isRepeated) in Self.batches {
                let (count, result) = try await calls(of: operations, mode, onCluster: onCluster)
                #expect(count == (isRepeated ? 2 : 1), "\(mode) \(operations)")
                switch result {
                case .success: #expect(isRepeated, "\(mode) \(operations)")
                case .failure(let error):
                    #expect(!isRepeated && error.code == .connectionLost && error.effect == .unknown, "\(operations): \(error)")
                }
            }
        }
    }

    // MARK: - Answers to the repetition

    private static let failing = "-MISCONF Errors writing to the AOF file\r\n"

    /// A peer that carries out a batch and closes the connection in place of the first answer to its last command, where told to. From then
    /// on it cannot write: it answers `SET` so, or `EXEC`.
    private func failure(
        of mode: Batch.Mode, onCluster: Bool, isLost: Bool, set: String, exec: String
    ) async throws -> Result<[Reply], StoreError> {
        let (last, isFailing) = (mode == .transaction ? "EXEC" : "SET", Locked(!isLost))
        let script: ScriptedPeer.Script = { command in
            let wasFailing = isFailing.withLock { isFailing in
                defer { if command[0] == last { isFailing = true } }
                return isFailing
            }
            switch command[0] {
            case "SET" where wasFailing: return set
            case "EXEC" where wasFailing: return exec
            case last: return nil
            default: return "+OK\r\n"
            }
        }
        let cluster = try await ScriptedCluster.start([script])
        let alone = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: cluster.peers[0].port)).patient
        let store = try RedisStore(onCluster ? cluster.configuration() : alone)
        let result: Result<[Reply], StoreError>
        do throws(StoreError) {
            result = .success(try await store.execute(Batch(mode, [.strings(.get(Self.other)), Self.reset])))
        } catch {
            result = .failure(error)
        }
        await store.shutdown()
        try await cluster.stop()
        return result
    }

    /// The refusal speaks of the repetition only.
    @Test(arguments: [false, true])
    func aPipelineWhoseRepetitionIsRefusedMayHaveHappened(onCluster: Bool) async throws {
        let lost = try await failure(of: .pipeline, onCluster: onCluster, isLost: true, set: Self.failing, exec: "")
        guard case .failure(let error) = lost else {
            Issue.record("\(lost)")
            return
        }
        #expect(error.code == .storageFailed && error.effect == .unknown, "\(error)")
        let once = try await failure(of: .pipeline, onCluster: onCluster, isLost: false, set: Self.failing, exec: "")
        #expect(try once.get()[1].refusal?.prefix == "MISCONF", "one attempt, and its answers are the truth")
    }

    @Test(arguments: [false, true])
    func aTransactionWhoseRepetitionIsRefusedMayHaveHappened(onCluster: Bool) async throws {
        let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n"
        let refused = "-EXECABORT Transaction discarded because of: MISCONF Errors writing to the AOF file\r\n"
        for (set, exec, code) in [
            (Self.failing, aborted, .storageFailed), ("+QUEUED\r\n", refused, .commandFailed),
            ("+QUEUED\r\n", Self.failing, .storageFailed),
        ] as [(String, String, ErrorCode)] {
            for isLost in [true, false] {
                let result = try await failure(of: .transaction, onCluster: onCluster, isLost: isLost, set: set, exec: exec)
                guard case .failure(let error) = result else {
                    Issue.record("\(result)")
                    continue
                }
                #expect(error.code == code && error.effect == (isLost ? .unknown : .none), "\(error), lost: \(isLost)")
            }
        }
    }
}
