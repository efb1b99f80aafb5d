import HoldfastStore

/// A call to a store that does nothing, through failover while the server is there and without it: the difference is failover's.
public enum FailoverLoad: String, Sendable {
    case through = "failover"
    case without = "failover-none"

    public func run(_ operations: Int) async throws {
        let store = Self.store()
        let operation = Operation.strings(.get(Key(raw: "k")))
        switch self {
        case .through:
            let failover = Failover(server: store, local: EmbeddedStore())
            for _ in 0..<operations {
                _ = try await failover.perform(.local) { (store, _) async throws(StoreError) in try await store.execute(operation)
                }
            }
        case .without:
            for _ in 0..<operations { _ = try await store.execute(operation) }
        }
    }

    /// Which one it is only shows at run time, as in a service: otherwise the call without failover would be no call at all.
    @inline(never) @_optimize(none) private static func store() -> any Store {
        CommandLine.arguments.isEmpty ? EmbeddedStore() : IdleStore()
    }
}

/// Answers nothing to everything.
private final class IdleStore: Store {
    func execute(_ operation: Operation) async throws(StoreError) -> Reply { .null }

    func execute(_ batch: Batch) async throws(StoreError) -> [Reply] { batch.operations.map { _ in .null } }

    func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output { throw StoreError(.unknownCommand) }

    func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result { throw StoreError(.unknownCommand) }
}
