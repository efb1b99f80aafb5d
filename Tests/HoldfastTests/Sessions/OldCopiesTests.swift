import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// What single failures leave of sessions in the local store, and who removes it.
@Suite struct OldCopiesTests {
    private let time = ManualTime()
    private let line: FaultyStore
    private let local: EmbeddedStore
    private let failover: Failover
    private let sessions: Sessions

    init() {
        line = FaultyStore(EmbeddedStore(time: time))
        local = EmbeddedStore(time: time)
        failover = Failover(
            server: line, local: local, configuration: .init(thresholds: .init(failures: 5, successes: 1)), time: time)
        sessions = Sessions(failover: failover)
    }

    private func changeOverASingleFailure(_ id: SessionID, _ value: JSONValue) async throws {
        line.fail(call: line.calls + 1, with: StoreError(.connectionLost))
        #expect(try await sessions.update(id, set: ["a": value]).by.isLocal)
    }

    @Test func copiesThatSingleFailuresLeaveAreRemovedWhileTheServerAnswers() async throws {
        let id = try await sessions.create(userID: "u").id
        for number in 0..<5 {
            try await changeOverASingleFailure(id, .integer(Int64(number)))
            #expect(try await sessions.get(id).value?.data == ["a": .integer(Int64(number))])
        }
        #expect(failover.outbox.epoch == 5 && failover.localSince == nil)
        #expect(local.statistics.keys == 10)
        let failover = failover
        let watch = Task { await failover.run() }
        #expect(await time.advanceUntil(by: .milliseconds(100)) { local.statistics.keys == 0 })
        watch.cancel()
        await watch.value
    }

    @Test func whatIsOfThePresentEpochOrOfOthersStays() async throws {
        let id = try await sessions.create(userID: "u").id
        try await changeOverASingleFailure(id, 1)
        _ = try await sessions.get(id)
        try await changeOverASingleFailure(id, 2)
        try await local(.set(Key(raw: "away:later"), "x"))
        try await local(.set(Key(raw: "c:entry"), "x"))
        await OldCopies(in: local).removeAll(before: failover.outbox.epoch)
        #expect(local.statistics.keys == 4)
        line.fail(with: StoreError(.connectionLost))
        #expect(try await sessions.get(id).value?.data == ["a": 2])
    }

    @Test func aStepIsBoundedAndTheNextGoesOn() async throws {
        let count = OldCopies.pagesInAStep * OldCopies.pageSize * 2
        for number in 0..<50 { try await local(.set(Key(raw: Bytes("away:0:\(number)")), "")) }
        for start in stride(from: 0, to: count, by: 1000) {
            _ = try await local.pipeline((start..<start + 1000).map { .set(Key(raw: Bytes("c:\($0)")), "") })
        }
        for number in 50..<100 { try await local(.set(Key(raw: Bytes("away:0:\(number)")), "")) }
        let scans = Locked(0)
        let counted = InterceptedStore(local) { call in
            if case .operation(.keys(.scan)) = call { scans.withLock { $0 += 1 } }
        }
        let old = OldCopies(in: counted)
        await old.removeSome(before: 1)
        #expect(scans.withLock { $0 } == OldCopies.pagesInAStep)
        #expect((count + 1..<count + 100).contains(local.statistics.keys))
        for _ in 0..<5 { await old.removeSome(before: 1) }
        #expect(local.statistics.keys == count)
        let done = scans.withLock { $0 }
        await old.removeSome(before: 1)
        #expect(scans.withLock { $0 } == done)
    }

    /// Its call began in an epoch that is over, and what it has copied is removed before it is changed: nobody has ended the session.
    @Test func aCopyThatIsRemovedUnderACallIsNotANotFound() async throws {
        let process = SessionFleet().process()
        let id = try await process.sessions.create(userID: "u").id
        await process.cut()
        let (local, failover) = (process.local, process.failover)
        local.hook(after: "session.adopt") { await OldCopies(in: local).removeAll(before: failover.outbox.epoch + 1) }
        #expect(await code { try await process.sessions.update(id, set: ["a": 1]) } == .unavailable)
    }
}
