import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// The stamps that removed fields leave behind: which are kept, and what makes room.
@Suite struct RemovedFieldTests {
    private let fleet = SessionFleet()

    private func names(_ range: Range<Int>) -> Set<String> { Set(range.map { "t\($0)" }) }

    /// Sets fields and removes them again.
    private func use(_ names: Set<String>, of id: SessionID, by process: SessionProcess) async throws {
        try await process.sessions.update(id, set: Dictionary(uniqueKeysWithValues: names.map { ($0, 1) }))
        try await process.sessions.update(id, remove: names)
    }

    @Test func aRemovalHereHoldsHoweverManyThereWereBefore() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await away.sessions.create(userID: "u", data: ["x": 1, "y": 1]).id
        try await use(names(0..<128), of: id, by: away)
        try await use(names(128..<256), of: id, by: away)
        await away.cut()
        fleet.time.advance(by: .seconds(1))
        #expect(try await away.sessions.update(id, remove: ["x"]).data == ["y": 1])
        for part in 0..<4 { try await use(names(1000 + part * 200..<1200 + part * 200), of: id, by: away) }
        await away.mend()
        #expect(try await other.sessions.get(id).value?.data == ["y": 1])
    }

    /// As many fields as a session may have, removed here at once and one after the other.
    @Test func allThatWasRemovedHereIsRemovedThere() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let data = Dictionary(uniqueKeysWithValues: names(0..<250).map { ($0, JSONValue.integer(1)) })
        let id = try await away.sessions.create(userID: "u", data: data).id
        try await use(["a", "b", "c", "d"], of: id, by: away)
        await away.cut()
        fleet.time.advance(by: .seconds(1))
        for name in names(0..<100) { try await away.sessions.update(id, remove: [name]) }
        try await away.sessions.update(id, set: ["new": 1], remove: names(100..<250))
        await away.mend()
        #expect(try await other.sessions.get(id).value?.data == ["new": 1])
    }

    /// Whoever removes a field that its side has not seen yet, or not any more, means what the other side has set before.
    @Test(arguments: [false, true], [false, true])
    func aFieldThatTheOtherSideHasSetBeforeIsRemoved(here: Bool, again: Bool) async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await away.sessions.create(userID: "u").id
        if again { try await use(["x"], of: id, by: away) }
        await away.cut()
        fleet.time.advance(by: .seconds(1))
        try await (here ? other : away).sessions.update(id, set: ["x": 1, "y": 1])
        fleet.time.advance(by: .seconds(1))
        #expect(try await (here ? away : other).sessions.update(id, remove: ["x"]).data == [:])
        await away.mend()
        #expect(try await other.sessions.get(id).value?.data == ["y": 1])
        #expect(try await other.sessions.update(id, set: ["x": 2]).data == ["x": 2, "y": 1])
    }

    /// On the server the latest removals are known: what was changed elsewhere before them stays removed.
    @Test func onTheServerTheOldestStampMakesRoom() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await other.sessions.create(userID: "u", data: ["x": 1, "y": 1]).id
        _ = try await away.sessions.get(id)
        await away.cut()
        try await away.sessions.update(id, set: ["x": 2, "old": 1])
        fleet.time.advance(by: .seconds(1))
        try await use(["old"], of: id, by: other)
        fleet.time.advance(by: .seconds(1))
        try await use(names(0..<128), of: id, by: other)
        try await use(names(128..<255), of: id, by: other)
        fleet.time.advance(by: .seconds(1))
        try await other.sessions.update(id, remove: ["x"])
        let fields = try await fleet.server(.hgetall(SessionKeys(names: Namespace()).session(id)))
        #expect(fields["stones"] == "256" && fields["d:x"]?.count == 14 && fields["d:old"] == nil)
        #expect(fields.filter { $0.key.starts(with: "d:".utf8) && $0.value.count == 14 }.count == 256)
        await away.mend()
        // What made room is the bound: nobody can tell any more that it was removed later.
        #expect(try await other.sessions.get(id).value?.data == ["y": 1, "old": 1])
    }

    /// What one call removes is known, however much it is.
    @Test func noStampMakesRoomForOneOfTheSameCall() async throws {
        let process = fleet.process()
        let id = try await process.sessions.create(userID: "u").id
        for part in 0..<4 { try await use(names(part * 250..<250 + part * 250), of: id, by: process) }
        let key = SessionKeys(names: Namespace()).session(id)
        var fields = try await fleet.server(.hgetall(key))
        #expect(fields["stones"] == "256")
        #expect(names(750..<1000).allSatisfy { fields[Bytes("d:" + $0)]?.count == 14 })
        // More than are kept otherwise, which another process has brought.
        let many = (0..<300).flatMap { [Bytes("d:m\($0)"), Bytes("0000000000001 ")] }
        let merge = Procedure(SessionProcedures.merge, keys: SessionKeys(names: Namespace()).pair(id), arguments: many) {
            $0.integer
        }
        #expect(try await fleet.server.run(merge) == 1)
        fields = try await fleet.server(.hgetall(key))
        #expect(fields["stones"] == "556")
        try await process.sessions.update(id, set: ["t0": 1])
        #expect(try await fleet.server(.hget(key, "stones")) == "556")
        try await process.sessions.update(id, remove: ["t0"])
        fields = try await fleet.server(.hgetall(key))
        #expect(fields["stones"] == "256" && fields["d:m0"] == nil && fields["d:t0"]?.count == 14)
    }

    @Test func beyondTheBoundARemovalHereIsRefusedAndNothingIsDone() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await away.sessions.create(userID: "u", data: ["x": 1]).id
        await away.cut()
        for part in 0..<16 { try await use(names(part * 256..<255 + part * 256), of: id, by: away) }
        #expect(16 * 255 == SessionProcedures.maximumStonesHere - 16)
        try await use(Set((0..<16).map { "s\($0)" }), of: id, by: away)
        let refusal = await failure { try await away.sessions.update(id, set: ["y": 1], remove: ["x"]) }
        #expect(refusal?.code == .tooLarge && refusal?.field == "remove" && refusal?.effect == StoreError.Effect.none)
        #expect(try await away.sessions.get(id).value?.data == ["x": 1])
        #expect(await code { try await away.sessions.update(id, remove: ["none"]) } == .tooLarge)
        #expect(try await away.sessions.update(id, set: ["z": 1], remove: ["s0"]).data == ["x": 1, "z": 1])
        await away.mend()
        #expect(try await other.sessions.get(id).value?.data == ["x": 1, "z": 1])
        #expect(try await other.sessions.update(id, remove: ["x"]).data == ["z": 1])
    }
}
