import Foundation
import Holdfast
import HoldfastStore
import TestServers
import Testing

/// A `serve` that is killed with what it has accepted by itself while its Redis was out of reach, as users run it.
@Suite struct CommandLineKillTests {
    /// One run of it.
    private struct Run {
        let program: CommandLineProgram.Running
        let port: Int

        /// One request to the API.
        func send(
            _ method: String, _ path: String, _ body: JSONValue = .null, once name: String? = nil
        ) async throws -> RawAnswer {
            let text = body.isNull ? "" : body.encoded()?.lossyString ?? ""
            let named = name.map { "Idempotency-Key: \($0)\r\n" } ?? ""
            let connection = try await RawConnection.open(port: port)
            await connection.send(
                "\(method) /api/v1/\(path) HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer root\r\nConnection: close\r\n\(named)"
                    + "Content-Type: application/json\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)")
            try await connection.wait()
            let answer = RawAnswer.all(in: connection.received).last
            await connection.close()
            return try #require(answer)
        }

        /// How much of the limit is used.
        func used() async throws -> Int64? {
            try await send("POST", "limits/peek", CommandLineKillTests.charge(1)).json["rules"]?.array?.first?["used"]?.integer
        }

        func end() {
            if program.process.isRunning { kill(program.process.processIdentifier, SIGKILL) }
        }
    }

    private func start(_ holdfast: CommandLineProgram, on proxy: FaultProxy) async throws -> Run {
        let program = try holdfast.start(
            "serve", "--port", "0", "--data", "data",
            environment: ["REDIS_URL": "redis://127.0.0.1:\(proxy.port)", "HOLDFAST_API_KEYS": "boss:admin:root"])
        do {
            try await program.waitUntilItSays("API key")
            let line = try #require(program.output.split(separator: "\n").first { $0.contains("http://") })
            let port = try #require(line.split(separator: ":").last.flatMap { Int($0) })
            return Run(program: program, port: port)
        } catch {
            kill(program.process.processIdentifier, SIGKILL)
            throw error
        }
    }

    /// Of a limit whose window does not end.
    private static func charge(_ cost: Int64) -> JSONValue {
        [
            "subject": ["user": "ann"], "cost": .integer(cost),
            "rules": [["name": "a", "algorithm": "fixed-window", "limit": 100, "window_seconds": 34_560_000]],
        ]
    }

    private static let message: JSONValue = ["messages": [["role": "user", "content": "once"]]]

    private static func key(of session: String) -> Bytes { Bytes("holdfast:session:\(session)") }

    @Test func whatWasAcceptedOutlivesAKillAndArrivesOnce() async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let proxy = try await FaultProxy.start(to: redis.port)
        let holdfast = try CommandLineProgram()
        let first = try await start(holdfast, on: proxy)
        defer { first.end() }
        var ids: [String] = []
        for _ in 0..<2 {
            let created = try await first.send("POST", "sessions", ["user_id": "ann", "kind": "conversation"])
            ids.append(try #require(created.json["id"]?.string, "\(created)"))
        }
        let (talk, ended) = (ids[0], ids[1])
        for key in ["gone", "stays"] {
            #expect(try await first.send("PUT", "cache/entries/w/\(key)", ["value": 1]).json["decided_by"] == "server")
        }
        #expect(try await first.send("POST", "limits/record", Self.charge(1)).json["decided_by"] == "server")

        await proxy.begin(.refuse)
        // Under a name it is refused until the server counts as away.
        try await eventually("the charge is accepted here") {
            let charged = try await first.send("POST", "limits/record", Self.charge(5), once: "charge")
            return charged.status == 200 && charged.json["decided_by"] == "local"
        }
        let login = try await first.send("POST", "sessions", ["user_id": "ann", "data": ["made": "here"]], once: "login")
        #expect(login.status == 201 && login.json["decided_by"] == "local", "\(login)")
        let made = try #require(login.json["id"]?.string)
        let said = try await first.send("POST", "sessions/\(talk)/messages", Self.message, once: "say")
        #expect(said.status == 200 && said.json["decided_by"] == "local", "\(said)")
        let logout = try await first.send("DELETE", "sessions/\(ended)")
        #expect(logout.status == 204 && logout.headers["x-decided-by"] == "local", "\(logout)")
        #expect(try await first.send("DELETE", "cache/entries/w/gone").json["decided_by"] == "local")
        first.end()
        for await _ in first.program.ends {}

        // Nobody but the folder can have told the next one.
        let second = try await start(holdfast, on: proxy)
        defer { second.end() }
        let seen = try await second.send("GET", "sessions/\(made)")
        #expect(seen.json["data"] == ["made": "here"] && seen.json["decided_by"] == "local", "\(seen)")
        #expect(try await second.send("GET", "sessions/\(talk)").json["messages"]?.array?.count == 1)
        #expect(try await second.send("GET", "sessions/\(ended)").status == 404)
        // The server has heard of neither.
        #expect(try await redis.ask("EXISTS", Self.key(of: made)).integer == 0)
        #expect(try await redis.ask("EXISTS", Self.key(of: ended)).integer == 1)

        proxy.fault = .none
        try await eventually("all is handed over") {
            let peek = try await second.send("POST", "limits/peek", Self.charge(1))
            let status = try await second.send("GET", "outbox").json["status"]
            return peek.json["decided_by"] == "server" && status?["backlog"] == 0
        }
        #expect(try await second.send("GET", "outbox").json["status"]?["dead_letters"] == 0)
        try await expectAllOfIt(in: second, made, talk, ended)
        #expect(try await redis.ask("EXISTS", Self.key(of: made), Self.key(of: talk)).integer == 2)
        #expect(try await redis.ask("EXISTS", Self.key(of: ended)).integer == 0)

        // Their callers ask once more, as one does whose answer was lost: each is known.
        #expect(try await second.send("POST", "limits/record", Self.charge(5), once: "charge").status == 200)
        #expect(try await second.send("POST", "sessions/\(talk)/messages", Self.message, once: "say").status == 200)
        let again = try await second.send("POST", "sessions", ["user_id": "ann", "data": ["made": "here"]], once: "login")
        #expect(again.json["id"]?.string == made, "\(again)")
        try await expectAllOfIt(in: second, made, talk, ended)
        #expect(await second.program.terminate() == 0, "\(second.program.complaints)")
        await proxy.stop()
    }

    private func expectAllOfIt(in run: Run, _ made: String, _ talk: String, _ ended: String) async throws {
        #expect(try await run.used() == 6)
        let found = try await run.send("GET", "sessions/\(made)")
        #expect(found.json["data"] == ["made": "here"] && found.json["decided_by"] == "server", "\(found)")
        let messages = try await run.send("GET", "sessions/\(talk)").json["messages"]?.array
        #expect(messages?.count == 1 && messages?.first?["content"] == "once")
        #expect(try await run.send("GET", "sessions/\(ended)").status == 404)
        #expect(try await run.send("GET", "users/ann/sessions").json["sessions"]?.array?.count == 2)
        #expect(try await run.send("GET", "cache/entries/w/gone").status == 404)
        #expect(try await run.send("GET", "cache/entries/w/stays").json["value"] == 1)
    }
}
