import HoldfastStore
import NIOPosix
import TestServers
import Testing

@testable import HoldfastRedis

@Suite struct ExclusiveConnectionTests {
    private func connect(
        _ server: RedisProcess, change: (inout RedisConfiguration) -> Void = { _ in }
    ) throws -> RedisStore {
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath))
        configuration.commandTimeout = .seconds(60)
        change(&configuration)
        return try RedisStore(configuration)
    }

    private func failure<R>(_ body: () async throws -> R) async -> StoreError? {
        do {
            _ = try await body()
            return nil
        } catch {
            return error as? StoreError
        }
    }

    private let key = Key(raw: "stock")

    private func id(_ connection: some Store) async throws -> Int64? { try await connection(.raw("CLIENT", "ID")).integer }

    @Test func aTransactionIsRefusedWhereAWatchedKeyWasChanged() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        try await store(.set(key, "1"))
        let error = await failure {
            try await store.withConnection { connection in
                try await connection.watch(key)
                try await store(.set(key, "2"))
                _ = try await connection.transaction(.set(key, Bytes("3")), .incr(key))
            }
        }
        #expect(error?.code == .conflict)
        #expect(error?.effect == StoreError.Effect.none)
        #expect(try await store(.get(key)) == "2")
        let (_, count) = try await store.withConnection { connection in
            try await connection.watch(key)
            return try await connection.transaction(.get(key), .incr(key))
        }
        #expect(count == 3)
        await store.shutdown()
    }

    @Test func aCommandMayWaitLongerThanTheTimeoutAndOthersGoOn() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        let popped = Task { try await store.withConnection { try await $0(.raw(["BLPOP", "queue", "0"])) } }
        try await eventually("it waits on the server") {
            try await store(.raw("CLIENT", "LIST")).bytes?.lossyString.contains("cmd=blpop") ?? false
        }
        #expect(try await store(.rpush(Key(raw: "queue"), ["job"])) == 1)
        #expect(try await popped.value.list == ["queue", "job"])
        await store.shutdown()
    }

    /// Three timeouts of silence end a shared connection; here the server says nothing because it was asked to wait.
    @Test(arguments: ["0", "600"] as [Bytes])
    func aCommandMayWaitLongerThanAnySilenceOfASharedConnection(_ limit: Bytes) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server) { $0.commandTimeout = .milliseconds(200) }
        let popped = Task { try await store.withConnection { try await $0(.raw(["BLPOP", "queue", limit])) } }
        try await eventually("it does not wait for 2 s") {
            let list = try await server.ask("CLIENT", "LIST").bytes?.lossyString ?? ""
            guard let line = list.split(separator: "\n").first(where: { $0.contains("cmd=blpop") }) else { return false }
            return line.split(separator: " ").contains { $0.hasPrefix("idle=") && Int($0.dropFirst(5)) ?? 0 >= 2 }
        }
        #expect(try await server.ask("RPUSH", "queue", "job").integer == 1)
        #expect(try await popped.value.list == ["queue", "job"])
        await store.shutdown()
    }

    @Test func blockingTimesAreReadFromTheCommand() {
        func wait(_ words: Bytes...) -> UInt64 { BlockingCommands.wait(of: .raw(words)) }
        #expect(wait("BLPOP", "a", "b", "1.5") == 1_500_000_000)
        #expect(wait("blmpop", "2", "1", "a", "LEFT") == 2_000_000_000)
        #expect(wait("XREAD", "COUNT", "1", "BLOCK", "30", "STREAMS", "BLOCK", "0") == 30_000_000)
        #expect(wait("XREAD", "STREAMS", "BLOCK", "0") == 0)
        #expect(wait("XREADGROUP", "GROUP", "streams", "w", "BLOCK", "0", "STREAMS", "jobs", ">") == .max)
        #expect(wait("XREADGROUP", "GROUP", "g", "streams", "block", "30", "STREAMS", "jobs", ">") == 30_000_000)
        #expect(wait("XREADGROUP", "GROUP", "block", "30", "STREAMS", "jobs", ">") == 0)
        // A server reads words as C does, to their first zero byte.
        #expect(wait("XREAD", "BLOCK\0!", "30", "STREAMS", "s", "0") == 30_000_000)
        #expect(wait("WAIT", "1", "0") == .max)
        #expect(wait("BLPOP", "a", "nan") == 0)
        #expect(wait("BLPOP", "a", "1e300") == .max)
        #expect(wait("BLPOP", "a", "-1") == 0)
        #expect(wait("GET", "a") == 0)
    }

    @Test func aPipelineWaitsAsLongAsAllItsCommandsTogether() async throws {
        func wait(_ words: [Bytes]...) -> UInt64 { BlockingCommands.wait(of: words.map { .raw($0) }) }
        #expect(wait(["BLPOP", "a", "1"], ["GET", "a"], ["BLPOP", "b", "0.5"]) == 1_500_000_000)
        #expect(wait(["BLPOP", "a", "1"], ["BLPOP", "b", "0"], ["WAIT", "1", "30"]) == .max)
        #expect(wait() == 0)
        let server = try await RedisProcess.start()
        defer { server.stop() }
        // 5 s; with the longest of its waits alone it would time out after 4.
        let store = try connect(server) { $0.commandTimeout = .seconds(3) }
        try await store.withConnection { (connection) async throws in
            let pops = [Operation](repeating: .raw(["BLPOP", "queue", "1"]), count: 5)
            #expect(try await connection.execute(Batch(.pipeline, pops)) == [Reply](repeating: .null, count: 5))
        }
        await store.shutdown()
    }

    /// Known of other clients: the pop that nobody waits for any more takes the job that comes next.
    @Test(arguments: [ErrorCode.cancelled, .deadlineExceeded])
    func aBlockingPopThatIsGivenUpTakesNothing(_ end: ErrorCode) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        func blocked() async throws -> Bool {
            try await store(.raw("CLIENT", "LIST")).bytes?.lossyString.contains("cmd=blpop") ?? false
        }
        let context = CallContext(deadline: end == .deadlineExceeded ? SystemTime.system.uptime + .seconds(2) : nil)
        let popping = Task {
            try await store.withConnection { connection in
                try await context.run { () throws(StoreError) in try await connection(.raw("BLPOP", "queue", "0")) }
            }
        }
        try await eventually("it waits on the server") { try await blocked() }
        if end == .cancelled { popping.cancel() }
        let error = await failure { try await popping.value }
        #expect(error?.code == end)
        #expect(error?.effect == .unknown)
        try await eventually("the server has forgotten it") { try await !blocked() }
        #expect(try await store(.rpush(Key(raw: "queue"), ["job"])) == 1)
        #expect(try await store(.llen(Key(raw: "queue"))) == 1)
        await store.shutdown()
    }

    @Test func connectionsAreKeptAndThoseThatWereChangedAreNot() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        let first = try await store.withConnection { try await id($0) }
        #expect(try await store.withConnection { try await id($0) } == first)
        #expect(store.poolCounts.idle == 1)
        for word in [["SELECT", "1"], ["WATCH", "a"], ["MULTI"], ["CLIENT", "SETNAME", "x"]] as [[Bytes]] {
            try await store.withConnection { connection in _ = try await connection(.raw(word)) }
            #expect(store.poolCounts.idle == 0, "after \(word)")
        }
        try await store.withConnection { connection in
            _ = try await connection(.raw("WATCH", "a"))
            _ = try await connection(.raw("UNWATCH"))
        }
        #expect(store.poolCounts.idle == 1)
        await store.shutdown()
    }

    /// What would have ended the transaction, or the watching, was refused here, because its caller had gone.
    @Test(arguments: ["DISCARD", "EXEC", "UNWATCH", "pipeline", "transaction"])
    func whatWasNotSentEndsNothing(_ end: String) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        let beginsTransaction = ["DISCARD", "EXEC", "pipeline"].contains(end)
        let error = try await Task {
            try await store.withConnection { connection in
                try await connection.watch(key)
                if beginsTransaction { #expect(try await connection(.raw("MULTI")) == .ok) }
                withUnsafeCurrentTask { $0?.cancel() }
                return await failure {
                    switch end {
                    case "pipeline": _ = try await connection.execute(Batch(.pipeline, [.raw(["EXEC"]), .raw(["PING"])]))
                    case "transaction": _ = try await connection.transaction(.get(key), .incr(key))
                    default: _ = try await connection.execute(.raw([Bytes(end)]))
                    }
                }
            }
        }.value
        #expect(error?.code == .cancelled)
        #expect(store.poolCounts.idle == 0, "it is kept for others")
        try await store.withConnection { connection in
            #expect(try await connection(.raw("GET", key.bytes)) == .null)
            try await store(.set(key, "1"))
            let (_, count) = try await connection.transaction(.get(key), .incr(key))
            #expect(count == 2)
        }
        await store.shutdown()
    }

    @Test func whatWasAnsweredEndsWhatItEnds() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        let multi: [[Bytes]] = [["WATCH", "k"], ["MULTI"]]
        let endings: [(words: [[Bytes]], isKept: Bool)] = [
            (multi + [["SET", "k", "v"], ["EXEC"]], true), (multi + [["DISCARD"]], true),
            // Refused while it is queued: EXEC answers that it has discarded all.
            (multi + [["NOSUCHCOMMAND"], ["EXEC"]], true), ([["WATCH", "k"], ["UNWATCH"]], true),
            // These are only queued, or refused.
            (multi + [["UNWATCH"]], false), (multi + [["DISCARD"], ["WATCH", "k"]], false), ([["WATCH", "k"], ["EXEC"]], false),
            ([["WATCH", "k"], ["DISCARD"]], false),
        ]
        for (words, isKept) in endings {
            for isPipeline in [false, true] {
                try await store.withConnection { connection in
                    if isPipeline {
                        _ = try await connection.execute(Batch(.pipeline, words.map { .raw($0) }))
                    } else {
                        for word in words { _ = try await connection.execute(.raw(word)) }
                    }
                }
                #expect((store.poolCounts.idle == 1) == isKept, "\(words)")
            }
        }
        await store.shutdown()
    }

    /// They were made with the credentials of before.
    @Test func afterReauthenticationNoneOfThoseThatExistIsKept() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        try await store.withConnection { connection in
            let taken = try await id(connection)
            let idle = try await store.withConnection { try await id($0) }
            #expect(store.poolCounts.idle == 1)
            try await store.reauthenticate()
            #expect(store.poolCounts.idle == 0)
            #expect(try await id(connection) == taken, "its caller goes on")
            let new = try await store.withConnection { try await id($0) }
            #expect(new != idle && new != taken)
            #expect(store.poolCounts.idle == 1)
        }
        #expect(store.poolCounts.idle == 1, "it is kept")
        await store.shutdown()
    }

    @Test func whatWouldMakeOthersWaitIsKnownWhateverGroupsAreCalled() {
        func waits(_ words: Bytes...) -> Bool { SharedCommands.fault(of: words) == .waits }
        #expect(waits("XREADGROUP", "GROUP", "streams", "w", "BLOCK", "0", "STREAMS", "jobs", ">"))
        #expect(waits("xreadgroup", "group", "g", "streams", "count", "1", "block", "0", "streams", "jobs", ">"))
        #expect(waits("XREAD", "COUNT", "1", "BLOCK\0!", "0", "STREAMS", "jobs", "$"))
        #expect(!waits("XREADGROUP", "GROUP", "block", "block", "NOACK", "STREAMS", "jobs", ">"))
        #expect(!waits("XREAD", "COUNT", "1", "STREAMS", "block", "0"))
    }

    @Test func whatCannotBeAnsweredByOneReplyIsRefusedHereToo() async throws {
        let store = try await Backend.redis.store() as? RedisStore
        for command in [["SUBSCRIBE", "a"], ["MONITOR"], ["CLIENT", "REPLY", "OFF"], [""]] as [[Bytes]] {
            let error = await failure { try await store?.withConnection { try await $0(.raw(command)) } }
            #expect(error?.code == .invalidArgument, "\(command)")
        }
        var kept: RedisConnection?
        try await store?.withConnection { connection in kept = connection }
        let late = await failure { try await kept?(.ping) }
        #expect(late?.code == .invalidArgument)
    }

    @Test func aLostConnectionIsNotMadeAgainBehindItsCaller() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        try await store.withConnection { connection in
            try await connection.watch(key)
            let lost = try await id(connection)
            _ = try await store(.raw("CLIENT", "KILL", "ID", Bytes(lost ?? 0)))
            try await eventually("it is seen") { !connection.base.isUsable }
            let error = await failure { try await connection(.get(key)) }
            #expect(error?.code == .connectionLost)
            #expect(error?.effect == StoreError.Effect.none)
        }
        #expect(try await store.withConnection { try await id($0) } != nil)
        await store.shutdown()
    }

    @Test func oneThatCouldNotBeMadeIsNotTriedAgainBehindItsCaller() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        server.kill()
        try await store.withConnection { connection in
            let first = await failure { try await connection(.get(key)) }
            #expect(first?.code == .connectionFailed && first?.effect == StoreError.Effect.none, "\(first as Any)")
            try await server.restart()
            for _ in 0..<2 {
                let later = await failure { try await connection(.get(key)) }
                #expect(later?.code == .connectionLost && later?.effect == StoreError.Effect.none, "\(later as Any)")
            }
        }
        #expect(store.poolCounts.idle == 0)
        await store.shutdown()
    }

    /// Another server was found while the connection was being made, and it leads there; then the attempt of before fails.
    @Test func anAttemptThatDoesNotCountAnyMoreEndsNothing() async throws {
        let path = try await SharedRedis.server().socketPath
        let (released, release) = AsyncStream.makeStream(of: Void.self)
        let (asked, hasFailed) = (Locked(0), Locked(false))
        let connector = try Connector(
            RedisConfiguration().patient,
            to: .found { () async throws(StoreError) -> ServerAddress in
                let number = asked.withLock { asked in
                    asked += 1
                    return asked
                }
                guard number == 1 else { return .unixSocket(path: path) }
                for await _ in released {}
                hasFailed.withLock { $0 = true }
                throw StoreError(.connectionFailed)
            })
        let connection = Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next(), isExclusive: true)
        let call = Task { await connection.one { $0.command(["PING"]) } }
        try await eventually("it is being made") { asked.withLock { $0 } == 1 }
        connection.renew(isGraceful: true)
        #expect(try await call.value.get() == .status("PONG"))
        release.finish()
        try await eventually("the first attempt has failed") { hasFailed.withLock { $0 } }
        // It is told of on the event loop, by which each of these is answered.
        for _ in 0..<1000 { #expect(try await connection.one { $0.command(["PING"]) }.get() == .status("PONG")) }
        await connection.close()
    }

    @Test func manyCallersShareFewConnectionsAndAllHaveTheirTurn() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server) { $0.maximumConnections = 3 }
        let identities = try await withThrowingTaskGroup(of: Int64?.self) { group in
            for _ in 0..<100 {
                group.addTask {
                    try await store.withConnection { connection in
                        try await connection.watch(key)
                        _ = try await connection.transaction(.ping, .ping)
                        return try await id(connection)
                    }
                }
            }
            return try await group.reduce(into: Set<Int64?>()) { $0.insert($1) }
        }
        #expect(identities.count <= 3)
        #expect(!identities.contains(nil))
        #expect(store.poolCounts.leased == 0)
        await store.shutdown()
    }

    @Test func whoWaitsInVainIsToldSoAndTheOthersAreServed() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server) { $0.maximumConnections = 1 }
        let (entered, enter) = AsyncStream.makeStream(of: Void.self)
        let (released, release) = AsyncStream.makeStream(of: Void.self)
        let holder = Task {
            try await store.withConnection { _ in
                enter.finish()
                for await _ in released {}
            }
        }
        for await _ in entered {}
        let cancelled = Task { try await store.withConnection { try await $0(.ping) } }
        try await eventually("it waits") { store.poolCounts.waiting == 1 }
        cancelled.cancel()
        #expect(await failure { try await cancelled.value }?.code == .cancelled)
        var context = CallContext()
        context.deadline = SystemTime().uptime + .milliseconds(20)
        let late = await failure {
            try await context.run { () async throws(StoreError) in
                do { try await store.withConnection { try await $0(.ping) } } catch {
                    throw error as? StoreError ?? StoreError(.internalError)
                }
            }
        }
        #expect(late?.code == .deadlineExceeded)
        let patient = Task { try await store.withConnection { try await $0(.ping) } }
        try await eventually("it waits") { store.poolCounts.waiting == 1 }
        release.finish()
        try await holder.value
        try await patient.value
        await store.shutdown()
    }

    @Test func connectionsThatNobodyUsesAreClosedInTime() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server) { $0.idleTimeout = .milliseconds(50) }
        try await store.withConnection { try await $0(.ping) }
        try await eventually("it is closed") { store.poolCounts.idle == 0 }
        try await eventually("the server sees it") {
            try await store(.raw("CLIENT", "LIST")).bytes?.lossyString.split(separator: "\n").count == 1
        }
        await store.shutdown()
    }

    /// The pool asks those that idle whether their server is there, here all the time, and many, so that each round takes long. Whoever takes one
    /// meanwhile has it for himself: one more command in his transaction would be one more answer.
    @Test func nobodyIsAskedForASignOfLifeInAnothersTransaction() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let count = 64
        let store = try connect(server) { configuration in
            configuration.keepAlive = .milliseconds(1)
            configuration.maximumConnections = count
        }
        // All are taken at once, so that all idle afterwards.
        let isReleased = Locked(false)
        let holders = (0..<count).map { _ in
            Task {
                try await store.withConnection { connection in
                    try await connection(.ping)
                    try await eventually("it is released") { isReleased.withLock { $0 } }
                }
            }
        }
        try await eventually("all are taken") { store.poolCounts.leased == count }
        isReleased.withLock { $0 = true }
        for holder in holders { try await holder.value }
        #expect(store.poolCounts.idle == count)
        for _ in 0..<500 {
            try await store.withConnection { connection in
                #expect(try await connection(.raw("MULTI")) == .ok)
                for _ in 0..<4 { #expect(try await connection(.raw("ECHO", "word")) == .status("QUEUED")) }
                let results = try await connection(.raw("EXEC")).elements
                #expect(results == [Reply](repeating: .bytes("word"), count: 4))
            }
        }
        await store.shutdown()
    }

    @Test func aKeptConnectionWhoseServerFellSilentIsFoundOut() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server) { configuration in
            configuration.keepAlive = .milliseconds(20)
            configuration.commandTimeout = .milliseconds(300)
        }
        var first: Connection?
        try await eventually("one is kept") {
            await failure {
                try await store.withConnection { connection in
                    first = connection.base
                    try await connection(.ping)
                }
            } == nil
        }
        server.pause()
        try await eventually("its ping stays without answer") { first?.isUsable == false }
        server.resume()
        try await eventually("a new one serves") {
            await failure { try await store.withConnection { try await $0(.ping) } } == nil
        }
        await store.shutdown()
    }
}
