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
