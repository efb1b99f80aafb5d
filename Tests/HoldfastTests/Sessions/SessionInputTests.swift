import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct SessionInputTests {
    let fixture = SessionFixture()
    var sessions: Sessions { fixture.sessions }

    @Test func badInputNamesTheFieldAndWritesNothing() async throws {
        let long = String(repeating: "x", count: 2000)
        let many = Dictionary(uniqueKeysWithValues: (0..<257).map { ("f\($0)", JSONValue.null) })
        let sessions = sessions
        let calls: [(String, @Sendable () async throws -> Session)] = [
            ("userID", { try await sessions.create(userID: "") }),
            ("userID", { try await sessions.create(userID: long) }),
            ("workspaceID", { try await sessions.create(userID: "u", workspaceID: "") }),
            ("clientAddress", { try await sessions.create(userID: "u", clientAddress: long) }),
            ("userAgent", { try await sessions.create(userID: "u", userAgent: long) }),
            ("ttl", { try await sessions.create(userID: "u", ttl: .zero) }),
            ("ttl", { try await sessions.create(userID: "u", ttl: .seconds(-1)) }),
            ("ttl", { try await sessions.create(userID: "u", ttl: .seconds(Int64.max)) }),
            ("ttl", { try await sessions.create(userID: "u", ttl: .seconds(86_401)) }),
            ("absoluteTTL", { try await sessions.create(userID: "u", absoluteTTL: .zero) }),
            ("data", { try await sessions.create(userID: "u", data: many) }),
            ("data", { try await sessions.create(userID: "u", data: ["": 1]) }),
            ("data", { try await sessions.create(userID: "u", data: [long: 1]) }),
            ("data.n", { try await sessions.create(userID: "u", data: ["n": [.double(.nan)]]) }),
            ("data", { try await sessions.create(userID: "u", data: ["n": .string(String(repeating: "x", count: 262_144))]) }),
        ]
        for (field, call) in calls {
            let error = await #expect(throws: StoreError.self) { _ = try await call() }
            #expect(error?.field == field)
            #expect(error?.code == .invalidArgument || error?.code == .tooLarge)
            #expect(error?.effect == StoreError.Effect.none)
        }
        #expect(try await fixture.store(.dbsize) == 0)
    }

    @Test func badChangesNameTheFieldAndChangeNothing() async throws {
        let created = try await sessions.create(userID: "u", data: ["a": 1])
        let (sessions, id) = (sessions, created.id)
        let calls: [(String, @Sendable () async throws -> Session)] = [
            ("set", { try await sessions.update(id) }),
            ("data.a", { try await sessions.update(id, set: ["a": 2], remove: ["a"]) }),
            ("data", { try await sessions.update(id, set: ["": 2]) }),
            ("data", { try await sessions.update(id, remove: [""]) }),
            ("data.b", { try await sessions.update(id, set: ["a": 2, "b": .double(.infinity)]) }),
            ("messages", { try await sessions.append([], to: id) }),
            ("kind", { try await sessions.append([NewSessionMessage(role: "user", content: "hi")], to: id) }),
            ("ttl", { try await sessions.extend(id, by: .zero) }),
        ]
        for (field, call) in calls {
            let error = await #expect(throws: StoreError.self) { _ = try await call() }
            #expect(error?.field == field)
            #expect(error?.code == .invalidArgument)
        }
        #expect(try await sessions.get(id, touch: false).value == created)
    }

    @Test func aSessionNeverGrowsBeyondItsLimits() async throws {
        var limits = Sessions.Limits(bytes: 1000)
        limits.fields = 3
        let fixture = SessionFixture(.init(touchInterval: .zero, limits: limits))
        let id = try await fixture.sessions.create(userID: "u", data: ["a": .string(String(repeating: "x", count: 490))]).id
        // Each field counts its name with "d:" and its JSON: 3 + 492.
        try await fixture.sessions.update(id, set: ["b": .string(String(repeating: "x", count: 490))])
        let size = await #expect(throws: StoreError.self) { try await fixture.sessions.update(id, set: ["c": "1234567890"]) }
        #expect(size?.code == .tooLarge)
        try await fixture.sessions.update(id, set: ["c": 1])
        let number = await #expect(throws: StoreError.self) { try await fixture.sessions.update(id, set: ["d": 1]) }
        #expect(number?.code == .tooLarge)
        try await fixture.sessions.update(id, set: ["d": "1234567890"], remove: ["b"])
        #expect(try await fixture.sessions.get(id).value?.data.keys.sorted() == ["a", "c", "d"])
    }

    @Test func whatIsSetAndRemovedManyTimesIsCountedRight() async throws {
        let fixture = SessionFixture(.init(touchInterval: .zero, limits: .init(bytes: 100, fields: 2)))
        let id = try await fixture.sessions.create(userID: "u").id
        for round in 0..<50 {
            try await fixture.sessions.update(id, set: ["a": .string(String(repeating: "x", count: round % 40)), "b": 1])
            try await fixture.sessions.update(id, remove: round.isMultiple(of: 2) ? ["a", "b"] : ["a"])
        }
        try await fixture.sessions.update(id, remove: ["b"])
        let totals = try await fixture.store(.hmget(fixture.hash(id), ["size", "fields"]))
        #expect(totals == ["0", "0"])
    }
}
