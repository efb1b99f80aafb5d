import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import Logging
import Testing

@testable import HoldfastServer

@Suite struct AuditTests {
    private func entries(_ server: ServerUnderTest, _ query: String = "") async throws -> (all: [JSONValue], cursor: String?) {
        let reply = try await server.send(.get, "/api/v1/audit\(query)", key: ServerUnderTest.admin)
        #expect(reply.status == 200)
        return (reply.json["entries"]?.array ?? [], reply.json["next_cursor"]?.string)
    }

    @Test func administrativeActsAreRecordedWithWhoAndWhatCameOfIt() async throws {
        let server = try ServerUnderTest()
        #expect(try await server.send(.delete, "/api/v1/users/ann/sessions").status == 200)
        #expect(try await server.send(.post, "/api/v1/cache/rate-limit/user:7/reset").status == 200)
        #expect(try await server.send(.get, "/api/v1/audit", key: ServerUnderTest.writer).status == 403)
        let all = try await entries(server).all
        #expect(all.map { $0["act"]?.string } == ["resetRateLimit", "revokeUserSessions"])
        #expect(all.map { $0["target"]?.string } == ["id=user:7", "user_id=ann"])
        #expect(all.allSatisfy { $0["actor"] == "agent" && $0["role"] == "operator" && $0["outcome"] == "done" })
        // Looking at the log is such an act itself.
        #expect(try await entries(server).all.first?["act"] == "listAuditEntries")
    }

    @Test func cacheAccessIsRecordedWhereItIsSwitchedOn() async throws {
        for isOn in [false, true] {
            var configuration = HTTPServer.Configuration()
            configuration.auditsCache = isOn
            let server = try ServerUnderTest(configuration: configuration)
            let id = "0123abcd-0123-0123-0123-0123456789ab"
            #expect(try await server.send(.get, "/api/v1/cache/entries/ws/\(id)").status == 404)
            let found = try await entries(server).all
            #expect(found.map { $0["act"]?.string } == (isOn ? ["getCacheEntry"] : []))
            #expect(found.allSatisfy { $0["outcome"] == "refused" && $0["target"] == "key=0123… workspace=ws" })
        }
    }

    @Test func anUpstashFlushIsRecordedAndOtherCommandsAreNot() async throws {
        let server = try ServerUnderTest()
        func post(_ path: String, _ body: String, key: String = ServerUnderTest.writer) async throws -> Int {
            try await server.send(.post, "/upstash\(path)", text: body, key: key).status
        }
        #expect(try await post("", #"["SET", "k", "v"]"#) == 200)
        #expect(try await post("", #"["flushdb"]"#) == 200)
        #expect(try await post("", #"["FLUSHALL", "ASYNC"]"#, key: ServerUnderTest.reader) == 400)
        #expect(try await post("/pipeline", #"[["GET", "k"], ["FLUSHALL"]]"#, key: ServerUnderTest.acme) == 200)
        #expect(try await post("/multi-exec", #"[["SET", "k", "v"], ["FLUSHDB"]]"#) == 400)
        let all = try await entries(server).all
        #expect(
            all.map { $0["act"]?.string } == ["upstash.flushdb", "upstash.flushall", "upstash.flushall", "upstash.flushdb"])
        #expect(all.map { $0["outcome"]?.string } == ["refused", "done", "refused", "done"])
        #expect(all.map { $0["actor"]?.string } == ["agent", "acme", "viewer", "agent"])
        #expect(all[1]["tenant"] == "acme")
    }

    @Test func theLogIsReadPageByPageAndKeepsTheLast() async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let log = AuditLog(includesCache: false, capacity: 5, time: ManualTime(), logger: logger)
        for number in 1...12 {
            var context = CallContext()
            context.tenant = number.isMultiple(of: 2) ? "even" : nil
            log.record(context, act: "a", target: "", status: 200, requestID: "")
        }
        #expect(log.entries(before: nil, tenant: nil, limit: 3).map(\.number) == [12, 11, 10])
        #expect(log.entries(before: 10, tenant: nil, limit: 3).map(\.number) == [9, 8])
        #expect(log.entries(before: nil, tenant: "even", limit: 10).map(\.number) == [12, 10, 8])

        let server = try ServerUnderTest()
        for user in 0..<5 { _ = try await server.send(.delete, "/api/v1/users/\(user)/sessions") }
        let first = try await entries(server, "?limit=3")
        let second = try await entries(server, "?limit=3&cursor=\(try #require(first.cursor))")
        #expect((first.all + second.all).map { $0["target"]?.string } == ["4", "3", "2", "1", "0"].map { "user_id=\($0)" })
        #expect(second.cursor == nil)
    }
}
