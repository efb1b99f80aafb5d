import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@testable import HoldfastServer

@Suite struct SessionRouteTests {
    private func create(_ server: ServerUnderTest, _ more: [(String, JSONValue?)] = []) async throws -> (id: String, tag: String)
    {
        let reply = try await server.send(.post, "/api/v1/sessions", .object([("user_id", "ann"), ("data", ["a": 1])] + more))
        #expect(reply.status == 201)
        let id = try #require(reply.json["id"]?.string)
        #expect(reply.header("Location") == "/api/v1/sessions/\(id)")
        return (id, try #require(reply.header("ETag")))
    }

    @Test func aSessionIsCreatedReadChangedAndEnded() async throws {
        let server = try ServerUnderTest()
        let (id, _) = try await create(server)
        let read = try await server.send(.get, "/api/v1/sessions/\(id)", key: ServerUnderTest.reader)
        #expect(read.status == 200 && read.json["data"] == ["a": 1] && read.json["user_id"] == "ann")
        let changed = try await server.send(.patch, "/api/v1/sessions/\(id)", ["set": ["b": [1, "x"]], "remove": ["a"]])
        #expect(changed.status == 200 && changed.json["data"] == ["b": [1, "x"]])
        #expect(try await server.send(.delete, "/api/v1/sessions/\(id)").status == 204)
        #expect(try await server.send(.get, "/api/v1/sessions/\(id)").status == 404)
        #expect(try await server.send(.delete, "/api/v1/sessions/\(id)").status == 404)
        #expect(try await server.send(.patch, "/api/v1/sessions/\(id)", ["set": ["b": 1]]).status == 404)
    }

    @Test func aReaderLetsNoSessionStayLonger() async throws {
        let time = ManualTime()
        let server = try ServerUnderTest(state: .embedded(time: time))
        let (id, _) = try await create(server)
        let path = "/api/v1/sessions/\(id)"
        func end(_ path: String, _ key: String) async throws -> String? {
            time.advance(by: .seconds(10))
            return try await server.send(.get, path, key: key).json["expires_at"]?.string
        }
        let first = try await end(path, ServerUnderTest.reader)
        #expect(first != nil)
        #expect(try await end(path, ServerUnderTest.reader) == first)
        #expect(try await end(path + "?touch=false", ServerUnderTest.reader) == first)
        let refused = try await server.send(.get, path + "?touch=true", key: ServerUnderTest.reader)
        #expect(refused.status == 403 && refused.code == "forbidden" && refused.field == "touch")
        #expect(try await end(path, ServerUnderTest.reader) == first)
        #expect(try await end(path, ServerUnderTest.writer) != first)
    }

    @Test func aChangeIsMadeOnlyAtTheVersionThatIfMatchNames() async throws {
        let server = try ServerUnderTest()
        let (id, tag) = try await create(server)
        let first = try await server.send(.patch, "/api/v1/sessions/\(id)", ["set": ["b": 1]], headers: ["If-Match": tag])
        #expect(first.status == 200 && first.header("ETag") != tag)
        for stale in [tag, "\"x\"", "W/\(tag)"] {
            let reply = try await server.send(.patch, "/api/v1/sessions/\(id)", ["set": ["b": 2]], headers: ["If-Match": stale])
            #expect(reply.status == 412 && reply.code == "precondition-failed")
        }
        #expect(
            try await server.send(.patch, "/api/v1/sessions/\(id)", ["set": ["b": 3]], headers: ["If-Match": "*"]).status == 200)
        let tag2 = try #require(try await server.send(.get, "/api/v1/sessions/\(id)").header("ETag"))
        let same = try await server.send(.get, "/api/v1/sessions/\(id)", headers: ["If-None-Match": tag2])
        #expect(same.status == 304 && same.text.isEmpty)
        let refused = try await server.send(.patch, "/api/v1/sessions/\(id)", ["set": ["b": 4], "expect": ["b": 1]])
        #expect(refused.status == 409)
    }

    @Test func idsAreMaskedInLists() async throws {
        let server = try ServerUnderTest()
        var ids: [String] = []
        for _ in 0..<5 { ids.append(try await create(server).id) }
        var listed: [JSONValue] = []
        var path = "/api/v1/users/ann/sessions?limit=2"
        for _ in 0..<10 {
            let page = try await server.send(.get, path, key: ServerUnderTest.reader)
            #expect(page.status == 200)
            for id in ids { #expect(!page.text.contains(id)) }
            listed += page.json["sessions"]?.array ?? []
            guard let next = page.json["next_cursor"]?.string else { break }
            path = "/api/v1/users/ann/sessions?limit=2&cursor=\(next)"
        }
        #expect(listed.count == 5)
        let foreign = path.replacing("ann", with: "bob")
        #expect(try await server.send(.get, foreign).field == "cursor")
    }

    @Test func allSessionsOfAUserEndButTheOneThatIsKept() async throws {
        let server = try ServerUnderTest()
        let kept = try await create(server).id
        for _ in 0..<3 { _ = try await create(server) }
        let reply = try await server.send(.delete, "/api/v1/users/ann/sessions", headers: ["X-Keep-Session": kept])
        #expect(reply.json["revoked"] == 3)
        #expect(try await server.send(.get, "/api/v1/cache/session/\(kept)").status == 200)
        #expect(try await server.send(.delete, "/api/v1/cache/session/\(kept)").json["deleted"] == true)
        #expect(try await server.send(.delete, "/api/v1/cache/session/\(kept)").json["deleted"] == false)
    }

    @Test func aConversationKeepsItsMessagesThroughARotation() async throws {
        let server = try ServerUnderTest()
        let (id, _) = try await create(server, [("kind", "conversation")])
        let reply = try await server.send(
            .post, "/api/v1/sessions/\(id)/messages",
            ["messages": [["role": "user", "content": "hi"], ["role": "assistant", "content": ["x": 1]]]])
        #expect(reply.status == 200 && reply.json["messages"]?.array?.count == 2)
        let rotated = try await server.send(.post, "/api/v1/sessions/\(id)/rotate")
        let next = try #require(rotated.json["id"]?.string)
        #expect(next != id && rotated.json["messages"]?.array?.count == 2)
        #expect(try await server.send(.get, "/api/v1/sessions/\(id)").status == 404)
        #expect(try await server.send(.post, "/api/v1/sessions/\(next)/extend", ["ttl_seconds": 10_000]).status == 200)
        #expect(try await server.send(.post, "/api/v1/sessions/\(next)/extend").status == 200)
    }

    @Test func aDamagedSessionIsNamedMaskedAndCanBeEnded() async throws {
        let server = try ServerUnderTest()
        let (id, _) = try await create(server)
        let (other, _) = try await create(server)
        for id in [id, other] {
            let key = server.state.namespace.key("session:\(id)")
            _ = try await server.state.failover.local(.set(key, "damage"))
        }
        let read = try await server.send(.get, "/api/v1/sessions/\(id)")
        #expect(read.status == 409 && read.code == "unsupported-format" && read.field == "id" && !read.text.contains(id))
        #expect(try await server.send(.get, "/api/v1/cache/session/\(id)").status == 409)
        let list = try await server.send(.get, "/api/v1/users/ann/sessions")
        #expect(list.status == 200 && list.json["sessions"] == [] && list.json["damaged"]?.array?.count == 2)
        #expect(!list.text.contains(id))
        #expect(try await server.send(.delete, "/api/v1/sessions/\(id)").status == 204)
        #expect(try await server.send(.delete, "/api/v1/users/ann/sessions").json["revoked"] == 1)
        #expect(try await server.send(.get, "/api/v1/sessions/\(other)").status == 404)
    }

    @Test func tenantsDoNotSeeEachOthersSessions() async throws {
        let server = try ServerUnderTest()
        let (id, _) = try await create(server)
        #expect(try await server.send(.get, "/api/v1/sessions/\(id)", key: ServerUnderTest.acme).status == 404)
    }

    @Test(arguments: [
        ("POST", "/api/v1/sessions", "{}", "user_id"),
        ("POST", "/api/v1/sessions", #"{"user_id":"a","ttl_seconds":0}"#, "ttl_seconds"),
        ("POST", "/api/v1/sessions", #"{"user_id":"a","kind":"robot"}"#, "kind"),
        ("POST", "/api/v1/sessions", #"{"user_id":"a","x":1}"#, "x"),
        ("POST", "/api/v1/sessions", #"{"user_id":"a","ttl_seconds":100000}"#, "ttl"), ("GET", "/api/v1/sessions/x", "", "id"),
        ("GET", "/api/v1/sessions/gggggggg-gggg-gggg-gggg-gggggggggggg", "", "id"),
        ("GET", "/api/v1/users/ann/sessions?limit=0", "", "limit"),
        ("GET", "/api/v1/users/ann/sessions?limit=x", "", "limit"), ("GET", "/api/v1/users/ann/sessions?cursor=x", "", "cursor"),
        ("GET", "/api/v1/users/ann/sessions?limit=1&limit=2", "", "limit"),
    ])
    func badInputNamesTheField(method: String, path: String, text: String, field: String) async throws {
        let reply = try await ServerUnderTest().send(.init(method)!, path, text: text.isEmpty ? nil : text)
        #expect(reply.status == 400 && reply.field == field, "\(reply.text)")
    }
}
