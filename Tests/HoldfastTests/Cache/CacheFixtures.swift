import Holdfast
import HoldfastStore
import HoldfastTesting

/// A door that a factory waits at until the test opens it.
final class Gate: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }

    func open() { continuation.finish() }
    func wait() async { for await _ in stream {} }
}

/// What a test does right before the n-th SCAN of a store.
final class ScanHook: Sendable {
    private let state = Locked((scans: 0, action: (Int, @Sendable () async -> Void)?.none))

    func before(scan number: Int, _ action: @escaping @Sendable () async -> Void) {
        state.withLock { $0 = (0, (number, action)) }
    }

    func store(over base: any Store) -> InterceptedStore {
        InterceptedStore(base) { call in
            guard case .operation(.keys(.scan)) = call else { return }
            let action = self.state.withLock { state -> (@Sendable () async -> Void)? in
                state.scans += 1
                return state.action.flatMap { $0.0 == state.scans ? $0.1 : nil }
            }
            await action?()
        }
    }
}

/// A store whose replies take a while.
struct LateStore: Store {
    private let base: any Store
    private let time: ManualTime
    private let delay: Duration

    init(_ base: any Store, _ time: ManualTime, by delay: Duration) { (self.base, self.time, self.delay) = (base, time, delay) }

    func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        let reply = try await base.execute(operation)
        time.advance(by: delay)
        return reply
    }

    func execute(_ batch: Batch) async throws(StoreError) -> [Reply] { try await base.execute(batch) }
    func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output { try await base.run(procedure) }
    func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        try await base.withSubscription(to: channels, whenFull: overflow, body)
    }
}

/// A process with a cache and a server that can go away.
struct OutageFixture {
    let time = ManualTime()
    let server: EmbeddedStore
    let faulty: FaultyStore
    let local: EmbeddedStore
    let failover: Failover
    let cache: Cache
    /// Another process, which always reaches the server.
    let elsewhere: Cache

    init(_ configuration: CacheConfiguration = CacheConfiguration(), failures: Int = 1) {
        server = EmbeddedStore(time: time)
        faulty = FaultyStore(server)
        local = EmbeddedStore(time: time)
        failover = Failover(
            server: faulty, local: local, configuration: .init(thresholds: .init(failures: failures, successes: 1)), time: time)
        cache = Cache(failover: failover, configuration: configuration)
        elsewhere = Cache(
            failover: Failover(local: server, time: time),
            configuration: CacheConfiguration(near: NearCacheConfiguration(entries: 0)))
    }

    func goDown() async {
        faulty.fail(with: StoreError(.connectionFailed))
        await failover.start()
    }

    func comeBack() async {
        faulty.recover()
        await time.letReturn(failover)
    }
}
