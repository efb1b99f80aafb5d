import HoldfastStore
import HoldfastTesting

/// A process's way to what it keeps on its disk: each call waits for some milliseconds, in which anything may happen, and is not made when
/// the process dies before that.
final class SimulatedDisk: Store {
    private let kept: EmbeddedStore
    private let link: SimulatedLink
    private let network: Network
    private let time: ManualTime
    private let state = Locked((isHeld: false, isDead: false))

    /// - Parameter link: that of the same process, by which its calls are known.
    init(_ kept: EmbeddedStore, of link: SimulatedLink, in network: Network, time: ManualTime) {
        self.kept = kept
        self.time = time
        self.link = link
        self.network = network
    }

    /// Whether calls wait. Not at the start, before the process does anything else.
    var isHeld: Bool {
        get { state.withLock { $0.isHeld } }
        set { state.withLock { $0.isHeld = newValue } }
    }

    /// Whether its process was killed: it writes nothing any more.
    var isDead: Bool {
        get { state.withLock { $0.isDead } }
        set { state.withLock { $0.isDead = newValue } }
    }

    func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        try await wait()
        return try await kept.execute(operation)
    }

    func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        try await wait()
        return try await kept.execute(batch)
    }

    func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        try await wait()
        return try await kept.run(procedure)
    }

    func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result { try await kept.withSubscription(to: channels, whenFull: overflow, body) }

    private func wait() async throws(StoreError) {
        let died = StoreError(.storageFailed, "The process has been killed", effect: .unknown)
        if isHeld, !isDead { _ = await network.hold(.work, on: link, until: time.uptime + .milliseconds(10), died) }
        if isDead { throw died }
    }
}
