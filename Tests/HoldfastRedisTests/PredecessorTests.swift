import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// What a network has kept of a lost connection, and delivers after the next one was made, is not carried out any more.
@Suite struct PredecessorTests {
    private static let key = Key(raw: "k")

    /// A write that got no answer and one that was made after it, which did; then the network delivers the first.
    private func valueAfterALateWrite(
        over proxy: FaultProxy, _ server: RedisProcess, _ change: (inout RedisConfiguration) -> Void = { _ in }
    ) async throws -> (value: Bytes?, delivered: Int) {
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: proxy.port))
        change(&configuration)
        let store = try RedisStore(configuration.patient)
        try await store(.set(Self.key, "before"))
        await proxy.begin(.holdRequests)
        let commands: [[Bytes]] = [["INCR", "n"], ["SET", "k", "old"]]
        let calls = commands.map { command in Task { try await store.execute(.raw(command)) } }
        var both = CommandWriter()
        for command in commands { both.command(command) }
        let length = both.buffer.count
        try await eventually("both are held") { await proxy.heldBytes() == length }
        // Cut off: the client sees its connection break, the server does not.
        proxy.fault = .none
        for call in calls { await #expect(throws: StoreError.self) { try await call.value } }
        try await store(.set(Self.key, "new"))
        let delivered = await proxy.deliverHeldRequests()
        let value = try await store(.get(Self.key))
        await store.shutdown()
        return (value, delivered)
    }

    @Test(arguments: [RedisConfiguration.ProtocolVersion.resp3, .resp2])
    func aWriteThatTheNetworkHasKeptDoesNotReplaceALaterOne(version: RedisConfiguration.ProtocolVersion) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let proxy = try await FaultProxy.start(to: server.port)
        let (value, delivered) = try await valueAfterALateWrite(over: proxy, server) { $0.protocolVersion = version }
        #expect(delivered == 1)
        #expect(value == "new")
        await proxy.stop()
    }

    @Test func whoMayNotEndItsPredecessorGoesOnWithout() async throws {
        var options = RedisProcess.Options()
        options.users = ["user app on >pw ~* &* +@all -client|kill"]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let proxy = try await FaultProxy.start(to: server.port)
        let (value, delivered) = try await valueAfterALateWrite(over: proxy, server) {
            ($0.username, $0.password) = ("app", "pw")
        }
        #expect(delivered == 1)
        // The known limit of docs/OUTAGES.md.
        #expect(value == "old")
        await proxy.stop()
    }

    @Test func whereAllWasAnsweredNobodyIsEnded() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try RedisStore(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: server.port)).patient)
        let other = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)).patient)
        let id = try await store(.raw("CLIENT", "ID"))
        _ = try await other(.raw("CLIENT", "KILL", "TYPE", "normal"))
        try await eventually("it has another connection") { try await store(.raw("CLIENT", "ID")) != id }
        let statistics = try await other(.raw("INFO", "commandstats")).bytes?.string ?? ""
        #expect(statistics.contains("cmdstat_client|kill:calls=1,"), "\(statistics)")
        await store.shutdown()
        await other.shutdown()
    }

    @Test(
        arguments: [
            ("id=3 addr=127.0.0.1:5000 laddr=127.0.0.1:6379", true), ("id=3 addr=/tmp/redis.sock:0 laddr=x", false),
            ("id=3", false), ("", false), ("addr=1.2.3.4:5 id=9", true),
        ] as [(Bytes, Bool)])
    func onlyACompleteAddressNamesAConnection(line: Bytes, isNamed: Bool) {
        #expect((ServerSideIdentity(.bytes(line)) != nil) == isNamed)
        #expect(ServerSideIdentity(.error(ReplyError("NOPERM"))) == nil)
    }
}
