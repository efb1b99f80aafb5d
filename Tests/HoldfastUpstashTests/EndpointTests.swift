import HoldfastStore
import HoldfastUpstash
import TestServers
import Testing

/// Our client against our endpoint in front of a real Redis, beyond what every store must do (ConformanceTests).
@Suite(.timeLimit(.minutes(2))) struct EndpointTests {
    @Test func anyBytesPassInEveryPlace() async throws {
        let (store, names) = (try await Backend.upstash.store(), Backend.upstash.namespace())
        let binary = Bytes([0, 255, 254, 10, 13, 34, 92])
        let key = Key(raw: Bytes(Array(names.key("k").bytes) + Array(binary)))
        try await store(.set(key, binary, expiration: .after(.seconds(100))))
        #expect(try await store(.get(key)) == binary)
        let (set, got, text) = try await store.pipeline(
            .hset(names.key("h"), binary, binary), .hget(names.key("h"), binary), .get(names.key("none")))
        #expect(set && got == binary && text == nil)
        let (_, length, read) = try await store.transaction(
            .set(names.key("a"), binary), .append(names.key("a"), binary), .get(names.key("a")))
        #expect(length == 14 && read == Bytes(Array(binary) + Array(binary)))
        for length in 0..<70 {
            let value = Bytes((0..<length).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ 200) } + [255])
            try await store(.set(names.key("v"), value, expiration: .after(.seconds(100))))
            #expect(try await store(.get(names.key("v"))) == value)
        }
    }

    @Test func anErrorInsideACarriedTransactionIsThatCommandsOwn() async throws {
        let (store, names) = (try await Backend.upstash.store(), Backend.upstash.namespace())
        let replies = try await store.execute(
            Batch(
                .transaction,
                [
                    .strings(.set(names.key("a"), Bytes([255]), SetOptions())), .strings(.incrby(names.key("a"), 1)),
                    .strings(.incrby(names.key("n"), 1)),
                ]))
        #expect(replies == [.ok, .error(.notAnInteger), .integer(1)])
    }

    @Test func whatASlowReaderMissesIsCounted() async throws {
        let (store, names) = (try await Backend.upstash.store(), Backend.upstash.namespace())
        let channel = names.channel("flood")
        let count = Subscription.bufferLimit * 2
        let (received, missed) = try await store.withSubscription(to: [.channel(channel)]) { subscription async throws in
            _ = try await store.pipeline((0..<count).map { Command<Int>.publish(channel, Bytes(Int64($0))) })
            var (received, missed) = (0, 0)
            for await event in subscription {
                switch event {
                case .gap(let number): missed += number ?? .min / 2
                case .message(_, let payload):
                    received += 1
                    if payload.integer == Int64(count - 1) { return (received, missed) }
                }
            }
            return (received, missed)
        }
        #expect(received + missed == count)
    }

    /// Over HTTP/1, where each call has a connection: who finds them all taken is told that, not that the endpoint is away.
    @Test func whereAllConnectionsAreTakenTheEndpointIsNotAway() async throws {
        let peer = try await TranscriptPeer.start([.silence])
        var configuration = UpstashConfiguration(url: peer.url, token: "secret")
        (configuration.connectTimeout, configuration.commandTimeout) = (.milliseconds(500), .seconds(60))
        configuration.retriesOnTimeout = false
        let store = try UpstashStore(configuration)
        let taken = Task {
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<64 { group.addTask { _ = try? await store(.get(Key(raw: "k"))) } }
            }
        }
        try await eventually("all wait for an answer") { peer.requests.count == 64 }
        let error = await #expect(throws: StoreError.self) { try await store(.get(Key(raw: "k"))) }
        #expect(error?.code == .overloaded && error?.effect == StoreError.Effect.none && error?.isServerFailure == false)
        taken.cancel()
        await taken.value
        await store.shutdown()
        try await peer.stop()
    }

    @Test func manySubscriptionsLeaveRoomForCalls() async throws {
        let (store, names) = (try UpstashStore(try await SharedEndpoint.configuration()), Backend.upstash.namespace())
        try await store(.set(names.key("a"), "1"))
        let channels = (0..<70).map { ChannelSelector.channel(names.channel("c\(Int64($0))")) }
        let value = try await store.withSubscription(to: channels) { _ async throws in try await store(.get(names.key("a"))) }
        #expect(value == "1")
        await store.shutdown()
    }

    /// A partition of which nobody is told: the connection stays open and nothing comes.
    @Test func aStreamThatFallsSilentIsMadeAgainAndTheGapTold() async throws {
        var configuration = try await SharedEndpoint.configuration()
        let port = try #require(configuration.url.split(separator: ":").last.flatMap { Int($0.prefix(while: \.isNumber)) })
        let proxy = try await TCPProxy.start(to: port)
        configuration.url = "http://127.0.0.1:\(proxy.port)/upstash"
        configuration.streamIdleLimit = .seconds(5)
        let store = try UpstashStore(configuration)
        let (publisher, names) = (try await Backend.upstash.store(), Backend.upstash.namespace())
        let channel = names.channel("c")
        let published = Locked<Int64>(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    let number = published.withLock { number in
                        number += 1
                        return number
                    }
                    _ = try await publisher(.publish(channel, Bytes(number)))
                    try await Task.sleep(for: .milliseconds(20))
                }
            }
            try await store.withSubscription(to: [.channel(channel)]) { subscription async throws in
                var events = subscription.makeAsyncIterator()
                func wait(for isAwaited: (Subscription.Event) -> Bool) async {
                    while let event = await events.next(), !isAwaited(event) {}
                }
                await wait { if case .message = $0 { true } else { false } }
                proxy.strand()
                await wait { $0 == .gap(missed: nil) }
                let before = published.withLock { $0 }
                await wait { if case .message(_, let payload) = $0 { payload.integer ?? 0 > before } else { false } }
            }
            group.cancelAll()
        }
        await store.shutdown()
        try await proxy.stop()
    }

    @Test func aReadersTokenReads() async throws {
        let (writer, names) = (try await Backend.upstash.store(), Backend.upstash.namespace())
        let reader = try UpstashStore(try await SharedEndpoint.configuration(token: SharedEndpoint.readOnlyToken))
        let key = names.key("a")
        try await writer(.set(key, Bytes([255])))
        #expect(try await reader(.get(key)) == Bytes([255]))
        for value in [Bytes("text"), Bytes([255])] {
            let error = await #expect(throws: StoreError.self) { try await reader(.set(key, value)) }
            #expect(error?.code == .permissionMissing && error?.message.contains("read-only token") == true)
        }
        let stranger = try UpstashStore(try await SharedEndpoint.configuration(token: "wrong"))
        let error = await #expect(throws: StoreError.self) { try await stranger(.get(key)) }
        #expect(error?.code == .serverRefused && error?.isServerFailure == false)
        await reader.shutdown()
        await stranger.shutdown()
    }
}
