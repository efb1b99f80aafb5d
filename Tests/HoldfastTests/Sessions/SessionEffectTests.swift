import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// What callers are told of changes whose reply was lost, and what becomes of extensions that meet a rotation.
@Suite struct SessionEffectTests {
    private let fleet = SessionFleet()

    enum Change: CaseIterable {
        case extend, update, append

        func carryOut(_ sessions: Sessions, _ id: SessionID) async throws -> Session {
            switch self {
            case .extend: try await sessions.extend(id, by: .seconds(40_000))
            case .update: try await sessions.update(id, set: ["done": true])
            case .append: try await sessions.append([NewSessionMessage(role: "user", content: "done")], to: id)
            }
        }
    }

    /// The server has done it, its reply is lost, and the session has ended in this process meanwhile.
    @Test(arguments: Change.allCases, [false, true]) func whatTheServerMayHaveDoneIsNotToldAsUndone(
        _ change: Change, endsAll: Bool
    ) async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let session = try await away.sessions.create(userID: "u", kind: .conversation)
        away.remote.hook(after: "session.\(change)") {
            if endsAll {
                _ = try await away.sessions.revokeAll(userID: "u")
            } else {
                _ = try await away.sessions.delete(session.id)
            }
        }
        away.line.die(afterCall: away.line.calls + 1)
        let error = await failure { try await change.carryOut(away.sessions, session.id) }
        #expect(error?.code == .notFound)
        #expect(error?.effect == .unknown)
        let there = try #require(try await other.sessions.get(session.id, touch: false).value)
        #expect(there.version > session.version)
        await away.mend()
        #expect(try await other.sessions.get(session.id).value == nil)
    }

    /// It is told as undone where nothing was sent.
    @Test(arguments: Change.allCases) func whatWasNotSentIsToldAsUndone(_ change: Change) async throws {
        let process = fleet.process()
        let session = try await process.sessions.create(userID: "u", kind: .conversation)
        await process.cut()
        try await process.sessions.delete(session.id)
        let error = await failure { try await change.carryOut(process.sessions, session.id) }
        #expect(error?.code == .notFound && error?.effect == StoreError.Effect.none)
        await process.mend()
    }

    /// One that another process accepted by itself, of which the server hears when a copy under the new id has been taken.
    @Test func anExtensionThatIsHandedOverDuringARotationIsKept() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let session = try await away.sessions.create(userID: "u")
        _ = try await other.sessions.get(session.id)
        _ = try await other.sessions.update(session.id, set: ["a": 1])
        await away.cut()
        let extended = try await away.sessions.extend(session.id, by: .seconds(40_000))
        other.remote.hook(before: "session.adopt") { await away.mend() }
        let rotated = try await other.sessions.rotate(session.id)
        #expect(rotated.expires >= extended.expires)
        #expect(rotated.data["a"] == 1)
    }

    /// Being used in an outage changes no version.
    @Test func aTouchThatIsHandedOverChangesNoVersion() async throws {
        let process = fleet.process()
        let session = try await process.sessions.create(userID: "u")
        await process.cut()
        let changed = try await process.sessions.update(session.id, set: ["a": 1])
        fleet.time.advance(by: .seconds(100))
        _ = try await process.sessions.get(session.id)
        await process.mend()
        let there = try #require(try await process.sessions.get(session.id, touch: false).value)
        // One more for the field.
        #expect(there.version == changed.version + 1 && there.expires > changed.expires)
    }
}
