import Foundation
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
        let made = try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"])
        #expect(made.status == 201 && made.json["decided_by"] == "local")
        let changed = try await server.send(.patch, "/api/v1/sessions/\(id)", ["set": ["a": 1]])
        #expect(changed.status == 200 && changed.json["decided_by"] == "local" && changed.json["data"]?["a"] == 1)
        let compared = try await server.send(.patch, "/api/v1/sessions/\(id)", ["set": ["a": 1], "expect": ["a": 2]])
        #expect(compared.status == 503 && compared.code == "unavailable")
        let revoked = try await server.send(.delete, "/api/v1/users/ann/sessions")
        #expect(revoked.json["revoked"] == 2 && revoked.json["decided_by"] == "local")
        #expect(try await server.send(.get, "/api/v1/sessions/\(id)").status == 404)

        let detailed = try await server.send(.get, "/api/v1/health/detailed")
        #expect(detailed.json["features"]?["cache"]?["mode"] == "local" && detailed.json["features"]?["cache"]?["backlog"] == 1)
        // The check's three rules.
        let limits = detailed.json["features"]?["rate_limits"]
        #expect(limits?["mode"] == "local" && limits?["backlog"] == 3 && limits?["backlog_units"] == 3)
        #expect(limits?["backlog_oldest"] != nil && limits?["handed_over_units"] == 0)
        #expect(detailed.json["features"]?["sessions"]?["backlog"]?.integer ?? 0 > 0)
        let metrics = try await server.send(.get, "/metrics").text
        #expect(metrics.contains(#"holdfast_store_mode{mode="local"} 1"#))
        // Nobody tells of changes here.
        #expect(metrics.contains(#"holdfast_cache_near_coherence{state="timed"} 1"#))
        #expect(metrics.contains(#"holdfast_cache_near_coherence{state="tracked"} 0"#))
        #expect(metrics.contains("holdfast_cache_near_bound_seconds 5\n"))
        #expect(
            metrics.contains("holdfast_rate_limits_pending_keys 3\n") && metrics.contains("holdfast_rate_limits_lost_total 0\n"))
    }

    /// Nobody decides, and wherever it is shown who does, that is said.
    private func expectRefused(_ server: ServerUnderTest) async throws {
        let detailed = try await server.send(.get, "/api/v1/health/detailed")
        #expect(detailed.status == 503)
        for name in ["cache", "rate_limits", "sessions"] {
            let feature = detailed.json["features"]?[name]
            #expect(feature?["mode"] == "refused" && feature?["outage"] == "local", "\(detailed.text)")
            #expect(feature?["since"] == nil)
        }
        let metrics = try await server.send(.get, "/metrics").text
        for mode in ["embedded", "server", "local", "refused"] {
            #expect(metrics.contains("holdfast_store_mode{mode=\"\(mode)\"} \(mode == "refused" ? 1 : 0)\n"), "\(metrics)")
        }
        let status = try await server.send(.get, "/api/v1/cache/status")
        for name in ["cache_service_status", "rate_limit_status"] {
            #expect(status.json[name]?["active_backend"] == "none", "\(status.text)")
        }
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
        try await expectRefused(server)
    }

    @Test(arguments: [
        ErrorCode.connectionFailed, .connectionLost, .timeout, .serverLoading, .serverReadOnly, .serverBusy, .outOfMemory,
    ])
    func beforeTheBreakerOpensEveryFailureOfTheServerIsA503(code: ErrorCode) async throws {
        let store = FaultyStore(EmbeddedStore())
        let failover = Failover(
            server: store, local: EmbeddedStore(), configuration: .init(thresholds: .init(failures: 1000, successes: 1)))
        let server = try ServerUnderTest(state: AgentState(failover: failover))
        let created = try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"])
        let id = try #require(created.json["id"]?.string)
        for effect in [StoreError.Effect.none, .unknown] {
            let error = StoreError(code, effect: effect)
            #expect(error.isOutage)
            store.fail(with: error)
            for (method, path, body) in [
                (.patch, "/api/v1/sessions/\(id)", ["set": ["a": 1], "expect": ["a": .null]]),
                (.post, "/api/v1/sessions/\(id)/rotate", nil), (.get, "/api/v1/users/ann/sessions", nil),
            ] as [(HTTPRequest.Method, String, JSONValue?)] {
                let reply = try await server.send(method, path, body)
                #expect(reply.status == 503 && reply.code == code.name && reply.header("Retry-After") != nil)
                #expect(reply.json["effect"]?.string == effect.rawValue)
            }
            store.recover()
        }
        store.fail(with: StoreError(code, effect: .unknown))
        // What can be decided here is; what waits for the server does not make another call's effect unknown.
        let made = try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"])
        #expect(made.status == 201 && made.json["decided_by"] == "local")
        let listed = try await server.send(.get, "/api/v1/users/ann/sessions")
        #expect(listed.status == 503 && listed.json["effect"] == "none")
    }

    /// Waits for a condition, at most a minute.
    private func wait(until condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try await !condition() {
            try #require(ContinuousClock.now < deadline, "it did not come about in time")
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    @Test func aServerThatComesBackWithAnotherPasswordIsARefusalAndNoOutage() async throws {
        var options = RedisProcess.Options()
        options.password = "one"
        let redis = try await RedisProcess.start(options)
        defer { redis.stop() }
        func restart(password: String) async throws {
            let path = redis.folder + "/redis.conf"
            let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
            let others = lines.filter { !$0.hasPrefix("requirepass") } + ["requirepass \"\(password)\""]
            try others.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
            try await redis.restart()
        }
        let store = try RedisStore(
            RedisConfiguration(endpoint: .unixSocket(path: redis.socketPath), password: "one"))
        let failover = Failover(
            server: store, local: EmbeddedStore(),
            configuration: .init(thresholds: .init(failures: 1, successes: 1), checkInterval: .milliseconds(50)))
        let server = try ServerUnderTest(state: AgentState(failover: failover))
        func put(_ key: String) async throws -> ServerUnderTest.Reply {
            try await server.send(.put, "/api/v1/cache/entries/w/\(key)", ["value": 1])
        }
        await failover.start()
        let watch = Task { await failover.run() }
        #expect(try await put("a").json["decided_by"] == "server")

        redis.kill()
        try await wait { failover.localSince != nil }
        #expect(try await put("b").json["decided_by"] == "local")

        try await restart(password: "two")
        try await wait { failover.refusal != nil }
        #expect(try await server.send(.get, "/health/ready", key: nil).status == 503)
        #expect(try await server.send(.get, "/health", key: nil).json["dependencies"]?["redis"] == "refused")
        for reply in [
            try await put("c"), try await server.send(.get, "/api/v1/cache/entries/w/none"),
            try await server.send(.post, "/api/v1/limits/check", ["subject": ["user": "ann"]]),
            try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"]),
            try await server.send(.get, "/api/v1/sessions/00000000-0000-0000-0000-000000000000"),
        ] {
            #expect(reply.status == 503 && reply.code == "server-refused", "\(reply.text)")
        }
        try await expectRefused(server)

        try await restart(password: "one")
        try await wait { failover.refusal == nil && failover.localSince == nil }
        try await wait { try await put("d").json["decided_by"] == "server" }
        let metrics = try await server.send(.get, "/metrics").text
        #expect(metrics.contains("holdfast_redis_connections_total 2\n"), "one before the outage, one after it: \(metrics)")
        #expect(metrics.contains("holdfast_redis_lost_connections_total 1\n"))
        for change in ["outages", "refusals", "returns"] {
            #expect(metrics.contains("holdfast_store_\(change)_total 1\n"), "\(change): \(metrics)")
        }
        #expect(!metrics.contains("holdfast_redis_calls_total 0\n") && metrics.contains("holdfast_redis_calls_total"))
        #expect(try await server.send(.get, "/health/ready", key: nil).status == 200)
        watch.cancel()
        await watch.value
        await store.shutdown()
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

    /// What is refused before it is read ends the connection, and is tested where a socket can say so (WireTests).
    @Test func severalRequestsAreAnsweredOverOneRealConnection() async throws {
        let server = try ServerUnderTest()
        try await server.server.application.test(.live) { client in
            let key: HTTPFields = [.authorization: "Bearer \(ServerUnderTest.writer)", .contentType: "application/json"]
            let path = "/api/v1/cache/entries/w/k"
            let good = try await client.execute(uri: path, method: .put, headers: key, body: ByteBuffer(string: #"{"value":1}"#))
            #expect(good.status == .ok)
            let head = try await client.execute(uri: "/status", method: .head)
            #expect(head.status == .ok && head.body.readableBytes == 0)
            #expect(try await client.execute(uri: path, method: .delete, headers: key).status == .ok)
        }
    }
}
