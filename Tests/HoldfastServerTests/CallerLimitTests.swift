import HTTPTypes
import Holdfast
import HoldfastHummingbird
import HoldfastStore
import Testing

@testable import HoldfastServer

@Suite struct CallerLimitTests {
    private static func server() throws -> ServerUnderTest {
        var configuration = HTTPServer.Configuration()
        configuration.callerPlan = RateLimitPlan(rules: [RateLimit("calls", .fixedWindow, limit: 3, per: .seconds(86_400))])
        return try ServerUnderTest(configuration: configuration)
    }

    @Test func aKeyMayCallSoOften() async throws {
        let server = try Self.server()
        for left in [2, 1, 0] {
            let reply = try await server.send(.get, "/api/v1/cache/stats")
            #expect(reply.status == 200 && reply.header("X-RateLimit-Remaining") == "\(left)")
        }
        let denied = try await server.send(.get, "/api/v1/cache/stats")
        #expect(denied.status == 429 && denied.code == "rate-limited" && denied.header("Retry-After") != nil)
        #expect(try await server.send(.get, "/api/v1/cache/stats", key: ServerUnderTest.reader).status == 200)
        for _ in 0..<5 { #expect(try await server.send(.get, "/health").status == 200) }
    }

    @Test func guessingKeysIsLimitedToo() async throws {
        let server = try Self.server()
        for _ in 0..<3 { #expect(try await server.send(.get, "/api/v1/cache/stats", key: "wrong").status == 401) }
        #expect(try await server.send(.get, "/api/v1/cache/stats", key: "wrong again").status == 429)
        #expect(try await server.send(.get, "/api/v1/cache/stats").status == 200)
    }

    @Test(
        arguments: [
            ("1.2.3.4", "9.9.9.9", "1.2.3.4"), ("10.0.0.1", "9.9.9.9", "9.9.9.9"), ("10.0.0.1", "8.8.8.8, 9.9.9.9", "9.9.9.9"),
            ("10.0.0.1", "9.9.9.9, 10.0.0.2", "9.9.9.9"), ("10.0.0.1", nil, "10.0.0.1"), ("10.0.0.1", "evil", "10.0.0.1"),
            ("10.0.0.1", "9.9.9.9, evil, 10.0.0.2", "10.0.0.2"), ("fd00::1", "2001:db8::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "9.9.9.9", "9.9.9.9"), ("11.0.0.1", "9.9.9.9", "11.0.0.1"),
            ("192.168.7.130", "9.9.9.9", "192.168.7.130"),
            ("192.168.7.120", "9.9.9.9", "9.9.9.9"),
        ] as [(String, String?, String)])
    func forwardedAddressesAreBelievedOnlyFromProxies(peer: String, header: String?, expected: String) throws {
        let addresses = ClientAddress(proxies: ["10.0.0.0/8", "fd00::/8", "192.168.7.0/25", "nonsense", "1.1.1.1/99"])
        var headers: HTTPFields = [:]
        headers[try #require(HTTPField.Name("X-Forwarded-For"))] = header
        #expect(addresses.address(peer: peer, headers) == expected)
    }
}
