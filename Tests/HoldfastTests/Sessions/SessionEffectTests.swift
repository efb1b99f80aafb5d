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

    /// Why a caller has no time left.
    enum Leaving: CaseIterable {
        case deadline, cancellation

        var code: ErrorCode { self == .deadline ? .deadlineExceeded : .cancelled }
    }

    /// The caller leaves while the old id is being ended, and the server does that: it may have happened, although nothing more can be asked
    /// for by this caller, and the copy whose id nobody was told does not stay.
    @Test(arguments: Leaving.allCases) func aRotationWhoseCallerLeavesIsNotToldAsUndone(_ leaving: Leaving) async throws {
        let time = fleet.time
        let server = HookedStore(fleet.server)
        let line = FaultyStore(server)
        // As a connection does, before anything is sent.
        let door = InterceptedStore(line) { _ throws(StoreError) in try CallContext.checkTime(time) }
        let failover = Failover(server: door, local: EmbeddedStore(time: time), time: time)
        let sessions = Sessions(failover: failover)
        let old = try await sessions.create(userID: "u").id
        server.hook(after: "session.delete") {
            if leaving == .deadline { time.advance(by: .seconds(2)) } else { cancelCurrentTask() }
        }
        // Read, copied, entered, ended.
        line.fail(call: line.calls + 4, with: StoreError(leaving.code, effect: .unknown), .afterEffect)
        let context = CallContext(deadline: time.uptime + .seconds(1))
        let error = await Task {
            await failure { try await context.run { () async throws(StoreError) in try await sessions.rotate(old) } }
        }.value
        #expect(error?.code == leaving.code && error?.effect == .unknown)
        #expect(try await sessions.get(old).value == nil)
        for _ in 0..<100_000 where try await sessions.count(userID: "u").value > 0 { await Task.yield() }
        #expect(try await sessions.count(userID: "u").value == 0)
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

/// Of the task whose call it is in.
private func cancelCurrentTask() { withUnsafeCurrentTask { (task) -> Void in task?.cancel() } }
