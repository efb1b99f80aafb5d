import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@testable import HoldfastServer

/// Each answer says who decided, in its body or, where it has none, by a header.
@Suite struct DecidedByRouteTests {
    private let time = ManualTime()
    private let store: FaultyStore
    private let failover: Failover
    private let server: ServerUnderTest

    init() throws {
        store = FaultyStore(EmbeddedStore(time: time))
        failover = Failover(
            server: store, local: EmbeddedStore(time: time), configuration: .init(thresholds: .init(failures: 1, successes: 1)),
            time: time)
        server = try ServerUnderTest(state: AgentState(failover: failover))
        try server.state.cache.registerWarmer("stats", group: "dashboard") { _ in 1 }
    }

    private func goDown() async {
        store.fail(with: StoreError(.connectionFailed))
        await failover.start()
    }

    private func entry(_ key: String, _ method: HTTPRequest.Method = .get, _ headers: [String: String] = [:]) async throws
        -> ServerUnderTest.Reply
    {
        try await server.send(method, "/api/v1/cache/entries/w/\(key)", method == .put ? ["value": 1] : nil, headers: headers)
    }

    @Test(arguments: [false, true]) func theCachesAnswersSayIt(isAway: Bool) async throws {
        if isAway { await goDown() }
        let word: JSONValue = isAway ? "local" : "server"
        let tag = try #require(try await entry("k", .put).header("ETag"))
        #expect(try await entry("k").json["decided_by"] == word)
        let missing = try await entry("none")
        #expect(missing.status == 404 && missing.code == "not-found" && missing.json["decided_by"] == word)
        let current = try await entry("k", .get, ["If-None-Match": tag])
        #expect(current.status == 304 && current.header("X-Decided-By") == word.string)
        for keys in [["k"], ["none"], ["k", "none"]] as [[JSONValue]] {
            let several = try await server.send(.post, "/api/v1/cache/batch/get", ["workspace": "w", "keys": .array(keys)])
            #expect(several.json["decided_by"] == word)
        }
        let computed = try await server.send(.post, "/api/v1/cache/dashboard/warm")
        #expect(computed.json["decided_by"] == word && computed.json["warmed"]?.array?.count == 1)
        let given = try await server.send(.post, "/api/v1/cache/dashboard/warm", ["entries": ["a": 1]])
        #expect(given.json["decided_by"] == word)
    }

    @Test func aStaleEntryTellsItsAge() async throws {
        #expect(try await entry("k", .put).status == 200)
        #expect(try await entry("k").json["stale_age_seconds"] == nil)
        await goDown()
        #expect(try await entry("k").json["decided_by"] == "server", "a near copy, which is the server's value")
        time.advance(by: .seconds(20))
        let stale = try await entry("k")
        #expect(stale.json["decided_by"] == "local" && stale.json["stale_age_seconds"]?.double == 15)
    }

    @Test func theSessionsAnswersSayIt() async throws {
        let seen = try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"])
        let id = try #require(seen.json["id"]?.string)
        #expect(try await server.send(.get, "/api/v1/users/ann/sessions").json["decided_by"] == "server")
        let unknown = "/api/v1/sessions/00000000-0000-0000-0000-000000000000"
        for (method, path) in [(.get, unknown), (.delete, unknown)] as [(HTTPRequest.Method, String)] {
            let missing = try await server.send(method, path)
            #expect(missing.status == 404 && missing.json["decided_by"] == "server")
        }
        let path = "/api/v1/sessions/\(id)"
        func current() async throws -> String? {
            let tag = try #require(try await server.send(.get, path).header("ETag"))
            let reply = try await server.send(.get, path, headers: ["If-None-Match": tag])
            #expect(reply.status == 304)
            return reply.header("X-Decided-By")
        }
        #expect(try await current() == "server")
        await goDown()
        #expect(try await current() == "local")
        let ended = try await server.send(.delete, path)
        #expect(ended.status == 204 && ended.header("X-Decided-By") == "local")
        for path in [path, "/api/v1/cache/session/\(id)"] {
            let gone = try await server.send(.get, path)
            #expect(gone.status == 404 && gone.json["decided_by"] == "local", "it was ended here")
        }
        let again = try await server.send(.delete, "/api/v1/cache/session/\(id)")
        #expect(again.json["decided_by"] == "local")
    }

    @Test func anAnswerThatIsGivenAgainSaysWhoHadKeptIt() async throws {
        func create(_ key: String) async throws -> ServerUnderTest.Reply {
            try await server.send(.post, "/api/v1/sessions", ["user_id": "ann"], headers: ["Idempotency-Key": key])
        }
        let first = try await create("a")
        #expect(first.status == 201 && first.header("X-Decided-By") == nil)
        let again = try await create("a")
        #expect(again.text == first.text && again.header("Idempotency-Replayed") == "true")
        #expect(again.header("X-Decided-By") == "server")
        await goDown()
        _ = try await create("b")
        #expect(try await create("b").header("X-Decided-By") == "local")
    }
}
