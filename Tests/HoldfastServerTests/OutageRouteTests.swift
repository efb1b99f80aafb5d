import HTTPTypes
import Holdfast
import HoldfastRedis
import HoldfastStore
import HoldfastTesting
import Hummingbird
import HummingbirdTesting
import NIOCore
import TestServers
import Testing

@testable import HoldfastServer

@Suite struct OutageRouteTests {
    /// A server whose store is away from the first call that meets it on.
    private func away() async throws -> (ServerUnderTest, FaultyStore, Failover) {
        let store = FaultyStore(EmbeddedStore())
        let failover = Failover(
            server: store, local: EmbeddedStore(), configuration: .init(thresholds: .init(failures: 1, successes: 1)))
        return (try ServerUnderTest(state: AgentState(failover: failover)), store, failover)
    }

    @Test func eachFeatureSaysHowItIsServedWhileTheServerIsAway() async throws {
        let (server, store, failover) = try await away()
        #expect(try await server.send(.get, "/health", key: nil).json["dependencies"]?["redis"] == "connected")
        let created = try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"])
        let id = try #require(created.json["id"]?.string)
        store.fail(with: StoreError(.connectionFailed))
        await failover.start()

        let health = try await server.send(.get, "/health", key: nil)
        #expect(
            health.status == 200 && health.json["status"] == "degraded" && health.json["dependencies"]?["redis"] == "disconnected"
        )
        #expect(try await server.send(.get, "/health/ready", key: nil).json["status"] == "degraded")
        let kept = try await server.send(.put, "/api/v1/cache/entries/w/k", ["value": 1])
        #expect(kept.status == 200 && kept.json["decided_by"] == "local")
        #expect(try await server.send(.get, "/api/v1/cache/entries/w/k").json["value"] == 1)
        let check = try await server.send(.post, "/api/v1/limits/check", ["subject": ["user": "ann"]])
        #expect(check.status == 200 && check.json["decided_by"] == "local")

        // What was seen is shown with its age; what is not known here is "unavailable", never "not found".
        let copy = try await server.send(.get, "/api/v1/sessions/\(id)")
        #expect(copy.status == 200 && copy.json["stale_age_seconds"] != nil)
        let unknown = try await server.send(.get, "/api/v1/sessions/00000000-0000-0000-0000-000000000000")
        #expect(unknown.status == 503 && unknown.code == "unavailable" && unknown.header("Retry-After") == "1")
        #expect(try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"]).status == 503)
        #expect(try await server.send(.patch, "/api/v1/sessions/\(id)", ["set": ["a": 1]]).status == 503)

        let detailed = try await server.send(.get, "/api/v1/health/detailed")
        #expect(detailed.json["features"]?["cache"]?["mode"] == "local" && detailed.json["features"]?["cache"]?["backlog"] == 1)
        let metrics = try await server.send(.get, "/metrics").text
        #expect(metrics.contains(#"holdfast_store_mode{mode="local"} 1"#))
    }

    @Test func aServerThatRefusesUsMakesTheProcessUnready() async throws {
        let (server, store, failover) = try await away()
        store.fail(with: StoreError(.serverRefused))
        await failover.start()
        #expect(try await server.send(.get, "/health/ready", key: nil).status == 503)
        let health = try await server.send(.get, "/health", key: nil)
        #expect(health.status == 503 && health.json["dependencies"]?["redis"] == "refused")
        #expect(try await server.send(.put, "/api/v1/cache/entries/w/k", ["value": 1]).status == 503)
        #expect(try await server.send(.get, "/health/live", key: nil).status == 200)
    }

    @Test func theDetailsOfARealRedisAreProbed() async throws {
        let failover = Failover(server: try await Backend.redis.store(), local: EmbeddedStore())
        let server = try ServerUnderTest(state: AgentState(failover: failover, namespace: Backend.redis.namespace()))
        let reply = try await server.send(.get, "/api/v1/health/detailed")
        #expect(reply.json["statistics"]?["redis_connected"] == true && reply.json["statistics"]?["redis_version"] != nil)
        #expect(reply.json["features"]?["sessions"]?["mode"] == "server")
        let checks = reply.json["checks"]?.array?.compactMap { $0["name"]?.string } ?? []
        for name in ["ping", "command", "publish", "blocked_clients"] { #expect(checks.contains(name), "\(name)") }
        let status = try await server.send(.get, "/api/v1/cache/status")
        #expect(status.json["redis_status"]?["status"] == "connected" && status.json["redis_status"]?["version"]?.string != nil)
        #expect(status.json["cache_service_status"]?["active_backend"] == "redis")
        let session = try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"], headers: ["Idempotency-Key": "x"])
        let again = try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"], headers: ["Idempotency-Key": "x"])
        #expect(session.status == 201 && again.text == session.text)
    }

    @Test func overARealConnectionTooMuchIsRefusedAndTheNextRequestIsAnswered() async throws {
        var configuration = HTTPServer.Configuration()
        configuration.maximumBodyBytes = 1000
        let server = try ServerUnderTest(configuration: configuration)
        try await server.server.application.test(.live) { client in
            let key: HTTPFields = [.authorization: "Bearer \(ServerUnderTest.writer)", .contentType: "application/json"]
            let path = "/api/v1/cache/entries/w/k"
            let large = try await client.execute(
                uri: path, method: .put, headers: key, body: ByteBuffer(repeating: UInt8(ascii: "1"), count: 100_000))
            #expect(large.status == .contentTooLarge)
            let good = try await client.execute(uri: path, method: .put, headers: key, body: ByteBuffer(string: #"{"value":1}"#))
            #expect(good.status == .ok)
            let head = try await client.execute(uri: "/status", method: .head)
            #expect(head.status == .ok && head.body.readableBytes == 0)
            #expect(try await client.execute(uri: path, method: .delete, headers: key).status == .ok)
            let bloated: HTTPFields = [.userAgent: String(repeating: "x", count: 40_000)]
            let refused = try await client.execute(uri: "/status", method: .get, headers: bloated)
            #expect(refused.status == .badRequest)
        }
    }
}
