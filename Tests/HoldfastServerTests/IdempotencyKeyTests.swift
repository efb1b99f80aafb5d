import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@testable import HoldfastServer

@Suite struct IdempotencyKeyTests {
    private static let create: JSONValue = ["user_id": "ann"]

    @Test func aRepetitionGetsTheFirstAnswerAndHasNoSecondEffect() async throws {
        let server = try ServerUnderTest()
        let headers = ["Idempotency-Key": "k1"]
        let first = try await server.send(.post, "/api/v1/sessions", Self.create, headers: headers)
        let second = try await server.send(.post, "/api/v1/sessions", Self.create, headers: headers)
        #expect(second.status == 201 && second.text == first.text && second.header("ETag") == first.header("ETag"))
        #expect(first.header("Idempotency-Replayed") == nil && second.header("Idempotency-Replayed") == "true")
        #expect(try await server.send(.get, "/api/v1/users/ann/sessions").json["sessions"]?.array?.count == 1)
    }

    @Test func anotherRequestWithTheKeyIsRefused() async throws {
        let server = try ServerUnderTest()
        _ = try await server.send(.post, "/api/v1/sessions", Self.create, headers: ["Idempotency-Key": "k1"])
        let other = try await server.send(.post, "/api/v1/sessions", ["user_id": "bob"], headers: ["Idempotency-Key": "k1"])
        #expect(other.status == 422 && other.code == "idempotency-mismatch")
        let elsewhere = try await server.send(
            .post, "/api/v1/limits/check", ["subject": ["user": "ann"]], headers: ["Idempotency-Key": "k1"])
        #expect(elsewhere.status == 422)
    }

    @Test func aRefusalForTheRequestsSakeIsKeptAndADenialIsNot() async throws {
        let server = try ServerUnderTest()
        let check: JSONValue = [
            "subject": ["user": "ann"],
            "rules": [["name": "a", "algorithm": "fixed-window", "limit": 1, "window_seconds": 3600]],
        ]
        #expect(try await server.send(.post, "/api/v1/limits/check", check).status == 200)
        let denied = try await server.send(.post, "/api/v1/limits/check", check, headers: ["Idempotency-Key": "k2"])
        #expect(denied.status == 429)
        _ = try await server.send(.post, "/api/v1/limits/reset", check)
        let allowed = try await server.send(.post, "/api/v1/limits/check", check, headers: ["Idempotency-Key": "k2"])
        #expect(allowed.status == 200 && allowed.header("Idempotency-Replayed") == nil)
        #expect(try await server.send(.post, "/api/v1/limits/check", check, headers: ["Idempotency-Key": "k2"]).status == 200)
        #expect(try await server.send(.post, "/api/v1/limits/check", check).status == 429)
    }

    @Test func concurrentRepetitionsHaveOneEffect() async throws {
        let server = try ServerUnderTest()
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    try await server.send(.post, "/api/v1/sessions", Self.create, headers: ["Idempotency-Key": "k3"]).status
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses.allSatisfy { $0 == 201 || $0 == 409 } && statuses.contains(201))
        #expect(try await server.send(.get, "/api/v1/users/ann/sessions").json["sessions"]?.array?.count == 1)
    }

    @Test(arguments: ["", "a b", "ä", String(repeating: "x", count: 201)])
    func aKeyThatIsNoneNamesItsHeader(key: String) async throws {
        let reply = try await ServerUnderTest().send(.post, "/api/v1/sessions", Self.create, headers: ["Idempotency-Key": key])
        #expect(reply.status == 400 && reply.field == "Idempotency-Key")
    }
}
