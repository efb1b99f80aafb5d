import HoldfastStore
import TestServers
import Testing

/// Publishing and subscribing mean the same on every store. (How many listeners a publication reports may differ: a process has
/// one subscription on a server.)
@Suite(.timeLimit(.minutes(5))) struct PubSubConformanceTests {
    @Test(arguments: Backend.available)
    func messagesArriveInOrderAndAnyBytesLong(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let channel = names.channel("news:\("a:b")")
        let payloads = (0..<200).map { Bytes([0, 255, 13, 10] + Array("\($0)".utf8)) } + [Bytes()]
        try await store.withSubscription(to: [.channel(channel)]) { subscription async throws in
            for payload in payloads { #expect(try await store(.publish(channel, payload)) >= 1) }
            var iterator = subscription.makeAsyncIterator()
            for payload in payloads {
                #expect(await iterator.next() == .message(channel: channel, payload: payload))
            }
        }
        try await eventually("nobody listens any more") { try await store(.publish(channel, "late")) == 0 }
    }

    @Test(arguments: Backend.available)
    func aPatternGetsWhatMatchesAndNothingElse(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let (inside, outside) = (names.channel("room:1"), names.channel("hall:1"))
        try await store.withSubscription(to: [.pattern(names.glob(startingWith: "room:"))]) { subscription async throws in
            #expect(try await store(.publish(outside, "no")) == 0)
            #expect(try await store(.publish(inside, "yes")) == 1)
            var iterator = subscription.makeAsyncIterator()
            #expect(await iterator.next() == .message(channel: inside, payload: "yes"))
        }
    }

    @Test(arguments: Backend.direct)
    func aSlowReaderIsToldWhatItMissed(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let (channel, end) = (names.channel("flood"), names.channel("end"))
        let count = Subscription.bufferLimit + 476
        try await store.withSubscription(to: [.channel(channel)]) { subscription async throws in
            try await store.withSubscription(to: [.channel(end)]) { marker async throws in
                let messages = (0..<count).map { Command<Int>.publish(channel, Bytes(Int64($0))) }
                _ = try await store.pipeline(messages)
                // What is published later arrives later: with the marker all messages have come.
                _ = try await store(.publish(end, "end"))
                var markers = marker.makeAsyncIterator()
                #expect(await markers.next() == .message(channel: end, payload: "end"))
            }
            var iterator = subscription.makeAsyncIterator()
            #expect(await iterator.next() == .gap(missed: 476))
            #expect(await iterator.next() == .message(channel: channel, payload: "476"))
        }
    }

    @Test(arguments: Backend.direct)
    func aSlowReaderGetsWhatHeAskedFor(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let (channel, end) = (names.channel("flood"), names.channel("end"))
        func message(_ number: Int) -> Subscription.Event { .message(channel: channel, payload: Bytes(Int64(number))) }
        for (overflow, expected) in [
            (.dropOldest(limit: 3), [.gap(missed: 7), message(7), message(8), message(9)]),
            (.dropNewest(limit: 3), [message(0), message(1), message(2), .gap(missed: 7)]),
            (.end(limit: 3), [message(0), message(1), message(2), .gap(missed: nil)]),
        ] as [(Subscription.Overflow, [Subscription.Event])] {
            try await store.withSubscription(to: [.channel(channel)], whenFull: overflow) { subscription async throws in
                try await store.withSubscription(to: [.channel(end)]) { marker async throws in
                    _ = try await store.pipeline((0..<10).map { Command<Int>.publish(channel, Bytes(Int64($0))) })
                    _ = try await store(.publish(end, "end"))
                    var markers = marker.makeAsyncIterator()
                    #expect(await markers.next() == .message(channel: end, payload: "end"))
                }
                var iterator = subscription.makeAsyncIterator()
                for event in expected { #expect(await iterator.next() == event, "\(overflow)") }
                if case .end = overflow {
                    #expect(await iterator.next() == nil)
                } else {
                    _ = try await store(.publish(channel, "10"))
                    #expect(await iterator.next() == message(10), "\(overflow)")
                }
            }
        }
    }

    @Test(arguments: Backend.direct)
    func aShardChannelIsAnotherThanTheChannelOfItsName(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let channels = (0..<6).map { names.channel("room:\(Int64($0))") }
        let plain = Channel(channels[0].bytes)
        let selectors = channels.map { ChannelSelector.shardChannel($0) }
        try await store.withSubscription(to: selectors) { shards async throws in
            try await store.withSubscription(to: [.channel(plain), .pattern(names.glob(startingWith: "room:"))]) {
                others async throws in
                for channel in channels { #expect(try await store(.spublish(channel, channel.bytes)) == 1) }
                #expect(try await store(.publish(plain, "all")) >= 1)
                var (one, other) = (shards.makeAsyncIterator(), others.makeAsyncIterator())
                var heard: Set<Subscription.Event> = []
                for _ in channels { if let event = await one.next() { heard.insert(event) } }
                #expect(heard == Set(channels.map { .message(channel: $0, payload: $0.bytes) }))
                for _ in 0..<2 { #expect(await other.next() == .message(channel: plain, payload: "all")) }
            }
        }
        for channel in channels {
            try await eventually("nobody listens any more") { try await store(.spublish(channel, "late")) == 0 }
        }
    }

    @Test(arguments: Backend.available)
    func aCancelledReaderEnds(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let channel = names.channel("quiet")
        // The server counts a listener before the listener knows.
        let isListening = Locked(false)
        let task = Task {
            try await store.withSubscription(to: [.channel(channel)]) { subscription async throws in
                isListening.withLock { $0 = true }
                var count = 0
                for await _ in subscription { count += 1 }
                return count
            }
        }
        try await eventually("it listens") { isListening.withLock { $0 } }
        #expect(try await store(.publish(channel, "x")) == 1)
        task.cancel()
        #expect(try await task.value <= 1000)
        try await eventually("nobody listens any more") { try await store(.publish(channel, "late")) == 0 }
    }

    @Test(arguments: Backend.available)
    func aTransactionsPublicationIsDelivered(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let channel = names.channel("t")
        try await store.withSubscription(to: [.channel(channel)]) { subscription async throws in
            let (_, received) = try await store.transaction(.incr(names.key("n")), .publish(channel, Bytes("done")))
            // A cluster's transaction goes to the node of its keys, which counts its own listeners.
            #expect(received == 1 || backend.isCluster)
            var iterator = subscription.makeAsyncIterator()
            #expect(await iterator.next() == .message(channel: channel, payload: "done"))
        }
    }
}
