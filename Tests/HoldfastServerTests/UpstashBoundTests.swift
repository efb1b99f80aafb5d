import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

@testable import HoldfastServer

/// What one request may cost.
@Suite(.timeLimit(.minutes(5))) struct UpstashBoundTests {
    private func post(_ server: ServerUnderTest, _ path: String, _ commands: [[String]]) async throws -> ServerUnderTest.Reply {
        let rows = JSONValue.array(commands.map { .array($0.map { .string($0) }) })
        return try await server.send(.post, "/upstash\(path)", text: rows.answerBytes.lossyString)
    }

    private func post(_ server: ServerUnderTest, _ command: [String]) async throws -> ServerUnderTest.Reply {
        let words = JSONValue.array(command.map { .string($0) })
        return try await server.send(.post, "/upstash", text: words.answerBytes.lossyString)
    }

    /// A server with a value of 1 MiB, and a command whose reply is larger than all replies of a request may be.
    private func serverWithLargeReply(
        _ backend: Backend
    ) async throws -> (server: ServerUnderTest, read: [String], write: [String]) {
        let server = try await UpstashEndpointTests.server(backend)
        let value = String(repeating: "v", count: 1 << 20)
        #expect(try await server.send(.post, "/upstash/set/b", text: value).status == 200)
        return (server, ["MGET"] + [String](repeating: "b", count: 65), ["RPUSH", "l"] + [String](repeating: "", count: 10))
    }

    private static let line = "ERR max response size exceeded. Limit: 67108864 bytes"

    @Test(arguments: [Backend.embedded, .redis])
    func aReplyThatIsTooLargeIsToldSo(_ backend: Backend) async throws {
        let (server, read, _) = try await serverWithLargeReply(backend)
        let reply = try await post(server, read)
        #expect(reply.status == 400 && reply.text == #"{"error":"\#(Self.line)"}"#, "\(reply.text.prefix(200))")
    }

    @Test(arguments: [Backend.embedded, .redis])
    func aPipelineEndsWhereItsRepliesAreTooLarge(_ backend: Backend) async throws {
        let (server, read, _) = try await serverWithLargeReply(backend)
        let steps = [[String]](repeating: ["INCR", "n"], count: 100)
        let reply = try await post(server, "/pipeline", [["GET", "n"], read] + steps)
        #expect(reply.status == 200 && reply.text.utf8.count < 1 << 20)
        let replies = try #require(reply.json.array)
        try #require(replies.count == 102)
        #expect(replies[0] == ["result": .null] && replies[1] == ["error": .string(Self.line)])
        let lines = replies.map { $0["error"]?.string ?? "" }
        let done = lines.count { $0 == Self.line + " (it has been carried out)" }
        let undone = lines.count { $0 == Self.line + " (it has not been carried out)" }
        #expect(done == UpstashCaller.chunk - 2 && undone == 100 - done)
        #expect(try await post(server, ["GET", "n"]).text == #"{"result":"\#(done)"}"#)
    }

    @Test(arguments: [Backend.embedded, .redis])
    func aTransactionTellsWhatItHasDoneWithoutItsReplies(_ backend: Backend) async throws {
        let (server, read, write) = try await serverWithLargeReply(backend)
        let reply = try await post(server, "/multi-exec", [["INCR", "n"], read, ["GET", "n"], write])
        #expect(reply.status == 200)
        let replies = try #require(reply.json.array)
        try #require(replies.count == 4)
        #expect(replies[0] == ["result": 1])
        #expect(replies[1] == ["error": .string(Self.line)] && replies[2] == replies[1])
        #expect(replies[3] == ["error": .string(Self.line + " (it has been carried out)")])
        #expect(try await post(server, ["LLEN", "l"]).text == #"{"result":10}"#)
    }

    /// In this process everybody waits for the lock that a transaction holds.
    @Test func behindTooManyRepliesATransactionReadsNoMore() async throws {
        let (store, names) = (EmbeddedStore(), Namespace(prefix: "test:"))
        let (a, n) = (names.key("a").bytes, names.key("n").bytes)
        try await store(.set(names.key("a"), Bytes([UInt8](repeating: 1, count: 100))))
        var batch = Batch(
            .transaction, [.raw(["GET", a]), .raw(["GET", a]), .raw(["GET", a]), .raw(["INCR", n]), .raw(["GET", n])])
        batch.maximumReplyBytes = 200
        let refusal = Reply.error(.repliesTooLarge(200))
        let replies = try await store.execute(batch)
        try #require(replies.count == 5)
        #expect(replies[0].bytes?.count == 100 && replies[1].bytes?.count == 100)
        #expect(replies[2] == refusal && replies[3] == .integer(1) && replies[4] == refusal)
    }

    @Test(arguments: [Backend.embedded, .redis])
    func aTransactionThatIsTooLongIsRefusedAsAWhole(_ backend: Backend) async throws {
        let server = try await UpstashEndpointTests.server(backend)
        let steps = [[String]](repeating: ["INCR", "n"], count: UpstashCaller.maximumTransactionCommands)
        let many = try await post(server, "/multi-exec", steps + [["INCR", "n"]])
        #expect(many.status == 400 && many.text.contains("More than 10000 commands"), "\(many.text.prefix(200))")
        let draws = try await post(
            server, "/multi-exec", [["INCR", "n"], ["SRANDMEMBER", "s", "-60000"], ["SRANDMEMBER", "s", "-60000"]])
        #expect(draws.status == 400 && draws.text.contains("ERR value is out of range"), "\(draws.text.prefix(200))")
        #expect(try await post(server, ["GET", "n"]).text == #"{"result":null}"#)
        #expect(try await post(server, "/multi-exec", steps).status == 200)
    }

    @Test func nothingMoreIsSentForACallerThatHasLeft() async throws {
        let (embedded, batches) = (EmbeddedStore(), Locked(0))
        let store = InterceptedStore(embedded) { call in
            guard case .batch = call else { return }
            batches.withLock { $0 += 1 }
        }
        let names = Namespace(prefix: "test:")
        let caller = UpstashCaller(names, role: .operator, isServed: false, scripts: ScriptNames()) {
            batches.withLock { $0 } > 1
        }
        let commands = [[Bytes]](repeating: ["INCR", "n"], count: 1000)
        let error = await #expect(throws: StoreError.self) { try await caller.replies(to: commands, on: store) }
        #expect(error?.code == .cancelled && error?.effect == .unknown)
        #expect(try await embedded(.get(names.key("upstash:n"))) == Bytes(Int64(2 * UpstashCaller.chunk)))
    }

    @Test func fewCommandsOfAPipelineGoThroughAllKeys() async throws {
        let server = try await UpstashEndpointTests.server(.embedded)
        let replies = try #require(
            try await post(server, "/pipeline", [[String]](repeating: ["DBSIZE"], count: 11) + [["PING"]]).json.array)
        try #require(replies.count == 12)
        #expect(replies[0..<10].allSatisfy { $0 == ["result": 0] } && replies[11] == ["result": "PONG"])
        #expect(replies[10]["error"]?.string?.hasPrefix("ERR at most 10 of KEYS") == true)
    }

    @Test func noScanLooksAtAllKeysAtOnce() throws {
        let caller = UpstashCaller(Namespace(prefix: "test:"), role: .operator, isServed: false, scripts: ScriptNames())
        for (asked, sent) in [("1000000", "10000"), ("10001", "10000"), ("10", "10"), ("x", "x")] {
            guard case .send(let arguments, _) = caller.plan(["SCAN", "0", "count", Bytes(asked)]) else {
                Issue.record("a SCAN is one command")
                return
            }
            #expect(arguments.prefix(4) == ["SCAN", "0", "COUNT", Bytes(sent)])
        }
    }

    @Test(arguments: ["KEYS", "FLUSHDB"])
    func nothingGoesThroughAllKeysForACallerThatHasLeft(_ command: String) async throws {
        let (embedded, pages, names) = (EmbeddedStore(), Locked(0), Namespace(prefix: "test:"))
        _ = try await embedded.pipeline(
            (0..<5000).map { Command<Void>.set(names.key("upstash:\(Int64($0))"), "v", expiration: .after(.seconds(600))) })
        let store = InterceptedStore(embedded) { call in
            guard case .operation(let operation) = call, operation.name == "SCAN" else { return }
            pages.withLock { $0 += 1 }
        }
        let caller = UpstashCaller(names, role: .operator, isServed: false, scripts: ScriptNames()) {
            pages.withLock { $0 } > 1
        }
        let arguments = command == "KEYS" ? [Bytes("KEYS"), "*"] : [Bytes(command)]
        let error = await #expect(throws: StoreError.self) { try await caller.reply(to: arguments, on: store) }
        #expect(error?.code == .cancelled && error?.effect == (command == "KEYS" ? StoreError.Effect.none : .unknown))
        #expect(pages.withLock { $0 } == 2 && embedded.statistics.keys > 0)
    }

    @Test func aConnectionThatIsClosedEndsItsPipeline() async throws {
        let (isSlow, batches, count) = (Locked(true), Locked(0), 2000)
        let store = InterceptedStore(EmbeddedStore()) { call in
            guard case .batch = call else { return }
            batches.withLock { $0 += 1 }
            if isSlow.withLock({ $0 }) { try? await Task.sleep(for: .milliseconds(20)) }
        }
        try await LiveServer.serving(state: AgentState(failover: Failover(local: store))) { port async throws in
            let commands = [String](repeating: #"["INCR","n"]"#, count: count * UpstashCaller.chunk).joined(separator: ",")
            let connection = try await RawConnection.open(port: port)
            await connection.send(
                "POST /upstash/pipeline HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer \(LiveServer.key)\r\n"
                    + "Content-Length: \(commands.utf8.count + 2)\r\n\r\n[\(commands)]")
            try await eventually("the pipeline is under way") { batches.withLock { $0 } > 1 }
            await connection.close()
            try await eventually("the pipeline ends") {
                let before = batches.withLock { $0 }
                try await Task.sleep(for: .milliseconds(500))
                return batches.withLock { $0 } == before
            }
            isSlow.withLock { $0 = false }
            #expect(batches.withLock { $0 } < count)
        }
    }
}
