import Foundation
import Holdfast
import HoldfastStore
import TestServers
import Testing

/// `holdfast outbox` against a running `holdfast serve`, whose Redis was out of reach and answers with an error what waited for it.
@Suite struct CommandLineOutboxTests {
    /// A `serve` in an outage, and what lies behind the network that is at fault.
    private struct Outage {
        let holdfast: CommandLineProgram
        let url: String
        let redis: RedisProcess
        let proxy: FaultProxy

        func outbox(_ arguments: String..., key: String = "root") async throws -> CommandLineProgram.Result {
            try await holdfast.run(["outbox"] + arguments + ["--url", url, "--api-key", key], environment: [:])
        }

        /// One request to the API.
        func send(_ method: String, _ path: String, _ body: JSONValue = .null) async throws -> RawAnswer {
            let text = body.isNull ? "" : body.encoded()?.lossyString ?? ""
            let connection = try await RawConnection.open(port: try #require(url.split(separator: ":").last.flatMap { Int($0) }))
            await connection.send(
                "\(method) /api/v1/\(path) HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer root\r\nConnection: close\r\n"
                    + "Content-Type: application/json\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)")
            try await connection.wait()
            let answer = RawAnswer.all(in: connection.received).last
            await connection.close()
            return try #require(answer)
        }

        func key(of session: String) -> Bytes { Bytes("holdfast:session:\(session)") }

        /// How many entries the server has carried out, as the program tells it.
        func handedOver() async throws -> Int64 {
            let page = JSONValue(json: try await outbox("--json").output.utf8)
            return try #require(page?["status"]?["handed_over"]?.integer)
        }

        /// The dead letters' numbers, once there are so many and nothing waits any more.
        func letters(_ count: Int) async throws -> [Int64] {
            var numbers: [Int64] = []
            try await eventually("\(count) dead letters") {
                let page = JSONValue(json: try await outbox("dead", "--json").output.utf8)?["dead_letters"]?.array ?? []
                numbers = page.compactMap { $0["number"]?.integer }
                let waiting = JSONValue(json: try await outbox("--json").output.utf8)?["status"]?["backlog"]
                return numbers.count == count && waiting == 0
            }
            return numbers
        }
    }

    /// Sessions are changed while the server is out of reach, and something else is written in their places meanwhile: what is handed over
    /// is answered with an error.
    private func withDeadLetters(
        _ count: Int, _ body: (_ outage: Outage, _ sessions: [String]) async throws -> Void
    ) async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let proxy = try await FaultProxy.start(to: redis.port)
        let environment = [
            "REDIS_URL": "redis://127.0.0.1:\(proxy.port)",
            "HOLDFAST_API_KEYS": "boss:admin:root,agent:operator:writer,viewer:reader:looker",
        ]
        let holdfast = try CommandLineProgram()
        try await holdfast.serving(environment: environment) { (_, url) async throws in
            let outage = Outage(holdfast: holdfast, url: url, redis: redis, proxy: proxy)
            var sessions: [String] = []
            for _ in 0..<count {
                let created = try await outage.send("POST", "sessions", ["user_id": "ann"])
                sessions.append(try #require(created.json["id"]?.string, "\(created)"))
            }
            proxy.fault = .refuse
            for session in sessions {
                // The first one may get through yet.
                try await eventually("the change is decided here") {
                    let changed = try await outage.send("PATCH", "sessions/\(session)", ["set": ["step": 1]])
                    #expect(changed.status == 200, "\(changed)")
                    return changed.json["decided_by"] == "local"
                }
                #expect(try await redis.ask("SET", outage.key(of: session), "no session") == .ok)
            }
            proxy.fault = .none
            #expect(try await outage.letters(count).count == count)
            try await body(outage, sessions)
        }
        await proxy.stop()
    }

    @Test func aDeadLetterIsListedRetriedAndDropped() async throws {
        try await withDeadLetters(2) { (outage, sessions) async throws in
            let numbers = try await outage.letters(2)
            let table = try await outage.outbox("dead")
            #expect(table.status == 1 && table.complaints.contains("holdfast outbox retry NUMBER"), "\(table)")
            #expect(table.output.contains("session.merge@") && table.output.contains("unsupported-format"), "\(table.output)")
            for session in sessions { #expect(!table.output.contains(session)) }
            let one = try await outage.outbox("dead", "--limit", "1", "--json")
            #expect(JSONValue(json: one.output.utf8)?["dead_letters"]?.array?.count == 1)

            // Its cause is there still: it comes back.
            let vain = try await outage.outbox("retry", "\(numbers[0])")
            #expect(vain.status == 0 && vain.output == "\(numbers[0]) waits again\n", "\(vain)")
            let again = try await outage.letters(2)

            // Which session each is about is not told: with both causes mended, the one that is retried is carried out.
            for session in sessions { #expect(try await outage.redis.ask("DEL", outage.key(of: session)).integer == 1) }
            let before = try await outage.handedOver()
            let retried = try await outage.outbox("retry", "\(again[0])", "--json")
            #expect(retried.status == 0 && JSONValue(json: retried.output.utf8)?["numbers"] == [.integer(again[0])], "\(retried)")
            #expect(try await outage.letters(1) == [again[1]])
            #expect(try await outage.handedOver() == before + 1)
            #expect(try await outage.outbox().output.contains("\(before + 1) since the start"))
            let dropped = try await outage.outbox("drop", "\(again[1])")
            #expect(dropped.status == 0 && dropped.output == "\(again[1]) is forgotten\n", "\(dropped)")
            let none = try await outage.outbox("dead")
            #expect(none.status == 0 && none.output == "There are no dead letters.\n", "\(none)")
            var steps: [JSONValue?] = []
            for session in sessions { steps.append(try await outage.send("GET", "sessions/\(session)").json["data"]?["step"]) }
            #expect(steps.filter { $0 == 1 }.count == 1, "one was handed over, the other forgotten: \(steps)")
        }
    }

    @Test func allAreRetriedAndAllAreDropped() async throws {
        try await withDeadLetters(3) { (outage, sessions) async throws in
            let numbers = try await outage.letters(3)
            #expect(try await outage.redis.ask("DEL", outage.key(of: sessions[0])).integer == 1)
            let retried = try await outage.outbox("retry", "--all")
            #expect(retried.status == 0, "\(retried)")
            #expect(retried.output == numbers.map { "\($0) waits again\n" }.joined())
            let left = try await outage.letters(2)
            #expect(try await outage.send("GET", "sessions/\(sessions[0])").json["data"]?["step"] == 1)
            let dropped = try await outage.outbox("drop", "--all", "--json")
            #expect(dropped.status == 0 && JSONValue(json: dropped.output.utf8)?["numbers"]?.array?.count == left.count)
            #expect(try await outage.outbox("dead").status == 0)
            // Nothing to decide about is no failure.
            let none = try await outage.outbox("retry", "--all")
            #expect(none.status == 0 && none.output.isEmpty)
        }
    }

    @Test func aNumberThatIsNotThereAndACallerWhoMayNotAreRefused() async throws {
        try await withDeadLetters(1) { (outage, _) async throws in
            let number = try #require(try await outage.letters(1).first)
            for act in ["retry", "drop"] {
                let missing = try await outage.outbox(act, "\(number + 1000)")
                #expect(missing.status == 1 && missing.output.isEmpty, "\(missing)")
                #expect(missing.complaints.hasPrefix("holdfast: ") && missing.complaints.contains("dead letter"), "\(missing)")
                for key in ["writer", "looker"] {
                    let refused = try await outage.outbox(act, "\(number)", key: key)
                    #expect(refused.status == 77 && refused.complaints.contains("refused the API key"), "\(refused)")
                }
                #expect(try await outage.outbox(act, "--all", key: "writer").status == 77)
            }
            #expect(try await outage.outbox("dead", key: "looker").status == 77)
            #expect(try await outage.outbox(key: "looker").status == 0)
            #expect(try await outage.letters(1) == [number], "nobody has decided")
        }
    }

    @Test(arguments: [["outbox"], ["outbox", "dead"], ["outbox", "retry", "1"], ["outbox", "drop", "--all"]])
    func withoutAServerTheCodeIs69(arguments: [String]) async throws {
        // Port 1 of the loopback is nobody's.
        let result = try await CommandLineProgram().run(arguments + ["--url", "http://127.0.0.1:1"], environment: [:])
        #expect(result.status == 69)
        #expect(result.complaints.hasPrefix("holdfast: no server answers at http://127.0.0.1:1 (connection refused)"))
    }

    @Test(arguments: [
        ["retry"], ["drop"], ["retry", "1", "--all"], ["drop", "x"], ["dead", "--limit", "0"], ["--limit", "1001"],
    ])
    func wrongUsageEndsWith64(arguments: [String]) async throws {
        #expect(try await CommandLineProgram().run(["outbox"] + arguments, environment: [:]).status == 64)
    }
}
