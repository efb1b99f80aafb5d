import Holdfast
import HoldfastStore
import TestServers
import Testing

@testable import HoldfastServer

/// Numbers that look random and are the same each time (SplitMix64).
private struct Sequence: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// What a socket shows and no test in memory does: whatever comes over it gets an answer that says what is wrong.
@Suite struct WireTests {
    private static let authorized = "Host: x\r\nAuthorization: Bearer \(LiveServer.key)\r\n"

    /// Sends bytes on a connection of their own and reads until the server closes.
    private func exchange(_ port: Int, _ text: String) async throws -> [RawAnswer] {
        let connection = try await RawConnection.open(port: port)
        await connection.send(text)
        try await connection.wait()
        return RawAnswer.all(in: connection.received)
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        let what: String
        let sent: String
        let status: Int
        let code: String
        var field: String?
        var testDescription: String { what }
    }

    static let refused: [Refused] = [
        Refused(
            what: "a header too large",
            sent: "GET /health HTTP/1.1\r\nHost: x\r\nX-Big: \(String(repeating: "a", count: 40_000))\r\n\r\n",
            status: 431, code: "too-large", field: "headers"),
        Refused(
            what: "headers too many",
            sent: "GET /health HTTP/1.1\r\nHost: x\r\n" + (0..<200).map { "X-\($0): 1\r\n" }.joined() + "\r\n", status: 431,
            code: "too-large", field: "headers"),
        Refused(
            what: "a URL that fills the parser",
            sent: "GET /\(String(repeating: "a", count: 60_000)) HTTP/1.1\r\nHost: x\r\n\r\n",
            status: 414, code: "too-large", field: "url"),
        Refused(
            what: "an unknown method", sent: "BREW /health HTTP/1.1\r\nHost: x\r\n\r\n", status: 501,
            code: "method-not-implemented", field: "method"),
        Refused(what: "no method", sent: "\u{1}\u{2}\u{3}\r\n\r\n", status: 400, code: "malformed-request", field: "method"),
        Refused(
            what: "another protocol's version", sent: "GET / HTTP/2.0\r\nHost: x\r\n\r\n", status: 505, code: "malformed-request",
            field: "version"),
        Refused(what: "no version", sent: "GET /\r\nHost: x\r\n\r\n", status: 505, code: "malformed-request"),
        Refused(what: "no host", sent: "GET /health HTTP/1.1\r\n\r\n", status: 400, code: "malformed-request", field: "Host"),
        Refused(
            what: "two hosts", sent: "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", status: 400, code: "malformed-request",
            field: "Host"),
        Refused(
            what: "two lengths",
            sent: "POST /api/v1/sessions HTTP/1.1\r\n\(authorized)Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", status: 400,
            code: "malformed-request", field: "Content-Length"),
        Refused(
            what: "a length and chunks",
            sent:
                "POST /api/v1/sessions HTTP/1.1\r\n\(authorized)Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            status: 400, code: "malformed-request"),
        Refused(
            what: "a length that is no number",
            sent: "POST /api/v1/sessions HTTP/1.1\r\n\(authorized)Content-Length: two\r\n\r\n{}",
            status: 400, code: "malformed-request", field: "Content-Length"),
        Refused(
            what: "chunks that are none",
            sent: "POST /api/v1/sessions HTTP/1.1\r\n\(authorized)Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
            status: 400,
            code: "malformed-request"),
        Refused(
            what: "a header without a name", sent: "GET /health HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", status: 400,
            code: "malformed-request"),
        Refused(
            what: "a body said to be too large",
            sent: "POST /api/v1/sessions HTTP/1.1\r\n\(authorized)Content-Length: 99999999\r\n\r\n", status: 413,
            code: "too-large",
            field: "body"),
        Refused(
            what: "chunks that become too large",
            sent: "POST /api/v1/sessions HTTP/1.1\r\n\(authorized)Transfer-Encoding: chunked\r\n\r\n"
                + String(repeating: "10000\r\n\(String(repeating: "a", count: 0x10000))\r\n", count: 3), status: 413,
            code: "too-large", field: "body"),
        Refused(
            what: "a method of no route", sent: "PROPFIND /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", status: 405,
            code: "method-not-allowed", field: "method"),
        Refused(
            what: "a tunnel", sent: "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", status: 404, code: "not-found"),
    ]

    @Test(arguments: refused) func whatIsNoRequestGetsAProblem(_ expected: Refused) async throws {
        var configuration = HTTPServer.Configuration()
        configuration.maximumBodyBytes = 100_000
        try await LiveServer.serving(configuration: configuration) { port in
            let answers = try await exchange(port, expected.sent)
            let answer = try #require(answers.first)
            #expect(answers.count == 1)
            #expect(answer.status == expected.status)
            #expect(answer.headers["content-type"] == "application/problem+json")
            #expect(answer.headers["connection"] == "close")
            #expect(answer.headers["x-request-id"] == answer.json["requestID"]?.string)
            #expect(answer.json["code"]?.string == expected.code)
            #expect(answer.json["type"]?.string == "urn:holdfast:problem:\(expected.code)")
            if let field = expected.field { #expect(answer.json["field"]?.string == field) }
            if answer.status == 405 { #expect(answer.headers["allow"] == "GET, HEAD") }
            // And it goes on serving others.
            let next = try await exchange(port, "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(next.first?.status == 200)
        }
    }

    @Test func aRefusalWaitsForTheAnswersBeforeIt() async throws {
        try await LiveServer.serving { port in
            let sent =
                "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /health/ready HTTP/1.1\r\nHost: x\r\n\r\nBREW / HTTP/1.1\r\n\r\n"
            let answers = try await exchange(port, sent)
            #expect(answers.map(\.status).prefix(2) == [200, 200])
            // It came together with the others, so what it begins with is not known any more.
            #expect(answers.count == 3 && [400, 501].contains(answers.last?.status))
        }
    }

    @Test func aRequestThatBreaksOffIsToldSo() async throws {
        try await LiveServer.serving { port in
            for sent in [
                "GET /health HT", "POST /api/v1/sessions HTTP/1.1\r\n\(Self.authorized)Content-Length: 10\r\n\r\n{",
            ] {
                let connection = try await RawConnection.open(port: port)
                await connection.send(sent)
                await connection.closeOutput()
                try await connection.wait()
                let answer = try #require(RawAnswer.all(in: connection.received).first)
                #expect(answer.status == 400 && answer.json["code"]?.string == "malformed-request")
            }
        }
    }

    @Test func randomBytesNeverHangOrEndTheServer() async throws {
        var configuration = HTTPServer.Configuration()
        configuration.readTimeout = .milliseconds(300)
        var random = Sequence(state: FuzzSeed.first)
        try await LiveServer.serving(configuration: configuration) { port in
            let valid = Array(
                "POST /api/v1/sessions HTTP/1.1\r\n\(Self.authorized)Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n0\r\n\r\n"
                    .utf8)
            for _ in 0..<60 {
                var bytes = valid
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 1...127, using: &random)
                }
                let connection = try await RawConnection.open(port: port)
                await connection.send(String(decoding: bytes, as: UTF8.self))
                // Whatever it made of it, it says something.
                try await connection.wait { !RawAnswer.all(in: $0).isEmpty }
                #expect(
                    !RawAnswer.all(in: connection.received).isEmpty,
                    "HOLDFAST_FUZZ_SEED=\(FuzzSeed.first): \(String(decoding: bytes, as: UTF8.self))")
                await connection.close()
            }
        }
    }

    // MARK: - Expect: 100-continue

    @Test func aBodyThatWillBeReadIsAskedFor() async throws {
        try await LiveServer.serving { port in
            let connection = try await RawConnection.open(port: port)
            let body = #"{"user_id":"ann"}"#
            await connection.send(
                "POST /api/v1/sessions HTTP/1.1\r\n\(Self.authorized)Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\nExpect: 100-continue\r\n\r\n"
            )
            try await connection.wait { $0.contains("\r\n\r\n") }
            #expect(connection.received == "HTTP/1.1 100 Continue\r\n\r\n")
            await connection.send(body)
            try await connection.wait { RawAnswer.all(in: $0).count == 2 }
            let answers = RawAnswer.all(in: connection.received)
            #expect(answers.map(\.status) == [100, 201])
            #expect(answers.last?.headers["connection"] == nil)
            await connection.close()
        }
    }

    @Test(arguments: [("", 401), ("Authorization: Bearer \(LiveServer.key)\r\n", 413)])
    func aBodyThatIsRefusedBeforehandIsNot(authorization: String, status: Int) async throws {
        try await LiveServer.serving { port in
            let answers = try await exchange(
                port,
                "POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\n\(authorization)Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
            )
            #expect(answers.map(\.status) == [status])
            #expect(answers.first?.headers["connection"] == "close")
        }
    }

    // MARK: - Keeping and ending connections

    @Test func aConnectionServesOnAfterAnAnswerThatDidNotWaitForTheBody() async throws {
        try await LiveServer.serving { port in
            let connection = try await RawConnection.open(port: port)
            await connection.send("POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            try await connection.wait { RawAnswer.all(in: $0).count == 1 }
            await connection.send("abcdeGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            try await connection.wait { RawAnswer.all(in: $0).count == 2 }
            #expect(RawAnswer.all(in: connection.received).map(\.status) == [401, 200])
            await connection.close()
        }
    }

    @Test(arguments: [
        "HTTP/1.0\r\n", "HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n",
        "HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n",
    ])
    func aConnectionEndsWhereTheRequestAsksForIt(head: String) async throws {
        try await LiveServer.serving { port in
            let answers = try await exchange(port, "GET /health/live \(head)\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answers.map(\.status) == [200])
            #expect(answers.first?.headers["connection"] == "close")
        }
    }

    @Test func aConnectionWithoutARequestIsClosedAfterItsTime() async throws {
        var configuration = HTTPServer.Configuration()
        configuration.idleTimeout = .milliseconds(200)
        try await LiveServer.serving(configuration: configuration) { port in
            let unused = try await RawConnection.open(port: port)
            try await unused.wait()
            #expect(unused.received.isEmpty)
            // On a slow machine the time may be over before the request has left.
            for attempt in 1... {
                let kept = try await RawConnection.open(port: port)
                await kept.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
                try await kept.wait()
                if kept.received.isEmpty, attempt < 100 { continue }
                #expect(RawAnswer.all(in: kept.received).map(\.status) == [200])
                break
            }
        }
    }

    @Test(arguments: ["GET /health HTTP/1.1\r\nHo", "POST /api/v1/sessions HTTP/1.1\r\n\(authorized)Content-Length: 10\r\n\r\n{"])
    func aRequestThatComesTooSlowlyIsEnded(sent: String) async throws {
        var configuration = HTTPServer.Configuration()
        configuration.readTimeout = .milliseconds(200)
        try await LiveServer.serving(configuration: configuration) { port in
            let answers = try await exchange(port, sent)
            #expect(answers.map(\.status) == [408])
            #expect(answers.first?.json["code"]?.string == "request-timeout")
        }
    }

    @Test func aConnectionTooManyIsToldSoAndCounted() async throws {
        var configuration = HTTPServer.Configuration()
        configuration.maximumConnections = 2
        try await LiveServer.serving(configuration: configuration) { port in
            var open: [RawConnection] = []
            for _ in 0..<2 {
                let connection = try await RawConnection.open(port: port)
                await connection.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
                try await connection.wait { RawAnswer.all(in: $0).count == 1 }
                open.append(connection)
            }
            let third = try await RawConnection.open(port: port)
            try await third.wait()
            let answer = try #require(RawAnswer.all(in: third.received).first)
            #expect(answer.status == 503 && answer.json["code"]?.string == "overloaded")
            #expect(answer.headers["retry-after"] != nil)
            await open[0].send("GET /metrics HTTP/1.1\r\n\(Self.authorized)\r\n")
            try await open[0].wait { RawAnswer.all(in: $0).count == 2 }
            let metrics = try #require(RawAnswer.all(in: open[0].received).last).body
            #expect(metrics.contains("holdfast_http_refusals_total{reason=\"too_many_connections\"} 1"))
            for connection in open { await connection.close() }
        }
    }
}
