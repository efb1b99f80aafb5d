import Foundation
import Holdfast
import HoldfastRedis
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

/// The near cache beside a real server that tells of changes.
@Suite(.timeLimit(.minutes(10))) struct CacheTrackingTests {
    private func endpoint(_ server: RedisProcess) -> RedisConfiguration {
        RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: server.port)).patient
    }

    @Test(arguments: TrackingKind.all)
    func aNearHitCostsNoTripAndAChangeIsSeenByItsMessage(_ kind: TrackingKind) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let process = try TrackedProcess(kind.applied(to: endpoint(server)))
        let writer = try RedisStore(endpoint(server))
        let other = plainCache(writer)
        try await other.set("k", 1)
        try await process.isTracked()
        try await process.holds("k", 1)
        func reads() async throws -> Substring? {
            let info = try await server.ask("INFO", "commandstats").bytes?.lossyString ?? ""
            return info.split(separator: "\r\n").first { $0.hasPrefix("cmdstat_get:") }?.split(separator: ",").first
        }
        let before = try await reads()
        for _ in 0..<1000 { #expect(try await process.cache.get("k", as: Int.self) == .hit(1, from: .near)) }
        #expect(try await reads() == before)

        try await other.set("k", 2)
        try await process.sees(2, "k", "another process's write")
        try await process.holds("k", 2)
        // As whoever sits at the server would.
        let program = try ChildProcess(
            ["redis-cli", "-p", "\(server.port)", "DEL", "p:cache:default:k"], standardOutput: server.folder + "/cli.out",
            standardError: server.folder + "/cli.err")
        #expect(program.wait() == 0)
        try await process.sees(nil, "k", "a deletion by redis-cli")
        // Our own writes are in order with those of others.
        try await process.cache.set("k", 3)
        #expect(try await process.cache.get("k", as: Int.self).value == 3)
        try await other.set("k", 4)
        try await process.sees(4, "k", "a write after ours")
        await process.stop()
        await writer.shutdown()
    }

    @Test(arguments: TrackingKind.all)
    func whatIsLostIsFlushedAndTrackedAgain(_ kind: TrackingKind) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let process = try TrackedProcess(kind.applied(to: endpoint(server)))
        let writer = try RedisStore(endpoint(server))
        let other = plainCache(writer)
        try await process.isTracked()

        try await other.set("k", 1)
        try await process.holds("k", 1)
        _ = try await server.ask("FLUSHALL")
        try await process.sees(nil, "k", "FLUSHALL")

        // The connection that listens is killed, or all are; changes meanwhile are told to nobody.
        for kill in [["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"], ["CLIENT", "KILL", "TYPE", "pubsub"]] as [[Bytes]] {
            try await other.set("k", 2)
            try await process.holds("k", 2)
            _ = try await writer.execute(Batch(.pipeline, [.raw(kill), .raw(["DEL", "p:cache:default:k"])]))
            try await process.sees(nil, "k", "what was changed as \(kill) ended the connection")
            try await process.isTracked()
        }
        // Another server on the same port, which knows nothing.
        try await eventually("it does not write") { (try? await other.set("k", 3)) != nil }
        try await process.holds("k", 3)
        try await server.restart()
        try await process.sees(nil, "k", "that the server is a new one")
        try await process.isTracked()
        try await eventually("it does not write") { (try? await other.set("k", 4)) != nil }
        try await process.holds("k", 4)
        await process.stop()
        await writer.shutdown()
    }

    /// What changes after a flush is told over the connections that told of the flush.
    @Test(arguments: TrackingKind.all)
    func aFlushDoesNotEndTheTracking(_ kind: TrackingKind) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        var configuration = kind.applied(to: endpoint(server))
        configuration.clientName = "tracked"
        let process = try TrackedProcess(configuration)
        let writer = try RedisStore(endpoint(server))
        let other = plainCache(writer)
        try await process.isTracked()
        /// By number, which a connection that was made again does not keep.
        func connections() async throws -> Set<Substring> {
            let clients = try await server.ask("CLIENT", "LIST").bytes?.lossyString ?? ""
            let lines = clients.split(separator: "\n").filter { $0.contains(" name=tracked ") }
            return Set(lines.compactMap { $0.split(separator: " ").first })
        }
        let before = try await connections()
        #expect(before.count >= 2, "one for calls, one that listens: \(before)")
        for flush in ["FLUSHALL", "FLUSHDB"] as [Bytes] {
            try await other.set("k", 1)
            try await process.holds("k", 1)
            _ = try await server.ask(flush)
            try await process.sees(nil, "k", flush.lossyString)

            try await other.set("k", 2)
            try await process.holds("k", 2)
            try await other.set("k", 3)
            try await process.sees(3, "k", "another process's write after \(flush.lossyString)")
            try await process.holds("k", 3)
            // As whoever sits at the server would.
            _ = try await server.ask("DEL", "p:cache:default:k")
            try await process.sees(nil, "k", "a deletion after \(flush.lossyString)")
        }
        let after = try await connections()
        #expect(before.isSubset(of: after), "\(before) became \(after)")
        #expect(process.cache.nearCoherence == .tracked)
        await process.stop()
        await writer.shutdown()
    }

    /// No message can arrive, and nobody is told so: what was confirmed before is good for the near TTL, and not longer.
    @Test(arguments: TrackingKind.all)
    func behindAPartitionNoCopyIsServedBeyondTheBound(_ kind: TrackingKind) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let proxy = try await TCPProxy.start(to: server.port)
        var configuration = kind.applied(to: RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: proxy.port)))
        configuration.commandTimeout = .seconds(1)
        let bound = Duration.seconds(2)
        let process = try TrackedProcess(configuration, near: NearCacheConfiguration(ttl: bound, trackedTTL: .seconds(7200)))
        let writer = try RedisStore(endpoint(server))
        let other = plainCache(writer)
        try await other.set("k", 1)
        try await process.isTracked()
        try await process.holds("k", 1)
        // Far beyond the near TTL it is still served: the server confirms.
        let (clock, begun) = (ContinuousClock(), ContinuousClock.now)
        while clock.now < begun + bound * 2 { try await process.holds("k", 1) }

        proxy.swallow()
        let cut = clock.now
        try await other.set("k", 2)
        var lastHit = cut
        try await eventually("copies are served for ever") {
            let moment = clock.now
            if try await process.cache.get("k", as: Int.self).source == .near { lastHit = moment }
            return moment > cut + bound * 2
        }
        #expect(lastHit <= cut + bound, "a copy was served \(lastHit - cut) after the last word of the server")
        proxy.heal()
        try await process.isTracked()
        try await process.sees(2, "k", "what was written behind the partition")
        try await process.holds("k", 2)
        await process.stop()
        await writer.shutdown()
        try await proxy.stop()
    }

    /// The race of a reply with the message of its change: a value that is put in after its invalidation would stay for an hour.
    @Test(arguments: TrackingKind.all)
    func aValueThatWasChangedWhileItWasReadIsNotKept(_ kind: TrackingKind) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let process = try TrackedProcess(kind.applied(to: endpoint(server)))
        let writer = try RedisStore(endpoint(server))
        let other = plainCache(writer)
        try await process.isTracked()
        let keys = (0..<4).map { "k\($0)" }
        for round in 1...10 {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for reader in 0..<4 {
                    group.addTask {
                        for step in 0..<200 {
                            switch (reader, step % 50) {
                            case (0, 7): try await process.cache.set(keys[step % 4], -step)
                            case (1, _): _ = try await process.cache.getMany(keys, as: Int.self)
                            case (2, 9): try await process.cache.refresh(keys[step % 4]) { step }
                            default: _ = try await process.cache.getOrSet(keys[step % 4]) { step }
                            }
                        }
                    }
                }
                group.addTask { for step in 0..<200 { try await other.set(keys[step % 4], step) } }
                try await group.waitForAll()
            }
            for key in keys {
                try await other.set(key, round * 1000)
                try await process.sees(round * 1000, key, "the last write")
                #expect(try await process.cache.get(key, as: Int.self).value == round * 1000)
            }
        }
        await process.stop()
        await writer.shutdown()
    }

    @Test func eachTenantIsToldOfFromItsFirstRead() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let process = try TrackedProcess(endpoint(server))
        let writer = try RedisStore(endpoint(server))
        try await process.isTracked()
        for tenant in (0..<5).map({ "t:\($0)" }) {
            let (here, there) = (process.cache.scoped(to: tenant), plainCache(writer).scoped(to: tenant))
            try await there.set("k", 1)
            try await eventually("it is not kept") { (try? await here.get("k", as: Int.self)) == .hit(1, from: .near) }
            // Perhaps kept before its tenant was told of; then nothing is, when it is.
            try await process.isTracked()
            try await there.set("k", 2)
            try await eventually("a tenant's change is not seen") { (try? await here.get("k", as: Int.self))?.value == 2 }
        }
        await process.stop()
        await writer.shutdown()
    }

    @Test func aServerThatMayNotTellLeavesTheShortTime() async throws {
        var options = RedisProcess.Options()
        options.users = ["user narrow on >pw ~* &* +@all -client"]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        var configuration = endpoint(server)
        (configuration.username, configuration.password) = ("narrow", "pw")
        let store = try RedisStore(configuration)
        let (events, door) = AsyncStream.makeStream(of: KeyChangeEvent.self)
        let handle = try #require(store.trackChanges(of: ["p:"], confirmingEvery: .seconds(1)) { door.yield($0) })
        guard case .unavailable(let error)? = await events.first(where: { _ in true }) else {
            Issue.record("It tells all the same")
            return
        }
        #expect(error.code == .permissionMissing && error.message.hasPrefix("NOPERM"))
        handle.end()
        let process = try TrackedProcess(configuration)
        try await process.cache.set("k", 1)
        #expect(try await process.cache.get("k", as: Int.self) == .hit(1, from: .near))
        #expect(process.cache.nearCoherence == .timed)
        configuration.clientTracking = .off
        #expect(try RedisStore(configuration).trackChanges(of: ["p:"], confirmingEvery: .seconds(1)) { _ in } == nil, "it is off")
        await process.stop()
        await store.shutdown()
    }

    @Test func ofTwoCachesOverOneStoreBothAreTrue() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        for mode in [RedisConfiguration.ClientTracking.broadcast, .reads] {
            var configuration = endpoint(server)
            configuration.clientTracking = mode
            let process = try TrackedProcess(configuration)
            try await process.isTracked()
            let second = Cache(
                failover: Failover(server: process.store, local: EmbeddedStore()), namespace: Namespace(prefix: "p:"),
                configuration: CacheConfiguration(near: .patient))
            _ = try await second.get("warm", as: Int.self)
            // Redis redirects what a connection read to one listener: the second cache goes by time.
            let expected: NearCoherence = mode == .broadcast ? .tracked : .timed
            try await eventually("the second is not as it should be") { second.nearCoherence == expected }
            try await process.cache.set("k", 1)
            try await process.holds("k", 1)
            try await plainCache(process.store).set("k", 2)
            try await process.sees(2, "k", "a change, by the first")
            #expect(process.cache.nearCoherence == .tracked && second.nearCoherence == expected)
            await process.stop()
        }
    }

    @Test func aClosedStoreListensNoLonger() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let process = try TrackedProcess(endpoint(server))
        try await process.isTracked()
        await process.stop()
        try await eventually("connections are left") {
            // The one that asks.
            try await server.ask("CLIENT", "LIST").bytes?.lossyString.split(separator: "\n").count == 1
        }
        #expect(process.cache.nearCoherence == .interrupted)
    }
}
