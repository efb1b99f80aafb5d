import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// That a failure of effect `none` is the truth of the whole call, not of its last part.
@Suite struct EffectTests {
    private static let script = Script("test.effect", version: 1, isIdempotent: true, lua: "return 1") { _, _, _, _ in .integer(1)
    }

    // MARK: - Several nodes

    @Test(arguments: ["it cannot be reached", "-NOPERM may not\r\n"])
    func whatOneNodeHasDoneIsNotDeniedWhereAnotherFails(failure: String) async throws {
        let refuses = failure.hasPrefix("-")
        let cluster = try await ScriptedCluster.start(
            greetings: ["+OK\r\n", refuses ? "+OK\r\n" : "-WRONGPASS wrong\r\n"],
            [
                { command in ["DBSIZE", "UNLINK"].contains(command[0]) ? ":1\r\n" : "+OK\r\n" },
                { _ in failure },
            ])
        let store = try RedisStore(cluster.configuration())
        let keys = (0..<8).map { Key(raw: Bytes("key-\($0)")) }
        try #require(Set(keys.map { ClusterSlot.of($0) < ClusterSlot.count / 2 }).count == 2)
        for (name, call) in [
            ("FLUSHALL", { _ = try await store.execute(.raw(["FLUSHALL"])) }),
            ("UNLINK", { _ = try await store(.unlink(keys)) }),
            ("pipeline", { _ = try await store.execute(Batch(.pipeline, [.raw(["SCRIPT", "FLUSH"]), .raw(["DBSIZE"])])) }),
        ] as [(String, () async throws -> Void)] {
            let error = await #expect(throws: StoreError.self, "\(name)") { try await call() }
            #expect(error?.code == (refuses ? .permissionMissing : .serverRefused), "\(name): \(error as Any)")
            #expect(error?.effect == .unknown, "\(name): \(error as Any)")
        }
        let read = await #expect(throws: StoreError.self) { try await store(.dbsize) }
        #expect(read?.effect == StoreError.Effect.none, "a read changes nothing anywhere")
        await store.shutdown()
        try await cluster.stop()
    }

    @Test func whatNoNodeHasDoneIsSaidToBeSo() async throws {
        let cluster = try await ScriptedCluster.start([{ _ in "-NOPERM may not\r\n" }, { _ in "-NOPERM may not\r\n" }])
        let store = try RedisStore(cluster.configuration())
        #expect(try await store.execute(.raw(["FLUSHALL"])) == .error(ReplyError("NOPERM may not")))
        await store.shutdown()
        try await cluster.stop()
    }

    /// The node of all keys is away. The other one, which knows who serves what, answers or does not.
    @Test(arguments: [false, true]) func aPipelineOfWhichNothingWasSentIsSaidToBeSo(isSilent: Bool) async throws {
        let silent = Locked<Set<Int>>([])
        let cluster = try await ScriptedCluster.start(silent: silent, [{ _ in "+OK\r\n" }, { _ in ":1\r\n" }])
        cluster.table.withLock { $0 = [(0...16383, 1)] }
        try await cluster.peers[1].stop()
        var configuration = cluster.configuration { $0.refreshInterval = .seconds(3600) }
        configuration.commandTimeout = .milliseconds(300)
        let store = try RedisStore(configuration)
        guard case .cluster(let nodes) = store.topology else { return }
        try await eventually("the slot table is there") {
            _ = await nodes.refresh()
            return nodes.hasMap()
        }
        if isSilent { silent.withLock { $0 = [0] } }
        let operations = [Operation.raw(["INCR", "a"]), .raw(["INCR", "b"])]
        let error = await #expect(throws: StoreError.self) { try await store.execute(Batch(.pipeline, operations)) }
        #expect(error?.isServerFailure == true && error?.effect == StoreError.Effect.none, "\(error as Any)")
        let cancelled = await Task { () -> StoreError? in
            withUnsafeCurrentTask { $0?.cancel() }
            return await #expect(throws: StoreError.self) { try await store.execute(Batch(.pipeline, operations)) }
        }.value
        #expect(cancelled?.code == .cancelled && cancelled?.effect == StoreError.Effect.none, "\(cancelled as Any)")
        await store.shutdown()
        try await cluster.peers[0].stop()
    }

    // MARK: - EVALSHA, then EVAL

    /// Loses the answer to the first EVALSHA where told to, then does not know the script, then refuses it.
    private func forgetful(losing: Bool) -> ScriptedPeer.Script {
        let isLost = Locked(!losing)
        return { command in
            switch command[0] {
            case "EVALSHA":
                let wasLost = isLost.withLock { isLost in
                    defer { isLost = true }
                    return isLost
                }
                return wasLost ? "-NOSCRIPT No matching script\r\n" : nil
            default: return "-OOM command not allowed\r\n"
            }
        }
    }

    @Test(arguments: [true, false]) func aScriptWhoseFirstReplyWasLostMayHaveRun(isLost: Bool) async throws {
        let peer = try await ScriptedPeer.start(forgetful(losing: isLost))
        let store = try RedisStore(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: peer.port)).patient)
        try await expect(store, isLost ? .unknown : .none)
        try await peer.stop()
    }

    @Test(arguments: [true, false]) func soItIsOnACluster(isLost: Bool) async throws {
        let cluster = try await ScriptedCluster.start([forgetful(losing: isLost)])
        let store = try RedisStore(cluster.configuration())
        try await expect(store, isLost ? .unknown : .none)
        try await cluster.stop()
    }

    private func expect(_ store: RedisStore, _ effect: StoreError.Effect) async throws {
        let procedure = Procedure(Self.script, keys: [Key(raw: "k")], arguments: []) { $0.integer }
        let error = await #expect(throws: StoreError.self) { try await store.run(procedure) }
        #expect(error?.code == .outOfMemory, "\(error as Any)")
        #expect(error?.effect == effect, "\(error as Any)")
        await store.shutdown()
    }
}
