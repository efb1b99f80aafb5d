import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// Sessions with a configured server that fails on command.
@Suite struct SessionOutageTests {
    let time = ManualTime()
    let server: FaultyStore
    let failover: Failover
    let sessions: Sessions

    init() {
        server = FaultyStore(EmbeddedStore(time: time))
        failover = Failover(
            server: server, local: EmbeddedStore(time: time), configuration: .init(thresholds: .init(failures: 2, successes: 1)),
            time: time)
        sessions = Sessions(
            failover: failover,
            configuration: .init(idleTTL: .seconds(600), touchInterval: .zero, nearCopies: .init(staleLimit: .seconds(300))))
    }

    private func goDown() async {
        server.fail(with: StoreError(.connectionFailed))
        for _ in 0..<2 { _ = try? await sessions.get(.random()) }
        #expect(failover.localSince != nil)
    }

    private func comeBack() async {
        server.recover()
        await time.letReturn(failover)
    }

    private func code(_ body: () async throws -> some Any) async -> ErrorCode? {
        do {
            _ = try await body()
            return nil
        } catch { return (error as? StoreError)?.code }
    }

    @Test func aSessionThatWasSeenIsServedStaleAndWithItsAge() async throws {
        let session = try await sessions.create(userID: "u", data: ["a": 1])
        await goDown()
        time.advance(by: .seconds(7))
        let read = try await sessions.get(session.id)
        #expect(read.by.isLocal)
        #expect(read.value?.isStale == true)
        #expect(read.value?.staleAge == .seconds(7))
        #expect(read.value?.data == ["a": 1])
    }

    @Test func whatWaitsForTheServerIsCounted() async throws {
        let seen = try await sessions.create(userID: "u", kind: .conversation)
        #expect(sessions.pendingChanges == 0)
        await goDown()
        try await sessions.append([NewSessionMessage(role: "user", content: "hello")], to: seen.id)
        try await sessions.update(try await sessions.create(userID: "v").id, set: ["a": 1])
        try await sessions.delete(seen.id)
        try await sessions.scoped(to: "acme").revokeAll(userID: "w")
        // Nobody else has anything there.
        #expect(sessions.pendingChanges == failover.outbox.status.backlog && sessions.pendingChanges >= 3)
        await comeBack()
        #expect(sessions.pendingChanges == 0)
    }

    @Test func theFirstFailuresAreAnsweredFromTheCopyToo() async throws {
        let session = try await sessions.create(userID: "u")
        server.fail(with: StoreError(.timeout, effect: .unknown))
        #expect(try await sessions.get(session.id).value?.isStale == true)
        #expect(await code { try await sessions.get(.random()) } == .unavailable)
    }

    @Test func anUnknownSessionIsUnavailableNeverNotFound() async throws {
        await goDown()
        #expect(await code { try await sessions.get(.random()) } == .unavailable)
    }

    @Test func noCopyIsServedBeyondItsExpiryOrTheStaleLimit() async throws {
        let short = try await sessions.create(userID: "u", ttl: .seconds(100))
        let long = try await sessions.create(userID: "u")
        await goDown()
        time.advance(by: .seconds(99))
        #expect(try await sessions.get(short.id).value != nil)
        time.advance(by: .seconds(1))
        #expect(await code { try await sessions.get(short.id) } == .unavailable, "it may have been used elsewhere")
        time.advance(by: .seconds(200))
        #expect(try await sessions.get(long.id).value != nil)
        time.advance(by: .milliseconds(1))
        #expect(await code { try await sessions.get(long.id) } == .unavailable)
    }

    @Test func aWallClockThatStepsBackServesNoCopyLonger() async throws {
        let session = try await sessions.create(userID: "u", ttl: .seconds(100))
        await goDown()
        time.stepWallClock(by: .seconds(-1000))
        time.advance(by: .seconds(100))
        #expect(await code { try await sessions.get(session.id) } == .unavailable)
    }

    @Test func whatTheServersClockSaysCountsNotOurs() async throws {
        // The server is an hour ahead of this process.
        let ahead = ManualTime(now: time.now + .seconds(3600))
        let server = FaultyStore(EmbeddedStore(time: ahead))
        let failover = Failover(server: server, local: EmbeddedStore(time: time), time: time)
        let sessions = Sessions(failover: failover)
        let session = try await sessions.create(userID: "u", ttl: .seconds(100))
        server.fail(with: StoreError(.connectionLost))
        time.advance(by: .seconds(99))
        #expect(try await sessions.get(session.id).value != nil)
        time.advance(by: .seconds(1))
        #expect(await code { try await sessions.get(session.id) } == .unavailable)
    }

    @Test func whatCannotBeDecidedHereIsRefused() async throws {
        let id = try await sessions.create(userID: "u").id
        await goDown()
        #expect(await code { try await sessions.update(id, set: ["a": 1], expecting: .noField("a")) } == .unavailable)
        #expect(await code { try await sessions.delete(id, ifVersion: 1) } == .unavailable)
        #expect(await code { try await sessions.rotate(id) } == .unavailable)
        #expect(await code { try await sessions.list(userID: "u") } == .unavailable)
        #expect(await code { try await sessions.count(userID: "u") } == .unavailable)
        #expect(await code { try await sessions.cleanup() } == .unavailable)
        #expect(await code { try await sessions.update(.random(), set: ["a": 1]) } == .unavailable)
        #expect(await code { try await sessions.extend(.random()) } == .unavailable)
        #expect(try await sessions.get(id).value?.data == [:])
    }

    @Test func aRevocationHoldsHereAtOnce() async throws {
        let (one, two) = (try await sessions.create(userID: "u"), try await sessions.create(userID: "u"))
        let other = try await sessions.create(userID: "v")
        await goDown()
        #expect(try await sessions.delete(one.id).by.isLocal)
        #expect(try await sessions.get(one.id).value == nil)
        #expect(try await sessions.get(two.id).value != nil)
        let revoked = try await sessions.revokeAll(userID: "u")
        #expect(revoked.value == 1 && revoked.by.isLocal)
        #expect(try await sessions.get(two.id).value == nil)
        #expect(try await sessions.get(other.id).value != nil)
        await comeBack()
        #expect(failover.outbox.isEmpty)
        #expect(try await sessions.get(one.id).value == nil)
        #expect(try await sessions.list(userID: "u").sessions.isEmpty)
        #expect(try await sessions.count(userID: "v").value == 1)
    }

    @Test func whatWasEndedBeforeTheOutageIsNotServedInIt() async throws {
        let (one, two) = (try await sessions.create(userID: "u"), try await sessions.create(userID: "u"))
        try await sessions.delete(one.id)
        try await sessions.revokeAll(userID: "u", keeping: two.id)
        await goDown()
        #expect(await code { try await sessions.get(one.id) } == .unavailable)
        #expect(try await sessions.get(two.id).value != nil)
    }

    @Test func whatIsFoundGoneIsForgotten() async throws {
        let session = try await sessions.create(userID: "u")
        // Another process ends it.
        let elsewhere = Sessions(failover: failover)
        try await elsewhere.delete(session.id)
        #expect(try await sessions.get(session.id).value == nil)
        await goDown()
        #expect(await code { try await sessions.get(session.id) } == .unavailable)
    }

    @Test func noStaleCopyIsServedOnceTheServerIsBack() async throws {
        let session = try await sessions.create(userID: "u")
        await goDown()
        #expect(try await sessions.get(session.id).value?.isStale == true)
        await comeBack()
        #expect(sessions.near.count == 0)
        #expect(try await sessions.get(session.id) == Decided(session.used(at: time.now), by: .server))
    }

    @Test func aCallersMistakeIsNoOutage() async throws {
        let session = try await sessions.create(userID: "u")
        for _ in 0..<10 { _ = try? await sessions.update(session.id, set: ["a": 1], expecting: .version(99)) }
        #expect(failover.localSince == nil)
        #expect(try await sessions.get(session.id).value?.isStale == false)
    }

    @Test func sessionsInMemoryKnowNoOutage() async throws {
        let sessions = Sessions(failover: failover, configuration: .init(storage: .memory))
        let before = server.calls
        let id = try await sessions.create(userID: "u").id
        await goDown()
        let read = try await sessions.update(id, set: ["a": 1])
        #expect(try await sessions.get(id) == Decided(read, by: .server))
        #expect(server.calls == before + 2, "only the calls of the others that failed")
    }

    @Test func withoutAServerNoCopiesAreKept() async throws {
        let fixture = SessionFixture()
        _ = try await fixture.sessions.create(userID: "u")
        #expect(fixture.sessions.near.count == 0)
    }
}

extension Session {
    fileprivate func used(at moment: Timestamp) -> Session {
        Session(
            id: id, userID: userID, workspaceID: workspaceID, kind: kind, data: data, messages: messages, created: created,
            lastAccessed: moment, expires: moment + idleTTL, ends: ends, idleTTL: idleTTL, version: version,
            clientAddress: clientAddress, userAgent: userAgent)
    }
}

@Suite struct NearSessionTests {
    let time = ManualTime()
    let names = Namespace(prefix: "n:")

    private func keep(_ session: Session, in near: NearSessions, ticket: NearSessions.Ticket? = nil) {
        near.keep(
            session, stored(session), at: key(session.id), serverNow: time.now, ticket: ticket ?? near.ticket(),
            clocks: .init(time),
            index: names.key("user_sessions:\(session.userID)"))
    }

    private func key(_ id: SessionID) -> Key { names.key("session:\(id.text)") }

    private func stored(_ session: Session) -> [Bytes] {
        let moments: [(Bytes, Timestamp)] = [
            ("created", session.created), ("accessed", session.lastAccessed), ("expires", session.expires),
            ("ends", session.ends),
        ]
        let meta: [Bytes] = [
            "user", Bytes(session.userID), "kind", Bytes(session.kind.rawValue), "idle", Bytes(session.idleTTL.milliseconds),
            "version", Bytes(session.version),
        ]
        let data = session.data.flatMap { name, value in
            [Bytes("d:\(name)"), SessionProcedures.stamped(value.encoded() ?? Bytes(), 1)]
        }
        return meta + moments.flatMap { [$0.0, Bytes($0.1.milliseconds)] } + data
    }

    /// What the near copies answer for a session.
    private func find(_ number: UInt64, in near: NearSessions) -> Session? {
        let id = SessionID(high: 0, low: number)
        return near.session(id, at: key(id), clocks: .init(time))
    }

    private func session(_ number: UInt64, user: String = "u", version: Int64 = 1, bytes: Int = 0) -> Session {
        Session(
            id: SessionID(high: 0, low: number), userID: user, workspaceID: nil, kind: .user,
            data: ["x": .string(String(repeating: "x", count: bytes))], messages: [], created: time.now, lastAccessed: time.now,
            expires: time.now + .seconds(100), ends: time.now + .seconds(100), idleTTL: .seconds(100), version: version,
            clientAddress: nil, userAgent: nil)
    }

    @Test func aSlowReadCannotBringBackWhatWasDroppedMeanwhile() {
        let near = NearSessions(limits: .init())
        let ticket = near.ticket()
        near.drop(key(SessionID(high: 0, low: 1)))
        keep(session(1), in: near, ticket: ticket)
        keep(session(2), in: near, ticket: ticket)
        #expect(find(1, in: near) == nil)
        #expect(find(2, in: near) != nil)
    }

    @Test func aSlowReadCannotBringBackAUsersRevokedSessions() {
        let near = NearSessions(limits: .init())
        let ticket = near.ticket()
        near.dropAll(ofUser: "u", index: names.key("user_sessions:u"), isOwn: { _ in true }, except: nil)
        keep(session(1), in: near, ticket: ticket)
        keep(session(2, user: "v"), in: near, ticket: ticket)
        #expect(near.count == 1)
        near.dropAll()
        keep(session(2, user: "v"), in: near, ticket: ticket)
        #expect(near.count == 0)
    }

    @Test func dropsThatWereForgottenStillHold() {
        let near = NearSessions(limits: .init(entries: 1))
        let ticket = near.ticket()
        for number in 0..<5000 { near.drop(key(SessionID(high: 0, low: UInt64(number)))) }
        keep(session(1), in: near, ticket: ticket)
        #expect(near.count == 0)
    }

    @Test func anOlderVersionDoesNotReplaceANewerOne() {
        let near = NearSessions(limits: .init())
        keep(session(1, version: 5), in: near)
        keep(session(1, version: 4), in: near)
        #expect(find(1, in: near)?.version == 5)
    }

    @Test func copiesAreBoundedInNumberAndTheUsedOnesStay() {
        let near = NearSessions(limits: .init(entries: 100))
        for number in 0..<1000 {
            keep(session(UInt64(number)), in: near)
            _ = find(0, in: near)
            #expect(near.count <= 100)
        }
        #expect(find(0, in: near) != nil)
        #expect(find(1, in: near) == nil)
        #expect(find(999, in: near) != nil)
    }

    @Test func copiesAreBoundedInBytes() {
        let near = NearSessions(limits: .init(bytes: 100_000))
        for number in 0..<1000 { keep(session(UInt64(number), bytes: 9000), in: near) }
        #expect((4...10).contains(near.count))
        keep(session(5000, bytes: 90_000), in: near)
        #expect(
            find(5000, in: near) == nil, "one that is too large is not kept")
    }
}
