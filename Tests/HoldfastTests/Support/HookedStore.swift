import HoldfastStore
import Testing

/// A store at whose procedures and commands a test does something else first, or afterwards and before the caller goes on: what two callers do
/// between each other's steps, without two tasks.
final class HookedStore: Store {
    typealias Action = @Sendable () async throws -> Void

    private enum Moment { case before, after }

    private struct Hook {
        let moment: Moment
        let procedure: String
        var skipping: Int
        var times: Int
        let action: Action
    }

    private let base: any Store
    private let hook = Locked<Hook?>(nil)

    init(_ base: any Store) { self.base = base }

    /// Before procedures, or single commands (in capitals), whose name begins so. There is one hook at a time.
    func hook(before procedure: String, skipping: Int = 0, times: Int = 1, _ action: @escaping Action) {
        hook.withLock { $0 = Hook(moment: .before, procedure: procedure, skipping: skipping, times: times, action: action) }
    }

    /// After those whose name begins so.
    func hook(after procedure: String, skipping: Int = 0, times: Int = 1, _ action: @escaping Action) {
        hook.withLock { $0 = Hook(moment: .after, procedure: procedure, skipping: skipping, times: times, action: action) }
    }

    private func pass(_ moment: Moment, _ name: String) async {
        let action = hook.withLock { hook -> Action? in
            guard let present = hook, present.moment == moment, name.hasPrefix(present.procedure), present.times > 0 else {
                return nil
            }
            if present.skipping > 0 {
                hook?.skipping -= 1
                return nil
            }
            hook?.times -= 1
            return present.action
        }
        do { try await action?() } catch { Issue.record("what was to happen in between failed: \(error)") }
    }

    func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        await pass(.before, procedure.script.identifier)
        let output = try await base.run(procedure)
        await pass(.after, procedure.script.identifier)
        return output
    }

    func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        await pass(.before, operation.name)
        let reply = try await base.execute(operation)
        await pass(.after, operation.name)
        return reply
    }

    func execute(_ batch: Batch) async throws(StoreError) -> [Reply] { try await base.execute(batch) }

    func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        try await base.withSubscription(to: channels, whenFull: overflow, body)
    }
}
