/// Keeps what a key space changes in the files of a folder: the shared half, which callers and the writer's thread both reach.
///
/// The effects of every step are written into the key space's ``EffectLog`` while it is locked. The ``JournalWriter``, on a thread
/// of its own, swaps that buffer for an empty one, writes it to the last increment and syncs it as configured: under load one
/// write and one fsync serve all steps that have come meanwhile. Callers that must wait for the disk wait here, for the position in
/// the log at which their step ended.
final class Journal: Sendable {
    enum Goal: Sendable { case written, synced }

    private struct Waiter {
        let goal: Goal
        let position: Int
        let promise: Promise<Void>
    }

    private struct State {
        var written = 0
        var synced = 0
        /// How far the log must be synced whatever the configuration says.
        var demanded = 0
        var failure: DataFileError?
        var isClosing = false
        var isClosed = false
        var endWaiters: [CheckedContinuation<Void, Never>] = []
        var rewriteIsWanted = false
        var waiters: [Waiter] = []
        var status = JournalStatus()

        func position(_ goal: Goal) -> Int { goal == .written ? written : synced }
    }

    let configuration: JournalConfiguration
    let doorbell = Doorbell()
    private let time: any TimeSource
    private let state = Locked(State())

    /// - Parameter time: the clocks of the callers' deadlines.
    init(_ configuration: JournalConfiguration, _ load: JournalLoad, time: any TimeSource) {
        self.configuration = configuration
        self.time = time
        state.withLock { state in
            state.status.sync = configuration.sync
            state.status.load = load
        }
    }

    // MARK: - Callers

    /// Waits until the disk has what the log held up to a position; not beyond the caller's deadline or cancellation.
    ///
    /// - Throws: with the effect `unknown`, because the change is in memory, and on the disk as soon as that works again, unless the process
    ///   ends before: ``ErrorCode/storageFailed``, ``ErrorCode/deadlineExceeded``, ``ErrorCode/cancelled``.
    func wait(for goal: Goal, _ position: Int) async throws(StoreError) {
        let promise = try state.withLock { (state) throws(StoreError) -> Promise<Void>? in
            if let known = Self.outcome(state, goal, position) {
                try known.get()
                return nil
            }
            let promise = Promise<Void>()
            state.waiters.append(Waiter(goal: goal, position: position, promise: promise))
            return promise
        }
        guard let promise else { return }
        do throws(StoreError) {
            try await promise.wait(time)
        } catch {
            // Whoever has left is not among those that are told.
            state.withLock { $0.waiters.removeAll { $0.promise === promise } }
            throw error
        }
    }

    /// Waits until all that the log held up to a position is synced, whatever the configuration says.
    func flush(_ position: Int) async throws(StoreError) {
        state.withLock { $0.demanded = max($0.demanded, position) }
        doorbell.ring()
        try await wait(for: .synced, position)
    }

    func askForRewrite() {
        state.withLock { $0.rewriteIsWanted = true }
        doorbell.ring()
    }

    /// Tells the writer to write and sync what there is and to end.
    func askForEnd() {
        state.withLock { $0.isClosing = true }
        doorbell.ring()
    }

    /// Waits until the writer has ended.
    func waitForEnd() async {
        await withCheckedContinuation { continuation in
            let hasEnded = state.withLock { state in
                if !state.isClosed { state.endWaiters.append(continuation) }
                return state.isClosed
            }
            if hasEnded { continuation.resume() }
        }
    }

    var status: JournalStatus { state.withLock { $0.status } }

    private static func outcome(_ state: State, _ goal: Goal, _ position: Int) -> Result<Void, StoreError>? {
        if state.position(goal) >= position { return .success(()) }
        if let failure = state.failure { return .failure(unknown(failure)) }
        return state.isClosed ? .failure(StoreError(.shuttingDown, effect: .unknown)) : nil
    }

    private static func unknown(_ failure: DataFileError) -> StoreError {
        StoreError(.storageFailed, "The change could not be written to the data folder: \(failure)", effect: .unknown)
    }

    // MARK: - The writer

    struct Wishes {
        let demanded: Int
        let isClosing: Bool
        let rewrite: Bool
    }

    var wishes: Wishes {
        state.withLock { Wishes(demanded: $0.demanded, isClosing: $0.isClosing, rewrite: $0.rewriteIsWanted) }
    }

    /// Says how far the disk is, and wakes whoever waited for that.
    func announce(written: Int, synced: Int, _ update: (inout JournalStatus) -> Void = { _ in }) {
        let served = state.withLock { state in
            state.written = written
            state.synced = synced
            update(&state.status)
            return Self.takeWaiters(&state) { $0.position <= ($0.goal == .written ? written : synced) }
        }
        for waiter in served { waiter.promise.settle(.success(())) }
    }

    /// Says that the disk fails, to whoever waits and to those who come, until it is announced that it works again.
    func announce(_ failure: DataFileError) {
        let refused = state.withLock { state in
            state.failure = failure
            state.status.failure = failure
            return Self.takeWaiters(&state) { _ in true }
        }
        for waiter in refused { waiter.promise.settle(.failure(Self.unknown(failure))) }
    }

    func announceRecovery() {
        state.withLock { state in
            state.failure = nil
            state.status.failure = nil
        }
    }

    func announceEnd() {
        let (refused, ends) = state.withLock { state in
            state.isClosed = true
            defer { state.endWaiters = [] }
            return (Self.takeWaiters(&state) { _ in true }, state.endWaiters)
        }
        for end in ends { end.resume() }
        for waiter in refused { waiter.promise.settle(.failure(StoreError(.shuttingDown, effect: .unknown))) }
    }

    func updateStatus(_ update: (inout JournalStatus) -> Void) { state.withLock { update(&$0.status) } }

    func rewriteHasBegun() { state.withLock { $0.rewriteIsWanted = false } }

    private static func takeWaiters(_ state: inout State, where isDone: (Waiter) -> Bool) -> [Waiter] {
        guard !state.waiters.isEmpty else { return [] }
        let done = state.waiters.filter(isDone)
        if !done.isEmpty { state.waiters.removeAll(where: isDone) }
        return done
    }
}
