import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@testable import HoldfastServer

/// A fault at every call to the store in turn, until the request passes untouched: whatever was lost, repeating it has one effect.
@Suite struct IdempotencyCrashTests {
    /// A request whose effect can be counted.
    struct Scenario: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let status: Int
        let path: @Sendable (_ session: String) -> String
        let body: JSONValue?
        /// What the answer must say.
        let isRight: @Sendable (ServerUnderTest.Reply) -> Bool
        /// How often it took effect, seen by another request.
        let effects: @Sendable (ServerUnderTest, _ session: String) async throws -> Int
    }

    static let limit: JSONValue = [
        "subject": ["user": "ann"], "cost": 3,
        "rules": [["name": "a", "algorithm": "fixed-window", "limit": 100, "window_seconds": 34_560_000]],
    ]

    private static func used(_ server: ServerUnderTest) async throws -> Int {
        let peek = try await server.send(.post, "/api/v1/limits/peek", limit)
        return Int(peek.json["rules"]?.array?.first?["used"]?.integer ?? -1)
    }

    static let scenarios: [Scenario] = [
        Scenario(
            testDescription: "create", status: 201, path: { _ in "/api/v1/sessions" },
            body: ["user_id": "bob", "data": ["a": 1]],
            isRight: { $0.json["data"] == ["a": 1] && $0.header("ETag") == "\"1\"" },
            effects: { server, _ in
                try await server.send(.get, "/api/v1/users/bob/sessions").json["sessions"]?.array?.count ?? -1
            }),
        Scenario(
            testDescription: "append", status: 200, path: { "/api/v1/sessions/\($0)/messages" },
            body: ["messages": [["role": "user", "content": "hi"]]],
            isRight: { $0.json["messages"]?.array?.count == 1 && $0.json["version"] == 2 },
            effects: { server, id in
                try await server.send(.get, "/api/v1/sessions/\(id)").json["messages"]?.array?.count ?? -1
            }),
        Scenario(
            testDescription: "extend", status: 200, path: { "/api/v1/sessions/\($0)/extend" }, body: ["ttl_seconds": 80_000],
            isRight: { $0.json["version"] == 2 },
            effects: { server, id in
                Int(try await server.send(.get, "/api/v1/sessions/\(id)").json["version"]?.integer ?? 0) - 1
            }),
        Scenario(
            testDescription: "rotate", status: 200, path: { "/api/v1/sessions/\($0)/rotate" }, body: nil,
            isRight: { $0.json["data"] == ["k": 1] && $0.json["id"] != nil },
            effects: { server, id in
                #expect(try await server.send(.get, "/api/v1/sessions/\(id)").status == 404)
                return try await server.send(.get, "/api/v1/users/ann/sessions").json["sessions"]?.array?.count ?? -1
            }),
        Scenario(
            testDescription: "check", status: 200, path: { _ in "/api/v1/limits/check" }, body: limit,
            isRight: { $0.json["remaining"] == 87 }, effects: { server, _ in (try await used(server) - 10) / 3 }),
        Scenario(
            testDescription: "record", status: 200, path: { _ in "/api/v1/limits/record" }, body: limit,
            isRight: { $0.json["remaining"] == 87 }, effects: { server, _ in (try await used(server) - 10) / 3 }),
        Scenario(
            testDescription: "refund", status: 200, path: { _ in "/api/v1/limits/refund" }, body: limit,
            isRight: { $0.json["remaining"] == 93 }, effects: { server, _ in (10 - (try await used(server))) / 3 }),
    ]

    enum Fault: CaseIterable { case replyLost, processDies }

    @Test(arguments: scenarios, Fault.allCases)
    func aLostAnswerIsNoSecondEffect(_ scenario: Scenario, _ fault: Fault) async throws {
        let headers = ["Idempotency-Key": "k"]
        for number in 1...20 {
            let time = ManualTime()
            let store = FaultyStore(EmbeddedStore(time: time))
            let server = try ServerUnderTest(state: AgentState(failover: Failover(local: store, time: time)))
            let created = try await server.send(
                .post, "/api/v1/sessions", ["user_id": "ann", "kind": "conversation", "data": ["k": 1]])
            let id = try #require(created.json["id"]?.string)
            var charge = Self.limit.object ?? [:]
            charge["cost"] = 10
            _ = try await server.send(.post, "/api/v1/limits/record", .object(charge))

            let before = store.calls
            switch fault {
            case .replyLost:
                store.fail(call: before + number, with: StoreError(.connectionLost, effect: .unknown), .afterEffect)
            case .processDies: store.die(afterCall: before + number)
            }
            let path = scenario.path(id)
            var reply = try await server.send(.post, path, scenario.body, headers: headers)
            let isUntouched = store.calls < before + number
            store.recover()
            if reply.status >= 500 {
                reply = try await server.send(.post, path, scenario.body, headers: headers)
            }
            if reply.status == 409 {
                #expect(reply.code == "in-progress")
                time.advance(by: .seconds(61))
                reply = try await server.send(.post, path, scenario.body, headers: headers)
            }
            #expect(reply.status == scenario.status && scenario.isRight(reply), "fault \(number): \(reply.status) \(reply.text)")
            var again = try await server.send(.post, path, scenario.body, headers: headers)
            if again.status == 409 {
                time.advance(by: .seconds(61))
                again = try await server.send(.post, path, scenario.body, headers: headers)
            }
            #expect(again.status == reply.status && scenario.isRight(again), "fault \(number): \(again.text)")
            #expect(again.json["id"] == reply.json["id"])
            #expect(try await scenario.effects(server, id) == 1, "fault \(number)")
            if isUntouched {
                #expect(number > 3, "no call to the store was met")
                return
            }
        }
        Issue.record("the request never passed untouched")
    }

    @Test func anotherRequestIsRefusedAlsoAfterACrash() async throws {
        let time = ManualTime()
        let store = FaultyStore(EmbeddedStore(time: time))
        let server = try ServerUnderTest(state: AgentState(failover: Failover(local: store, time: time)))
        let headers = ["Idempotency-Key": "k"]
        store.die(afterCall: 2)
        #expect(try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"], headers: headers).status == 503)
        store.recover()
        time.advance(by: .seconds(3600))
        let other = try await server.send(.post, "/api/v1/sessions", ["user_id": "bob"], headers: headers)
        #expect(other.status == 422 && other.code == "idempotency-mismatch")
        #expect(try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"], headers: headers).status == 201)
    }
}
