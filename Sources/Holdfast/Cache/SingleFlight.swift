import HoldfastStore

/// One computation for all who want the same at the same time.
///
/// The first caller starts a flight, those who come while it is under way join it and get its result. The computation is not the
/// first caller's: it goes on when that one is cancelled, and is cancelled itself when nobody waits any more. A flight that was
/// ``forget(_:)``-ten still answers those who wait, and nobody joins it any more: who asks after an invalidation must not be
/// given what was computed before it.
final class SingleFlight: Sendable {
    /// What is computed: an entry's name in a space; see ``CacheScope/space``.
    struct Name: Hashable {
        let space: NearSpace
        let key: String

        static func == (left: Name, right: Name) -> Bool {
            left.space == right.space && left.key.hasSameBytes(as: right.key)
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(space)
            hasher.combine(key)
        }
    }

    private typealias Waiter = CheckedContinuation<any Sendable, any Error>

    private struct Flight {
        let name: Name
        let type: ObjectIdentifier
        var task: Task<Void, Never>?
        var waiters: [Int: Waiter] = [:]
    }

    private struct State {
        var flights: [Int: Flight] = [:]
        /// The flights that can be joined.
        var open: [Name: Int] = [:]
        /// The flight that each waiter is in, so that one who leaves need not search them all.
        var joined: [Int: Int] = [:]
        var nextID = 0

        mutating func newID() -> Int {
            nextID += 1
            return nextID
        }

        mutating func remove(_ id: Int) -> Flight? {
            guard let flight = flights.removeValue(forKey: id) else { return nil }
            for waiter in flight.waiters.keys { joined[waiter] = nil }
            if open[flight.name] == id { open[flight.name] = nil }
            return flight
        }
    }

    private struct Box<Value: Sendable>: Sendable { let value: Value }

    private let state = Locked(State())
    private let time: any TimeSource

    init(time: any TimeSource = .system) { self.time = time }

    /// Joins the flight of this name and type, or starts it.
    ///
    /// - Throws: what the computation throws; `CancellationError` when the caller is cancelled while it waits, and
    ///   ``/HoldfastStore/ErrorCode/deadlineExceeded`` when its deadline passes: it leaves alone.
    func run<Value: Sendable>(
        _ name: Name, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let waiter = state.withLock { $0.newID() }
        var timer: Task<Void, Never>?
        defer { timer?.cancel() }
        let output = try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: Waiter) in
                join(name, ObjectIdentifier(Value.self), waiter, continuation) { Box(value: try await body()) }
                // Not before it waits: a deadline that is over by now must find it.
                timer = CallContext.current?.deadline.map { giveUp(waiter, at: $0) }
            }
        } onCancel: {
            leave(waiter, with: CancellationError())
        }
        guard let box = output as? Box<Value> else { throw StoreError(.internalError) }
        return box.value
    }

    /// Whether nothing is computed and nobody waits.
    var isIdle: Bool { state.withLock { $0.flights.isEmpty && $0.open.isEmpty && $0.joined.isEmpty } }

    /// Lets nobody join the flight of this name any more.
    func forget(_ name: Name) { state.withLock { $0.open[name] = nil } }

    /// Lets nobody join flights of a space any more, those whose keys pass the test.
    func forget(_ space: NearSpace, where matches: (String) -> Bool) {
        state.withLock { state in
            for name in state.open.keys where name.space == space && matches(name.key) { state.open[name] = nil }
        }
    }

    /// Lets nobody join any present flight.
    func forgetAll() { state.withLock { $0.open = [:] } }

    private func join(
        _ name: Name, _ type: ObjectIdentifier, _ waiter: Int, _ continuation: Waiter,
        _ body: @escaping @Sendable () async throws -> any Sendable
    ) {
        enum Step { case wait, start(Int), stop }
        let step = state.withLock { state -> Step in
            // A cancellation from here on finds the waiter in place; one from before shows here.
            if Task.isCancelled { return .stop }
            if let id = state.open[name], state.flights[id]?.type == type {
                state.flights[id]?.waiters[waiter] = continuation
                state.joined[waiter] = id
                return .wait
            }
            let id = state.newID()
            state.flights[id] = Flight(name: name, type: type, waiters: [waiter: continuation])
            state.open[name] = id
            state.joined[waiter] = id
            return .start(id)
        }
        switch step {
        case .wait: break
        case .stop: continuation.resume(throwing: CancellationError())
        case .start(let id): start(id, body)
        }
    }

    private func start(_ id: Int, _ body: @escaping @Sendable () async throws -> any Sendable) {
        // The deadline is the first caller's own, the computation everyone's.
        var context = CallContext.current
        context?.deadline = nil
        let task = Task { [context] in
            let result: Result<any Sendable, any Error> = await CallContext.$current.withValue(context) {
                do { return .success(try await body()) } catch { return .failure(error) }
            }
            let flight = state.withLock { $0.remove(id) }
            for waiter in (flight?.waiters ?? [:]).values { waiter.resume(with: result) }
        }
        let isWanted = state.withLock { state -> Bool in
            state.flights[id]?.task = task
            return state.flights[id] != nil
        }
        // Finished already, or left by all.
        if !isWanted { task.cancel() }
    }

    private func giveUp(_ waiter: Int, at deadline: Duration) -> Task<Void, Never> {
        Task { [weak self, time] in
            guard (try? await time.sleep(for: deadline - time.uptime)) != nil else { return }
            self?.leave(waiter, with: StoreError(.deadlineExceeded))
        }
    }

    private func leave(_ waiter: Int, with error: any Error) {
        let (continuation, task) = state.withLock { state -> (Waiter?, Task<Void, Never>?) in
            guard let id = state.joined.removeValue(forKey: waiter) else { return (nil, nil) }
            let continuation = state.flights[id]?.waiters.removeValue(forKey: waiter)
            guard state.flights[id]?.waiters.isEmpty == true else { return (continuation, nil) }
            return (continuation, state.remove(id)?.task)
        }
        continuation?.resume(throwing: error)
        task?.cancel()
    }
}
