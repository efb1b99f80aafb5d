import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// What was accepted for a session here and finds none on the server: where it is on no id in the end, somebody sees it.
@Suite struct SessionDeadLetterTests {
    private let fleet = SessionFleet()

    /// - Returns: the dead letters: actions without their version, and codes.
    private func comeBack(_ process: SessionProcess) async -> [String] {
        process.line.recover()
        await fleet.time.letReturn(process.failover)
        #expect(process.failover.outbox.isEmpty)
        return letters(of: process)
    }

    private func letters(of process: SessionProcess) -> [String] {
        process.failover.outbox.deadLetters().map { letter in
            let action = letter.entry.action.prefix { $0 != "@" }
            return "\(action) \(letter.code)"
        }
    }

    // MARK: - Another id

    enum Change: CaseIterable {
        case none, field, message, longerLife, namedLongerLife

        func make(_ sessions: Sessions, _ id: SessionID) async throws {
            switch self {
            case .none: _ = try await sessions.get(id)
            case .field: try await sessions.update(id, set: ["a": 1])
            case .message: try await sessions.append([NewSessionMessage(role: "user", content: "hello")], to: id)
            case .longerLife: try await sessions.extend(id)
            case .namedLongerLife: try await sessions.extend(id, once: .random())
            }
        }

        var letters: [String] {
            switch self {
            case .none: []
            case .field, .longerLife: ["session.merge conflict"]
            case .message: ["session.merge conflict", "session.append conflict"]
            case .namedLongerLife: ["session.merge conflict", "session.extend conflict"]
            }
        }
    }

    enum Meanwhile: CaseIterable { case rotated, rotatedUnderAName, rotatedAndEnded }

    /// Elsewhere, while this process has changed it, or only read it. A logout of the old id, which follows, is stronger.
    @Test(arguments: Change.allCases, Meanwhile.allCases)
    func whatASessionWithAnotherIDMissesIsSeen(_ change: Change, _ meanwhile: Meanwhile) async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await away.sessions.create(userID: "u", kind: .conversation).id
        await away.cut()
        try await change.make(away.sessions, id)
        let operation = meanwhile == .rotatedUnderAName ? OperationID.random() : nil
        let new = try await other.sessions.rotate(id, once: operation)
        if meanwhile == .rotatedAndEnded { try await other.sessions.delete(id) }
        #expect(await comeBack(away) == (meanwhile == .rotatedAndEnded ? [] : change.letters))
        let there = try #require(try await other.sessions.get(new.id, touch: false).value)
        #expect(there.data.isEmpty && there.messages.isEmpty && there.expires == new.expires)
        #expect(try await other.sessions.get(id).value == nil)
    }

    /// The server has done it, its reply was lost, and the copy has it. Of the session itself that cannot be told.
    @Test func aMessageThatTheServerHasIsNone() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await away.sessions.create(userID: "u", kind: .conversation).id
        away.line.fail(call: away.line.calls + 1, with: StoreError(.connectionLost, effect: .unknown), .afterEffect)
        #expect(try await away.sessions.append([NewSessionMessage(role: "user", content: "hello")], to: id).by.isLocal)
        await away.cut()
        let new = try await other.sessions.rotate(id)
        #expect(new.messages.map(\.content) == ["hello"])
        #expect(await comeBack(away) == ["session.merge conflict"])
    }

    // MARK: - Behind a session that has died

    private func conversation(by process: SessionProcess) async throws -> SessionID {
        await process.cut()
        let id = try await process.sessions.create(userID: "u", kind: .conversation, ttl: .seconds(600)).id
        try await process.sessions.append([NewSessionMessage(role: "user", content: "hello")], to: id)
        // Something else lies where the session would be entered.
        _ = try await fleet.server(.set(process.sessions.keys.index(of: "u"), "no index"))
        return id
    }

    @Test func whatWaitsBehindASessionThatDiesDiesWithIt() async throws {
        let process = fleet.process()
        let outbox = process.failover.outbox
        let id = try await conversation(by: process)
        let all = ["session.merge wrong-type", "session.append not-found"]
        #expect(await comeBack(process) == all)
        _ = try await fleet.server(.del([process.sessions.keys.index(of: "u")]))
        // Before the session it is retried in vain.
        #expect(try await outbox.retry(try #require(outbox.deadLetters().last).entry.number))
        try await outbox.replay(on: process.line)
        #expect(letters(of: process) == all)
        for letter in outbox.deadLetters() { #expect(try await outbox.retry(letter.entry.number)) }
        try await outbox.replay(on: process.line)
        #expect(letters(of: process) == [])
        #expect(try await fleet.process().sessions.get(id).value?.messages.map(\.content) == ["hello"])
    }

    /// With an expired session nothing is lost.
    @Test func whatWaitsForAnExpiredSessionIsOver() async throws {
        let process = fleet.process()
        _ = try await conversation(by: process)
        fleet.time.advance(by: .seconds(601))
        #expect(await comeBack(process) == ["session.merge wrong-type"])
    }
}
