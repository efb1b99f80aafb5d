import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct IdempotencyTests {
    let time = ManualTime()
    let service: Idempotency

    init() {
        let store = EmbeddedStore(time: time)
        service = Idempotency(failover: Failover(local: store, time: time), namespace: Namespace())
    }

    private func begin(_ content: Bytes = "x", of caller: String = "me", attempt: UInt64) async throws -> Idempotency.Beginning {
        try await service.begin(key: "k", of: caller, content: content, attempt: attempt).value
    }

    private func attempt(_ number: UInt64) async throws -> Idempotency.Attempt {
        guard case .begun(let attempt) = try await begin(attempt: number) else { throw StoreError(.conflict) }
        return attempt
    }

    @Test func theAnswerIsGivenAgainForADay() async throws {
        let first = try await attempt(1)
        #expect(try await service.complete(first, with: "done").value)
        time.advance(by: .seconds(24 * 3600 - 1))
        #expect(try await begin(attempt: 2) == .answered("done"))
        time.advance(by: .seconds(1))
        guard case .begun = try await begin(attempt: 3) else {
            Issue.record("the record outlived its day")
            return
        }
    }

    @Test func whileOneRunsAnotherIsToldSo() async throws {
        _ = try await attempt(1)
        await #expect(throws: StoreError(.inProgress, field: "Idempotency-Key")) { try await begin(attempt: 2) }
        // The same attempt, whose reply was lost, goes on.
        _ = try await attempt(1)
    }

    @Test func anotherContentIsRefused() async throws {
        let first = try await attempt(1)
        await #expect(throws: StoreError(.idempotencyMismatch, field: "Idempotency-Key")) { try await begin("y", attempt: 2) }
        try await service.complete(first, with: "done")
        await #expect(throws: StoreError(.idempotencyMismatch, field: "Idempotency-Key")) { try await begin("y", attempt: 2) }
    }

    @Test func aReleasedKeyIsFree() async throws {
        let first = try await attempt(1)
        #expect(try await service.release(first).value)
        _ = try await attempt(2)
        #expect(try await !service.release(first).value)
    }

    @Test func everyAttemptIsTheSameOperationAndRemembersItsRequest() async throws {
        let first = try await attempt(1)
        time.advance(by: .seconds(60))
        #expect(try await attempt(2).operation == first.operation)
        await #expect(throws: StoreError(.idempotencyMismatch, field: "Idempotency-Key")) { try await begin("y", attempt: 3) }
        let other = try await attempt(2)
        #expect(try await service.suspend(other).value)
        #expect(try await attempt(3).operation == first.operation)
        time.advance(by: .seconds(24 * 3600))
        #expect(try await attempt(4).operation != first.operation)
    }

    @Test func anAttemptThatWasTooSlowKeepsNothing() async throws {
        let slow = try await attempt(1)
        time.advance(by: .seconds(60))
        let next = try await attempt(2)
        #expect(try await !service.complete(slow, with: "late").value)
        #expect(try await service.complete(next, with: "done").value)
        #expect(try await begin(attempt: 3) == .answered("done"))
    }

    @Test func callersAndTenantsDoNotMeet() async throws {
        _ = try await attempt(1)
        guard case .begun = try await begin(of: "you", attempt: 2) else {
            Issue.record("another caller's record was seen")
            return
        }
        guard case .begun = try await service.scoped(to: "acme").begin(key: "k", of: "me", content: "x", attempt: 3).value else {
            Issue.record("another tenant's record was seen")
            return
        }
    }
}
