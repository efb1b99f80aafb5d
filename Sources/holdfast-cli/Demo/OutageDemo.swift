import Holdfast
import HoldfastRedis
import HoldfastStore

/// Agent Spy's graceful fallbacks: the same services over a server that is not there.
enum OutageDemo {
    static func play(_ stage: DemoStage, _ journal: DemoJournal) async throws {
        // Port 1 of the loopback is nobody's.
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: 1))
        configuration.connectTimeout = .milliseconds(200)
        let absent = try RedisStore(configuration)
        let failover = Failover(server: absent, local: EmbeddedStore())
        _ = await failover.start()
        journal.check("a server that is not there does not keep the process from starting", failover.decider.isLocal)
        try await use(failover, stage.namespace, journal)
        await absent.shutdown()
    }

    private static func use(_ failover: Failover, _ namespace: Namespace, _ journal: DemoJournal) async throws {
        let cache = Cache(failover: failover, namespace: namespace)
        let clock = ContinuousClock()
        let start = clock.now
        let decider = try await cache.set("kept", "here").by
        let found = try await cache.get("kept", as: String.self).value
        journal.check(
            "the cache goes on in this process, and says so", decider.isLocal && found == "here",
            "\(Int((clock.now - start).seconds * 1e6)) µs for a set and a get")
        let rule = RateLimit("away", .fixedWindow, limit: 1, per: .seconds(3600))
        let limiter = RateLimiter(failover, namespace: namespace)
        let first = try await limiter.check([rule], for: .user("ann"))
        let second = try await limiter.check([rule], for: .user("ann"))
        journal.check("limits hold with the local share", first.isAllowed && first.by.isLocal && !second.isAllowed)
        let sessions = Sessions(failover: failover, namespace: namespace)
        let session = try await sessions.create(userID: "ann")
        let isThere = try await sessions.get(session.id).value != nil
        journal.check(
            "a session is created here, kept for the server, and says so",
            session.by.isLocal && isThere && !failover.outbox.isEmpty, "\(failover.outbox.status.backlog) waiting")
        do {
            _ = try await sessions.get(.random())
            journal.check("a session that nobody here has seen is unknown", false)
        } catch {
            journal.check("a session that nobody here has seen is unknown, not gone", error.code == .unavailable, error.code.name)
        }
    }
}
