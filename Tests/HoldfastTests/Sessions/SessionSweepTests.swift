import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

/// One call after the other fails, before its effect or after it, until the scenario passes untouched: what of a session's life
/// `SessionMergeTests.everyCallFailsInTurnAndNothingIsLostDoubledOrRevived` does not go through.
@Suite struct SessionSweepTests {
    enum Scenario: CaseIterable {
        case rotation, namedRotation, logoutOfAllOthers, removal, endAtItsVersion, namedExtension, unnamedAppend
    }

    /// What must hold afterwards, as each process sees it.
    private typealias Check = @Sendable (_ sessions: Sessions, _ call: Int) async throws -> Void

    @Test(arguments: Scenario.allCases, [FaultyStore.Moment.beforeEffect, .afterEffect])
    func everyCallFailsInTurn(_ scenario: Scenario, _ moment: FaultyStore.Moment) async throws {
        let error = StoreError(.connectionLost, effect: moment == .beforeEffect ? .none : .unknown)
        var failing = 0
        while true {
            failing += 1
            let fleet = SessionFleet()
            let (process, other) = (fleet.process(), fleet.process())
            process.line.fail(call: failing, with: error, moment)
            let check = try await play(scenario, process.sessions, fleet.time)
            // What the last call left here goes with the next one.
            try await carefully { try await process.sessions.list(userID: "u") }
            let isUntouched = process.line.calls < failing
            process.line.recover()
            #expect(process.failover.outbox.isEmpty && process.failover.localSince == nil, "call \(failing)")
            for sessions in [other.sessions, process.sessions] { try await check(sessions, failing) }
            if isUntouched { break }
        }
        #expect(failing > 6)
    }

    private func play(_ scenario: Scenario, _ sessions: Sessions, _ time: ManualTime) async throws -> Check {
        switch scenario {
        case .rotation: try await rotation(sessions)
        case .namedRotation: try await namedRotation(sessions)
        case .logoutOfAllOthers: try await logoutOfAllOthers(sessions, time)
        case .removal: try await removal(sessions)
        case .endAtItsVersion: try await endAtItsVersion(sessions)
        case .namedExtension: try await namedExtension(sessions, time)
        case .unnamedAppend: try await unnamedAppend(sessions)
        }
    }

    private func create(in sessions: Sessions, _ kind: Session.Kind = .user) async throws -> SessionID {
        let operation = OperationID.random()
        let id = try await carefully {
            try await sessions.create(userID: "u", kind: kind, data: ["a": 1], once: operation)
        }.id
        try await carefully { try await sessions.update(id, set: ["b": 2]) }
        return id
    }

    /// Without a name nobody repeats it: the session is there under one id, and where the effect is unknown under none but the old one.
    private func rotation(_ sessions: Sessions) async throws -> Check {
        let old = try await create(in: sessions)
        let outcome: Result<SessionID, StoreError>
        do throws(StoreError) { outcome = .success(try await sessions.rotate(old).id) } catch { outcome = .failure(error) }
        return { (sessions, call) async throws in
            let found = try await sessions.list(userID: "u").sessions
            switch outcome {
            case .success(let new):
                #expect(new != old && found.map(\.id) == [new], "call \(call)")
                #expect(try await sessions.get(old).value == nil, "call \(call)")
            case .failure(let error) where error.effect == .none: #expect(found.map(\.id) == [old], "call \(call): \(error)")
            case .failure(let error): #expect(found.isEmpty || found.map(\.id) == [old], "call \(call): \(error)")
            }
            for session in found { #expect(session.data == ["a": 1, "b": 2], "call \(call)") }
        }
    }

    private func namedRotation(_ sessions: Sessions) async throws -> Check {
        let (old, operation) = (try await create(in: sessions), OperationID.random())
        let new = try await carefully { try await sessions.rotate(old, once: operation) }.id
        return { (sessions, call) async throws in
            #expect(try await sessions.get(new).value?.data == ["a": 1, "b": 2], "call \(call)")
            #expect(try await sessions.get(old).value == nil, "call \(call)")
            #expect(try await sessions.list(userID: "u").sessions.map(\.id) == [new], "call \(call)")
            #expect(try await sessions.rotate(old, once: operation).id == new, "call \(call)")
        }
    }

    private func logoutOfAllOthers(_ sessions: Sessions, _ time: ManualTime) async throws -> Check {
        let (kept, ended) = (try await create(in: sessions), try await create(in: sessions))
        time.advance(by: .seconds(1))
        try await carefully { try await sessions.revokeAll(userID: "u", keeping: kept) }
        time.advance(by: .seconds(1))
        let later = try await create(in: sessions)
        return { (sessions, call) async throws in
            #expect(try await sessions.get(ended).value == nil, "call \(call)")
            for id in [kept, later] { #expect(try await sessions.get(id).value?.data == ["a": 1, "b": 2], "call \(call)") }
            #expect(Set(try await sessions.list(userID: "u").sessions.map(\.id)) == [kept, later], "call \(call)")
        }
    }

    private func removal(_ sessions: Sessions) async throws -> Check {
        let id = try await create(in: sessions)
        try await carefully { try await sessions.update(id, set: ["c": 3], remove: ["a", "none"]) }
        try await carefully { try await sessions.update(id, set: ["a": 4], remove: ["b"]) }
        return { (sessions, call) async throws in
            #expect(try await sessions.get(id).value?.data == ["a": 4, "c": 3], "call \(call)")
        }
    }

    /// A version that is read over a failure may not be the server's: whoever is told so reads it again.
    private func endAtItsVersion(_ sessions: Sessions) async throws -> Check {
        let (kept, ended) = (try await create(in: sessions), try await create(in: sessions))
        let refusal = await code { try await carefully { try await sessions.delete(kept, ifVersion: 1000) } }
        #expect(refusal == .preconditionFailed)
        while let version = try await carefully({ try await sessions.get(ended) }).value?.version {
            do throws(StoreError) { try await sessions.delete(ended, ifVersion: version) } catch {
                guard error.isOutage || error.code == .preconditionFailed else { throw error }
            }
        }
        return { (sessions, call) async throws in
            #expect(try await sessions.get(ended).value == nil, "call \(call)")
            #expect(try await sessions.get(kept).value?.data == ["a": 1, "b": 2], "call \(call)")
            #expect(try await sessions.list(userID: "u").sessions.map(\.id) == [kept], "call \(call)")
        }
    }

    /// Repeated 100 s later: it counts from the first time.
    private func namedExtension(_ sessions: Sessions, _ time: ManualTime) async throws -> Check {
        let (id, operation) = (try await create(in: sessions), OperationID.random())
        let end = time.now + .seconds(3600)
        for _ in 0..<2 {
            try await carefully { try await sessions.extend(id, by: .seconds(3600), once: operation) }
            time.advance(by: .seconds(100))
        }
        return { (sessions, call) async throws in
            #expect(try await sessions.get(id, touch: false).value?.expires == end, "call \(call)")
        }
    }

    /// It bears a name of its own, so it is accepted whatever becomes of its reply.
    private func unnamedAppend(_ sessions: Sessions) async throws -> Check {
        let id = try await create(in: sessions, .conversation)
        for text in ["one", "two"] {
            try await sessions.append([NewSessionMessage(role: "user", content: .string(text))], to: id)
        }
        return { (sessions, call) async throws in
            #expect(try await sessions.get(id).value?.messages.map(\.content) == ["one", "two"], "call \(call)")
        }
    }
}
