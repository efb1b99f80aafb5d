import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// Sessions that are not to be decided here while the server is away.
@Suite struct SessionClosedOutageTests {
    private let time = ManualTime()
    private let server: FaultyStore
    private let local: EmbeddedStore
    private let failover: Failover
    private let sessions: Sessions
    /// Another process, which reaches the server.
    private let elsewhere: Sessions

    init() { self.init(failures: 1) }

    private init(failures: Int) {
        let store = EmbeddedStore(time: time)
        server = FaultyStore(store)
        local = EmbeddedStore(time: time)
        failover = Failover(
            server: server, local: local, configuration: .init(thresholds: .init(failures: failures, successes: 1)), time: time)
        sessions = Sessions(failover: failover, configuration: .init(outage: .closed))
        elsewhere = Sessions(failover: Failover(local: store, time: time))
    }

    private func goDown() async {
        server.fail(with: StoreError(.connectionFailed))
        await failover.start()
    }

    private func comeBack() async {
        server.recover()
        await time.letReturn(failover)
    }

    /// What does not only end sessions.
    enum Call: CaseIterable {
        case create, createOnce, get, look, update, append, appendOnce, extend, rotate, list, count

        func make(_ sessions: Sessions, _ id: SessionID) async throws {
            let message = NewSessionMessage(role: "user", content: "hello")
            switch self {
            case .create: _ = try await sessions.create(userID: "u")
            case .createOnce: _ = try await sessions.create(userID: "u", once: .random())
            case .get: #expect(try await sessions.get(id).value != nil)
            case .look: #expect(try await sessions.get(id, touch: false).value != nil)
            case .update: try await sessions.update(id, set: ["a": 1])
            case .append: try await sessions.append([message], to: id)
            case .appendOnce: try await sessions.append([message], to: id, once: .random())
            case .extend: try await sessions.extend(id)
            case .rotate: _ = try await sessions.rotate(id)
            case .list: _ = try await sessions.list(userID: "u")
            case .count: _ = try await sessions.count(userID: "u")
            }
        }
    }

    @Test(arguments: Call.allCases) func aCallIsRefusedWhileTheServerIsAwayAndGoesOnWhenItIsBack(_ call: Call) async throws {
        let id = try await sessions.create(userID: "u", kind: .conversation).id
        await goDown()
        do {
            try await call.make(sessions, id)
            Issue.record("it was decided here")
        } catch let error as StoreError { #expect(error.code == .unavailable && error.effect == .none) }
        #expect(local.statistics.keys == 0 && failover.outbox.isEmpty)
        await comeBack()
        try await call.make(sessions, id)
        #expect(try await elsewhere.list(userID: "u").sessions.allSatisfy { $0.by == .server })
    }

    /// One failure is not enough to count as an outage: the call tells of its own, and no near copy answers.
    @Test(arguments: Call.allCases) func aCallThatFailsBeforeTheServerCountsAsAwaySaysWhatItMet(_ call: Call) async throws {
        let test = SessionClosedOutageTests(failures: 1000)
        let id = try await test.sessions.create(userID: "u", kind: .conversation).id
        test.server.fail(with: StoreError(.timeout, effect: .unknown))
        do {
            try await call.make(test.sessions, id)
            Issue.record("it was decided here")
        } catch let error as StoreError { #expect(error.code == .timeout && error.effect == .unknown) }
        #expect(test.local.statistics.keys == 0 && test.failover.outbox.isEmpty)
        test.server.recover()
        try await call.make(test.sessions, id)
    }

    @Test(arguments: [1, 1000]) func aLogoutIsAcceptedHoldsHereAndIsHandedOver(failures: Int) async throws {
        let test = SessionClosedOutageTests(failures: failures)
        let (sessions, failover) = (test.sessions, test.failover)
        let one = try await sessions.create(userID: "u").id
        let others = [try await sessions.create(userID: "v").id, try await test.elsewhere.create(userID: "v").id]
        let kept = try await sessions.create(userID: "v").id
        test.server.fail(with: StoreError(.connectionFailed))
        if failures == 1 { await failover.start() }
        #expect(try await sessions.delete(one).by.isLocal)
        #expect(try await sessions.revokeAll(userID: "v", keeping: kept).by.isLocal)
        for id in [one] + others { await #expect(throws: StoreError.self) { try await sessions.get(id) } }
        await test.comeBack()
        for id in [one] + others {
            #expect(try await sessions.get(id).value == nil)
            #expect(try await test.elsewhere.get(id).value == nil)
        }
        #expect(try await sessions.get(kept).value != nil)
        #expect(failover.outbox.isEmpty)
    }

    @Test func sessionsOfThisProcessAreNotTouched() async throws {
        let sessions = Sessions(failover: failover, configuration: .init(storage: .memory, outage: .closed))
        await goDown()
        let session = try await sessions.create(userID: "u")
        #expect(try await sessions.get(session.id).value != nil)
    }
}
