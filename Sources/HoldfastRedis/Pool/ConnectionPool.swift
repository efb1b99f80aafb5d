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
            return state.queue.lease(waiter, ticket: ticket) { $0.isUsable }
        }
        switch lease {
        case .given(let connection): waiter.resume(returning: .success(connection))
        case .make: waiter.resume(returning: .success(make()))
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
        if !isGood { connection.closeWithoutWaiting() }
        let (what, startsSweeping) = state.withLock { state -> (Queue.Return, Bool) in
            let what = state.queue.giveBack(isGood ? connection : nil, now: Uptime.nanoseconds)
            guard case .kept = what, !state.isSweeping else { return (what, false) }
            state.isSweeping = true
            return (what, true)
        }
        switch what {
        case .handed(let waiter, let connection): waiter.resume(returning: .success(connection ?? make()))
        case .kept: break
        case .dropped: connection.closeWithoutWaiting()
        }
        if startsSweeping { scheduleSweep() }
    }

    // MARK: - Those that idle

    private func scheduleSweep() {
        eventLoop.scheduleTask(in: sweepInterval) { [weak self] in self?.sweep() }
    }

    /// Closes what has not been used for long, and asks the others whether their server is still there: one that does not answer is
    /// closed by its own timeout.
    private func sweep() {
        let (expired, kept) = state.withLock { state in
            let expired = state.queue.takeExpired(now: Uptime.nanoseconds)
            state.isSweeping = state.queue.idleCount > 0
            return (expired, state.queue.idleConnections)
        }
        for connection in expired { connection.closeWithoutWaiting() }
        for connection in kept { connection.ping() }
        if !kept.isEmpty { scheduleSweep() }
    }

    /// Closes what idles, because the server is not the one to talk to any more.
    func renew() {
        for connection in state.withLock({ $0.queue.takeIdle() }) { connection.closeWithoutWaiting() }
    }

    /// Ends all waiting, and refuses new leases. Connections that are taken are closed when they are given back.
    func close() {
        let (waiters, idle) = state.withLock { $0.queue.close() }
        for waiter in waiters { waiter.resume(returning: .failure(StoreError(.shuttingDown))) }
        for connection in idle { connection.closeWithoutWaiting() }
    }
}
