import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

@Suite(.timeLimit(.minutes(5))) struct SubscriptionTests {
    private func store(_ server: RedisProcess, _ version: RedisConfiguration.ProtocolVersion) throws -> RedisStore {
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath))
        configuration.protocolVersion = version
        return try RedisStore(configuration)
    }

    @Test(arguments: Backend.servers)
    func whatIsPublishedAfterTheBodyBeganIsDeliveredInOrder(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let channel = names.channel("news")
        try await store.withSubscription(to: [.channel(channel)]) { subscription async throws in
            for number in 0..<100 { #expect(try await store(.publish(channel, Bytes("\(number)"))) == 1) }
            var iterator = subscription.makeAsyncIterator()
            for number in 0..<100 {
                #expect(await iterator.next() == .message(channel: channel, payload: Bytes("\(number)")))
            }
        }
        try await eventually("it is unsubscribed") { try await store(.publish(channel, "late")) == 0 }
    }

    @Test(arguments: Backend.servers)
    func patternsAndChannelsAreToldApart(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let channel = names.channel("a")
        try await store.withSubscription(to: [.pattern(names.glob(startingWith: "")), .channel(channel)]) {
            subscription async throws in
            #expect(try await store(.publish(channel, "x")) == 2)
            #expect(try await store(.publish(names.channel("b"), "y")) == 1)
            var iterator = subscription.makeAsyncIterator()
            #expect(await iterator.next() == .message(channel: channel, payload: "x"))
            #expect(await iterator.next() == .message(channel: channel, payload: "x"))
            #expect(await iterator.next() == .message(channel: names.channel("b"), payload: "y"))
        }
    }

    @Test(arguments: Backend.servers)
    func listenersOfOneChannelShareOneSubscription(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let channel = names.channel("shared")
        try await store.withSubscription(to: [.channel(channel)]) { first async throws in
            try await store.withSubscription(to: [.channel(channel)]) { second async throws in
                #expect(try await store(.publish(channel, "both")) == 1)
                var (one, two) = (first.makeAsyncIterator(), second.makeAsyncIterator())
                #expect(await one.next() == .message(channel: channel, payload: "both"))
                #expect(await two.next() == .message(channel: channel, payload: "both"))
            }
            #expect(try await store(.publish(channel, "one")) == 1)
            var one = first.makeAsyncIterator()
            #expect(await one.next() == .message(channel: channel, payload: "one"))
        }
    }

    @Test(arguments: [RedisConfiguration.ProtocolVersion.resp3, .resp2])
    func subscriptionsAreRestoredAfterALossAndToldOfTheGap(_ version: RedisConfiguration.ProtocolVersion) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try store(server, version)
        let channel = Channel("c")
        let shard = ChannelSelector.shardChannel(Channel("s"))
        try await store.withSubscription(to: [.channel(channel), .pattern("d*"), shard]) { subscription async throws in
            try await server.restart()
            var iterator = subscription.makeAsyncIterator()
            #expect(await iterator.next() == .gap(missed: nil))
            try await eventually("it hears again") { (try? await store(.publish(channel, "again"))) == 1 }
            #expect(await iterator.next() == .message(channel: channel, payload: "again"))
            #expect(try await store(.publish(Channel("door"), "bell")) == 1)
            #expect(await iterator.next() == .message(channel: Channel("door"), payload: "bell"))
            #expect(try await store(.spublish(Channel("s"), "shard")) == 1)
            #expect(await iterator.next() == .message(channel: Channel("s"), payload: "shard"))
        }
    }

    @Test func aSilentPeerIsNoticedByListenersToo() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath))
        configuration.commandTimeout = .seconds(1)
        let store = try RedisStore(configuration)
        try await store.withSubscription(to: [.channel(Channel("c"))]) { subscription async throws in
            server.pause()
            try await eventually("the silence is noticed") { !store.isListening }
            server.resume()
            var iterator = subscription.makeAsyncIterator()
            #expect(await iterator.next() == .gap(missed: nil))
        }
    }

    @Test func anAbsentServerRefusesNewSubscriptionsAtOnce() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        server.kill()
        let store = try store(server, .resp3)
        for _ in 0..<3 {
            let error = await #expect(throws: StoreError.self) {
                try await store.withSubscription(to: [.channel(Channel("c"))]) { _ in }
            }
            #expect(error?.code == .connectionFailed)
        }
        try await server.restart()
        try await eventually("it subscribes") {
            (try? await store.withSubscription(to: [.channel(Channel("c"))]) { _ in true }) == true
        }
    }

    @Test func aChannelThatIsNotAllowedIsRefusedAndOthersAreNot() async throws {
        var options = RedisProcess.Options()
        options.users = ["user narrow on >pw ~* +@all resetchannels &open"]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let store = try RedisStore(
            RedisConfiguration(endpoint: .unixSocket(path: server.socketPath), username: "narrow", password: "pw"))
        try await store.withSubscription(to: [.channel(Channel("open"))]) { subscription async throws in
            let error = await #expect(throws: StoreError.self) {
                try await store.withSubscription(to: [.channel(Channel("open")), .channel(Channel("closed"))]) { _ in }
            }
            #expect(error?.code == .permissionMissing && error?.message.contains("ACL SETUSER <user> &<pattern>") == true)
            #expect(try await store(.publish(Channel("open"), "still")) == 1)
            var iterator = subscription.makeAsyncIterator()
            #expect(await iterator.next() == .message(channel: Channel("open"), payload: "still"))
        }
    }

    @Test func cancellingASubscriberEndsItsSubscription() async throws {
        let (store, names) = (try await Backend.redis.store(), Backend.redis.namespace())
        let channel = names.channel("c")
        // The server counts a listener before the listener knows.
        let isListening = Locked(false)
        let listener = Task {
            try await store.withSubscription(to: [.channel(channel)]) { subscription in
                isListening.withLock { $0 = true }
                for await _ in subscription {}
            }
        }
        try await eventually("it listens") { isListening.withLock { $0 } }
        listener.cancel()
        try await listener.value
        try await eventually("it is unsubscribed") { try await store(.publish(channel, "x")) == 0 }
    }

    @Test func manyComeAndGoAtOnce() async throws {
        let (store, names) = (try await Backend.redis.store(), Backend.redis.namespace())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<60 {
                group.addTask {
                    let channel = names.channel("c\(Int64(number % 3))")
                    for round in 0..<10 {
                        try await store.withSubscription(to: [.channel(channel)]) { subscription async throws in
                            let word = Bytes("\(number)-\(round)")
                            #expect(try await store(.publish(channel, word)) == 1)
                            for await event in subscription where event == .message(channel: channel, payload: word) { break }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
