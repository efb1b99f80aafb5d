import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

@Suite struct SessionMergeTests {
    private let fleet = SessionFleet()

    @Test func aSessionThatWasCreatedHereIsSeenEverywhereAfterwards() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        await away.cut()
        let session = try await away.sessions.create(userID: "u", data: ["step": 1])
        #expect(session.by.isLocal && session.id.madeAway != nil && !session.isStale)
        #expect(try await away.sessions.get(session.id).value?.data == ["step": 1])
        let changed = try await away.sessions.update(session.id, set: ["step": 2], remove: ["none"])
        #expect(changed.version == 2 && changed.by.isLocal)

        // Whoever reaches the server cannot know it yet, and says so.
        #expect(await code { try await other.sessions.get(session.id) } == .unavailable)
        #expect(await code { try await other.sessions.update(session.id, set: ["a": 1]) } == .unavailable)
        #expect(try await other.sessions.list(userID: "u").sessions.isEmpty)

        await away.mend()
        for process in [away, other] {
            let found = try await process.sessions.get(session.id)
            #expect(found.by == .server && found.value?.data == ["step": 2] && found.value?.isStale == false)
            #expect(try await process.sessions.list(userID: "u").sessions.map(\.id) == [session.id])
        }
    }

    /// The clock of the process that made it, or of the one that is asked for it, is an hour or some days ahead or behind; both have heard the server.
    @Test(arguments: [(3600, 0), (0, -3600), (-8 * 86_400, 0), (0, 8 * 86_400)] as [(Int64, Int64)])
    func whoDoesNotFindAnIdFromAnOutageDoesNotTakeItForAnEndedOne(maker: Int64, asked: Int64) async throws {
        func process(_ skew: Int64) -> SessionProcess {
            fleet.process(time: ManualTime(now: fleet.time.now + .seconds(skew)))
        }
        let (away, other) = (process(maker), process(asked))
        for each in [away, other] { _ = try await each.sessions.create(userID: "v") }
        await away.cut()
        let id = try await away.sessions.create(userID: "u").id
        #expect(await code { try await other.sessions.get(id) } == .unavailable)
        #expect(await code { try await other.sessions.update(id, set: ["a": 1]) } == .unavailable)
        await away.mend()
        #expect(try await other.sessions.get(id).value?.id == id)
    }

    @Test func anIdFromAnOutageIsNotFoundOnceItWasEnded() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        await away.cut()
        let (first, second) = (try await away.sessions.create(userID: "u").id, try await away.sessions.create(userID: "u").id)
        // Ended where it is not known: that holds, although it comes to the server only later.
        #expect(try await other.sessions.delete(first).value)
        #expect(try await other.sessions.get(first).value == nil)
        await away.mend()
        #expect(try await away.sessions.get(first).value == nil)
        #expect(try await other.sessions.delete(second).value)
        #expect(try await other.sessions.get(second).value == nil)
        fleet.time.advance(by: .seconds(8 * 86_400))
        #expect(try await other.sessions.get(second).value == nil)
        #expect(
            try await other.sessions.get(SessionID.random().madeAway(at: fleet.time.now + .seconds(-8 * 86_400))).value == nil)
    }

    /// Both sides of a partition change one session: of each field the later change counts, and no message is lost or doubled.
    @Test func bothSidesOfAPartitionAreMerged() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await away.sessions.create(
            userID: "u", kind: .conversation, data: ["a": "old", "b": "old", "c": "old", "d": "old"]
        ).id
        try await away.sessions.append([NewSessionMessage(role: "user", content: "before")], to: id)
        await away.cut()
        fleet.time.advance(by: .seconds(1))
        try await away.sessions.update(id, set: ["a": "away", "b": "away", "new": "away"], remove: ["d"])
        try await away.sessions.append([NewSessionMessage(role: "user", content: "away 1")], to: id)
        fleet.time.advance(by: .seconds(1))
        try await other.sessions.update(id, set: ["b": "other", "c": "other", "d": "other"], remove: [])
        try await other.sessions.append([NewSessionMessage(role: "user", content: "other")], to: id)
        fleet.time.advance(by: .seconds(1))
        let seen = try await away.sessions.append([NewSessionMessage(role: "user", content: "away 2")], to: id)
        #expect(seen.messages.map(\.content) == ["before", "away 1", "away 2"])
        #expect(seen.isStale && seen.by.isLocal)

        await away.mend()
        let merged = try #require(try await other.sessions.get(id).value)
        #expect(merged.data == ["a": "away", "b": "other", "c": "other", "d": "other", "new": "away"])
        #expect(merged.messages.map(\.content) == ["before", "other", "away 1", "away 2"])
        #expect(merged.messages.map(\.number) == [0, 1, 2, 3])
        #expect(merged.version > seen.version)
        #expect(merged.expires == merged.lastAccessed + merged.idleTTL)
    }

    @Test func whatWasRemovedLaterStaysRemoved() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await away.sessions.create(userID: "u", data: ["a": 1, "b": 1]).id
        await away.cut()
        try await away.sessions.update(id, set: ["a": 2])
        fleet.time.advance(by: .seconds(1))
        try await other.sessions.update(id, remove: ["a"])
        try await away.sessions.update(id, remove: ["b"])
        await away.mend()
        #expect(try await other.sessions.get(id).value?.data == [:])
        #expect(try await other.sessions.update(id, set: ["a": 3]).data == ["a": 3])
    }

    /// A logout wins over every change made elsewhere, on whichever side it happened.
    @Test(arguments: [true, false]) func aLogoutIsNeverUndone(endsAway: Bool) async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await away.sessions.create(userID: "u", data: ["a": 1]).id
        _ = try await other.sessions.get(id)
        await away.cut()
        try await away.sessions.update(id, set: ["a": 2])
        if endsAway {
            #expect(try await away.sessions.delete(id).by.isLocal)
            #expect(try await away.sessions.get(id).value == nil)
            #expect(await code { try await away.sessions.update(id, set: ["a": 3]) } == .notFound)
            try await other.sessions.update(id, set: ["a": 4])
        } else {
            #expect(try await other.sessions.delete(id).value)
        }
        await away.mend()
        for process in [away, other] {
            #expect(try await process.sessions.get(id).value == nil)
            #expect(await code { try await process.sessions.update(id, set: ["a": 5]) } == .notFound)
            #expect(try await process.sessions.list(userID: "u").sessions.isEmpty)
        }
    }

    /// All of a user's sessions are revoked on one side: those that were created before on the other side, where nobody could know them,
    /// are ended when they are handed over. Those that are created afterwards live.
    @Test(arguments: [true, false]) func aLogoutEverywhereHoldsForWhatNobodyKnew(revokesAway: Bool) async throws {
        let (away, other, third) = (fleet.process(), fleet.process(), fleet.process())
        let seen = try await away.sessions.create(userID: "u").id
        await away.cut()
        await third.cut()
        let unknown = try await third.sessions.create(userID: "u").id
        let mine = try await away.sessions.create(userID: "u").id
        fleet.time.advance(by: .seconds(1))
        try await (revokesAway ? away : other).sessions.revokeAll(userID: "u")
        fleet.time.advance(by: .seconds(1))
        let later = try await third.sessions.create(userID: "u").id
        await away.mend()
        await third.mend()
        for id in [seen, unknown, mine] { #expect(try await other.sessions.get(id).value == nil) }
        #expect(try await other.sessions.get(later).value != nil)
        #expect(try await other.sessions.list(userID: "u").sessions.map(\.id) == [later])
    }

    /// The revoking process's clock is two minutes behind the server's, or ahead of it. Whoever logs in afterwards, anywhere, stays.
    @Test(arguments: [-120, 120]) func aLogoutEverywhereHoldsWhateverTheClockSays(skew: Int64) async throws {
        let time = ManualTime(now: fleet.time.now + .seconds(skew))
        let (away, other) = (fleet.process(time: time), fleet.process())
        let seen = try await away.sessions.create(userID: "u").id
        let unknown = try await other.sessions.create(userID: "u").id
        for clock in [time, fleet.time] { clock.advance(by: .seconds(1)) }
        await away.cut()
        let mine = try await away.sessions.create(userID: "u").id
        try await away.sessions.revokeAll(userID: "u")
        for clock in [time, fleet.time] { clock.advance(by: .seconds(1)) }
        let later = try await other.sessions.create(userID: "u").id
        let login = try await away.sessions.create(userID: "u").id
        await away.mend()
        for id in [seen, unknown, mine] { #expect(try await other.sessions.get(id).value == nil) }
        #expect(Set(try await other.sessions.list(userID: "u").sessions.map(\.id)) == [later, login])
        #expect(try await away.sessions.get(login).value != nil)
    }

    /// The moment of a revocation is the server's, although the last reply that told it was slow, or this process's clock was set since.
    @Test(arguments: [0, 3600, -3600]) func aLogoutEverywhereKnowsTheServersTime(step: Int64) async throws {
        let time = ManualTime(now: fleet.time.now + .seconds(-120))
        let clocks = [time, fleet.time]
        let (away, other) = (fleet.process(time: time), fleet.process())
        let seen = try await away.sessions.create(userID: "u").id
        away.remote.hook(after: "session.read") { for clock in clocks { clock.advance(by: .seconds(4)) } }
        _ = try await away.sessions.get(seen)
        let unknown = try await other.sessions.create(userID: "u").id
        await away.cut()
        time.stepWallClock(by: .seconds(step))
        for clock in clocks { clock.advance(by: .seconds(1)) }
        try await away.sessions.revokeAll(userID: "u")
        for clock in clocks { clock.advance(by: .seconds(1)) }
        let later = try await other.sessions.create(userID: "u").id
        await away.mend()
        for id in [seen, unknown] { #expect(try await other.sessions.get(id).value == nil) }
        #expect(try await other.sessions.list(userID: "u").sessions.map(\.id) == [later])
    }

    /// Two processes that never heard the server, one an hour ahead of it, which revokes, the other a minute: the moment cannot lie in the
    /// server's future, so what the other made is not before it.
    @Test func aRevocationFromTheFutureIsOneOfItsArrival() async throws {
        let ahead = ManualTime(now: fleet.time.now + .seconds(60))
        let (maker, revoker) = (
            fleet.process(time: ahead), fleet.process(time: ManualTime(now: fleet.time.now + .seconds(3600)))
        )
        await maker.cut()
        await revoker.cut()
        let id = try await maker.sessions.create(userID: "u").id
        try await revoker.sessions.revokeAll(userID: "u")
        await maker.mend()
        await revoker.mend()
        #expect(try await revoker.sessions.list(userID: "u").sessions.map(\.id) == [id])
    }

    @Test func logOutEverywhereElseKeepsTheSession() async throws {
        let away = fleet.process()
        await away.cut()
        let (kept, ended) = (try await away.sessions.create(userID: "u").id, try await away.sessions.create(userID: "u").id)
        #expect(try await away.sessions.revokeAll(userID: "u", keeping: kept).value == 1)
        #expect(try await away.sessions.get(kept).value != nil)
        #expect(try await away.sessions.get(ended).value == nil)
        await away.mend()
        #expect(try await away.sessions.list(userID: "u").sessions.map(\.id) == [kept])
    }

    /// A session that is used here while the server forgets it, because nobody uses it there.
    @Test func whatIsUsedHereOutlivesItsExpiryThere() async throws {
        let away = fleet.process()
        let id = try await away.sessions.create(userID: "u", data: ["a": 1]).id
        await away.cut()
        let made = try await away.sessions.create(userID: "u").id
        for _ in 0..<4 {
            fleet.time.advance(by: .seconds(500))
            try await away.sessions.extend(id)
            #expect(try await away.sessions.get(made).value != nil)
        }
        #expect(try await fleet.server(.exists(away.sessions.keys.session(id))) == false)
        await away.mend()
        #expect(try await away.sessions.get(id).value?.data == ["a": 1])
        #expect(Set(try await away.sessions.list(userID: "u").sessions.map(\.id)) == [id, made])
    }

    /// The reply of an append is lost before anybody knows of the outage.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func anAppendWhoseReplyIsLostIsDoneOnce(_ moment: FaultyStore.Moment) async throws {
        let process = fleet.process()
        let id = try await process.sessions.create(userID: "u", kind: .conversation).id
        process.line.fail(call: process.line.calls + 1, with: StoreError(.timeout, effect: .unknown), moment)
        let appended = try await process.sessions.append([NewSessionMessage(role: "user", content: "once")], to: id)
        #expect(appended.by.isLocal && appended.messages.count == 1)
        // The next call hands it over first.
        let read = try await process.sessions.get(id)
        #expect(read.by == .server && read.value?.messages.map(\.content) == ["once"])
        #expect(process.failover.outbox.isEmpty && process.failover.localSince == nil)
    }

    /// One call after the other fails, before its effect or after it, until the whole life of some sessions passes untouched.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func everyCallFailsInTurnAndNothingIsLostDoubledOrRevived(_ moment: FaultyStore.Moment) async throws {
        let error = StoreError(.connectionLost, effect: moment == .beforeEffect ? .none : .unknown)
        var failing = 0
        while true {
            failing += 1
            let fleet = SessionFleet()
            let (process, other) = (fleet.process(), fleet.process())
            let sessions = process.sessions
            process.line.fail(call: failing, with: error, moment)
            func create(_ user: String, _ kind: Session.Kind = .user, _ data: [String: JSONValue] = [:]) async throws -> SessionID
            {
                let operation = OperationID.random()
                return try await carefully { try await sessions.create(userID: user, kind: kind, data: data, once: operation) }.id
            }
            let kept = try await create("u", .conversation, ["a": 1])
            try await carefully { try await sessions.update(kept, set: ["b": 2]) }
            for text in ["one", "two"] {
                let (operation, message) = (OperationID.random(), NewSessionMessage(role: "user", content: .string(text)))
                try await carefully { try await sessions.append([message], to: kept, once: operation) }
            }
            let ended = try await create("u")
            try await carefully { try await sessions.delete(ended) }
            try await carefully { try await sessions.extend(kept) }
            let revoked = try await create("v")
            fleet.time.advance(by: .seconds(1))
            try await carefully { try await sessions.revokeAll(userID: "v") }
            fleet.time.advance(by: .seconds(1))
            let later = try await create("v")
            // What the last call left here goes with the next one.
            try await carefully { try await sessions.get(kept) }
            let isUntouched = process.line.calls < failing
            process.line.recover()
            #expect(process.failover.outbox.isEmpty && process.failover.localSince == nil, "call \(failing)")
            for sessions in [other.sessions, sessions] {
                let found = try #require(try await sessions.get(kept).value)
                #expect(found.data == ["a": 1, "b": 2] && found.messages.map(\.content) == ["one", "two"], "call \(failing)")
                for id in [ended, revoked] { #expect(try await sessions.get(id).value == nil, "call \(failing)") }
                #expect(try await sessions.list(userID: "u").sessions.map(\.id) == [kept], "call \(failing)")
                #expect(try await sessions.list(userID: "v").sessions.map(\.id) == [later], "call \(failing)")
            }
            if isUntouched { break }
        }
        #expect(failing > 15)
    }

    /// A session was changed here over a single failure, and elsewhere since: the next outage begins with the later state.
    @Test func nothingOfAnEarlierOutageIsServedInTheNext() async throws {
        let (process, other) = (fleet.process(), fleet.process())
        let id = try await process.sessions.create(userID: "u", data: ["a": 1]).id
        process.line.fail(call: process.line.calls + 1, with: StoreError(.connectionLost))
        #expect(try await process.sessions.update(id, set: ["a": 2]).by.isLocal)
        fleet.time.advance(by: .seconds(1))
        try await other.sessions.update(id, set: ["a": 3])
        #expect(try await process.sessions.get(id).value?.data == ["a": 3])
        fleet.time.advance(by: .seconds(1))
        try await other.sessions.update(id, set: ["a": 4])
        #expect(try await process.sessions.get(id).value?.data == ["a": 4])
        await process.cut()
        #expect(try await process.sessions.get(id).value?.data == ["a": 4])
        await process.mend()
        #expect(try await (process.failover.local)(.dbsize) == 0)
    }

    /// The process dies while the server is away, and at each call of the hand-over in turn, until that passes untouched.
    @Test func whatWasAcceptedOutlivesTheProcess() async throws {
        var (call, isUntouched) = (0, false)
        while !isUntouched {
            call += 1
            let fleet = SessionFleet()
            let disk = SimulatedFolder()
            func outbox(_ disk: SimulatedFolder) async throws -> Outbox {
                Outbox(
                    keptIn: try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always)), time: fleet.time
                )
            }
            let first = fleet.process(outbox: try await outbox(disk))
            let id = try await first.sessions.create(userID: "u", kind: .conversation, data: ["a": 1]).id
            await first.cut()
            try await first.sessions.update(id, set: ["a": 2])
            for text in ["one", "two"] {
                try await first.sessions.append([NewSessionMessage(role: "user", content: .string(text))], to: id)
            }
            let made = try await first.sessions.create(userID: "u", data: ["new": true]).id
            let ended = try await first.sessions.create(userID: "u").id
            try await first.sessions.delete(ended)
            let last = first.line.calls + call
            first.line.die(afterCall: last)
            _ = try? await first.failover.outbox.replay(on: first.line)
            isUntouched = first.line.calls < last
            #expect(first.failover.outbox.isEmpty || !isUntouched, "call \(call)")

            let second = fleet.process(outbox: try await outbox(disk.afterPowerFailure(seed: UInt64(call))))
            second.line.fail(with: StoreError(.connectionFailed))
            try await second.failover.outbox.load(into: second.failover.local)
            await second.failover.start()
            if second.failover.outbox.status.backlog == 5 {
                #expect(try await second.sessions.get(made).value?.data == ["new": true])
                #expect(try await second.sessions.get(id).value?.messages.map(\.content) == ["one", "two"])
                #expect(try await second.sessions.get(ended).value == nil)
            }
            await second.mend()
            let merged = try #require(try await second.sessions.get(id).value)
            #expect(merged.data == ["a": 2] && merged.messages.map(\.content) == ["one", "two"], "call \(call)")
            #expect(try await second.sessions.get(made).value?.data == ["new": true])
            #expect(try await second.sessions.get(ended).value == nil)
            #expect(try await second.sessions.count(userID: "u").value == 2)
        }
        // Two merges of up to three calls each, two appends and an end.
        #expect(call > 6)
    }

    /// All of a user's sessions were revoked here before the process died: none of them is back with it.
    @Test func aRevocationOutlivesTheProcess() async throws {
        let kept = EmbeddedStore(time: fleet.time)
        let first = fleet.process(outbox: Outbox(keptIn: kept, time: fleet.time))
        await first.cut()
        let (ended, stays) = (try await first.sessions.create(userID: "u").id, try await first.sessions.create(userID: "u").id)
        try await first.sessions.revokeAll(userID: "u", keeping: stays)
        let second = fleet.process(outbox: Outbox(keptIn: kept, time: fleet.time))
        try await second.failover.outbox.load(into: second.failover.local)
        await second.cut()
        #expect(try await second.sessions.get(ended).value == nil)
        #expect(try await second.sessions.get(stays).value != nil)
        await second.mend()
        #expect(try await second.sessions.list(userID: "u").sessions.map(\.id) == [stays])
    }

    /// Changed at once by many, here: what is handed over is the last of it.
    @Test func concurrentChangesHereAllSurvive() async throws {
        let process = fleet.process()
        await process.cut()
        let id = try await process.sessions.create(userID: "u").id
        try await withThrowingTaskGroup { group in
            for number in 0..<50 {
                group.addTask { _ = try await process.sessions.update(id, set: ["f\(number)": true]) }
                group.addTask { _ = try await process.sessions.get(id) }
            }
            try await group.waitForAll()
        }
        await process.mend()
        #expect(try await process.sessions.get(id).value?.data.count == 50)
    }

    /// It had expired on the server while the other side used it; the logout came where only that could be seen.
    @Test func aLogoutOfWhatHasExpiredThereHolds() async throws {
        let (away, other) = (fleet.process(), fleet.process())
        let id = try await away.sessions.create(userID: "u").id
        await away.cut()
        for _ in 0..<2 {
            fleet.time.advance(by: .seconds(500))
            try await away.sessions.extend(id)
        }
        #expect(try await !other.sessions.delete(id).value)
        await away.mend()
        #expect(try await other.sessions.get(id).value == nil)
    }

    @Test func aFullOutboxRefusesChangesAndSaysSo() async throws {
        let process = fleet.process(outbox: Outbox(configuration: .init(maximumEntries: 2), time: fleet.time))
        await process.cut()
        let id = try await process.sessions.create(userID: "u").id
        try await process.sessions.update(id, set: ["a": 1])
        _ = try await process.sessions.create(userID: "u")
        #expect(await code { try await process.sessions.create(userID: "u") } == .outboxFull)
        try await process.sessions.update(id, set: ["a": 2])
        await process.mend()
        #expect(try await process.sessions.get(id).value?.data == ["a": 2])
    }

    /// What has ended here does not come back at the return, and where the server could not be told the caller knows it.
    @Test func aFullOutboxDoesNotKeepASessionAlive() async throws {
        let process = fleet.process(outbox: Outbox(configuration: .init(maximumEntries: 2), time: fleet.time))
        let seen = try await process.sessions.create(userID: "u").id
        await process.cut()
        let (first, second) = (
            try await process.sessions.create(userID: "u").id, try await process.sessions.create(userID: "v").id
        )
        let full = await failure { try await process.sessions.delete(seen) }
        #expect(full?.code == .outboxFull && full?.effect == .unknown)
        #expect(try await process.sessions.get(seen).value == nil)
        let unknown = await failure { try await process.sessions.delete(.random()) }
        #expect(unknown?.code == .outboxFull && unknown?.effect == StoreError.Effect.none)
        // What was made here has a place in it.
        #expect(try await process.sessions.delete(first).value)
        await process.mend()
        #expect(try await process.sessions.get(first).value == nil)
        #expect(try await process.sessions.get(second).value != nil)
        #expect(try await process.sessions.delete(seen).value)
        #expect(try await process.sessions.list(userID: "u").sessions.isEmpty)
    }

    @Test func aFullOutboxDoesNotKeepAUsersSessionsAlive() async throws {
        let process = fleet.process(outbox: Outbox(configuration: .init(maximumEntries: 2), time: fleet.time))
        let seen = try await process.sessions.create(userID: "u").id
        await process.cut()
        let (made, other) = (try await process.sessions.create(userID: "u").id, try await process.sessions.create(userID: "v").id)
        let full = await failure { try await process.sessions.revokeAll(userID: "u") }
        #expect(full?.code == .outboxFull && full?.effect == .unknown)
        for id in [seen, made] { #expect(try await process.sessions.get(id).value == nil) }
        let again = await failure { try await process.sessions.revokeAll(userID: "u") }
        #expect(again?.code == .outboxFull && again?.effect == .unknown)
        await process.mend()
        #expect(try await process.sessions.get(made).value == nil)
        #expect(try await process.sessions.get(other).value != nil)
        try await process.sessions.revokeAll(userID: "u")
        #expect(try await process.sessions.get(seen).value == nil)
    }

    /// A repetition ends all that the first attempt knew.
    @Test func aRevocationThatFoundRoomLaterIsWhole() async throws {
        let process = fleet.process(outbox: Outbox(configuration: .init(maximumEntries: 1), time: fleet.time))
        let id = try await process.sessions.create(userID: "u").id
        await process.cut()
        let made = try await process.sessions.create(userID: "v").id
        #expect(await code { try await process.sessions.revokeAll(userID: "u") } == .outboxFull)
        try await process.failover.outbox.withdraw(process.failover.outbox.entries())
        #expect(try await process.sessions.revokeAll(userID: "u").value == 1)
        let revocation = try #require(process.failover.outbox.entries().first)
        #expect(revocation.arguments.last == Bytes(id.text))
        await process.mend()
        #expect(try await process.sessions.get(id).value == nil)
        #expect(await code { try await process.sessions.get(made) } == .unavailable)
    }

    /// It is read here although there was no room for it: the caller is not told that nothing happened.
    @Test func aChangeThatIsTooLargeForTheOutboxIsNotCalledUndone() async throws {
        let process = fleet.process(outbox: Outbox(configuration: .init(maximumBytes: 4096), time: fleet.time))
        let id = try await process.sessions.create(userID: "u").id
        await process.cut()
        let text = String(repeating: "x", count: 5000)
        let refusal = await failure { try await process.sessions.update(id, set: ["a": .string(text)]) }
        #expect(refusal?.code == .outboxFull && refusal?.effect == .unknown)
        #expect(try await process.sessions.get(id).value?.data == ["a": .string(text)])
    }

    /// Two calls change one session by their near copies, between them all was handed over: neither swallows the other, also where the
    /// process ends in between.
    @Test(arguments: [false, true]) func aChangeOfAnEarlierEpochIsKept(restarts: Bool) async throws {
        let kept = EmbeddedStore(time: fleet.time)
        let process = fleet.process(outbox: Outbox(keptIn: kept, time: fleet.time))
        let (sessions, time) = (process.sessions, fleet.time)
        let (id, other) = (try await sessions.create(userID: "u").id, try await sessions.create(userID: "u").id)
        process.missOnce()
        // The first run finds nothing here, the second has changed what was adopted and is not in the outbox yet.
        process.local.hook(after: "session.update", skipping: 1) {
            time.advance(by: .seconds(1))
            _ = try await sessions.get(other)
            process.missOnce()
            try await sessions.update(other, set: ["x": 1])
            _ = try await sessions.get(other)
            #expect(process.failover.outbox.epoch == 1)
            process.missOnce()
            #expect(try await sessions.update(id, set: ["b": 1]).by.isLocal)
        }
        #expect(try await sessions.update(id, set: ["a": 1]).by.isLocal)
        #expect(process.failover.outbox.epoch == 1 && process.failover.outbox.status.backlog == 2)
        guard restarts else {
            #expect(try await sessions.get(id).value?.data == ["a": 1, "b": 1])
            return
        }
        let second = fleet.process(outbox: Outbox(keptIn: kept, time: fleet.time))
        try await second.failover.outbox.load(into: second.failover.local)
        await second.cut()
        #expect(try await second.sessions.get(id).value?.data == ["a": 1, "b": 1])
        try await second.sessions.update(id, set: ["c": 1])
        await second.mend()
        #expect(try await second.sessions.get(id).value?.data == ["a": 1, "b": 1, "c": 1])
    }

    enum Ending: CaseIterable { case one, all, allOthers }

    /// It is ended on the server while a call has read its near copy and not yet written it here: the next outage does not show it.
    @Test(arguments: Ending.allCases) func whatEndedBesideItsFirstChangeHereIsNotAlive(_ ending: Ending) async throws {
        let process = fleet.process()
        let sessions = process.sessions
        let id = try await sessions.create(userID: "u").id
        process.missOnce()
        process.local.hook(before: "session.adopt") {
            let decider =
                if ending == .one {
                    try await sessions.delete(id).by
                } else {
                    try await sessions.revokeAll(userID: "u", keeping: ending == .all ? nil : id).by
                }
            #expect(decider == .server)
        }
        let refusal = await failure { try await sessions.update(id, set: ["a": 1]) }
        await process.cut()
        if ending == .allOthers {
            #expect(refusal == nil)
            #expect(try await sessions.get(id).value?.data == ["a": 1])
        } else {
            #expect(refusal?.code == .unavailable && refusal?.effect == .unknown)
            #expect(await code { try await sessions.get(id) } == .unavailable)
        }
        await process.mend()
        #expect(try await sessions.get(id).value?.data == (ending == .allOthers ? ["a": 1] : nil))
    }

    /// All of a user's sessions are revoked while one is being made here: it ends with the others, and its maker knows it.
    @Test func whatIsMadeBesideARevocationHereEnds() async throws {
        let process = fleet.process()
        let sessions = process.sessions
        await process.cut()
        process.local.hook(before: "session.create") { try await sessions.revokeAll(userID: "u") }
        #expect(await code { try await sessions.create(userID: "u") } == .conflict)
        let later = try await sessions.create(userID: "u").id
        await process.mend()
        #expect(try await sessions.list(userID: "u").sessions.map(\.id) == [later])
    }

    /// The outbox of a busy process is never empty, so what lies here is what the next outage begins with.
    @Test func whatEndedOnTheServerIsNotAliveInTheNextOutage() async throws {
        let process = fleet.process()
        let (sessions, outbox) = (process.sessions, process.failover.outbox)
        let id = try await sessions.create(userID: "u").id
        process.missOnce()
        try await sessions.update(id, set: ["a": 1])
        // During each hand-over something is added.
        process.remote.hook(before: "session.", times: .max) {
            try await outbox.add(
                Outbox.Item("session.delete@1", keys: sessions.keys.pair(.random()), arguments: ["", "1000", "deleted", "1"]))
        }
        #expect(try await sessions.delete(id).by == .server)
        #expect(outbox.epoch == 0 && !outbox.isEmpty)
        process.remote.hook(before: "session.", times: 0) {}
        await process.cut()
        #expect(try await sessions.get(id).value == nil)
        await process.mend()
        #expect(try await sessions.get(id).value == nil)
    }
}
