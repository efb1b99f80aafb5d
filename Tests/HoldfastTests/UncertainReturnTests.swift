import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// A server that answers PING is not back while it refuses what services ask of it, and nothing that was kept for the outage is dropped.
@Suite struct UncertainReturnTests {
    /// What the server answers to procedures and to everything else.
    private struct Answers: Sendable {
        var procedures: StoreError?
        var others: StoreError?
        /// Fails only procedures whose name begins so.
        var only = ""
    }

    private let time = ManualTime()
    private let answers = Locked(Answers())
    private let state: AgentState
    private var failover: Failover { state.failover }

    init() {
        let server = InterceptedStore(EmbeddedStore(time: time)) { [answers] (call) throws(StoreError) in
            let answers = answers.withLock { $0 }
            switch call {
            case .procedure(let name):
                if let error = answers.procedures, name.hasPrefix(answers.only) { throw error }
            default: if let error = answers.others { throw error }
            }
        }
        let failover = Failover(
            server: server, local: EmbeddedStore(time: time), configuration: .init(thresholds: .init(failures: 2)), time: time)
        state = AgentState(failover: failover)
    }

    private func fail(_ answer: Answers) { answers.withLock { $0 = answer } }

    /// Watches the server for a while, or until something is so; whether it is.
    private func watch(_ span: Duration = .seconds(10), until condition: () -> Bool) async -> Bool {
        let failover = failover
        let watch = Task { await failover.run() }
        let end = time.uptime + span
        await time.advanceUntil(by: .milliseconds(50)) { condition() || time.uptime >= end }
        watch.cancel()
        await watch.value
        return condition()
    }

    private static let refusals = [ErrorCode.serverReadOnly, .outOfMemory, .storageFailed].map { StoreError($0) }

    /// As when a primary becomes a replica, loses its replicas, is full or cannot save.
    @Test(arguments: refusals) func aServerThatTakesNoWritesIsNotBack(_ refusal: StoreError) async throws {
        let session = try await state.sessions.create(userID: "u")
        fail(Answers(procedures: refusal))
        for _ in 0..<2 { #expect(try await state.sessions.get(session.id).by.isLocal) }
        #expect(failover.localSince != nil)
        #expect(await !watch { failover.localSince == nil }, "it answers PING, and no more")
        #expect(try await state.sessions.get(session.id).value?.isStale == true)
        fail(Answers())
        #expect(await watch { failover.localSince == nil })
        #expect(try await state.sessions.get(session.id).by == .server)
    }

    /// As when a primary dies, and what answers at its address then is a replica still.
    @Test(arguments: refusals) func whoHasTakenWritesMustTakeThemAgain(_ refusal: StoreError) async throws {
        let session = try await state.sessions.create(userID: "u")
        #expect(await !watch(.seconds(3)) { failover.localSince != nil })
        fail(Answers(procedures: StoreError(.connectionFailed), others: StoreError(.connectionFailed)))
        for _ in 0..<2 { #expect(try await state.sessions.get(session.id).by.isLocal) }
        fail(Answers(procedures: refusal))
        #expect(await !watch { failover.localSince == nil })
        #expect(try await state.sessions.get(session.id).value?.isStale == true)
        fail(Answers())
        #expect(await watch { failover.localSince == nil })
    }

    /// A replica that is read from on purpose, and a user who may only read.
    @Test(arguments: [ErrorCode.serverReadOnly, .permissionMissing, .unknownCommand])
    func whoHasNeverTakenAWriteNeedNot(_ code: ErrorCode) async throws {
        fail(Answers(procedures: StoreError(code)))
        #expect(await !watch(.seconds(3)) { failover.localSince != nil })
        fail(Answers(procedures: StoreError(.connectionFailed), others: StoreError(.connectionFailed)))
        #expect(await watch { failover.localSince != nil })
        fail(Answers(procedures: StoreError(code)))
        #expect(await watch { failover.localSince == nil })
        #expect(failover.refusal == nil)
    }

    /// A user who may not run scripts any more is no outage.
    @Test func aPermissionThatIsTakenAwayDoesNotKeepTheServerAway() async throws {
        #expect(await !watch(.seconds(3)) { failover.localSince != nil })
        fail(Answers(others: StoreError(.connectionFailed)))
        #expect(await watch { failover.localSince != nil })
        fail(Answers(procedures: StoreError(.permissionMissing)))
        #expect(await watch { failover.localSince == nil })
        #expect(failover.refusal == nil)
    }

    /// The limits' hand-over fails after the other services have heard of the return.
    @Test func aReturnThatFailsDropsNothing() async throws {
        let session = try await state.sessions.create(userID: "u")
        fail(Answers(procedures: StoreError(.connectionFailed), others: StoreError(.connectionFailed)))
        for _ in 0..<2 { #expect(try await state.sessions.get(session.id).by.isLocal) }
        #expect(try await state.limits.check(.user("u")).by.isLocal)
        fail(Answers(procedures: StoreError(.connectionLost), only: "limits."))
        #expect(await !watch { failover.localSince == nil })
        #expect(state.limits.backlog.units > 0)
        #expect(try await state.sessions.get(session.id).value?.isStale == true)
        fail(Answers())
        #expect(await watch { failover.localSince == nil })
        #expect(state.limits.backlog.units == 0)
        #expect(state.sessions.near.count == 0)
    }
}
