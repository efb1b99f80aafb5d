import HoldfastStore
import Testing

@testable import HoldfastRedis

@Suite struct PoolQueueTests {
    private typealias Queue = PoolQueue<Int, String>

    private func queue(connections: Int = 2, waiting: Int = 3, idle: UInt64 = 100) -> Queue {
        Queue(limits: .init(connections: connections, waiting: waiting, idle: idle))
    }

    private func outcome(_ lease: Queue.Lease) -> String {
        switch lease {
        case .given(let connection): "given \(connection)"
        case .make: "make"
        case .waits: "waits"
        case .refused(let error): error.code.name
        }
    }

    private func outcome(_ what: Queue.Return) -> String {
        switch what {
        case .handed(let waiter, let connection): "\(waiter) gets \(connection.map { "\($0)" } ?? "a new one")"
        case .kept: "kept"
        case .dropped: "dropped"
        }
    }

    @Test func aFullPoolLetsCallersWaitInTurn() {
        var queue = queue()
        #expect(outcome(queue.lease("a", ticket: 1) { _ in true }) == "make")
        #expect(outcome(queue.lease("b", ticket: 2) { _ in true }) == "make")
        for (ticket, name) in [(3, "c"), (4, "d"), (5, "e")] {
            #expect(outcome(queue.lease(name, ticket: UInt64(ticket)) { _ in true }) == "waits")
        }
        #expect(outcome(queue.lease("f", ticket: 6) { _ in true }) == "overloaded")
        #expect(queue.abandon(4) == "d")
        #expect(outcome(queue.giveBack(10, now: 0)) == "c gets 10")
        #expect(outcome(queue.giveBack(nil, now: 0)) == "e gets a new one")
        #expect(queue.abandon(5) == nil)
        #expect(outcome(queue.giveBack(11, now: 0)) == "kept")
        #expect(outcome(queue.giveBack(nil, now: 0)) == "dropped")
        #expect(queue.leased == 0)
        #expect(queue.idleCount == 1)
    }

    @Test func theOneThatWasUsedLastIsUsedFirstAndTheDeadAreForgotten() {
        var queue = queue(connections: 3)
        for ticket in 1...3 { _ = queue.lease("x", ticket: UInt64(ticket)) { _ in true } }
        for connection in 1...3 { _ = queue.giveBack(connection, now: UInt64(connection)) }
        #expect(outcome(queue.lease("a", ticket: 4) { $0 != 3 }) == "given 2")
        #expect(queue.idleCount == 1)
        #expect(outcome(queue.lease("b", ticket: 5) { _ in false }) == "make")
        #expect(queue.leased == 2)
    }

    @Test func whatIdlesTooLongIsTakenOut() {
        var queue = queue(connections: 3)
        for ticket in 1...3 { _ = queue.lease("x", ticket: UInt64(ticket)) { _ in true } }
        for connection in 1...3 { _ = queue.giveBack(connection, now: UInt64(connection) * 50) }
        #expect(queue.takeExpired(now: 149) == [])
        #expect(queue.takeExpired(now: 200) == [1, 2])
        #expect(queue.idleConnections == [3])
    }

    @Test func aClosedPoolServesNobodyAndKeepsNothing() {
        var queue = queue()
        _ = queue.lease("a", ticket: 1) { _ in true }
        _ = queue.lease("b", ticket: 2) { _ in true }
        _ = queue.lease("c", ticket: 3) { _ in true }
        #expect(queue.close().waiters == ["c"])
        #expect(outcome(queue.giveBack(1, now: 0)) == "dropped")
        #expect(outcome(queue.lease("d", ticket: 4) { _ in true }) == "shutting-down")
    }
}
