import HTTPTypes
import Holdfast
import HoldfastRedis
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

@testable import HoldfastServer

/// What each feature does while the server is away, as configured, over HTTP.
@Suite struct OutageBehaviorRouteTests {
    /// A server whose store can be taken away.
    private struct Outage {
        let time = ManualTime()
        let store: FaultyStore
        let failover: Failover
        let server: ServerUnderTest

        init(_ configuration: AgentState.Configuration, callers: RateLimiter.OutageBehavior? = nil) throws {
            store = FaultyStore(EmbeddedStore(time: time))
            failover = Failover(
                server: store, local: EmbeddedStore(time: time),
                configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
            var http = HTTPServer.Configuration()
            if let callers {
                http.callerPlan = RateLimitPlan(rules: [RateLimit("calls", .fixedWindow, limit: 100, per: .seconds(3600))])
                http.callerOutage = callers
            }
            server = try ServerUnderTest(
                state: AgentState(failover: failover, configuration: configuration), configuration: http)
        }

        func goDown() async {
            store.fail(with: StoreError(.connectionFailed))
            await failover.start()
        }

        func comeBack() async {
            store.recover()
            await time.letReturn(failover)
        }

        func feature(_ name: String) async throws -> JSONValue {
            try await server.send(.get, "/api/v1/health/detailed").json["features"]?[name] ?? .null
        }
    }

    private typealias Request = (HTTPRequest.Method, String, JSONValue?)

    /// How requests are answered: the status and code of all of them, which must agree.
    private func answers(_ server: ServerUnderTest, _ requests: [Request], _ headers: [String: String] = [:]) async throws
        -> Set<String>
    {
        var found: Set<String> = []
        for (method, path, body) in requests {
            let reply = try await server.send(method, path, body, headers: headers)
            found.insert(reply.code ?? reply.json["decided_by"]?.string ?? "\(reply.status)")
        }
        return found
    }

    private static let writing: [Request] = [
        (.put, "/api/v1/cache/entries/w/a", ["value": 1]),
        (.post, "/api/v1/cache/batch/set", ["workspace": "w", "entries": ["b": 1]]),
        (.get, "/api/v1/cache/keys?workspace=w", nil), (.get, "/api/v1/cache/health", nil),
    ]
    private static let removing: [Request] = [
        (.delete, "/api/v1/cache/entries/w/a", nil), (.delete, "/api/v1/cache/keys/b?workspace=w", nil),
        (.post, "/api/v1/cache/clear/pattern?pattern=*&workspace=w", nil),
        (.put, "/api/v1/cache/entries/w/c", ["value": 1, "ttl_seconds": 0]),
    ]

    @Test(arguments: OutageBehavior.allCases) func theCacheDoesAsConfigured(_ behavior: OutageBehavior) async throws {
        let outage = try Outage(.init(cache: CacheConfiguration(outage: behavior)))
        let server = outage.server
        #expect(try await answers(server, Self.writing) == ["server"])
        #expect(try await outage.feature("cache") == ["mode": "server", "outage": .string(behavior.rawValue), "backlog": 0])
        await outage.goDown()
        #expect(try await answers(server, Self.writing) == [behavior == .local ? "local" : "unavailable"])
        let read = try await server.send(.get, "/api/v1/cache/entries/w/a")
        #expect(read.status == (behavior == .local ? 200 : 503))
        let several = try await server.send(.post, "/api/v1/cache/batch/get", ["workspace": "w", "keys": ["a", "none"]])
        #expect(several.status == (behavior == .local ? 200 : 503))
        let mode = try await outage.feature("cache")
        #expect(mode["mode"]?.string == behavior.rawValue && mode["since"] != nil)
        #expect((mode["backlog"]?.integer ?? 0 > 0) == (behavior == .local))
        #expect(try await answers(server, Self.removing) == ["local"])
        #expect(try await outage.feature("cache")["backlog"]?.integer ?? 0 > 0)
        await outage.comeBack()
        #expect(try await server.send(.get, "/api/v1/cache/entries/w/a").status == 404)
        #expect(try await answers(server, Self.writing) == ["server"])
        #expect(outage.failover.outbox.isEmpty)
    }

    @Test(arguments: OutageBehavior.allCases) func warmingDoesAsConfigured(_ behavior: OutageBehavior) async throws {
        let outage = try Outage(.init(cache: CacheConfiguration(outage: behavior)))
        try outage.server.state.cache.registerWarmer("a", group: "outbreak_data") { _ in 1 }
        let given: JSONValue = ["entries": ["b": 2]]
        func warm(_ body: JSONValue? = nil) async throws -> ServerUnderTest.Reply {
            try await outage.server.send(.post, "/api/v1/cache/warm/outbreak_data", body)
        }
        #expect(try await warm().json["decided_by"] == "server")
        await outage.goDown()
        for body in [nil, given] {
            let reply = try await warm(body)
            #expect(reply.status == (behavior == .closed ? 503 : 200), "\(reply.text)")
            if behavior == .closed {
                #expect(reply.code == "unavailable" && reply.json["effect"] == "none" && reply.header("Retry-After") != nil)
            } else {
                #expect(reply.json["decided_by"] == "local" && reply.json["failed"] == [])
            }
        }
        await outage.comeBack()
        #expect(try await warm().json["decided_by"] == "server")
    }

    @Test(arguments: OutageBehavior.allCases) func sessionsDoAsConfigured(_ behavior: OutageBehavior) async throws {
        let outage = try Outage(.init(sessions: .init(outage: behavior)))
        let server = outage.server
        func create() async throws -> ServerUnderTest.Reply {
            try await server.send(.post, "/api/v1/sessions", ["user_id": "ann", "kind": "conversation"])
        }
        let id = try #require(try await create().json["id"]?.string)
        let other = try #require(try await create().json["id"]?.string)
        let calls: [Request] = [
            (.post, "/api/v1/sessions", ["user_id": "bob"]), (.get, "/api/v1/sessions/\(id)", nil),
            (.patch, "/api/v1/sessions/\(id)", ["set": ["a": 1]]), (.post, "/api/v1/sessions/\(id)/extend", nil),
            (.post, "/api/v1/sessions/\(id)/messages", ["messages": [["role": "user", "content": "hello"]]]),
            (.get, "/api/v1/cache/session/\(id)", nil),
        ]
        #expect(try await answers(server, calls) == ["server"])
        await outage.goDown()
        let word = behavior == .local ? "local" : "unavailable"
        #expect(try await answers(server, calls) == [word])
        let mode = try await outage.feature("sessions")
        #expect(mode["mode"]?.string == behavior.rawValue && mode["outage"]?.string == behavior.rawValue && mode["since"] != nil)
        #expect((mode["backlog"]?.integer ?? 0 > 0) == (behavior == .local))
        if behavior == .closed { #expect(outage.failover.outbox.isEmpty) }
        // The record of a key that was made for a call that is refused is taken back with it.
        let waiting = outage.failover.outbox.status.backlog
        #expect(try await answers(server, Array(calls.prefix(1)), ["Idempotency-Key": "x"]) == [word])
        if behavior == .closed { #expect(outage.failover.outbox.status.backlog == waiting) }
        // A logout is never refused.
        #expect(try await server.send(.delete, "/api/v1/sessions/\(id)").status == 204)
        #expect(try await server.send(.delete, "/api/v1/users/ann/sessions").json["decided_by"] == "local")
        #expect(try await server.send(.get, "/api/v1/sessions/\(id)").status == (behavior == .local ? 404 : 503))
        await outage.comeBack()
        for id in [id, other] { #expect(try await server.send(.get, "/api/v1/sessions/\(id)").status == 404) }
        let again = try #require(try await create().json["id"]?.string)
        #expect(try await server.send(.get, "/api/v1/sessions/\(again)").json["decided_by"] == "server")
        #expect(try await answers(server, Array(calls.prefix(1)), ["Idempotency-Key": "x"]).count == 1)
        #expect(outage.failover.outbox.isEmpty)
        #expect(try await outage.feature("sessions")["backlog"] == 0)
    }

    @Test(arguments: RateLimiter.OutageBehavior.allCases)
    func limitsDoAsConfigured(_ behavior: RateLimiter.OutageBehavior) async throws {
        let outage = try Outage(.init(limits: .init(outage: behavior)))
        let server = outage.server
        func check() async throws -> ServerUnderTest.Reply {
            try await server.send(.post, "/api/v1/limits/check", ["subject": ["user": "ann"]])
        }
        #expect(try await check().json["decided_by"] == "server")
        await outage.goDown()
        let decided = try await check()
        #expect(decided.status == (behavior == .closed ? 429 : 200) && decided.json["decided_by"] == "local", "\(decided.text)")
        #expect(decided.json["reason"] == (behavior == .local ? "within-limits" : "store-away"))
        let mode = try await outage.feature("rate_limits")
        #expect(mode["mode"]?.string == behavior.rawValue && mode["outage"]?.string == behavior.rawValue && mode["since"] != nil)
        #expect(mode["backlog"]?.integer == (behavior == .local ? 3 : 0))
        #expect((mode["backlog_oldest"] != nil) == (behavior == .local))
        outage.time.advance(by: .seconds(2))
        let waiting = try await server.send(.get, "/metrics").text
        #expect(waiting.contains("holdfast_rate_limits_oldest_seconds \(behavior == .local ? 2 : 0)\n"), "\(waiting)")
        await outage.comeBack()
        let charged = try await server.send(.get, "/metrics").text
        #expect(charged.contains("holdfast_rate_limits_oldest_seconds 0\n"))
        // Of the rule about bursts it may count no more.
        let units = try await outage.feature("rate_limits")["handed_over_units"]?.integer ?? 0
        #expect((units > 0) == (behavior == .local))
        #expect(charged.contains("holdfast_rate_limits_handed_over_total \(units)\n"), "\(charged)")
        let after = try await check()
        #expect(after.status == 200 && after.json["decided_by"] == "server" && after.json["reason"] == "within-limits")
    }

    /// What this server's own callers consumed in an outage is charged to the server too, and shown until then.
    @Test(arguments: RateLimiter.OutageBehavior.allCases)
    func theLimitsOfCallersAreShownAndDoAsConfigured(_ behavior: RateLimiter.OutageBehavior) async throws {
        let outage = try Outage(.init(), callers: behavior)
        let server = outage.server
        #expect(try await server.send(.get, "/api/v1/cache/stats").header("X-RateLimit-Remaining") == "99")
        await outage.goDown()
        let status = try await server.send(.get, "/api/v1/cache/stats").status
        #expect(status == (behavior == .closed ? 429 : 200))
        // These are calls too, of another caller.
        if behavior == .closed {
            #expect(try await server.send(.get, "/metrics", key: ServerUnderTest.reader).status == 429)
        } else {
            let counted = behavior == .local
            let mode = try await server.send(.get, "/api/v1/health/detailed", key: ServerUnderTest.reader)
                .json["features"]?["caller_limits"]
            #expect(mode?["mode"]?.string == behavior.rawValue)
            #expect(mode?["backlog"]?.integer == (counted ? 2 : 0) && mode?["backlog_units"]?.integer == (counted ? 2 : 0))
            let metrics = try await server.send(.get, "/metrics", key: ServerUnderTest.reader).text
            #expect(metrics.contains("holdfast_caller_limits_pending_keys \(counted ? 2 : 0)\n"), "\(metrics)")
            #expect(metrics.contains("holdfast_caller_limits_pending_units \(counted ? 3 : 0)\n"))
            #expect(metrics.contains("holdfast_rate_limits_pending_keys 0\n"))
        }
        await outage.comeBack()
        let left = try await server.send(.get, "/api/v1/cache/stats").header("X-RateLimit-Remaining")
        #expect(left == (behavior == .local ? "97" : "98"), "what was admitted by this process's share was charged")
        let metrics = try await server.send(.get, "/metrics").text
        #expect(metrics.contains("holdfast_caller_limits_pending_keys 0\n"))
        #expect(metrics.contains("holdfast_caller_limits_lost_total 0\n"))
        #expect(metrics.contains("holdfast_caller_limits_oldest_seconds 0\n"))
        #expect(metrics.contains("holdfast_caller_limits_handed_over_total \(behavior == .local ? 3 : 0)\n"))
    }

    /// Of what is decided by nobody there is no backend.
    @Test(arguments: RateLimiter.OutageBehavior.allCases)
    func theBackendIsNamedWhereSomethingIsDecided(_ behavior: RateLimiter.OutageBehavior) async throws {
        let cache: OutageBehavior = behavior == .local ? .local : .closed
        let outage = try Outage(.init(cache: CacheConfiguration(outage: cache), limits: .init(outage: behavior)))
        func backends() async throws -> [JSONValue?] {
            let status = try await outage.server.send(.get, "/api/v1/cache/status").json
            return ["cache_service_status", "rate_limit_status"].map { status[$0]?["active_backend"] }
        }
        #expect(try await backends() == ["redis", "redis"])
        await outage.goDown()
        let word: JSONValue = behavior == .local ? "memory" : "none"
        #expect(try await backends() == [word, word])
        await outage.comeBack()
        #expect(try await backends() == ["redis", "redis"])
    }

    @Test func whereCallersAreNotLimitedNothingIsShownOfIt() async throws {
        let outage = try Outage(.init())
        #expect(try await outage.feature("caller_limits") == .null)
        #expect(try await !outage.server.send(.get, "/metrics").text.contains("holdfast_caller_limits"))
    }

    @Test func sessionsOfThisProcessHaveNoOutage() async throws {
        let outage = try Outage(.init(sessions: .init(storage: .memory, outage: .closed)))
        await outage.goDown()
        #expect(try await outage.feature("sessions") == ["mode": "embedded"])
        #expect(try await outage.server.send(.post, "/api/v1/sessions", ["user_id": "ann"]).json["decided_by"] == "server")
    }

    /// A real Redis that is killed and comes back empty, with everything closed.
    @Test func everythingClosedRefusesWhileARealServerIsKilledAndGoesOnAfterwards() async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: redis.socketPath)))
        let failover = Failover(
            server: store, local: EmbeddedStore(),
            configuration: .init(thresholds: .init(failures: 1, successes: 1), checkInterval: .milliseconds(50)))
        let server = try ServerUnderTest(
            state: AgentState(
                failover: failover,
                configuration: .init(
                    cache: CacheConfiguration(outage: .closed), sessions: .init(outage: .closed), limits: .init(outage: .closed)))
        )
        await failover.start()
        let watch = Task { await failover.run() }
        // One slow ping is an outage of its own here.
        try await eventually("the server decides") { try await answers(server, Self.writing) == ["server"] }
        let session = try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"])
        let id = try #require(session.json["id"]?.string)

        redis.kill()
        try await eventually("the server counts as away") { failover.localSince != nil }
        let calls: [Request] = [
            (.get, "/api/v1/cache/entries/w/a", nil), (.post, "/api/v1/sessions", ["user_id": "ann"]),
            (.get, "/api/v1/sessions/\(id)", nil), (.patch, "/api/v1/sessions/\(id)", ["set": ["a": 1]]),
        ]
        #expect(try await answers(server, Self.writing + calls) == ["unavailable"])
        #expect(try await server.send(.post, "/api/v1/limits/check", ["subject": ["user": "ann"]]).json["reason"] == "store-away")
        #expect(failover.outbox.isEmpty)
        #expect(try await answers(server, Self.removing) == ["local"])
        #expect(try await server.send(.delete, "/api/v1/sessions/\(id)").status == 204)

        try await redis.restart()
        try await eventually("the server is back") { failover.localSince == nil && failover.outbox.isEmpty }
        #expect(try await server.send(.get, "/api/v1/sessions/\(id)").status == 404)
        try await eventually("the server decides") { try await answers(server, Self.writing) == ["server"] }
        try await eventually("it decides about sessions") {
            try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"]).json["decided_by"] == "server"
        }
        watch.cancel()
        await watch.value
        await store.shutdown()
    }

    // MARK: - Settings

    @Test func theSettingsReachTheServices() async throws {
        let folder = try TemporaryFolder()
        func load(_ environment: [String: String]) async throws -> LoadedConfiguration {
            try await HoldfastConfiguration.load(.init(environment: environment, workingDirectory: folder.url))
        }
        let all = ["CACHE_OUTAGE": "closed", "SESSION_OUTAGE": "closed", "RATE_LIMIT_OUTAGE": "open"]
        let loaded = try await load(all.merging(["REDIS_URL": "redis://h"]) { $1 })
        let services = loaded.configuration.services
        #expect(services.cache.outage == .closed && services.sessions.outage == .closed && services.limits.outage == .open)
        #expect(!loaded.warnings.contains { $0.contains("_OUTAGE") })
        #expect(try await load(all).warnings.contains { $0.contains("have no effect without a server") })
        let memory = ["REDIS_URL": "redis://h", "SESSION_OUTAGE": "closed", "SESSION_STORAGE": "memory"]
        #expect(try await load(memory).warnings.contains { $0.hasPrefix("SESSION_OUTAGE has no effect") })
        for (name, accepted) in [
            ("CACHE_OUTAGE", "local, closed"), ("SESSION_OUTAGE", "local, closed"),
            ("RATE_LIMIT_OUTAGE", "local, open, closed"),
        ] {
            do {
                _ = try await load([name: "ajar"])
                Issue.record("\(name)=ajar was accepted")
            } catch let error as ConfigurationError {
                #expect("\(error)".contains("\(name)=ajar (environment): accepted is one of \(accepted)"), "\(error)")
            }
        }
    }
}
