import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// A session that was created under a name, and whose creator did not come to the user's index: it says so itself, and whoever meets it enters
/// it before anything else, or ends it where all of the user's sessions were revoked since.
@Suite struct SessionSettlingTests {
    private let fleet = SessionFleet()

    /// On the server, and not among its user's; its creator has died.
    private func orphan(_ kind: Session.Kind = .user) async throws -> SessionID {
        let maker = fleet.process()
        maker.line.die(afterCall: maker.line.calls + 1)
        let operation = OperationID.random()
        _ = try await maker.sessions.create(userID: "u", kind: kind, data: ["a": 1], once: operation)
        let id = SessionID(high: operation.high, low: operation.low)
        #expect(try await field("pending", of: id) == "1")
        #expect(try await fleet.server(.zcard(maker.sessions.keys.index(of: "u"))) == 0)
        return id
    }

    private func field(_ name: Bytes, of id: SessionID) async throws -> Bytes? {
        try await fleet.server(.hget(SessionKeys(names: Namespace()).session(id), name))
    }

    /// What somebody does with a session that he knows by its id.
    enum Call: CaseIterable {
        case get, look, update, append, extend, rotate, rotateOnce

        func make(_ sessions: Sessions, _ id: SessionID) async throws -> SessionID? {
            switch self {
            case .get: try await sessions.get(id).value?.id
            case .look: try await sessions.get(id, touch: false).value?.id
            case .update: try await sessions.update(id, set: ["b": 2]).id
            case .append: try await sessions.append([NewSessionMessage(role: "user", content: "x")], to: id).id
            case .extend: try await sessions.extend(id).id
            case .rotate: try await sessions.rotate(id).id
            case .rotateOnce: try await sessions.rotate(id, once: .random()).id
            }
        }
    }

    @Test(arguments: Call.allCases) func whoeverMeetsItEntersIt(_ call: Call) async throws {
        let process = fleet.process()
        let id = try #require(try await call.make(process.sessions, try await orphan(.conversation)))
        #expect(try await process.sessions.list(userID: "u").sessions.map(\.id) == [id])
        #expect(try await field("pending", of: id) == nil)
        // Once: what is settled costs what it did.
        let calls = process.line.calls
        _ = try await process.sessions.get(id)
        #expect(process.line.calls == calls + 1)
        #expect(try await process.sessions.revokeAll(userID: "u").value == 1)
    }

    @Test(arguments: Call.allCases, [false, true])
    func whoeverMeetsItAfterALogoutOfAllFindsNone(_ call: Call, revokesAway: Bool) async throws {
        let (process, other) = (fleet.process(), fleet.process())
        let id = try await orphan(.conversation)
        fleet.time.advance(by: .seconds(1))
        if revokesAway { await other.cut() }
        try await other.sessions.revokeAll(userID: "u")
        if revokesAway { await other.mend() }
        fleet.time.advance(by: .seconds(1))
        do {
            #expect(try await call.make(process.sessions, id) == nil)
        } catch let error as StoreError { #expect(error.code == .notFound) }
        #expect(try await field("user", of: id) == nil)
        #expect(try await process.sessions.list(userID: "u").sessions.isEmpty)
        await process.cut()
        #expect(await code { try await process.sessions.get(id) } == .unavailable, "no near copy of it was kept")
    }

    /// The creator lives, and did not hear that the first trip was carried out: what it made by itself meets the session on the server.
    @Test func itsCreatorHandsItOver() async throws {
        let (maker, other) = (fleet.process(), fleet.process())
        maker.line.fail(call: maker.line.calls + 2, with: StoreError(.connectionLost))
        let id = try await maker.sessions.create(userID: "u", once: .random()).id
        #expect(try await field("pending", of: id) == "1")
        try await maker.failover.outbox.replay(on: maker.line)
        #expect(try await field("pending", of: id) == nil)
        #expect(try await other.sessions.list(userID: "u").sessions.map(\.id) == [id])
    }

    /// The last of three trips fails: whoever reads it next takes it for one that is not entered yet.
    @Test func theLastTripMayFail() async throws {
        let process = fleet.process()
        process.line.fail(call: process.line.calls + 3, with: StoreError(.connectionLost))
        let operation = OperationID.random()
        let session = try await process.sessions.create(userID: "u", once: operation)
        #expect(session.by == .server && process.failover.outbox.isEmpty)
        #expect(try await field("pending", of: session.id) == "1")
        #expect(try await process.sessions.create(userID: "u", once: operation) == session)
        #expect(try await field("pending", of: session.id) == nil)
    }

    /// Who cannot enter it does not answer it: it may have been revoked. What was changed has been changed.
    @Test func whereItCannotBeEnteredNobodyKnows() async throws {
        let process = fleet.process()
        let id = try await orphan()
        process.line.fail(call: process.line.calls + 2, with: StoreError(.connectionLost))
        let failed = await failure { try await process.sessions.update(id, set: ["b": 2]) }
        #expect(failed?.code == .unavailable && failed?.effect == .unknown)
        #expect(try await process.sessions.get(id).value?.data == ["a": 1, "b": 2])
    }

    /// What waits for the server of a session that was settled does not make it pending again, nor is a copy of it.
    @Test func nothingCarriesItOn() async throws {
        let process = fleet.process()
        let operation = OperationID.random()
        let seen = try await orphan()
        _ = try await process.sessions.get(seen)
        let id = try await process.sessions.create(userID: "u", once: operation).id
        #expect(try await process.sessions.create(userID: "u", once: operation).id == id)
        await process.cut()
        for id in [id, seen] { try await process.sessions.update(id, set: ["b": 2]) }
        for entry in process.failover.outbox.entries() { #expect(!entry.arguments.contains("pending")) }
        await process.mend()
        for id in [id, seen] { #expect(try await field("pending", of: id) == nil) }
    }

    /// Three trips, and a repetition two.
    @Test func aNameCostsATrip() async throws {
        let process = fleet.process()
        let (sessions, line, operation) = (process.sessions, process.line, OperationID.random())
        var calls: [Int] = []
        for name in [nil, operation, operation] {
            let before = line.calls
            _ = try await sessions.create(userID: "u", once: name)
            calls.append(line.calls - before)
        }
        #expect(calls == [2, 3, 2])
    }
}
