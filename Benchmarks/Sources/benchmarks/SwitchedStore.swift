import HoldfastStore

/// A store that can be away.
final class SwitchedStore: Store {
    private let base: any Store
    private let there = Locked(true)

    init(_ base: any Store) { self.base = base }

    var isThere: Bool {
        get { there.withLock { $0 } }
        set { there.withLock { $0 = newValue } }
    }

    private func check() throws(StoreError) {
        guard isThere else { throw StoreError(.connectionFailed) }
    }

    func execute(_ operation: HoldfastStore.Operation) async throws(StoreError) -> Reply {
        try check()
        return try await base.execute(operation)
    }

    func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        try check()
        return try await base.execute(batch)
    }

    func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        try check()
        return try await base.run(procedure)
    }

    func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        try check()
        return try await base.withSubscription(to: channels, whenFull: overflow, body)
    }
}
