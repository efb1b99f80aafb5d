import Holdfast
import HoldfastRedis
import HoldfastStore
import Logging
import TestServers
import Testing

@testable import HoldfastServer

/// The end of a process that a server is there for.
@Suite struct GracefulEndTests {
    private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    /// One failed call each is decided here; the process ends before the next call or ping, and has no data folder.
    @Test func whatSingleFailuresLeftIsHandedOverAtTheEnd() async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let proxy = try await FaultProxy.start(to: redis.port)
        let reader = try RedisStore(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: redis.port)).patient)
        let elsewhere = AgentState(failover: Failover(local: reader))
        let fresh = try await elsewhere.limits.peek(.user("ann")).remaining

        let (running, started) = AsyncStream<Void>.makeStream()
        var service = try await HoldfastService(configuration: configuration(port: proxy.port), environment: [:], logger: logger)
        {
            _, _ in started.yield()
        }
        // On a crowded machine two seconds may be short.
        service.handOverLimit = .seconds(60)
        let state = service.state
        let serving = Task { [service] in
            defer { started.finish() }
            try await service.run()
        }
        for await _ in running { break }
        try await eventually("the server is there") { state.failover.localSince == nil }
        try await state.cache.set("k", "old")
        let id = try await state.sessions.create(userID: "ann").id

        proxy.fault = .refuse
        // Until the breaker has heard of it, calls fail one by one.
        #expect(try await state.cache.delete("k").by.isLocal)
        #expect(try await state.sessions.update(id, set: ["a": 1]).by.isLocal)
        #expect(try await state.limits.check(.user("ann")).by.isLocal)
        #expect(state.failover.localSince == nil)
        proxy.fault = .none
        serving.cancel()
        _ = await serving.result

        #expect(try await elsewhere.cache.get("k", as: String.self) == .miss(by: .server))
        #expect(try await elsewhere.sessions.get(id).value?.data == ["a": 1])
        #expect(try await elsewhere.limits.peek(.user("ann")).remaining == fresh.map { $0 - 1 })
        await reader.shutdown()
    }

    /// A server that is away is not waited for.
    @Test func aServerThatIsAwayIsNotWaitedFor() async throws {
        var service = try await HoldfastService(configuration: configuration(port: 1), environment: [:], logger: logger)
        // Longer than any test may take.
        service.handOverLimit = .seconds(86_400)
        await service.state.failover.start()
        #expect(try await service.state.cache.delete("k").by.isLocal)
        #expect(await !service.state.finish(within: service.handOverLimit))
    }

    private func configuration(port: Int) -> HoldfastConfiguration {
        var configuration = HoldfastConfiguration()
        configuration.redis.isEnabled = true
        configuration.redis.address = .tcp(host: "127.0.0.1", port: port)
        configuration.server.host = "127.0.0.1"
        configuration.server.port = 0
        configuration.server.apiKeys = [Secret("root:admin:secret")]
        configuration.breaker.failureThreshold = 1_000_000
        return configuration
    }
}
