public import HoldfastStore

/// A store that fails on command: for tests of what code does when a server fails.
public final class FaultyStore: Store {
    /// Whether a failing call has its effect first, as when only the reply is lost.
    public enum Moment: Sendable { case beforeEffect, afterEffect }

    private struct State {
        var calls = 0
        var error: StoreError?
        var moment = Moment.beforeEffect
        /// Nil for every call.
        var failing: Set<Int>?
        var lastCall: Int?
    }

    private let base: any Store
    private let state = Locked(State())

    public init(_ base: any Store) { self.base = base }

    /// How many calls have come.
    public var calls: Int { state.withLock { $0.calls } }

    /// From now on every call fails, until ``recover()``.
    public func fail(with error: StoreError, _ moment: Moment = .beforeEffect) {
        state.withLock {
            $0.error = error
            $0.moment = moment
            $0.failing = nil
        }
    }

    /// The call with this number fails, the first being 1; the others do not.
    public func fail(call: Int, with error: StoreError, _ moment: Moment = .beforeEffect) {
        fail(calls: [call], with: error, moment)
    }

    /// The calls with these numbers fail.
    public func fail(calls: Set<Int>, with error: StoreError, _ moment: Moment = .beforeEffect) {
        state.withLock {
            $0.error = error
            $0.moment = moment
            $0.failing = calls
        }
    }

    /// The call with this number has its effect and no reply, and all later ones fail before any: as for a process that dies between
    /// the two, until ``recover()``.
    public func die(afterCall call: Int, with error: StoreError = StoreError(.connectionLost, effect: .unknown)) {
        state.withLock {
            $0.error = error
            $0.failing = nil
            $0.lastCall = call
        }
    }

    public func recover() {
        state.withLock {
            $0.error = nil
            $0.lastCall = nil
        }
    }

    public func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        try await attempt { () async throws(StoreError) in try await base.execute(operation) }
    }

    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        try await attempt { () async throws(StoreError) in try await base.execute(batch) }
    }

    public func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        try await attempt { () async throws(StoreError) in try await base.run(procedure) }
    }

    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        if let (error, _) = nextFault() { throw error }
        return try await base.withSubscription(to: channels, whenFull: overflow, body)
    }

    private func attempt<Output>(_ call: () async throws(StoreError) -> Output) async throws(StoreError) -> Output {
        guard let (error, moment) = nextFault() else { return try await call() }
        if moment == .afterEffect { _ = try await call() }
        throw error
    }

    private func nextFault() -> (StoreError, Moment)? {
        state.withLock { state in
            state.calls += 1
            if let last = state.lastCall, let error = state.error {
                if state.calls < last { return nil }
                return (error, state.calls == last ? .afterEffect : .beforeEffect)
            }
            guard let error = state.error, state.failing?.contains(state.calls) ?? true else { return nil }
            return (error, state.moment)
        }
    }
}
