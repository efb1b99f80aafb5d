import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// A session that a logout of all others keeps, and that has another id by the time at which that is done: it is still the one that was meant.
@Suite struct KeptSessionTests {
    private let fleet = SessionFleet()

    /// Gives a session another id, several times.
    private func rotate(_ id: SessionID, times: Int, in sessions: Sessions) async throws -> SessionID {
        var id = id
        for _ in 0..<times { id = try await sessions.rotate(id).id }
        return id
    }

    /// Decided in a process that is cut off, and rotated elsewhere before it is handed over. Its last eight ids are known.
    @Test(arguments: [(1, true), (8, true), (9, false)])
    func itStaysUnderItsNewID(rotations: Int, stays: Bool) async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let kept = try await away.sessions.create(userID: "u", data: ["a": 1]).id
        let ended = try await other.sessions.create(userID: "u").id
        fleet.time.advance(by: .seconds(60))
        await away.cut()
        try await away.sessions.revokeAll(userID: "u", keeping: kept)
        let new = try await rotate(kept, times: rotations, in: other.sessions)
        fleet.time.advance(by: .seconds(60))
        await away.mend()
        for process in [away, other] {
            #expect(try await process.sessions.get(new).value?.data == (stays ? ["a": 1] : nil))
            for id in [kept, ended] { #expect(try await process.sessions.get(id).value == nil) }
            #expect(try await process.sessions.list(userID: "u").sessions.map(\.id) == (stays ? [new] : []))
        }
        // It is one of the others for whoever keeps another one, and for whoever keeps none.
        let next = try await other.sessions.create(userID: "u").id
        #expect(try await other.sessions.revokeAll(userID: "u", keeping: next).value == (stays ? 1 : 0))
        #expect(try await away.sessions.list(userID: "u").sessions.map(\.id) == [next])
    }

    /// On the server, where it is given another id while the logout is under way.
    @Test func itStaysWhereItIsRotatedMeanwhile() async throws {
        let (process, other) = (fleet.process(), fleet.process())
        let kept = try await process.sessions.create(userID: "u").id
        // More than are ended at once, before and behind it.
        for _ in 0..<450 { _ = try await other.sessions.create(userID: "u") }
        let new = Locked(kept)
        process.remote.hook(before: "session.indexRevoke") {
            let id = try await other.sessions.rotate(kept).id
            new.withLock { $0 = id }
        }
        #expect(try await process.sessions.revokeAll(userID: "u", keeping: kept).value == 450)
        let id = new.withLock { $0 }
        #expect(id != kept)
        #expect(try await process.sessions.get(id).value != nil)
        #expect(try await process.sessions.list(userID: "u").sessions.map(\.id) == [id])
    }

    /// What lies here of it, because something waits for the server, stays too.
    @Test func itStaysHereWhereItWaits() async throws {
        let process = fleet.process()
        let sessions = process.sessions
        let old = try await sessions.create(userID: "u").id
        let id = try await sessions.rotate(old).id
        process.remote.hook(before: "session.delete", times: .max) {
            guard process.failover.outbox.isEmpty else { return }
            try await process.failover.outbox.add(
                Outbox.Item("session.delete@1", keys: sessions.keys.pair(.random()), arguments: ["", "1000", "deleted", "1"]))
        }
        #expect(try await sessions.revokeAll(userID: "u", keeping: old).value == 0)
        await process.cut()
        #expect(await code { try await sessions.get(id) } == .unavailable, "it is not taken for ended")
        await process.mend()
        #expect(try await sessions.get(id).value != nil)
    }

    /// A change that was made here to it before, and is handed over later, brings its former ids along.
    @Test func itsFormerIDsAreMerged() async throws {
        let (away, third, other) = (fleet.process(), fleet.process(), fleet.process())
        let kept = try await third.sessions.create(userID: "u").id
        await third.cut()
        try await third.sessions.revokeAll(userID: "u", keeping: kept)
        let new = try await other.sessions.rotate(kept).id
        _ = try await away.sessions.get(new)
        await away.cut()
        for _ in 0..<2 {
            fleet.time.advance(by: .seconds(500))
            try await away.sessions.extend(new)
        }
        #expect(try await fleet.server(.exists(other.sessions.keys.session(new))) == false, "it has expired there")
        await away.mend()
        await third.mend()
        #expect(try await other.sessions.get(new).value != nil)
        let newer = try await other.sessions.rotate(new).id
        #expect(try await other.sessions.revokeAll(userID: "u", keeping: kept).value == 0)
        #expect(try await other.sessions.list(userID: "u").sessions.map(\.id) == [newer])
    }
}
