import DequeModule
import HoldfastStore

/// Who has a connection for himself and who waits for one, as a value; ``ConnectionPool`` does what it decides.
///
/// Invariants:
/// 1. `leased` and `idle` together are never more than `limits.connections`.
/// 2. Somebody waits only while all are leased, so nothing idles meanwhile.
/// 3. First come, first served: what is given back goes to who has waited longest, and nobody who comes later passes him.
struct PoolQueue<Connection, Waiter> {
    struct Limits {
        var connections: Int
        var waiting: Int
        /// Nanoseconds that a connection may go unused.
        var idle: UInt64
    }

    enum Lease {
        case given(Connection)
        /// The caller may make one.
        case make
        case waits
        case refused(StoreError)
    }

    /// What becomes of a connection that was given back.
    enum Return {
        /// It belongs to who waited longest. Nil when it cannot be used any more: he may make one.
        case handed(Waiter, Connection?)
        case kept
        /// Nobody needs it.
        case dropped
    }

    private struct Idle {
        let connection: Connection
        let since: UInt64
    }

    private let limits: Limits
    /// Those that were used last are behind, and are used first: the others grow old and are closed.
    private var idle: [Idle] = []
    private var waiting = Deque<(ticket: UInt64, waiter: Waiter)>()
    private(set) var leased = 0
    private(set) var isClosed = false

    init(limits: Limits) { self.limits = limits }

    var idleCount: Int { idle.count }
    var waitingCount: Int { waiting.count }

    /// - Parameter isUsable: whether a connection that idled is still there; those that are not are forgotten.
    mutating func lease(_ waiter: Waiter, ticket: UInt64, isUsable: (Connection) -> Bool) -> Lease {
        guard !isClosed else { return .refused(StoreError(.shuttingDown)) }
        while let last = idle.popLast() {
            guard isUsable(last.connection) else { continue }
            leased += 1
            return .given(last.connection)
        }
        guard leased >= limits.connections else {
            leased += 1
            return .make
        }
        guard waiting.count < limits.waiting else {
            return .refused(StoreError(.overloaded, "\(limits.waiting) callers wait for a connection of their own already"))
        }
        waiting.append((ticket, waiter))
        return .waits
    }

    /// - Parameter connection: nil where it cannot be used any more.
    mutating func giveBack(_ connection: Connection?, now: UInt64) -> Return {
        if let (_, waiter) = waiting.popFirst() { return .handed(waiter, connection) }
        leased -= 1
        guard let connection, !isClosed else { return .dropped }
        idle.append(Idle(connection: connection, since: now))
        return .kept
    }

    /// Takes out one who no longer waits; nil when he has got a connection, or was not there.
    mutating func abandon(_ ticket: UInt64) -> Waiter? {
        guard let index = waiting.firstIndex(where: { $0.ticket == ticket }) else { return nil }
        return waiting.remove(at: index).waiter
    }

    /// Takes out the connections that have not been used for too long.
    mutating func takeExpired(now: UInt64) -> [Connection] {
        let fresh = idle.firstIndex { now &- $0.since < limits.idle } ?? idle.endIndex
        defer { idle.removeFirst(fresh) }
        return idle[..<fresh].map(\.connection)
    }

    var idleConnections: [Connection] { idle.map(\.connection) }

    /// Takes out all that idle, because the server is not the one to talk to any more.
    mutating func takeIdle() -> [Connection] {
        defer { idle = [] }
        return idle.map(\.connection)
    }

    /// No more leases. Those that are out end when they are given back.
    mutating func close() -> (waiters: [Waiter], idle: [Connection]) {
        isClosed = true
        defer { waiting.removeAll() }
        return (waiting.map(\.waiter), takeIdle())
    }
}
