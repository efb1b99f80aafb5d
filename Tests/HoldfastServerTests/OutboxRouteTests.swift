import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@testable import HoldfastServer

@Suite struct OutboxRouteTests {
    private let time = ManualTime()
    private let outbox: Outbox
    private let store: EmbeddedStore
    private let server: ServerUnderTest
    private let sessionID = "0f3b1c52-9f0e-4b51-8a47-2f4a6f1f7a10"

    init() throws {
        outbox = Outbox(time: time)
        store = EmbeddedStore(time: time)
        let carryOut: ReplayAction.Step = { (entry, store) throws(StoreError) in
            _ = try await store(.lpush(entry.keys[0], entry.arguments))
        }
        outbox.register(ReplayAction("test.add@1", carryOut: carryOut))
        let failover = Failover(server: store, local: EmbeddedStore(time: time), outbox: outbox, time: time)
        server = try ServerUnderTest(state: AgentState(failover: failover))
    }

    private func add(_ count: Int) async throws {
        for number in 0..<count {
            let key = Key(raw: Bytes("session:\(sessionID):\(number)"))
            try await outbox.add(Outbox.Item("test.add@1", keys: [key], arguments: ["secret value"]))
        }
    }

    /// The server answers each with an error: the keys hold something else.
    private func die(_ count: Int) async throws {
        try await add(count)
        for number in 0..<count { _ = try await store(.set(Key(raw: Bytes("session:\(sessionID):\(number)")), "x")) }
        try await outbox.replay(on: store)
    }

    @Test func itShowsWhatWaitsAndNothingOfWhatItIsAbout() async throws {
        try await add(3)
        time.advance(by: .seconds(90))
        let page = try await server.send(.get, "/api/v1/outbox?limit=2", key: ServerUnderTest.reader)
        let status = page.json["status"]
        #expect(status?["backlog"] == 3 && status?["oldest_seconds"]?.double == 90 && status?["durable"] == false)
        #expect(page.json["entries"]?.array?.compactMap { $0["number"]?.integer } == [1, 2])
        #expect(page.json["entries"]?.array?.first?["action"] == "test.add@1")
        let cursor = try #require(page.json["next_cursor"]?.string)
        let rest = try await server.send(.get, "/api/v1/outbox?limit=2&cursor=\(cursor)", key: ServerUnderTest.reader)
        #expect(rest.json["entries"]?.array?.count == 1 && rest.json["next_cursor"]?.isNull == true)
        let detailed = try await server.send(.get, "/api/v1/health/detailed")
        #expect(detailed.json["outbox"]?["backlog"] == 3 && detailed.json["instances"]?["source"] == "assumed")
        let metrics = try await server.send(.get, "/metrics").text
        #expect(metrics.contains("holdfast_outbox_entries 3\n") && metrics.contains("holdfast_outbox_oldest_seconds 90\n"))
        #expect(metrics.contains("holdfast_instances 1\n"))
        for text in [page.text, rest.text, detailed.text, metrics] {
            #expect(!text.contains(sessionID) && !text.contains("secret value"))
        }
    }

    /// The whole of what Redis says and of what to do about it; session ids in it are masked all the same.
    @Test func aDeadLettersReasonSaysWhatToChange() async throws {
        let line = "NOPERM User app has no permissions to run the 'hset' command on behalf of \(sessionID)"
        let refusal = StoreError(ReplyError(line))
        outbox.register(ReplayAction("test.refused@1") { (_, _) throws(StoreError) in throw refusal })
        try await outbox.add(Outbox.Item("test.refused@1", keys: [Key(raw: "k")], arguments: []))
        try await outbox.replay(on: store)
        let list = try await server.send(.get, "/api/v1/outbox/dead", key: ServerUnderTest.admin)
        let reason = list.json["dead_letters"]?.array?.first?["reason"]?.string ?? ""
        #expect(reason.hasPrefix("NOPERM User app") && reason.hasSuffix("ACL SETUSER app +hset"), "\(list.text)")
        #expect(!list.text.contains(sessionID))
    }

    @Test func itShowsWhetherAndHowFarItIsHandedOver() async throws {
        func expect(_ isReplaying: Bool, _ handedOver: Int64) async throws {
            let page = try await server.send(.get, "/api/v1/outbox", key: ServerUnderTest.reader).json
            let detailed = try await server.send(.get, "/api/v1/health/detailed").json
            for status in [page["status"], detailed["outbox"]] {
                #expect(status?["replaying"] == .bool(isReplaying) && status?["handed_over"] == .integer(handedOver))
            }
            let metrics = try await server.send(.get, "/metrics").text
            #expect(metrics.contains("holdfast_outbox_handed_over_total \(handedOver)\n"))
        }
        try await add(2)
        try await expect(false, 0)
        let (held, release) = AsyncStream<Void>.makeStream()
        let slow = InterceptedStore(store) { _ in for await _ in held {} }
        let replay = Task { [outbox] in try await outbox.replay(on: slow) }
        while !outbox.status.isReplaying { await Task.yield() }
        try await expect(true, 0)
        release.finish()
        try await replay.value
        try await expect(false, 2)
    }

    @Test func deadLettersAreShownRetriedAndDropped() async throws {
        try await die(3)
        let list = try await server.send(.get, "/api/v1/outbox/dead", key: ServerUnderTest.admin)
        let letters = try #require(list.json["dead_letters"]?.array)
        #expect(letters.count == 3 && letters.allSatisfy { $0["code"] == "wrong-type" })
        #expect(!list.text.contains(sessionID) && !list.text.contains("secret value"))
        let admin = ServerUnderTest.admin
        #expect(try await server.send(.delete, "/api/v1/outbox/dead/2", key: admin).status == 204)
        #expect(try await server.send(.delete, "/api/v1/outbox/dead/2", key: admin).status == 404)
        _ = try await store(.del([Key(raw: Bytes("session:\(sessionID):0"))]))
        #expect(try await server.send(.post, "/api/v1/outbox/dead/1/retry", key: admin).status == 204)
        #expect(try await server.send(.post, "/api/v1/outbox/dead/9/retry", key: admin).status == 404)
        try await outbox.replay(on: store)
        #expect(outbox.status.deadLetters == 1 && outbox.status.handedOver == 1)
        let audit = try await server.send(.get, "/api/v1/audit", key: admin)
        let acts = audit.json["entries"]?.array?.compactMap { $0["act"]?.string } ?? []
        #expect(acts.contains("dropDeadLetter") && acts.contains("retryDeadLetter"))
    }

    @Test func onlyWhoMaySeesAndDecides() async throws {
        try await die(1)
        #expect(try await server.send(.get, "/api/v1/outbox", key: nil).status == 401)
        #expect(try await server.send(.get, "/api/v1/outbox/dead").status == 403)
        #expect(try await server.send(.delete, "/api/v1/outbox/dead/1").status == 403)
        // Its entries are of all tenants.
        #expect(try await server.send(.get, "/api/v1/outbox", key: ServerUnderTest.acme).status == 403)
        let tenant = ["X-Tenant": "acme"]
        for (method, path) in [(.get, ""), (.post, "/1/retry"), (.delete, "/1")] as [(HTTPRequest.Method, String)] {
            let reply = try await server.send(method, "/api/v1/outbox/dead\(path)", key: ServerUnderTest.admin, headers: tenant)
            #expect(reply.status == 403 && reply.field == "X-Tenant")
        }
        #expect(outbox.status.deadLetters == 1)
    }

    @Test(arguments: ["0", "-1", "x", "1.5", "9007199254740992", "99999999999999999999"])
    func aNumberThatIsNoneIsRefused(_ number: String) async throws {
        let admin = ServerUnderTest.admin
        #expect(try await server.send(.delete, "/api/v1/outbox/dead/\(number)", key: admin).status == 400)
        #expect(try await server.send(.post, "/api/v1/outbox/dead/\(number)/retry", key: admin).status == 400)
    }

    @Test func aFullOutboxIs503AndSaysWhenToTryAgain() {
        let answer = Problem(StoreError(.outboxFull)).answer(requestID: "r")
        #expect(answer.status == .serviceUnavailable && answer.headers[.retryAfter] == "5")
        #expect(ErrorCode.tooOld.status == .conflict)
    }
}
