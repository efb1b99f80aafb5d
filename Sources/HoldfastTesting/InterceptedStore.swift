public import HoldfastStore

/// A store that does what a test wants before each call: counts it, lets it wait, or has something else happen first.
public final class InterceptedStore: Store {
    public enum Call: Sendable {
        case operation(Operation)
        case batch(Batch)
        /// By its name and version.
        case procedure(String)
        case subscription
    }

    private let base: any Store
    private let before: @Sendable (Call) async throws(StoreError) -> Void

    /// - Parameter before: what it throws is the call's failure, which then has no effect.
    public init(_ base: any Store, before: @escaping @Sendable (Call) async throws(StoreError) -> Void) {
        self.base = base
        self.before = before
    }

    public func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        try await before(.operation(operation))
        return try await base.execute(operation)
    }

    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        try await before(.batch(batch))
        return try await base.execute(batch)
    }

    public func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        try await before(.procedure(procedure.script.identifier))
        return try await base.run(procedure)
    }

    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        try await before(.subscription)
        return try await base.withSubscription(to: channels, whenFull: overflow, body)
    }
}
