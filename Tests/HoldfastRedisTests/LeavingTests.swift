import HoldfastStore
import Testing

@testable import HoldfastRedis

/// Leaving a connection for another: what was sent keeps its replies, what was not sent goes over the new one.
@Suite struct LeavingTests {
    private typealias Queue = CommandQueue<Int>

    private func ready(_ waiters: Range<Int>) -> Queue {
        var queue = Queue(limits: .init(inFlight: 100, queuedBytes: 10_000))
        for waiter in waiters { _ = submit(&queue, waiter) }
        queue.connected()
        _ = sent(&queue)
        return queue
    }

    private func submit(_ queue: inout Queue, _ waiter: Int) -> Queue.Submission {
        queue.submit(waiter, ticket: UInt64(waiter), now: 0, deadline: .init(moment: 1000), replies: nil) { writer in
            writer.command(["PING", Bytes(Int64(waiter))])
        }
    }

    private func sent(_ queue: inout Queue) -> [String] {
        var (bytes, none): ([UInt8], [UInt8]) = ([], [])
        // Whoever has sent asks again.
        let goesOn = queue.take(&bytes) && queue.take(&none)
        #expect(!goesOn)
        return String(decoding: bytes, as: UTF8.self).split(separator: "\r\n").filter { Int($0) != nil }.map(String.init)
    }

    private func answer(_ queue: inout Queue) throws -> Int? {
        guard case .one(let waiter, _)? = try queue.receive(.ok) else { return nil }
        return waiter
    }

    @Test func whatIsUnsentOutlivesTheConnection() throws {
        var queue = ready(1..<3)
        queue.leave()
        guard case .queued = submit(&queue, 3) else {
            Issue.record("not queued")
            return
        }
        #expect(sent(&queue).isEmpty, "nothing more over the old connection")
        #expect(try answer(&queue) == 1)
        #expect(!queue.hasLeft)
        #expect(try answer(&queue) == 2)
        #expect(queue.hasLeft)
        #expect(queue.disconnected().isEmpty)
        guard case .connecting = queue.phase else {
            Issue.record("\(queue.phase)")
            return
        }
        queue.connected()
        #expect(sent(&queue) == ["3"])
        #expect(try answer(&queue) == 3)
    }

    @Test func whatWasSentAndNotAnsweredHasAnUnknownEffect() {
        var queue = ready(1..<3)
        queue.leave()
        _ = submit(&queue, 3)
        let abandoned = queue.disconnected()
        #expect(abandoned.map(\.waiter) == [1, 2])
        #expect(abandoned.allSatisfy { $0.effect == .unknown })
        queue.connected()
        #expect(sent(&queue) == ["3"])
    }

    @Test func anUnsentCallMayStillGiveUp() throws {
        var queue = ready(1..<2)
        queue.leave()
        _ = submit(&queue, 2)
        _ = submit(&queue, 3)
        #expect(queue.abandon(2)?.effect == StoreError.Effect.none)
        #expect(try answer(&queue) == 1)
        _ = queue.disconnected()
        queue.connected()
        #expect(sent(&queue) == ["3"])
    }

    @Test func nothingUnsentMeansNoNewConnectionYet() {
        var queue = ready(1..<2)
        queue.leave()
        _ = queue.disconnected()
        guard case .connect = submit(&queue, 2) else {
            Issue.record("the next call does not connect")
            return
        }
    }

    @Test func leavingEndsAPause() {
        var queue = Queue(limits: .init(inFlight: 100, queuedBytes: 10_000))
        _ = submit(&queue, 1)
        _ = queue.connectingFailed(StoreError(.connectionFailed), now: 0) { _ in 500 }
        guard case .refused = submit(&queue, 2) else {
            Issue.record("no pause")
            return
        }
        queue.leave()
        guard case .connect = submit(&queue, 3) else {
            Issue.record("still pausing")
            return
        }
    }

    @Test func closingAConnectionThatIsBeingLeftFailsEverything() {
        var queue = ready(1..<2)
        queue.leave()
        _ = submit(&queue, 2)
        #expect(queue.close().map(\.waiter) == [1, 2])
        #expect(!queue.hasLeft)
    }
}
