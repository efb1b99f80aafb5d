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
    /// Another process, which reaches the server.
    private let other: Idempotency

    init() { self.init(failures: 1) }

    private init(failures: Int, outbox: Outbox.Configuration = .init()) {
        let server = EmbeddedStore(time: time)
        line = FaultyStore(server)
        failover = Failover(
            server: line, local: EmbeddedStore(time: time), outbox: Outbox(configuration: outbox, time: time),
            configuration: .init(thresholds: .init(failures: failures, successes: 1)), time: time)
        service = Idempotency(failover: failover, namespace: Namespace())
        other = Idempotency(failover: Failover(local: server, time: time), namespace: Namespace())
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
        try await service.begin(key: "k", of: "me", content: "x", attempt: attempt).value
    }

    private func attempt(_ number: UInt64) async throws -> Idempotency.Attempt {
        guard case .begun(let attempt) = try await begin(number) else { throw StoreError(.conflict) }
        return attempt
    }

    @Test func whatWasAnsweredHereIsAnsweredByTheServerAfterwards() async throws {
        await goDown()
        #expect(try await service.complete(try await attempt(1), with: "done").value)
        #expect(failover.outbox.status.backlog == 1)
        await comeBack()
        #expect(try await begin(2) == .answered("done"))
        #expect(try await other.begin(key: "k", of: "me", content: "x").value == .answered("done"))
    }

    @Test func whatWasBegunHereIsTheSameOperationAfterwards() async throws {
        await goDown()
        let first = try await attempt(1)
        await comeBack()
        await #expect(throws: StoreError(.inProgress, field: "Idempotency-Key")) { try await begin(2) }
        time.advance(by: .seconds(61))
        #expect(try await attempt(2).operation == first.operation)
    }

    @Test func anAttemptGoesOnAfterTheReturn() async throws {
        await goDown()
        let first = try await attempt(1)
        await comeBack()
        #expect(try await service.complete(first, with: "done").value)
        #expect(try await other.begin(key: "k", of: "me", content: "x").value == .answered("done"))
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

    /// This process's clock is set beyond all leases and retentions: the operation is known here as it was, and its attempt goes on.
    @Test func aClockThatIsSetForgetsNothing() async throws {
        let first = try await attempt(1)
        await goDown()
        time.stepWallClock(by: .seconds(30 * 86_400))
        let second = try await attempt(2)
        #expect(second.operation == first.operation)
        time.stepWallClock(by: .seconds(3600))
        await comeBack()
        await #expect(throws: StoreError(.inProgress, field: "Idempotency-Key")) { try await begin(3) }
        #expect(try await service.complete(second, with: "done").value)
    }

    @Test func whatHadNoEffectHereIsFreeAfterwards() async throws {
        await goDown()
        #expect(try await service.release(try await attempt(1)).value)
        #expect(failover.outbox.isEmpty)
        await comeBack()
        guard case .begun = try await service.begin(key: "k", of: "me", content: "other").value else {
            Issue.record("the key is not free")
            return
        }
    }

    /// The folder takes its time, and the caller leaves before it has the record: the key is free here, and the server gets nothing.
    @Test func aRecordWhoseCallerHasLeftIsTakenBack() async throws {
        let (held, release) = AsyncStream<Void>.makeStream()
        let folder = InterceptedStore(EmbeddedStore(time: time)) { _ in for await _ in held {} }
        let failover = Failover(
            server: line, local: EmbeddedStore(time: time), outbox: Outbox(keptIn: folder, time: time),
            configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
        let service = Idempotency(failover: failover, namespace: Namespace())
        line.fail(with: StoreError(.connectionFailed))
        await failover.start()
        let context = CallContext(deadline: time.uptime + .milliseconds(500))
        let caller = Task {
            try await context.run { () async throws(StoreError) in
                _ = try await service.begin(key: "k", of: "me", content: "x", attempt: 1)
            }
        }
        while time.sleeperCount == 0 { await Task.yield() }
        time.advance(by: .milliseconds(500))
        let error = await #expect(throws: StoreError.self) { try await caller.value }
        #expect(error?.code == .deadlineExceeded && error?.effect == .unknown)
        #expect(failover.outbox.count(of: IdempotencyProcedures.adopt.identifier) == 0)
        release.finish()
        while failover.outbox.owesItsFolder { await Task.yield() }
        line.recover()
        try await failover.outbox.replay(on: line)
        guard case .begun = try await other.begin(key: "k", of: "me", content: "other").value else {
            Issue.record("the server has the record")
            return
        }
    }

    /// The record was handed over, or may have been, before it was given back.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func whatHadNoEffectIsFreeThoughTheServerMayHaveIt(_ moment: FaultyStore.Moment) async throws {
        await goDown()
        let first = try await attempt(1)
        line.fail(with: StoreError(.connectionLost, effect: .unknown), moment)
        await #expect(throws: StoreError.self) { try await failover.outbox.replay(on: line) }
        #expect(try await service.release(first).value)
        let second = try await attempt(2)
        #expect(second.operation != first.operation)
        await comeBack()
        #expect(try await service.complete(second, with: "done").value)
        #expect(try await other.begin(key: "k", of: "me", content: "x").value == .answered("done"))
    }

    @Test func whatIsReleasedAfterTheReturnIsFree() async throws {
        await goDown()
        let first = try await attempt(1)
        await comeBack()
        #expect(try await service.release(first).value)
        guard case .begun = try await other.begin(key: "k", of: "me", content: "other").value else {
            Issue.record("the key is not free")
            return
        }
    }

    /// Made in one outage, settled on the server between the two: what is left here must not speak for the key in the next one.
    @Test func whatIsReleasedAfterTheReturnIsFreeInTheNextOutageToo() async throws {
        await goDown()
        let first = try await attempt(1)
        await comeBack()
        #expect(try await service.release(first).value)
        await goDown()
        guard case .begun(let second) = try await service.begin(key: "k", of: "me", content: "other").value else {
            Issue.record("the key is not free")
            return
        }
        #expect(second.operation != first.operation)
    }

    @Test func whatIsSuspendedAfterTheReturnIsFreeForTheNextAttemptInTheNextOutage() async throws {
        await goDown()
        let first = try await attempt(1)
        await comeBack()
        #expect(try await service.suspend(first).value)
        await goDown()
        #expect(try await attempt(2).operation == first.operation)
    }

    @Test func whatIsAnsweredAfterTheReturnIsAnsweredInTheNextOutageToo() async throws {
        await goDown()
        let first = try await attempt(1)
        await comeBack()
        #expect(try await service.complete(first, with: "done").value)
        await goDown()
        #expect(try await begin(2) == .answered("done"))
    }

    /// The first attempt may have had its effect; that a later one had none says nothing about it.
    @Test(arguments: [false, true]) func aLaterAttemptDoesNotMakeTheOperationForgotten(isAway: Bool) async throws {
        let first = try await attempt(1)
        #expect(try await service.suspend(first).value)
        if isAway { await goDown() }
        #expect(try await service.release(try await attempt(2)).value)
        #expect(try await attempt(3).operation == first.operation)
        if isAway { await comeBack() }
        time.advance(by: .seconds(61))
        #expect(try await attempt(4).operation == first.operation)
    }

    @Test func whatIsSuspendedHereIsFreeForTheNextAttemptAfterwards() async throws {
        await goDown()
        let first = try await attempt(1)
        #expect(try await service.suspend(first).value)
        await comeBack()
        #expect(try await attempt(2).operation == first.operation)
    }

    /// There is no room to keep the record for the server.
    @Test func aBeginningThatIsRefusedLeavesTheKeyFree() async throws {
        let test = IdempotencyOutageTests(failures: 1, outbox: .init(maximumEntries: 1))
        let filler = Outbox.Item("test@1", keys: [Key(raw: "filler")], named: "filler")
        await test.goDown()
        try await test.failover.outbox.add(filler)
        for number in 1...2 {
            do {
                _ = try await test.begin(UInt64(number))
                Issue.record("the record was not refused")
            } catch let error as StoreError { #expect(error.code == .outboxFull) }
        }
        #expect(try await test.failover.outbox.withdraw(named: "filler") { _ in true })
        guard case .begun = try await test.service.begin(key: "k", of: "me", content: "other").value else {
            Issue.record("the key is not free")
            return
        }
    }

    /// Of a server that is not away, but would not take what waits for it, nothing is known: another process may have answered.
    @Test func aBeginningBehindWhatCannotBeHandedOverIsRefused() async throws {
        let test = IdempotencyOutageTests(failures: 5)
        let outbox = test.failover.outbox
        outbox.register(
            ReplayAction("test@1") { (_, store) throws(StoreError) in _ = try await store(.ping) })
        try await outbox.add(Outbox.Item("test@1", keys: [Key(raw: "filler")]))
        guard case .begun(let there) = try await test.other.begin(key: "k", of: "me", content: "x").value else { return }
        #expect(try await test.other.complete(there, with: "done").value)
        test.line.fail(call: 1, with: StoreError(.connectionLost, effect: .unknown))
        do {
            _ = try await test.begin(1)
            Issue.record("it was decided here")
        } catch let error as StoreError { #expect(error.code == .unavailable) }
        #expect(try await test.begin(2) == .answered("done"))
    }

    @Test func theOperationsThatAreKnownAgainAreBounded() {
        let begun = BegunOperations(limit: 10)
        for number in 0..<100 { begun.note(Key(raw: Bytes("\(number)")), "x", operation: "o", at: time.uptime) }
        let known = (0..<100).filter { begun.operation(of: Key(raw: Bytes("\($0)")), "x", notBefore: time.uptime) != nil }
        #expect(known.count <= 10 && known.last == 99)
        #expect(begun.operation(of: Key(raw: "99"), "y", notBefore: time.uptime) == nil)
    }
}
