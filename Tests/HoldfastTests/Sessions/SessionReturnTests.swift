import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// What becomes of accepted sessions at a return that is not a plain one: after a logout of all others, of a process with a wrong
/// clock, after a restart.
@Suite struct SessionReturnTests {
    private let fleet = SessionFleet()

    // MARK: - Beside revocations

    enum Revocation: CaseIterable { case here, hereInTheOutage, byAnother }

    /// The session that "log out everywhere else" has kept is changed here later, and merged.
    @Test(arguments: Revocation.allCases, [false, true])
    func theSessionThatWasKeptIsMerged(_ revocation: Revocation, isRotated: Bool) async throws {
        let (process, other) = (fleet.process(), fleet.process())
        var kept = try await process.sessions.create(userID: "u").id
        let ended = try await process.sessions.create(userID: "u").id
        if isRotated { kept = try await process.sessions.rotate(kept).id }
        _ = try await process.sessions.get(ended)
        fleet.time.advance(by: .seconds(60))
        if revocation != .here { await process.cut() }
        try await (revocation == .byAnother ? other : process).sessions.revokeAll(userID: "u", keeping: kept)
        fleet.time.advance(by: .seconds(60))
        if revocation == .here { await process.cut() }
        #expect(try await process.sessions.update(kept, set: ["a": 1]).by.isLocal)
        await process.mend()
        for each in [process, other] {
            #expect(try await each.sessions.get(kept).value?.data == ["a": 1])
            #expect(try await each.sessions.get(ended).value == nil)
            #expect(try await each.sessions.list(userID: "u").sessions.map(\.id) == [kept])
        }
    }

    /// The process dies when all is done on the server, and its successor does it again.
    @Test func theSessionThatWasKeptIsThereWhenAllIsDoneTwice() async throws {
        let kept = EmbeddedStore(time: fleet.time)
        let first = fleet.process(outbox: Outbox(keptIn: AnsweringStore.frozen(kept), time: fleet.time))
        await first.cut()
        let (stays, ends) = (try await first.sessions.create(userID: "u").id, try await first.sessions.create(userID: "u").id)
        fleet.time.advance(by: .seconds(60))
        try await first.sessions.revokeAll(userID: "u", keeping: stays)
        await first.mend()
        fleet.time.advance(by: .seconds(60))
        let second = fleet.process(outbox: Outbox(keptIn: kept, time: fleet.time))
        try await second.failover.outbox.load(into: second.failover.local)
        #expect(!second.failover.outbox.isEmpty)
        await second.cut()
        await second.mend()
        #expect(try await second.sessions.get(stays).value != nil)
        #expect(try await second.sessions.get(ends).value == nil)
    }

    /// A server that forgets everything while a process is cut off, which keeps one session, ends the others, and goes on with that one. Where
    /// all were ended by somebody else in between, it ends too.
    @Test(arguments: [false, true])
    func theSessionThatWasKeptIsBroughtBackToAServerThatHasForgottenIt(isRevoked: Bool) async throws {
        let (process, other) = (fleet.process(), fleet.process())
        let (kept, ended) = (try await process.sessions.create(userID: "u").id, try await process.sessions.create(userID: "u").id)
        await process.cut()
        fleet.time.advance(by: .seconds(60))
        for try await page in fleet.server.scan() where !page.isEmpty { _ = try await fleet.server(.unlink(page)) }
        if isRevoked {
            try await other.sessions.revokeAll(userID: "u")
            fleet.time.advance(by: .seconds(60))
        }
        try await process.sessions.revokeAll(userID: "u", keeping: kept)
        _ = try await process.sessions.update(kept, set: ["a": 1])
        await process.mend()
        for each in [process, other] {
            #expect(try await each.sessions.get(kept).value?.data == (isRevoked ? nil : ["a": 1]))
            #expect(try await each.sessions.get(ended).value == nil)
            #expect(try await each.sessions.list(userID: "u").sessions.map(\.id) == (isRevoked ? [] : [kept]))
        }
    }

    /// Its creator has lost the reply of the second trip, so that the index does not have it yet when it is kept.
    @Test(arguments: [false, true]) func theSessionThatWasKeptMayNotBeInTheIndexYet(revokesAway: Bool) async throws {
        let (maker, other) = (fleet.process(), fleet.process())
        maker.line.fail(call: maker.line.calls + 2, with: StoreError(.connectionLost))
        let id = try await maker.sessions.create(userID: "u", once: .random()).id
        #expect(!maker.failover.outbox.isEmpty)
        fleet.time.advance(by: .seconds(1))
        #expect(try await other.sessions.get(id).value != nil)
        if revokesAway { await other.cut() }
        try await other.sessions.revokeAll(userID: "u", keeping: id)
        if revokesAway { await other.mend() }
        #expect(try await maker.sessions.get(id).value != nil)
        #expect(maker.failover.outbox.isEmpty)
        #expect(try await other.sessions.list(userID: "u").sessions.map(\.id) == [id])
    }

    /// A revocation is handed over while a session is on its way, which is in the index already: what was made before it ends, what was made
    /// after it stays.
    @Test(arguments: [false, true]) func aSessionOnItsWayMeetsARevocation(isLater: Bool) async throws {
        let (maker, revoker) = (fleet.process(), fleet.process())
        for process in [maker, revoker] { await process.cut() }
        if isLater { try await revoker.sessions.revokeAll(userID: "u") }
        fleet.time.advance(by: .seconds(1))
        let id = try await maker.sessions.create(userID: "u").id
        fleet.time.advance(by: .seconds(1))
        if !isLater { try await revoker.sessions.revokeAll(userID: "u") }
        let server = fleet.server
        maker.remote.hook(before: "session.merge") {
            try await revoker.failover.outbox.replay(on: server)
            if isLater { #expect(await code { try await fleet.process().sessions.get(id) } == .unavailable) }
        }
        await maker.mend()
        await revoker.mend()
        #expect(try await maker.sessions.get(id).value?.id == (isLater ? id : nil))
        #expect(try await maker.sessions.list(userID: "u").sessions.map(\.id) == (isLater ? [id] : []))
    }

    // MARK: - A wrong clock

    /// This process's clock is an hour behind the server's, or ahead of it: what was made and changed here lives as long as elsewhere.
    @Test(arguments: [-3600, 3600]) func aWrongClockDoesNotEndWhatWasAccepted(skew: Int64) async throws {
        let time = ManualTime(now: fleet.time.now + .seconds(skew))
        let (away, other) = (fleet.process(time: time), fleet.process())
        let seen = try await away.sessions.create(userID: "u").id
        let talk = try await away.sessions.create(userID: "u", kind: .conversation, ttl: .seconds(600)).id
        let extended = try await away.sessions.create(userID: "u").id
        await away.cut()
        let made = try await away.sessions.create(userID: "u").id
        try await away.sessions.update(seen, set: ["a": 1])
        let accepted = fleet.time.now
        try await away.sessions.append([NewSessionMessage(role: "user", content: "hello")], to: talk)
        try await away.sessions.extend(extended, by: .seconds(300), once: .random())
        await away.mend()
        let message = try #require(try await other.sessions.get(talk, touch: false).value?.messages.first)
        #expect(message.content == "hello")
        #expect((.zero...(.seconds(1))).contains(message.sent - accepted))
        for id in [seen, made, talk, extended] {
            let session = try #require(try await other.sessions.get(id, touch: false).value)
            let now = fleet.time.now
            #expect((.seconds(590)...(.seconds(600))).contains(session.expires - now))
            #expect((.seconds(86_390)...(.seconds(86_400))).contains(session.ends - now))
            #expect((.zero...(.seconds(10))).contains(now - session.lastAccessed))
        }
        #expect(try await other.sessions.count(userID: "u").value == 4)
    }

    /// This process's clock is behind, so that it lets a session live on that was ended elsewhere, and whose tombstone ended with the moment
    /// at which it would have ended in any case.
    @Test(arguments: [0, -3600]) func aLogoutHoldsBeyondTheAbsoluteEnd(skew: Int64) async throws {
        let time = ManualTime(now: fleet.time.now + .seconds(skew))
        let (away, other) = (fleet.process(time: time), fleet.process())
        func advance(_ seconds: Int64) { for clock in [time, fleet.time] { clock.advance(by: .seconds(seconds)) } }
        let id = try await away.sessions.create(userID: "u", ttl: .seconds(600), absoluteTTL: .seconds(1200)).id
        await away.cut()
        #expect(try await other.sessions.delete(id).value)
        for _ in 0..<2 {
            advance(550)
            try await away.sessions.extend(id)
        }
        let entry = try #require(away.failover.outbox.entries().first)
        #expect(Array(entry.arguments.dropFirst(3)).fieldValue("expires") == entry.arguments[1], "when it ends in any case")
        advance(150)
        #expect(try await fleet.server(.exists(away.sessions.keys.pair(id)[1])) == false, "its tombstone has ended")
        await away.mend()
        #expect(try await other.sessions.get(id).value == nil)
        #expect(try await other.sessions.count(userID: "u").value == 0)
    }

    /// An entry of the form that has no moment by the server's clock, in the folder of a process whose clock was ahead by more than the session
    /// has left.
    @Test func whatAnOlderVersionAcceptedByAWrongClockIsNotLost() async throws {
        let time = ManualTime(now: fleet.time.now + .seconds(3600))
        let process = fleet.process(time: time)
        let id = try await process.sessions.create(userID: "u", kind: .conversation, ttl: .seconds(600)).id
        await process.cut()
        let keys = process.sessions.keys.keys(id, once: .random())
        let message = Bytes(#"{"content":"hello","role":"user"}"#)
        try await process.failover.outbox.add(
            Outbox.Item("session.append@1", keys: keys, arguments: ["1000000", "600000", message]))
        await process.mend()
        #expect(try await fleet.process().sessions.get(id).value?.messages.map(\.content) == ["hello"])
    }

    /// As a letter that was retried late: its marker would have ended before it is written, were it kept from the message's acceptance on.
    @Test func aMessageThatComesLateIsThereOnce() async throws {
        let process = fleet.process()
        let id = try await process.sessions.create(userID: "u", kind: .conversation, ttl: .seconds(7200)).id
        await process.cut()
        let keys = process.sessions.keys.keys(id, once: .random())
        let (accepted, message) = (fleet.time.now, Bytes(#"{"content":"hello","role":"user"}"#))
        try await process.failover.outbox.add(
            Outbox.Item("session.append@2", keys: keys, arguments: [Bytes(accepted.milliseconds), "1000000", "600000", message]))
        fleet.time.advance(by: .seconds(3600))
        process.line.recover()
        process.line.fail(call: process.line.calls + 1, with: StoreError(.connectionLost, effect: .unknown), .afterEffect)
        #expect(await code { try await process.failover.outbox.replay(on: process.line) } == .connectionLost)
        await process.mend()
        let messages = try #require(try await fleet.process().sessions.get(id).value).messages
        #expect(messages.map(\.content) == ["hello"] && messages.map(\.sent) == [accepted])
    }

    // MARK: - After a restart

    /// What waits of a session has room for its end also in a process that begins in the outage.
    @Test func aFullOutboxAcceptsALogoutAfterARestart() async throws {
        let kept = EmbeddedStore(time: fleet.time)
        func outbox() -> Outbox { Outbox(keptIn: kept, configuration: .init(maximumEntries: 2), time: fleet.time) }
        let first = fleet.process(outbox: outbox())
        // An outage that is over: the next one is another epoch.
        await first.cut()
        _ = try await first.sessions.create(userID: "v")
        await first.mend()
        await first.cut()
        let ids = [try await first.sessions.create(userID: "u").id, try await first.sessions.create(userID: "u").id]

        let second = fleet.process(outbox: outbox())
        try await second.failover.outbox.load(into: second.failover.local)
        await second.cut()
        #expect(try await second.sessions.delete(ids[0]).value)
        #expect(await code { try await second.sessions.revokeAll(userID: "u") } == .outboxFull)
        await second.mend()
        for id in ids { #expect(try await second.sessions.get(id).value == nil) }
    }

    /// Extended here under a name, which whoever repeats it later knows: before the return, after a restart, and after the return.
    @Test(arguments: [false, true]) func anExtensionWithANameIsDoneOnce(restarts: Bool) async throws {
        let kept = EmbeddedStore(time: fleet.time)
        let first = fleet.process(outbox: Outbox(keptIn: kept, time: fleet.time))
        let id = try await first.sessions.create(userID: "u").id
        let operation = OperationID.random()
        func extend(_ process: SessionProcess) async throws -> Session {
            try await process.sessions.extend(id, by: .seconds(1000), once: operation)
        }
        await first.cut()
        let extended = try await extend(first)
        #expect(extended.by.isLocal)
        fleet.time.advance(by: .seconds(100))
        #expect(try await extend(first).expires == extended.expires)
        var process = first
        if restarts {
            process = fleet.process(outbox: Outbox(keptIn: kept, time: fleet.time))
            try await process.failover.outbox.load(into: process.failover.local)
            await process.cut()
            #expect(try await extend(process).expires == extended.expires)
        }
        await process.mend()
        fleet.time.advance(by: .seconds(100))
        #expect(try await extend(process).expires == extended.expires)
        #expect(try await fleet.process().sessions.get(id, touch: false).value?.expires == extended.expires)
    }
}
