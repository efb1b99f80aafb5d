import HTTPTypes
import Holdfast
import HoldfastHummingbird
import HoldfastStore
import HoldfastTesting
import Hummingbird
import HummingbirdTesting
import Testing

@Suite struct RateLimitMiddlewareTests {
    private static let plan = RateLimitPlan(rules: [RateLimit("calls", .fixedWindow, limit: 2, per: .seconds(86_400))])

    private static func application(_ limiter: RateLimiter) throws -> some ApplicationProtocol {
        let name = try #require(HTTPField.Name("X-User"))
        let router = Router(context: BasicRequestContext.self)
        router.add(middleware: RateLimitMiddleware(limiter) { request, _ in request.headers[name].map { .user($0) } })
        router.get("/") { _, _ in "hello" }
        router.get("/broken") { _, _ -> String in throw HTTPError(.conflict) }
        return Application(router: router)
    }

    private static func limiter(_ failover: Failover) -> RateLimiter {
        RateLimiter(failover, configuration: RateLimiter.Configuration(plan: plan))
    }

    private static func field(_ response: TestResponse, _ name: String) -> String? {
        HTTPField.Name(name).flatMap { response.headers[$0] }
    }

    private static func ask(_ client: some TestClientProtocol, _ path: String = "/", user: String?) async throws -> TestResponse {
        var fields: HTTPFields = [:]
        if let user { fields[try #require(HTTPField.Name("X-User"))] = user }
        return try await client.execute(uri: path, method: .get, headers: fields)
    }

    @Test func whatIsAboveTheLimitIsAnswered429() async throws {
        try await Self.application(Self.limiter(Failover(local: EmbeddedStore()))).test(.router) { client in
            for left in ["1", "0"] {
                let answer = try await Self.ask(client, user: "ann")
                #expect(answer.status == .ok && Self.field(answer, "X-RateLimit-Remaining") == left)
            }
            let denied = try await Self.ask(client, user: "ann")
            #expect(denied.status == .tooManyRequests)
            #expect(denied.headers[.retryAfter] != nil && denied.headers[.contentType] == "application/problem+json")
            #expect(JSONValue(json: Array(denied.body.readableBytesView))?["code"] == "rate-limited")
            #expect(try await Self.ask(client, user: "bob").status == .ok)
        }
    }

    @Test func whoIsNotLimitedGetsNoFields() async throws {
        try await Self.application(Self.limiter(Failover(local: EmbeddedStore()))).test(.router) { client in
            for _ in 0..<5 {
                let answer = try await Self.ask(client, user: nil)
                #expect(answer.status == .ok && Self.field(answer, "X-RateLimit-Limit") == nil)
            }
        }
    }

    @Test func responsesOfErrorsSayWhereTheCallerStandsToo() async throws {
        try await Self.application(Self.limiter(Failover(local: EmbeddedStore()))).test(.router) { client in
            let answer = try await Self.ask(client, "/broken", user: "ann")
            #expect(answer.status == .conflict && Self.field(answer, "X-RateLimit-Remaining") == "1")
        }
    }

    @Test func aLimitThatCannotBeDecidedAdmitsNobody() async throws {
        let store = FaultyStore(EmbeddedStore())
        store.fail(with: StoreError(.serverRefused))
        try await Self.application(Self.limiter(Failover(local: store))).test(.router) { client in
            let answer = try await Self.ask(client, user: "ann")
            #expect(answer.status == .internalServerError)
        }
    }
}
