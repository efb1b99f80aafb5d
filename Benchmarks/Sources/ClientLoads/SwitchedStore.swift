public import HoldfastStore

/// A store that can be away.
public final class SwitchedStore: Store {
    private let base: any Store
    private let there = Locked(true)

    public init(_ base: any Store) { self.base = base }

    public var isThere: Bool {
        get { there.withLock { $0 } }
        set { there.withLock { $0 = newValue } }
    }

    private func check() throws(StoreError) {
        guard isThere else { throw StoreError(.connectionFailed) }
    }

    public func execute(_ operation: HoldfastStore.Operation) async throws(StoreError) -> Reply {
        try check()
        return try await base.execute(operation)
    }

    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        try check()
        return try await base.execute(batch)
    }

    public func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        try check()
        return try await base.run(procedure)
    }

    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        try check()
        return try await base.withSubscription(to: channels, whenFull: overflow, body)
    }
}
