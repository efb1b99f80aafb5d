import HoldfastStore
import NIOCore
import NIOPosix
import TestServers
import Testing

@testable import HoldfastRedis

/// Who sends: a caller who is alone by himself, otherwise the event loop.
@Suite struct SendingTests {
    private func store(_ server: RedisProcess) throws -> RedisStore {
        try RedisStore(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: server.port)).patient)
    }

    /// More than the socket takes at once: the rest goes through the event loop, before all that comes later.
    @Test func whatTheSocketDoesNotTakeIsSentInOrder() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try store(server)
        let (large, counter) = (Key(raw: "large"), Key(raw: "counter"))
        for round in 1...3 {
            let value = Bytes([UInt8](repeating: UInt8(round), count: 16 << 20))
            try await store(.set(counter, "0"))
            server.pause()
            let writing = Task { try await store(.set(large, value)) }
            try await eventually("it is sent") { store.outstanding == 1 }
            let counts = (0..<50).map { _ in Task { try await store(.incr(counter)) } }
            server.resume()
            try await writing.value
            var seen: Set<Int> = []
            for count in counts { seen.insert(try await count.value) }
            #expect(seen == Set(1...50))
            #expect(try await store(.get(large)) == value)
            // Alone again.
            for number in 51...60 { #expect(try await store(.incr(counter)) == number) }
        }
        #expect(store.statistics.connected == 1)
        await store.shutdown()
    }

    /// A channel says in the middle of a write, in the same call, that it can be written to again.
    @Test func whatIsSentInTheMiddleOfAWriteGoesBehindIt() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let address = ServerAddress.tcp(host: "127.0.0.1", port: server.port)
        let connector = try Connector(RedisConfiguration().patient, to: .fixed(address))
        let connection = Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next())
        _ = try await connection.one { $0.command(["PING"]) }.get()
        let channel = try #require(connection.state.withLock { $0.line?.channel })
        // Whether what was taken in the middle of a write goes through the channel.
        let isBehind = Locked<Bool?>(nil)
        let interruption = { @Sendable () -> Void in
            let way = connection.state.withLock { state -> Connection.Way? in
                let deadline = Connection.Queue.Deadline(moment: .max)
                _ = state.queue.submit(.nobody, ticket: .max, now: 0, deadline: deadline, replies: nil) { $0.command(["PING"]) }
                state.queue.isWritable = true
                var bytes: [UInt8] = []
                return state.takeOnLoop(&bytes)
            }
            isBehind.withLock { $0 = $0 ?? way.map { $0.socket == nil } }
        }
        try await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.addHandler(Interruption(interruption), position: .first)
        }.get()
        server.pause()
        let value = Bytes([UInt8](repeating: 7, count: 16 << 20))
        let writing = Task { await connection.one { $0.command(["SET", "large", value]) } }
        try await eventually("the socket does not take all of it") { isBehind.withLock { $0 } != nil }
        #expect(isBehind.withLock { $0 } == true)
        await connection.close()
        _ = await writing.value
    }

    /// The event loop may not have heard of it yet: what would be lost on it is not sent.
    @Test func aConnectionThatTheServerHasEndedTakesNothing() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let (store, other) = (try store(server), try store(server))
        for number in 1...200 {
            let id = try await store(.raw("CLIENT", "ID")).integer
            _ = try await other(.raw("CLIENT", "KILL", "ID", Bytes(try #require(id))))
            #expect(try await store(.incr(Key(raw: "counter"))) == number)
        }
        await store.shutdown()
        await other.shutdown()
    }

    /// A server that reads nothing: what waits is bounded, and told as not done where there is no room.
    @Test func whatWaitsForASocketIsBounded() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: server.port)).patient
        configuration.maximumQueuedBytes = 4 << 20
        let store = try RedisStore(configuration)
        let value = Bytes([UInt8](repeating: 7, count: 1 << 20))
        try await store(.set(Key(raw: "first"), value))
        server.pause()
        let writing = (0..<60).map { number in Task { try await store(.set(Key(raw: Bytes("large-\(number)")), value)) } }
        try await eventually("there is no room") { store.statistics.overloaded > 0 }
        server.resume()
        var refused = 0
        for (number, write) in writing.enumerated() {
            do { try await write.value } catch let error as StoreError {
                #expect(error.code == .overloaded && error.effect == StoreError.Effect.none)
                #expect(try await store(.exists([Key(raw: Bytes("large-\(number)"))])) == 0)
                refused += 1
            }
        }
        #expect((1..<60).contains(refused))
        await store.shutdown()
    }

    /// One caller after the other, many at once, and batches, by turns.
    @Test func callersAloneAndTogetherAreAllAnswered() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try store(server)
        let counter = Key(raw: "counter")
        var total: Int64 = 0
        for round in 0..<100 {
            let callers = 1 + round % 7
            let sum: Int64 = try await withThrowingTaskGroup(of: Int64.self) { group in
                for caller in 0..<callers {
                    group.addTask {
                        if caller.isMultiple(of: 3) {
                            return try await Int64(store.pipeline([.incr(counter), .incr(counter)]).count)
                        }
                        for _ in 0..<10 { _ = try await store(.incr(counter)) }
                        return 10
                    }
                }
                return try await group.reduce(into: 0) { $0 += $1 }
            }
            total += sum
            #expect(try await store(.get(counter)) == Bytes(total))
        }
        #expect(store.statistics.connected == 1)
        await store.shutdown()
    }
}

/// Stands in a connection's pipeline, and does something in the middle of each write: before it has reached the socket.
private final class Interruption: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    private let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    func flush(context: ChannelHandlerContext) {
        body()
        context.flush()
    }
}

/// A pool whose server serves nobody any more.
@Suite struct DesertedPoolTests {
    @Test func nothingIsKept() async throws {
        let server = try await SharedRedis.server()
        var configuration = try await SharedRedis.configuration().patient
        configuration.maximumConnections = 1
        let pool = ConnectionPool(try Connector(configuration, to: .fixed(.unixSocket(path: server.socketPath))))
        let first = try await pool.lease()
        let waiter = Task { try await pool.lease() }
        try await eventually("he waits") { pool.counts.waiting == 1 }
        pool.desert()
        pool.giveBack(first, isClean: true)
        let second = try await waiter.value
        #expect(try await second.one { $0.command(["PING"]) }.get() == .status("PONG"))
        pool.giveBack(second, isClean: true)
        #expect(pool.counts == (leased: 0, idle: 0, waiting: 0))
        #expect(!second.isUsable)
    }
}
