import Holdfast
import HoldfastStore
import TestServers
import Testing

/// The sessions' promises on every kind of store, by its own clock.
@Suite struct SessionsConformanceTests {
    struct Fixture {
        let store: any Store
        let names: Namespace
        let sessions: Sessions

        init(_ backend: Backend, _ configuration: Sessions.Configuration = .init(touchInterval: .zero)) async throws {
            store = try await backend.store()
            names = backend.namespace()
            sessions = Sessions(failover: Failover(local: store), namespace: names, configuration: configuration)
        }

        func hash(_ id: SessionID) -> Key { names.key("session:\(id.text)") }
        func end(of key: Key) async throws -> Reply { try await store.execute(.keys(.pexpiretime(key))) }
    }

    @Test(arguments: Backend.available)
    func whatIsWrittenIsReadBack(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let data: [String: JSONValue] = ["s": "ä\n\u{0}", "n": 1, "d": 1.0, "l": [.null, true, ["x": []]]]
        let created = try await fixture.sessions.create(
            userID: "user:{1}", workspaceID: "w", data: data, clientAddress: "::1", userAgent: "x/1")
        #expect(created.data == data)
        #expect(created.version == 1)
        #expect(created.expires - created.created == .seconds(3600))
        #expect(created.ends - created.created == .seconds(86_400))
        #expect(try await fixture.sessions.get(created.id, touch: false).value == created)
        #expect(try await fixture.end(of: fixture.hash(created.id)) == .integer(created.expires.milliseconds))
        let index = fixture.names.key("user_sessions:\("user:{1}")")
        #expect(try await fixture.end(of: index) == .integer(created.ends.milliseconds))

        let updated = try await fixture.sessions.update(created.id, set: ["n": 2, "new": [:]], remove: ["s", "l"])
        #expect(updated.data == ["n": 2, "d": 1.0, "new": [:]])
        #expect(updated.version == 2)
        let extended = try await fixture.sessions.extend(created.id, by: .seconds(7200))
        #expect(extended.expires - extended.lastAccessed == .seconds(7200))
        #expect(try await fixture.sessions.extend(created.id, by: .seconds(1_000_000)).expires == created.ends)
        #expect(try await fixture.end(of: fixture.hash(created.id)) == .integer(created.ends.milliseconds))
    }

    /// What another program may leave under a session's key.
    static let damages: [@Sendable (Key) -> [Command<Reply>]] = [
        { [.raw("DEL", $0.bytes), .raw("SET", $0.bytes, "text")] }, { [.raw("DEL", $0.bytes), .raw("RPUSH", $0.bytes, "a")] },
        { [.raw("DEL", $0.bytes), .raw("HSET", $0.bytes, "a", "b")] }, { [.raw("HSET", $0.bytes, "d:x", "{")] },
        { [.raw("HSET", $0.bytes, "expires", "soon")] },
    ]

    @Test(arguments: Backend.available)
    func damagedSessionsAreNamedAndCanBeEnded(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let sessions = fixture.sessions
        func isDamage(_ body: () async throws -> Void) async {
            let error = await #expect(throws: StoreError.self) { try await body() }
            #expect(error?.code == .unsupportedFormat && error?.field == "id" && error?.effect == StoreError.Effect.none)
        }
        let good = try await sessions.create(userID: "u").id
        var ids: [SessionID] = []
        for damage in Self.damages {
            let id = try await sessions.create(userID: "u").id
            for command in damage(fixture.hash(id)) { _ = try await fixture.store(command) }
            ids.append(id)
            await isDamage { _ = try await sessions.get(id) }
            await isDamage { _ = try await sessions.extend(id) }
        }
        let page = try await sessions.list(userID: "u")
        #expect(page.sessions.map(\.id) == [good] && Set(page.damaged) == Set(ids))
        // Each by itself, and all together.
        #expect(try await sessions.delete(ids[0]).value)
        #expect(try await sessions.get(ids[0]).value == nil)
        #expect(try await !sessions.delete(ids[0]).value)
        await #expect(throws: StoreError.self) { try await sessions.delete(ids[1], ifVersion: 7) }
        #expect(try await sessions.revokeAll(userID: "u", keeping: good).value == ids.count - 1)
        let left = try await sessions.list(userID: "u")
        #expect(left.sessions.map(\.id) == [good] && left.damaged.isEmpty)
        for id in ids { #expect(try await sessions.get(id).value == nil) }
    }

    @Test(arguments: Backend.available)
    func fiftyConcurrentUpdatesOfDifferentFieldsAllSurvive(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let id = try await fixture.sessions.create(userID: "u").id
        try await withThrowingTaskGroup { group in
            for number in 0..<50 {
                group.addTask { try await fixture.sessions.update(id, set: ["field\(number)": .integer(Int64(number))]) }
            }
            try await group.waitForAll()
        }
        let session = try #require(try await fixture.sessions.get(id).value)
        #expect(session.data.count == 50)
        #expect(session.version == 51)
        let totals = try await fixture.store(.hmget(fixture.hash(id), ["fields"]))
        #expect(totals == ["50"])
    }

    @Test(arguments: Backend.available)
    func getsRacingADeleteNeverReviveIt(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let sessions = fixture.sessions
        for _ in 0..<10 {
            let id = try await sessions.create(userID: "u").id
            await withTaskGroup { group in
                for number in 0..<20 {
                    group.addTask {
                        if number == 10 {
                            _ = try? await sessions.delete(id)
                        } else if number.isMultiple(of: 2) {
                            _ = try? await sessions.get(id)
                        } else {
                            _ = try? await sessions.update(id, set: ["a": 1])
                        }
                    }
                }
            }
            #expect(try await sessions.get(id).value == nil)
            #expect(try await fixture.store(.exists(fixture.hash(id))) == false)
        }
        #expect(try await sessions.count(userID: "u").value == 0)
    }

    @Test(arguments: Backend.available)
    func aDeletedSessionLeavesATombstoneThatLateWritersMeet(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let session = try await fixture.sessions.create(userID: "u", ttl: .seconds(600), absoluteTTL: .seconds(3600))
        #expect(try await fixture.sessions.delete(session.id).value)
        #expect(try await !fixture.sessions.delete(session.id).value)
        #expect(try await fixture.end(of: fixture.hash(session.id).companion("deleted")) == .integer(session.ends.milliseconds))
        let late = Sessions(failover: Failover(local: fixture.store), namespace: fixture.names) { session.id }
        let error = await #expect(throws: StoreError.self) { try await late.create(userID: "u") }
        #expect(error?.code == .conflict)
        let gone = await #expect(throws: StoreError.self) { try await late.update(session.id, set: ["a": 1]) }
        #expect(gone?.code == .notFound)
    }

    @Test(arguments: Backend.available)
    func aShortSessionDoesNotEndALongOnesIndexEntry(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let long = try await fixture.sessions.create(userID: "u")
        let short = try await fixture.sessions.create(userID: "u", ttl: .milliseconds(100), absoluteTTL: .seconds(60))
        let index = fixture.names.key("user_sessions:u")
        #expect(try await fixture.store(.zcard(index)) == 2)
        try await eventually("the short one ends") { try await fixture.sessions.get(short.id, touch: false).value == nil }
        // A script goes by the clock, a server's own reads by the moment at which it looked at that last: some milliseconds, where it is busy.
        try await eventually("it leaves the list") {
            try await fixture.sessions.list(userID: "u").sessions.map(\.id) == [long.id]
        }
        #expect(try await fixture.store(.zcard(index)) == 1)
        #expect(try await fixture.end(of: index) == .integer(long.ends.milliseconds))
        #expect(try await fixture.sessions.revokeAll(userID: "u").value == 1)
    }

    @Test(arguments: Backend.available)
    func readsLetASessionStayUntilItsAbsoluteTTL(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let session = try await fixture.sessions.create(userID: "u", ttl: .milliseconds(200), absoluteTTL: .milliseconds(600))
        var last = session
        try await eventually("it ends") {
            guard let read = try await fixture.sessions.get(session.id).value else { return true }
            #expect(read.expires == min(read.lastAccessed + .milliseconds(200), session.ends))
            last = read
            return false
        }
        // How far it came depends on the machine; past its first expiry in any case, unless nobody read for 200 ms.
        #expect(last.expires <= session.ends)
        #expect(last.expires >= session.expires)
    }

    @Test(arguments: Backend.available)
    func whatIsExpectedDecides(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let id = try await fixture.sessions.create(userID: "u", data: ["a": 1]).id
        try await fixture.sessions.update(id, set: ["a": 2], expecting: .version(1))
        try await fixture.sessions.update(id, set: ["a": 3], expecting: .field("a", equals: 2))
        try await fixture.sessions.update(id, set: ["b": 1], expecting: .noField("b"))
        var codes: [ErrorCode?] = []
        for expectation in [SessionExpectation.version(1), .field("a", equals: 2), .noField("b")] {
            let error = await #expect(throws: StoreError.self) {
                try await fixture.sessions.update(id, set: ["a": 0], remove: ["b"], expecting: expectation)
            }
            codes.append(error?.code)
        }
        #expect(codes == [.preconditionFailed, .conflict, .conflict])
        #expect(try await fixture.sessions.get(id).value?.data == ["a": 3, "b": 1])
        let refusal = await #expect(throws: StoreError.self) { try await fixture.sessions.delete(id, ifVersion: 1) }
        #expect(refusal?.code == .preconditionFailed)
        #expect(try await fixture.sessions.delete(id, ifVersion: 4).value)
    }

    @Test(arguments: Backend.available)
    func ofManyWhoExpectOneVersionOneWins(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let id = try await fixture.sessions.create(userID: "u").id
        let won = await withTaskGroup { group in
            for number in 0..<20 {
                group.addTask {
                    (try? await fixture.sessions.update(id, set: ["n": .integer(Int64(number))], expecting: .version(1))) != nil
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(won == 1)
    }

    @Test(arguments: Backend.available)
    func aConversationKeepsItsLastMessages(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend, .init(conversationWindow: 3, limits: .init(bytes: 1000)))
        let id = try await fixture.sessions.create(userID: "u", kind: .conversation, data: ["a": 1]).id
        for number in 0..<5 {
            try await fixture.sessions.append([NewSessionMessage(role: "user", content: .integer(Int64(number)))], to: id)
        }
        let session = try await fixture.sessions.append(
            (5..<7).map { NewSessionMessage(role: "tool", content: .integer($0), metadata: ["m": 1]) }, to: id)
        #expect(session.messages.map(\.number) == [4, 5, 6])
        #expect(session.messages.map(\.content) == [4, 5, 6])
        #expect(session.messages.last?.sent == session.lastAccessed)
        let large = NewSessionMessage(role: "user", content: .string(String(repeating: "x", count: 900)))
        #expect(try await fixture.sessions.append([large], to: id).messages.map(\.number) == [7], "older ones make room")
        let user = try await fixture.sessions.create(userID: "u").id
        let error = await #expect(throws: StoreError.self) { try await fixture.sessions.append([large], to: user) }
        #expect(error?.field == "kind")
    }

    @Test(arguments: Backend.available)
    func limitsHoldAndNothingIsWrittenByHalf(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend, .init(limits: .init(bytes: 100, fields: 2)))
        let created = try await fixture.sessions.create(userID: "u", data: ["a": "x"])
        for set: [String: JSONValue] in [["b": 1, "c": 1], ["a": .string(String(repeating: "x", count: 98))]] {
            let error = await #expect(throws: StoreError.self) { try await fixture.sessions.update(created.id, set: set) }
            #expect(error?.code == .tooLarge)
            #expect(error?.effect == StoreError.Effect.none)
        }
        #expect(try await fixture.sessions.get(created.id, touch: false).value == created)
    }

    @Test(arguments: Backend.available)
    func allOfAUserAreListedCountedAndRevoked(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        for _ in 0..<30 { _ = try await fixture.sessions.create(userID: "u") }
        let kept = try await fixture.sessions.create(userID: "u")
        let other = try await fixture.sessions.create(userID: "v")
        var listed: [SessionID] = []
        var cursor: String?
        repeat {
            let page = try await fixture.sessions.list(userID: "u", limit: 7, cursor: cursor)
            listed += page.sessions.map(\.id)
            cursor = page.cursor
        } while cursor != nil
        #expect(listed.count == 31)
        #expect(Set(listed).count == 31)
        #expect(try await fixture.sessions.count(userID: "u").value == 31)
        #expect(try await fixture.sessions.revokeAll(userID: "u", keeping: kept.id).value == 30)
        #expect(try await fixture.sessions.list(userID: "u").sessions.map(\.id) == [kept.id])
        #expect(try await fixture.sessions.get(other.id).value != nil)
        #expect(try await fixture.sessions.cleanup() == .init(indexes: 2, removed: 0, live: 2))
    }

    @Test(arguments: Backend.available)
    func rotatingKeepsTheSessionAndKillsTheOldID(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let old = try await fixture.sessions.create(userID: "u", kind: .conversation, data: ["a": 1])
        try await fixture.sessions.append([NewSessionMessage(role: "user", content: "hi")], to: old.id)
        let new = try await fixture.sessions.rotate(old.id)
        #expect(try await fixture.sessions.get(old.id).value == nil)
        #expect(new.data == old.data)
        #expect(new.messages.map(\.content) == ["hi"])
        #expect(new.ends == old.ends)
        #expect(new.version == 3)
        #expect(try await fixture.sessions.list(userID: "u").sessions.map(\.id) == [new.id])
        #expect(try await fixture.end(of: fixture.hash(new.id)) == .integer(new.expires.milliseconds))
    }

    /// Brought by a process whose clock is behind: its tombstone has ended by then, if it had one.
    @Test(arguments: Backend.available)
    func whatIsMergedEndsInAnyCase(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let (id, now) = (SessionID.random(), try await fixture.sessions.create(userID: "u").created)
        let key = fixture.hash(id)
        func merge(endsIn span: Duration) async throws -> Int64 {
            let fields: [Bytes] = [
                "user", "u", "kind", "user", "created", Bytes(now.milliseconds), "accessed", Bytes(now.milliseconds), "expires",
                Bytes((now + .seconds(600)).milliseconds), "ends", Bytes((now + span).milliseconds), "idle", "600000", "version",
                "1",
            ]
            return try await fixture.store.run(
                Procedure(SessionProcedures.merge, keys: [key, key.companion("deleted")], arguments: fields) { $0.integer })
        }
        #expect(try await merge(endsIn: .seconds(-1)) == 0)
        #expect(try await fixture.store(.exists(key)) == false)
        #expect(try await merge(endsIn: .seconds(60)) == 1)
        let end = now + .seconds(60)
        #expect(try await fixture.end(of: key) == .integer(end.milliseconds))
        #expect(try await fixture.sessions.get(id, touch: false).value?.expires == end)
    }

    @Test(arguments: Backend.available)
    func anotherTypeAtTheKeyIsATypedError(_ backend: Backend) async throws {
        let fixture = try await Fixture(backend)
        let id = SessionID.random()
        try await fixture.store(.set(fixture.hash(id), "x"))
        let error = await #expect(throws: StoreError.self) { try await fixture.sessions.get(id) }
        #expect(error?.code == .unsupportedFormat)
    }
}
