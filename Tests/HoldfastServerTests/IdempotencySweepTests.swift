import HTTPTypes
import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@testable import HoldfastServer

/// The requests of ``IdempotencyCrashTests`` with a configured server, an outbox that outlives the process, and a fault at every call to the
/// server in turn: whatever was decided where, repeating the request has one effect on the server.
@Suite struct IdempotencySweepTests {
    enum Fault: CaseIterable {
        case refused, replyLost, staysAway, processDies
        /// While it decides by itself, at a call to its folder.
        case processDiesAway
    }

    /// A process that serves, and its line to the server.
    private struct Process {
        let api: ServerUnderTest
        let line: FaultyStore
        let time: ManualTime

        init(_ server: EmbeddedStore, folder: (any Store)?, _ time: ManualTime) async throws {
            line = FaultyStore(server)
            self.time = time
            let failover = Failover(
                server: line, local: EmbeddedStore(time: time), outbox: Outbox(keptIn: folder, time: time),
                configuration: .init(thresholds: .init(failures: 2, successes: 1)), time: time)
            api = try ServerUnderTest(state: AgentState(failover: failover))
            try await failover.outbox.load(into: failover.local)
            await failover.start()
        }

        var failover: Failover { api.state.failover }

        /// Until calls go to the server again.
        func mend() async {
            line.recover()
            let failover = failover
            let watch = Task { await failover.run() }
            #expect(await time.advanceUntil(by: .milliseconds(100)) { failover.localSince == nil && failover.outbox.isEmpty })
            watch.cancel()
            await watch.value
            #expect(failover.outbox.status.deadLetters == 0)
        }

        /// As a client that does what it is told: it repeats what was refused, and waits where another attempt is under way.
        func request(_ scenario: IdempotencyCrashTests.Scenario, _ id: String) async throws -> ServerUnderTest.Reply {
            var reply = try await send(scenario, id)
            for _ in 0..<5 where reply.status >= 500 || reply.status == 409 {
                if reply.status == 409 {
                    #expect(reply.code == "in-progress", "\(reply.text)")
                    time.advance(by: .seconds(61))
                }
                reply = try await send(scenario, id)
            }
            return reply
        }

        func send(_ scenario: IdempotencyCrashTests.Scenario, _ id: String) async throws -> ServerUnderTest.Reply {
            try await api.send(.post, scenario.path(id), scenario.body, headers: ["Idempotency-Key": "k"])
        }
    }

    @Test(arguments: IdempotencyCrashTests.scenarios, Fault.allCases)
    func aServerThatFailsIsNoSecondEffect(_ scenario: IdempotencyCrashTests.Scenario, _ fault: Fault) async throws {
        for number in 1...30 {
            let time = ManualTime()
            let (server, folder) = (EmbeddedStore(time: time), EmbeddedStore(time: time))
            let dying = FaultyStore(folder)
            var process = try await Process(server, folder: dying, time)
            let created = try await process.api.send(
                .post, "/api/v1/sessions", ["user_id": "ann", "kind": "conversation", "data": ["k": 1]])
            let id = try #require(created.json["id"]?.string)
            var charge = IdempotencyCrashTests.limit.object ?? [:]
            charge["cost"] = 10
            _ = try await process.api.send(.post, "/api/v1/limits/record", .object(charge))

            if fault == .processDiesAway {
                process.line.fail(with: StoreError(.connectionFailed))
                await process.failover.start()
                #expect(process.failover.localSince != nil)
            }
            let struck = fault == .processDiesAway ? dying : process.line
            let call = struck.calls + number
            switch fault {
            case .refused: process.line.fail(call: call, with: StoreError(.connectionFailed))
            case .replyLost:
                process.line.fail(call: call, with: StoreError(.connectionLost, effect: .unknown), .afterEffect)
            case .staysAway, .processDies, .processDiesAway: struck.die(afterCall: call)
            }
            var reply = try await process.send(scenario, id)
            let isUntouched = struck.calls < call
            if fault == .staysAway, reply.status >= 500 {
                // Once more, when it is known to be away.
                reply = try await process.send(scenario, id)
            }
            if fault == .processDies || fault == .processDiesAway {
                process = try await Process(server, folder: folder, time)
            }
            await process.mend()
            let settled = try await process.request(scenario, id)
            #expect(settled.status == scenario.status, "fault \(number): \(settled.status) \(settled.text)")
            // What was answered here names another decider and another's limits.
            if reply.status == scenario.status, fault != .processDiesAway {
                #expect(settled.json["id"] == reply.json["id"], "fault \(number)")
            }
            time.advance(by: .seconds(61))
            let again = try await process.request(scenario, id)
            #expect(again.text == settled.text, "fault \(number)")

            await process.mend()
            let elsewhere = try await Process(server, folder: nil, time)
            if scenario.testDescription == "extend" {
                // Its version also counts merges.
                let session = try await elsewhere.api.send(.get, "/api/v1/sessions/\(id)")
                #expect(session.json["expires_at"] == settled.json["expires_at"], "fault \(number)")
            } else {
                #expect(try await scenario.effects(elsewhere.api, id) == 1, "fault \(number)")
            }
            if isUntouched {
                #expect(number > 1, "no call was met")
                return
            }
        }
        Issue.record("the request never passed untouched")
    }
}
