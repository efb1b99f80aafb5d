import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// An operation with a name that was acknowledged is repeated in an outage, where its marker is not: it lies on the server, or here under
/// an epoch that is over.
@Suite struct SessionRepetitionTests {
    private let fleet = SessionFleet()
    private let operation = OperationID.random()

    /// Who has done it first, before the outage in which it is repeated.
    enum Doer: CaseIterable { case server, thisProcess }

    /// Acknowledges in an outage of its own where this process is to do it, which is over afterwards.
    private func first<Output>(_ doer: Doer, _ process: SessionProcess, _ body: () async throws -> Output) async throws -> Output
    {
        if doer == .thisProcess { await process.cut() }
        let output = try await body()
        if doer == .thisProcess { await process.mend() }
        return output
    }

    @Test(arguments: Doer.allCases) func anExtensionIsDoneOnce(_ doer: Doer) async throws {
        let process = fleet.process()
        let sessions = process.sessions
        let id = try await sessions.create(userID: "u").id
        func extend() async throws -> Session { try await sessions.extend(id, by: .seconds(1000), once: operation) }
        let extended = try await first(doer, process, extend)
        #expect(extended.by.isLocal == (doer == .thisProcess))
        let seen = try #require(try await sessions.get(id, touch: false).value)
        fleet.time.advance(by: .seconds(100))
        await process.cut()
        let again = try await extend()
        #expect(again.by.isLocal && again.expires == extended.expires && again.version == seen.version)
        #expect(process.failover.outbox.isEmpty)
        await process.mend()
        #expect(try await fleet.process().sessions.get(id, touch: false).value?.expires == extended.expires)
    }

    @Test(arguments: Doer.allCases) func anAppendIsSeenOnce(_ doer: Doer) async throws {
        let process = fleet.process()
        let sessions = process.sessions
        let id = try await sessions.create(userID: "u", kind: .conversation).id
        func append() async throws -> Session {
            try await sessions.append([NewSessionMessage(role: "user", content: "once")], to: id, once: operation)
        }
        _ = try await first(doer, process, append)
        #expect(try await sessions.get(id).value?.messages.count == 1)
        await process.cut()
        #expect(try await append().messages.map(\.content) == ["once"])
        #expect(try await sessions.get(id).value?.messages.map(\.content) == ["once"])
        // What follows it is done, and so is another one of that name in another session.
        try await sessions.append([NewSessionMessage(role: "user", content: "next")], to: id)
        let other = try await sessions.create(userID: "u", kind: .conversation).id
        try await sessions.append([NewSessionMessage(role: "user", content: "other")], to: other, once: operation)
        #expect(try await append().messages.map(\.content) == ["once", "next"])
        await process.mend()
        #expect(try await sessions.get(id).value?.messages.map(\.content) == ["once", "next"])
        #expect(try await sessions.get(other).value?.messages.map(\.content) == ["other"])
    }

    /// It is answered the session as it is: where that has ended none, and where it is not known here that it cannot be known.
    @Test func whatIsKnownAgainIsAnsweredTheSessionAsItIs() async throws {
        let process = fleet.process()
        let sessions = process.sessions
        let (ended, unseen) = (try await sessions.create(userID: "u").id, try await sessions.create(userID: "u").id)
        for id in [ended, unseen] { try await sessions.extend(id, once: operation) }
        await process.cut()
        await process.mend()
        _ = try await sessions.get(ended)
        await process.cut()
        try await sessions.delete(ended)
        #expect(await code { try await sessions.extend(ended, once: operation) } == .notFound)
        #expect(await code { try await sessions.extend(unseen, once: operation) } == .unavailable)
    }

    /// What was done to it since is not undone by its first data, which would be the later ones.
    @Test(arguments: Doer.allCases) func aCreationIsDoneOnce(_ doer: Doer) async throws {
        let process = fleet.process()
        let sessions = process.sessions
        func create() async throws -> Session { try await sessions.create(userID: "u", data: ["step": 1], once: operation) }
        let id = try await first(doer, process, create).id
        try await sessions.update(id, set: ["step": 2])
        fleet.time.advance(by: .seconds(1))
        await process.cut()
        let again = try await create()
        #expect(again.id == id && again.by.isLocal && again.data == ["step": 2])
        await process.mend()
        #expect(try await fleet.process().sessions.get(id).value?.data == ["step": 2])
    }

    /// Nor is it begun anew where this process cannot know what became of it, or knows that it has ended.
    @Test(arguments: [false, true]) func aCreationWhoseSessionIsNotSeenIsUnavailable(hasEnded: Bool) async throws {
        let process = fleet.process()
        let sessions = process.sessions
        func create() async throws -> Session { try await sessions.create(userID: "u", once: operation) }
        let id = try await create().id
        if hasEnded {
            try await sessions.delete(id)
        } else {
            await process.cut()
            await process.mend()
        }
        await process.cut()
        #expect(await code { try await create() } == .unavailable)
        if hasEnded {
            try await sessions.delete(id)
            #expect(await code { try await create() } == .conflict)
        }
        #expect(try await sessions.create(userID: "u", once: .random()).by.isLocal)
        await process.mend()
        #expect(try await sessions.get(id).value == nil || !hasEnded)
    }

    /// It needs no room for what it does not do.
    @Test func aFullOutboxDoesNotRefuseARepetition() async throws {
        let process = fleet.process(outbox: Outbox(configuration: .init(maximumEntries: 1), time: fleet.time))
        let sessions = process.sessions
        let id = try await sessions.create(userID: "u").id
        let extended = try await sessions.extend(id, by: .seconds(1000), once: operation)
        await process.cut()
        _ = try await sessions.create(userID: "v")
        #expect(await code { try await sessions.extend(id, by: .seconds(2000), once: .random()) } == .outboxFull)
        #expect(try await sessions.extend(id, by: .seconds(1000), once: operation).expires == extended.expires)
    }

    /// After its retention a name is another operation's, here as on the server.
    @Test func aNameIsKnownForItsRetention() async throws {
        let process = fleet.process()
        let sessions = process.sessions
        let short = OperationID.random(retention: .seconds(60))
        let id = try await sessions.create(userID: "u").id
        let extended = try await sessions.extend(id, by: .seconds(1000), once: short)
        await process.cut()
        fleet.time.advance(by: .seconds(59))
        #expect(try await sessions.extend(id, by: .seconds(1000), once: short).expires == extended.expires)
        fleet.time.advance(by: .seconds(1))
        #expect(try await sessions.extend(id, by: .seconds(1000), once: short).expires == extended.expires + .seconds(60))
    }

    @Test func theLastHalfOfTheBoundIsKnown() {
        let acknowledged = AcknowledgedOperations(limit: 100)
        let markers = (0..<1000).map { Key(raw: Bytes("\($0)")) }
        for marker in markers { acknowledged.note(marker, for: .seconds(60), now: .zero) }
        #expect(markers.suffix(50).allSatisfy { acknowledged.contains($0, now: .seconds(59)) })
        #expect((50...100).contains(markers.count { acknowledged.contains($0, now: .zero) }))
        // A repetition does not make it known for longer.
        acknowledged.note(markers[999], for: .seconds(60), now: .seconds(59))
        #expect(!acknowledged.contains(markers[999], now: .seconds(60)))
    }
}
