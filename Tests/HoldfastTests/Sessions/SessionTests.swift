import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

/// Sessions on an embedded store whose clock stands still.
struct SessionFixture {
    let time = ManualTime()
    let store: EmbeddedStore
    let sessions: Sessions
    let names = Namespace(prefix: "s:")

    init(_ configuration: Sessions.Configuration = .init(touchInterval: .zero)) {
        store = EmbeddedStore(time: time)
        sessions = Sessions(
            failover: Failover(local: store, time: time), namespace: names, configuration: configuration)
    }

    func hash(_ id: SessionID) -> Key { names.key("session:\(id.text)") }
}

@Suite struct SessionTests {
    let fixture = SessionFixture()
    var sessions: Sessions { fixture.sessions }
    var time: ManualTime { fixture.time }

    @Test func whatIsCreatedIsReadBack() async throws {
        let created = try await sessions.create(
            userID: "user-123", workspaceID: "workspace-456",
            data: ["source": "web", "n": 1, "list": [1, 2.5, .null, ["a": true]]],
            clientAddress: "192.0.2.1", userAgent: "curl/8")
        let read = try await sessions.get(created.id)
        #expect(read.by == .server)
        #expect(read.value == created)
        #expect(created.userID == "user-123")
        #expect(created.workspaceID == "workspace-456")
        #expect(created.kind == .user)
        #expect(created.data["list"] == [1, 2.5, .null, ["a": true]])
        #expect(created.version == 1)
        #expect(created.created == time.now)
        #expect(created.expires == time.now + .seconds(3600))
        #expect(created.ends == time.now + .seconds(86_400))
        #expect(created.clientAddress == "192.0.2.1")
        #expect(created.userAgent == "curl/8")
        #expect(!created.isStale)
    }

    /// The examples of the article "Keeping sessions".
    @Test func theArticlesExamplesRun() async throws {
        let sessions = AgentState.embedded().sessions
        let session = try await sessions.create(
            userID: "user-123", workspaceID: "workspace-456", data: ["source": "web"], clientAddress: "192.0.2.1")
        try await sessions.update(session.id, set: ["step": 1])
        try await sessions.update(session.id, set: ["step": 2], expecting: .field("step", equals: 1))
        let error = await #expect(throws: StoreError.self) {
            try await sessions.update(session.id, set: ["step": 3], expecting: .version(session.version))
        }
        #expect(error?.code == .preconditionFailed)
        try await sessions.extend(session.id, by: .seconds(1800))
        try await sessions.delete(session.id)
        let talk = try await sessions.create(userID: "user-123", kind: .conversation)
        try await sessions.append([NewSessionMessage(role: "user", content: "hello")], to: talk.id)
        #expect(try await sessions.count(userID: "user-123").value == 1)
    }

    @Test func anUnknownSessionIsNone() async throws {
        #expect(try await sessions.get(.random()).value == nil)
        #expect(try await !sessions.delete(.random()).value)
        await #expect(throws: StoreError.self) { try await sessions.extend(.random()) }
        let error = await #expect(throws: StoreError.self) { try await sessions.update(.random(), set: ["a": 1]) }
        #expect(error?.code == .notFound)
    }

    @Test func fieldsAreSetAndRemovedOneByOne() async throws {
        let id = try await sessions.create(userID: "u", data: ["a": 1, "b": "x"]).id
        let updated = try await sessions.update(id, set: ["c": .null, "a": 2], remove: ["b", "none"])
        #expect(updated.data == ["a": 2, "c": .null])
        #expect(updated.version == 2)
        #expect(try await sessions.get(id).value == updated)
    }

    @Test func fiftyConcurrentUpdatesOfDifferentFieldsAllSurvive() async throws {
        let id = try await sessions.create(userID: "u").id
        let sessions = sessions
        try await withThrowingTaskGroup { group in
            for number in 0..<50 {
                group.addTask { try await sessions.update(id, set: ["field\(number)": .integer(Int64(number))]) }
            }
            try await group.waitForAll()
        }
        let session = try #require(try await sessions.get(id).value)
        #expect(session.data.count == 50)
        #expect((0..<50).allSatisfy { session.data["field\($0)"] == .integer(Int64($0)) })
        #expect(session.version == 51)
    }

    @Test func aChangeExpectingAnotherVersionIsRefused() async throws {
        let id = try await sessions.create(userID: "u", data: ["a": 1]).id
        try await sessions.update(id, set: ["a": 2], expecting: .version(1))
        let error = await #expect(throws: StoreError.self) {
            try await sessions.update(id, set: ["a": 3], expecting: .version(1))
        }
        #expect(error?.code == .preconditionFailed)
        #expect(try await sessions.get(id).value?.data == ["a": 2])
    }

    @Test func aChangeExpectingAnotherValueIsRefusedAndNamesTheField() async throws {
        let id = try await sessions.create(userID: "u", data: ["a": 1, "o": ["y": 1, "x": 2]]).id
        try await sessions.update(id, set: ["a": 2], expecting: .field("o", equals: ["x": 2, "y": 1]))
        try await sessions.update(id, set: ["new": true], expecting: .noField("new"))
        for expectation in [SessionExpectation.field("a", equals: 1), .noField("a"), .field("none", equals: .null)] {
            let error = await #expect(throws: StoreError.self) {
                try await sessions.update(id, set: ["z": 0], remove: ["o"], expecting: expectation)
            }
            #expect(error?.code == .conflict)
            #expect(error?.field == "data.\(expectation.fields.keys.first ?? "")")
        }
        #expect(try await sessions.get(id).value?.data == ["a": 2, "o": ["x": 2, "y": 1], "new": true])
    }

    // MARK: - Expiry

    @Test func aSessionThatIsUsedStaysAndOneThatIsNotEnds() async throws {
        let id = try await sessions.create(userID: "u", ttl: .seconds(10)).id
        for _ in 0..<5 {
            time.advance(by: .seconds(9))
            let session = try await sessions.get(id).value
            #expect(session?.expires == time.now + .seconds(10))
            #expect(session?.lastAccessed == time.now)
            #expect(session?.version == 1)
        }
        time.advance(by: .seconds(10))
        #expect(try await sessions.get(id).value == nil)
        #expect(try await fixture.store(.exists(fixture.hash(id))) == false)
    }

    @Test func lookingWithoutTouchingDoesNotLetItStay() async throws {
        let created = try await sessions.create(userID: "u", ttl: .seconds(10))
        time.advance(by: .seconds(9))
        #expect(try await sessions.get(created.id, touch: false).value == created)
        time.advance(by: .seconds(1))
        #expect(try await sessions.get(created.id).value == nil)
    }

    @Test func readsWriteTheAccessDownAtMostOnceInTheTouchInterval() async throws {
        let sessions = SessionFixture(.init(touchInterval: .seconds(5)))
        let created = try await sessions.sessions.create(userID: "u")
        sessions.time.advance(by: .milliseconds(4999))
        #expect(try await sessions.sessions.get(created.id).value?.lastAccessed == created.created)
        sessions.time.advance(by: .milliseconds(1))
        #expect(try await sessions.sessions.get(created.id).value?.lastAccessed == sessions.time.now)
    }

    @Test func noUseOutlivesTheAbsoluteTTL() async throws {
        let id = try await sessions.create(userID: "u", ttl: .seconds(10), absoluteTTL: .seconds(25)).id
        for _ in 0..<3 {
            time.advance(by: .seconds(8))
            try await sessions.extend(id, by: .seconds(1000))
        }
        time.advance(by: .seconds(1))
        #expect(try await sessions.get(id).value == nil)
    }

    @Test func extendingNeverShortens() async throws {
        let id = try await sessions.create(userID: "u", ttl: .seconds(100)).id
        #expect(try await sessions.extend(id, by: .seconds(5)).expires == time.now + .seconds(100))
        let extended = try await sessions.extend(id, by: .seconds(1800))
        #expect(extended.expires == time.now + .seconds(1800))
        #expect(extended.version == 3)
        time.advance(by: .seconds(200))
        #expect(try await sessions.get(id).value?.expires == extended.expires, "a read does not shorten it either")
    }

    // MARK: - Deletion

    @Test func whatIsDeletedStaysDeleted() async throws {
        let session = try await sessions.create(userID: "u", data: ["a": 1])
        #expect(try await sessions.delete(session.id).value)
        #expect(try await !sessions.delete(session.id).value)
        #expect(try await sessions.get(session.id).value == nil)
        let error = await #expect(throws: StoreError.self) { try await sessions.update(session.id, set: ["a": 2]) }
        #expect(error?.code == .notFound)
        #expect(try await fixture.store(.exists(fixture.hash(session.id))) == false)
        let late = Sessions(failover: Failover(local: fixture.store, time: time), namespace: fixture.names) { session.id }
        let refusal = await #expect(throws: StoreError.self) { try await late.create(userID: "u") }
        #expect(refusal?.code == .conflict, "the tombstone refuses a late writer")
        #expect(try await sessions.get(session.id).value == nil)
    }

    @Test func theTombstoneStaysAsLongAsTheSessionCouldHave() async throws {
        let session = try await sessions.create(userID: "u", ttl: .seconds(10), absoluteTTL: .seconds(60))
        try await sessions.delete(session.id)
        let tombstone = fixture.hash(session.id).companion("deleted")
        #expect(try await fixture.store.execute(.keys(.pexpiretime(tombstone))) == .integer(session.ends.milliseconds))
        time.advance(by: .seconds(60))
        #expect(try await fixture.store(.dbsize) == 0, "nothing of it is left")
    }

    @Test func deletingAnotherVersionIsRefused() async throws {
        let id = try await sessions.create(userID: "u").id
        let error = await #expect(throws: StoreError.self) { try await sessions.delete(id, ifVersion: 2) }
        #expect(error?.code == .preconditionFailed)
        #expect(try await sessions.delete(id, ifVersion: 1).value)
    }

    @Test func getsRacingADeleteNeverReviveIt() async throws {
        for _ in 0..<20 {
            let id = try await sessions.create(userID: "u").id
            let sessions = sessions
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
    }

    // MARK: - Identity

    @Test func idsHave128RandomBitsInTheFormOfAUUID() throws {
        let id = SessionID(high: 0x0123_4567_89AB_CDEF, low: .max)
        #expect(id.text == "01234567-89ab-cdef-ffff-ffffffffffff")
        #expect(try SessionID("01234567-89AB-CDEF-FFFF-FFFFFFFFFFFF") == id)
        #expect(Set((0..<100).map { _ in SessionID.random() }).count == 100)
        #expect("\(id)" == "0123…")
        #expect(String(reflecting: id) == "0123…")
        var dumped = String(reflecting: [id: 1])
        dump([id], to: &dumped)
        #expect(!dumped.contains(id.text))
    }

    @Test(arguments: [
        "", "x", "01234567-89ab-cdef-ffff-fffffffffff", "01234567-89ab-cdef-ffff-ffffffffffff0",
        "01234567x89ab-cdef-ffff-ffffffffffff", "g1234567-89ab-cdef-ffff-ffffffffffff", "0123456789abcdefffffffffffffffffffff",
        "01234567-89ab-cdef-ffff-ffffffffff\u{e9}",
    ])
    func aMalformedIDIsRefusedAndNamed(_ text: String) {
        #expect(throws: StoreError.invalid("id", "A session id has 36 characters, as a UUID")) { try SessionID(text) }
    }

    @Test func tenantsDoNotSeeEachOthersSessions() async throws {
        let (red, blue) = (sessions.scoped(to: "red"), sessions.scoped(to: "blue"))
        let id = try await red.create(userID: "u").id
        #expect(try await blue.get(id).value == nil)
        #expect(try await sessions.get(id).value == nil)
        #expect(try await !blue.delete(id).value)
        #expect(try await red.get(id).value != nil)
    }
}
