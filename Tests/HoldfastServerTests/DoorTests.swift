import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@testable import HoldfastServer

/// Who gets in, and what becomes of those who do not.
@Suite struct DoorTests {
    @Test func everyRouteButThePlainHealthOnesNeedsAKey() async throws {
        let server = try ServerUnderTest()
        let open: Set = ["/health", "/health/live", "/health/ready", "/status"]
        for route in server.server.routes {
            let path = route.path.description.replacing("{", with: "").replacing("}", with: "")
            for key in [nil, "wrong"] as [String?] {
                let reply = try await server.send(route.method, path, key: key)
                if open.contains(path) {
                    #expect(reply.status == 200, "\(path)")
                } else {
                    #expect(reply.status == 401 && reply.code == "unauthenticated", "\(route.method) \(path)")
                    #expect(reply.header("WWW-Authenticate") != nil)
                }
            }
        }
    }

    @Test func aReaderMayOnlyRead() async throws {
        let server = try ServerUnderTest()
        for route in server.server.routes {
            guard case .role(let role) = route.access, role > .reader else { continue }
            let path = route.path.description.replacing("{", with: "").replacing("}", with: "")
            let reply = try await server.send(route.method, path, key: ServerUnderTest.reader)
            #expect(reply.status == 403 && reply.code == "forbidden", "\(route.method) \(path)")
        }
    }

    @Test func aKeyIsTakenFromEitherHeader() async throws {
        let server = try ServerUnderTest()
        #expect(try await server.send(.get, "/metrics", key: nil, headers: ["X-API-Key": ServerUnderTest.reader]).status == 200)
        #expect(try await server.send(.get, "/metrics", key: nil, headers: ["Authorization": "Basic eDp5"]).status == 401)
        #expect(try await server.send(.get, "/metrics", key: nil, headers: ["Authorization": "Bearer"]).status == 401)
    }

    @Test func onlyAnAdminNamesAnotherTenant() async throws {
        let server = try ServerUnderTest()
        #expect(try await server.send(.get, "/metrics", key: ServerUnderTest.admin, headers: ["X-Tenant": "other"]).status == 200)
        #expect(try await server.send(.get, "/metrics", key: ServerUnderTest.acme, headers: ["X-Tenant": "acme"]).status == 200)
        let refused = try await server.send(.get, "/metrics", key: ServerUnderTest.acme, headers: ["X-Tenant": "other"])
        #expect(refused.status == 403 && refused.field == "X-Tenant")
        let bad = try await server.send(.get, "/metrics", key: ServerUnderTest.admin, headers: ["X-Tenant": "a b"])
        #expect(bad.status == 400 && bad.field == "X-Tenant")
    }

    @Test func unknownPathsAndMethodsAreProblems() async throws {
        let server = try ServerUnderTest()
        for path in ["/", "/nothing", "/health/", "//health", "/api/v1", "/%zz", "/health/live/x"] {
            let reply = try await server.send(.get, path)
            #expect(reply.status == 404 && reply.code == "not-found", "\(path)")
            #expect(reply.header("Content-Type") == "application/problem+json")
        }
        let reply = try await server.send(.post, "/health")
        #expect(reply.status == 405 && reply.header("Allow") == "GET, HEAD")
        #expect(try await server.send(.init("FOO")!, "/health").status == 405)
        #expect(try await server.send(.get, "/health?" + String(repeating: "a", count: 9000)).status == 414)
    }

    @Test(arguments: [
        ("/api/v1/cache/entries/ws/%zz", "key"), ("/api/v1/cache/entries/%ff/k", "workspace"),
        ("/api/v1/users/%C3%28/sessions", "user_id"), ("/api/v1/cache/rate-limit/a%2", "id"),
    ])
    func aPathThatDoesNotDecodeIsRefusedByItsPart(path: String, field: String) async throws {
        let server = try ServerUnderTest()
        let reply = try await server.send(.get, path)
        #expect(reply.status == 400 && reply.code == "invalid-argument" && reply.field == field)
        #expect(try await server.send(.get, path, key: nil).status == 401)
    }

    @Test func headIsGetWithoutTheBody() async throws {
        let server = try ServerUnderTest()
        for path in ["/health", "/health/live", "/health/ready", "/status"] {
            let reply = try await server.send(.head, path, key: nil)
            #expect(reply.status == 200 && reply.text.isEmpty)
            #expect(reply.header("Content-Length") != "0")
        }
    }

    @Test func theRequestIDIsEchoedWhenItIsSensible() async throws {
        let server = try ServerUnderTest()
        #expect(try await server.send(.get, "/health", headers: ["X-Request-ID": "abc-1"]).header("X-Request-ID") == "abc-1")
        #expect(try await server.send(.get, "/health", headers: ["X-Request-ID": "a\"b"]).header("X-Request-ID") != "a\"b")
        let problem = try await server.send(.get, "/metrics", key: nil, headers: ["X-Request-ID": "abc-2"])
        #expect(problem.json["requestID"]?.string == "abc-2")
    }

    @Test func aTimeoutIsASpanOfTime() async throws {
        let server = try ServerUnderTest()
        #expect(try await server.send(.get, "/metrics", headers: ["Request-Timeout": "0"]).status == 400)
        #expect(try await server.send(.get, "/metrics", headers: ["Request-Timeout": "2.5s"]).status == 200)
        let bad = try await server.send(.get, "/metrics", headers: ["Request-Timeout": "soon"])
        #expect(bad.status == 400 && bad.field == "Request-Timeout")
    }

    @Test func whoHasNoTimeLeftIsTurnedAwayBeforeAnythingIsDone() throws {
        let time = ManualTime()
        let gate = Gatekeeper(keys: try APIKeyRing(parsing: ["k"]), time: time)
        let route = try #require(try ServerUnderTest().server.routes.first { $0.name == "clearCache" })
        let headers: HTTPFields = [.authorization: "Bearer k", .requestTimeout: "2s"]
        let arrival = time.uptime
        time.advance(by: .milliseconds(1999))
        #expect(try gate.admit(route, headers, requestID: "r", arrival: arrival).deadline == arrival + .seconds(2))
        time.advance(by: .milliseconds(1))
        let error = #expect(throws: StoreError.self) { try gate.admit(route, headers, requestID: "r", arrival: arrival) }
        #expect(error?.code == .deadlineExceeded && error?.code.status.code == 504)
    }

    @Test func queryParametersThatNobodyKnowsAreRefused() async throws {
        let server = try ServerUnderTest()
        let reply = try await server.send(.get, "/metrics?format=json")
        #expect(reply.status == 400 && reply.field == "format")
        #expect(try await server.send(.get, "/metrics?%zz").status == 400)
    }
}

@Suite struct RequestHeadersTests {
    @Test(arguments: [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false), ("", false), ("00", false),
    ])
    func traceparents(text: String, isGood: Bool) {
        #expect(RequestHeaders.isTraceparent(text) == isGood)
    }

    @Test(
        arguments: [
            ("5", 5000), ("2.5s", 2500), ("500ms", 500), ("1m", 60_000), ("0.001", 1), ("1ms", 1), ("1.5ms", nil), ("0", nil),
            ("0.0s", nil), ("", nil), ("s", nil),
            ("-1", nil),
            ("1.2345", nil), ("1h", nil), ("1..2", nil), ("1234567", nil), ("٣", nil), ("1 s", nil),
        ] as [(String, Int64?)])
    func spans(text: String, milliseconds: Int64?) {
        #expect(Duration(span: text)?.milliseconds == milliseconds)
    }
}
