import HoldfastStore
import NIOCore
import NIOPosix
import Synchronization

/// Connections that one caller at a time has for himself, made when needed and kept for the next.
///
/// When all are taken, callers wait in the order in which they came, until the command timeout or their own deadline.
final class ConnectionPool: Sendable {
    private typealias Waiter = CheckedContinuation<Result<Connection, StoreError>, Never>
    private typealias Queue = PoolQueue<Connection, Waiter>

    private struct State {
        var queue: Queue
        var isSweeping = false
        /// Whether nothing is kept any more: nobody comes here again.
        var isDeserted = false
        /// Those that are taken, and whether they go to where nobody should go any more.
        var taken: [ObjectIdentifier: (connection: Connection, isOutdated: Bool)] = [:]

        mutating func take(_ connection: Connection) -> Connection {
            taken[ObjectIdentifier(connection)] = (connection, false)
            return connection
        }
    }

    private let connector: Connector
    private let patience: Duration
    private let maximum: Int
    private let sweepInterval: TimeAmount
    private let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    private let state: Locked<State>
    private let lastTicket = Atomic<UInt64>(0)

    init(_ connector: Connector) {
        self.connector = connector
        let configuration = connector.configuration
        patience = configuration.commandTimeout
        maximum = configuration.maximumConnections
        let idle = configuration.idleTimeout.clampedNanoseconds
        sweepInterval = .nanoseconds(max(1_000_000, min(idle / 2, configuration.keepAlive.clampedNanoseconds)))
        let limits = Queue.Limits(
            connections: maximum, waiting: configuration.maximumWaitingForConnections, idle: UInt64(idle))
        state = Locked(State(queue: Queue(limits: limits)))
    }

    /// How many connections are taken, how many idle, and how many callers wait for one.
    var counts: (leased: Int, idle: Int, waiting: Int) {
        state.withLock { ($0.queue.leased, $0.queue.idleCount, $0.queue.waitingCount) }
    }

    // MARK: - Callers

    /// Takes a connection, or waits for one.
    ///
    /// - Throws: ``ErrorCode/overloaded`` when none came free in time or too many wait already, ``ErrorCode/deadlineExceeded``,
    ///   ``ErrorCode/cancelled``, ``ErrorCode/shuttingDown``; nothing was sent.
    func lease() async throws(StoreError) -> Connection {
        let ticket = lastTicket.add(1, ordering: .relaxed).newValue
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { begin($0, ticket) }
        } onCancel: {
            end(ticket, with: StoreError(.cancelled))
        }
        return try result.get()
    }

    private func begin(_ waiter: Waiter, _ ticket: UInt64) {
        let lease = state.withLock { state -> Queue.Lease in
            // Asked for under the lock: whoever is cancelled later finds the ticket in the queue.
            if Task.isCancelled { return .refused(StoreError(.cancelled)) }
            switch state.queue.lease(waiter, ticket: ticket, isUsable: { $0.isUsable }) {
            case .given(let connection): return .given(state.take(connection))
            case .make: return .given(state.take(make()))
            case .waits: return .waits
            case .refused(let error): return .refused(error)
            }
        }
        switch lease {
        case .given(let connection): waiter.resume(returning: .success(connection))
        case .make: break
        case .refused(let error): waiter.resume(returning: .failure(error))
        case .waits: giveUp(ticket)
        }
    }

    /// Sets the time after which who waits is told so.
    private func giveUp(_ ticket: UInt64) {
        var wait = UInt64(patience.clampedNanoseconds)
        var error = StoreError(.overloaded, "All \(maximum) connections for exclusive use were taken for \(patience)")
        if let deadline = Uptime.callersDeadline {
            let now = Uptime.nanoseconds
            let rest = deadline > now ? deadline - now : 0
            if rest < wait { (wait, error) = (rest, StoreError(.deadlineExceeded)) }
        }
        eventLoop.scheduleTask(in: .nanoseconds(Int64(clamping: wait))) { [error] in self.end(ticket, with: error) }
    }

    private func end(_ ticket: UInt64, with error: StoreError) {
        state.withLock { $0.queue.abandon(ticket) }?.resume(returning: .failure(error))
    }

    private func make() -> Connection {
        Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next(), isExclusive: true)
    }

    /// - Parameter isClean: whether the connection is as it was, so that another may have it; otherwise it is closed.
    func giveBack(_ connection: Connection, isClean: Bool) {
        let isGood = isClean && connection.isUsable
        let (what, startsSweeping) = state.withLock { state -> (Return, Bool) in
            let isOutdated = state.taken.removeValue(forKey: ObjectIdentifier(connection))?.isOutdated ?? true
            let good = isGood && !isOutdated && !state.isDeserted ? connection : nil
            switch state.queue.giveBack(good, now: Uptime.nanoseconds) {
            case .handed(let waiter, let next):
                return (Return(waiter: waiter, next: state.take(next ?? make()), isKept: good != nil), false)
            case .kept:
                defer { state.isSweeping = true }
                return (Return(isKept: true), !state.isSweeping)
            case .dropped: return (Return(isKept: false), false)
            }
        }
        if !what.isKept { connection.closeWithoutWaiting() }
        if let next = what.next { what.waiter?.resume(returning: .success(next)) }
        if startsSweeping { scheduleSweep() }
    }

    private struct Return {
        /// Who waited, and has this one now.
        var waiter: Waiter?
        var next: Connection?
        let isKept: Bool
    }

    // MARK: - Those that idle

    private func scheduleSweep() {
        eventLoop.scheduleTask(in: sweepInterval) { [weak self] in self?.sweep() }
    }

    /// Closes what has not been used for long, and asks the others whether their server is still there: one that does not answer is
    /// closed by its own timeout.
    private func sweep() {
        let (expired, goesOn) = state.withLock { state in
            let expired = state.queue.takeExpired(now: Uptime.nanoseconds)
            // Under the lock, so that nobody gets one between this look and its question, which would then wait behind his BLPOP and expire, or
            // be an answer too many in his EXEC. A connection's own lock is always taken inside this one, and asking waits for nothing.
            for connection in state.queue.idleConnections { connection.ping() }
            state.isSweeping = state.queue.idleCount > 0
            return (expired, state.isSweeping)
        }
        for connection in expired { connection.closeWithoutWaiting() }
        if goesOn { scheduleSweep() }
    }

    /// Keeps none of those that exist, because the server is not the one to talk to any more: what idles is closed, what is taken will be when
    /// it is given back.
    ///
    /// - Parameter isGraceful: whether who has one may go on with it; otherwise it is lost to him at once, so that nobody waits for ever
    ///   on a server that has been cut off. One that is still being made is made to the new server either way.
    func renew(isGraceful: Bool) {
        let (idle, taken) = state.withLock { state in
            for id in state.taken.keys { state.taken[id]?.isOutdated = true }
            return (state.queue.takeIdle(), state.taken.values.map(\.connection))
        }
        for connection in idle { connection.closeWithoutWaiting() }
        for connection in taken { connection.renew(isGraceful: isGraceful) }
    }

    /// Keeps none at all, because its server serves nobody any more; who has a connection loses it at once. Those who wait still have theirs
    /// made, and are told by the server where to go.
    func desert() {
        state.withLock { $0.isDeserted = true }
        renew(isGraceful: false)
    }

    /// Ends all waiting, and refuses new leases. Connections that are taken are closed when they are given back.
    func close() {
        let (waiters, idle) = state.withLock { $0.queue.close() }
        for waiter in waiters { waiter.resume(returning: .failure(StoreError(.shuttingDown))) }
        for connection in idle { connection.closeWithoutWaiting() }
    }
}
