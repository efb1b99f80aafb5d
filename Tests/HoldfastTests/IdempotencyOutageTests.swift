import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// A request that is repeated across an outage is one operation.
@Suite struct IdempotencyOutageTests {
    private let time = ManualTime()
    private let line: FaultyStore
    private let failover: Failover
    private let service: Idempotency

    init() {
        line = FaultyStore(EmbeddedStore(time: time))
        failover = Failover(
            server: line, local: EmbeddedStore(time: time), configuration: .init(thresholds: .init(failures: 1, successes: 1)),
            time: time)
        service = Idempotency(failover: failover, namespace: Namespace())
    }

    private func goDown() async {
        line.fail(with: StoreError(.connectionFailed))
        await failover.start()
    }

    private func comeBack() async {
        line.recover()
        let failover = failover
        let watch = Task { await failover.run() }
        #expect(await time.advanceUntil(by: .milliseconds(100)) { failover.localSince == nil })
        watch.cancel()
        await watch.value
    }

    private func begin(_ attempt: UInt64) async throws -> Idempotency.Beginning {
        try await service.begin(key: "k", of: "me", content: "x", attempt: attempt)
    }

    private func attempt(_ number: UInt64) async throws -> Idempotency.Attempt {
        guard case .begun(let attempt) = try await begin(number) else { throw StoreError(.conflict) }
        return attempt
    }

    @Test func whatWasAnsweredHereIsAnsweredByTheServerAfterwards() async throws {
        await goDown()
        #expect(try await service.complete(try await attempt(1), with: "done"))
        #expect(failover.outbox.status.backlog == 1)
        await comeBack()
        #expect(try await begin(2) == .answered("done"))
        #expect(
            try await Idempotency(failover: Failover(local: line, time: time), namespace: Namespace())
                .begin(key: "k", of: "me", content: "x") == .answered("done"))
    }

    @Test func whatWasBegunHereIsTheSameOperationAfterwards() async throws {
        await goDown()
        let first = try await attempt(1)
        await comeBack()
        #expect(try await attempt(2).operation == first.operation)
    }

    /// Its effect is on the server, its answer was lost with the server, and the client tries again.
    @Test func whatWasBegunOnTheServerIsTheSameOperationHere() async throws {
        let first = try await attempt(1)
        await goDown()
        #expect(try await attempt(2).operation == first.operation)
        await #expect(throws: StoreError.self) { try await service.begin(key: "k", of: "me", content: "y", attempt: 3) }
        await comeBack()
        time.advance(by: .seconds(61))
        #expect(try await attempt(4).operation == first.operation)
    }

    @Test func whatHadNoEffectHereIsFreeAfterwards() async throws {
        await goDown()
        #expect(try await service.release(try await attempt(1)))
        #expect(failover.outbox.isEmpty)
        await comeBack()
        guard case .begun = try await service.begin(key: "k", of: "me", content: "other") else {
            Issue.record("the key is not free")
            return
        }
    }

    @Test func theOperationsThatAreKnownAgainAreBounded() {
        let begun = BegunOperations(limit: 10)
        for number in 0..<100 { begun.note(Key(raw: Bytes("\(number)")), "x", operation: "o", at: time.now) }
        let known = (0..<100).filter { begun.operation(of: Key(raw: Bytes("\($0)")), "x", notBefore: time.now) != nil }
        #expect(known.count <= 10 && known.last == 99)
        #expect(begun.operation(of: Key(raw: "99"), "y", notBefore: time.now) == nil)
    }
}
