import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@testable import HoldfastServer

@Suite struct LimitRouteTests {
    private static func body(_ algorithm: String = "fixed-window", limit: Int64 = 2, cost: Int64? = nil) -> JSONValue {
        .object([
            ("subject", ["user": "ann"]),
            ("rules", [["name": "hour", "algorithm": .string(algorithm), "limit": .integer(limit), "window_seconds": 3600]]),
            ("cost", cost.map { .integer($0) }),
        ])
    }

    @Test(arguments: RateLimit.Algorithm.allCases)
    func aLimitAdmitsItsNumberAndThenAnswers429WithAllHeaders(algorithm: RateLimit.Algorithm) async throws {
        let server = try ServerUnderTest()
        for left in [1, 0] {
            let reply = try await server.send(.post, "/api/v1/limits/check", Self.body(algorithm.rawValue))
            #expect(reply.status == 200 && reply.json["allowed"] == true && reply.json["remaining"]?.integer == Int64(left))
        }
        let denied = try await server.send(.post, "/api/v1/limits/check", Self.body(algorithm.rawValue))
        #expect(denied.status == 429 && denied.json["allowed"] == false && denied.code == "rate-limited")
        for name in [
            "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "RateLimit-Policy",
        ] {
            #expect(denied.header(name) != nil, "\(name)")
        }
        #expect(denied.header("RateLimit-Policy") == #""hour";q=2;w=3600"#)
        #expect(denied.header("X-RateLimit-Remaining") == "0")
        #expect((Int(denied.header("Retry-After") ?? "") ?? 0) > 0)
    }

    @Test func peekChangesNothingAndRefundGivesBack() async throws {
        let server = try ServerUnderTest()
        for _ in 0..<3 {
            let reply = try await server.send(.post, "/api/v1/limits/peek", Self.body(), key: ServerUnderTest.reader)
            #expect(reply.json["remaining"]?.integer == 2)
        }
        #expect(try await server.send(.post, "/api/v1/limits/record", Self.body(cost: 5)).json["allowed"] == false)
        #expect(try await server.send(.post, "/api/v1/limits/check", Self.body()).status == 429)
        #expect(try await server.send(.post, "/api/v1/limits/refund", Self.body(cost: 5)).json["remaining"]?.integer == 2)
        #expect(try await server.send(.post, "/api/v1/limits/check", Self.body()).status == 200)
        #expect(try await server.send(.post, "/api/v1/limits/reset", Self.body()).status == 204)
        #expect(try await server.send(.post, "/api/v1/limits/peek", Self.body()).json["used"] == nil)
    }

    @Test func aCostAboveTheLimitHasNoRetryAfter() async throws {
        let reply = try await ServerUnderTest().send(.post, "/api/v1/limits/check", Self.body(cost: 3))
        #expect(reply.status == 429 && reply.json["reason"] == "cost-above-limit" && reply.header("Retry-After") == nil)
    }

    @Test func withoutRulesTheServersPlanDecides() async throws {
        // The bucket refills one a second: the clock stands still.
        let server = try ServerUnderTest(state: .embedded(time: ManualTime()))
        for _ in 0..<10 {
            #expect(try await server.send(.post, "/api/v1/limits/check", ["subject": ["user": "bob"]]).status == 200)
        }
        let denied = try await server.send(.post, "/api/v1/limits/check", ["subject": ["user": "bob"]])
        #expect(denied.status == 429 && denied.json["rule"] == "burst")
        // The same subject under the reference systems' path and name.
        let look = try await server.send(.get, "/api/v1/cache/rate-limit/user:bob")
        #expect(look.status == 200 && look.json["allowed"] == false)
        #expect(try await server.send(.post, "/api/v1/cache/rate-limit/user%3Abob/reset").json["reset"] == true)
        #expect(try await server.send(.post, "/api/v1/limits/check", ["subject": ["user": "bob"]]).status == 200)
        #expect(try await server.send(.post, "/api/v1/limits/check", ["subject": ["user": "bob"], "tier": "pro"]).status == 200)
    }

    @Test func tenantsDoNotShareLimits() async throws {
        let server = try ServerUnderTest()
        for _ in 0..<2 { _ = try await server.send(.post, "/api/v1/limits/check", Self.body()) }
        #expect(try await server.send(.post, "/api/v1/limits/check", Self.body()).status == 429)
        #expect(try await server.send(.post, "/api/v1/limits/check", Self.body(), key: ServerUnderTest.acme).status == 200)
    }

    @Test(arguments: [
        (#"{}"#, "subject"), (#"{"subject":{}}"#, "subject"), (#"{"subject":{"user":""}}"#, "subject.user"),
        (#"{"subject":{"planet":"x"}}"#, "subject.planet"), (#"{"subject":{"user":"a"},"cost":-1}"#, "cost"),
        (#"{"subject":{"user":"a"},"rules":[]}"#, "rules"), (#"{"subject":{"user":"a"},"tier":"gold"}"#, "tier"),
        (#"{"subject":{"user":"a"},"rules":[{"name":"a","algorithm":"x","limit":1,"window_seconds":1}]}"#, "rules[0].algorithm"),
        (#"{"subject":{"user":"a"},"rules":[{"name":"a","algorithm":"gcra","limit":0,"window_seconds":1}]}"#, "rules[0].limit"),
        (#"{"subject":{"user":"a"},"rules":[{"name":"a~","algorithm":"gcra","limit":1,"window_seconds":1}]}"#, "name"),
        (#"[1,"#, "body"), ("null", "body"), ("", "body"),
    ])
    func badInputNamesTheField(text: String, field: String) async throws {
        let reply = try await ServerUnderTest().send(.post, "/api/v1/limits/check", text: text)
        #expect(reply.status == 400 && reply.field == field, "\(reply.text)")
    }
}
