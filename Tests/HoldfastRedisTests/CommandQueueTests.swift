import HoldfastStore
import Testing

@testable import HoldfastRedis

/// The state machine behind a connection, without one. Waiters are numbers.
@Suite struct CommandQueueTests {
    private typealias Queue = CommandQueue<Int>

    private func queue(inFlight: Int = 100, bytes: Int = 10_000) -> Queue {
        Queue(limits: .init(inFlight: inFlight, queuedBytes: bytes))
    }

    private func ready() -> Queue {
        var queue = queue()
        _ = submit(&queue, 0)
        queue.connected()
        _ = sent(&queue)
        _ = try? queue.receive(.ok)
        return queue
    }

    /// Puts `PING` with the waiter's number in line; the number is the ticket too.
    private func submit(_ queue: inout Queue, _ waiter: Int, now: UInt64 = 0, deadline: UInt64 = 1000, replies: Int? = nil)
        -> Queue.Submission
    {
        queue.submit(waiter, ticket: UInt64(waiter), now: now, deadline: .init(moment: deadline), replies: replies) { writer in
            for _ in 0..<(replies ?? 1) { writer.command(["PING", Bytes(Int64(waiter))]) }
        }
    }

    private func sent(_ queue: inout Queue) -> [String] {
        var (bytes, none): ([UInt8], [UInt8]) = ([], [])
        // Whoever has sent asks again.
        let goesOn = queue.take(&bytes) && queue.take(&none)
        #expect(!goesOn)
        return String(decoding: bytes, as: UTF8.self).split(separator: "\r\n").filter { Int($0) != nil }.map(String.init)
    }

    private func answer(_ queue: inout Queue, _ reply: Reply = .ok) throws -> [Int] {
        switch try queue.receive(reply) {
        case .one(let waiter, _), .many(let waiter, _): [waiter]
        case nil: []
        }
    }

    @Test func theFirstCallConnectsAndThoseBehindItWait() {
        var queue = queue()
        guard case .connect = submit(&queue, 1), case .queued = submit(&queue, 2) else {
            Issue.record("no connect, then queued")
            return
        }
        #expect(sent(&queue).isEmpty, "not before the connection is there")
        queue.connected()
        #expect(sent(&queue) == ["1", "2"])
    }

    @Test func oneWakeServesAllThatGathers() {
        var queue = ready()
        guard case .send = submit(&queue, 1), case .queued = submit(&queue, 2) else {
            Issue.record("no wake, then queued")
            return
        }
        #expect(sent(&queue) == ["1", "2"])
        guard case .send = submit(&queue, 3) else {
            Issue.record("no second wake")
            return
        }
    }

    @Test func aSocketThatIsFullGetsNothing() {
        var queue = ready()
        queue.isWritable = false
        guard case .queued = submit(&queue, 1) else {
            Issue.record("not queued")
            return
        }
        #expect(sent(&queue).isEmpty)
        queue.isWritable = true
        #expect(sent(&queue) == ["1"])
    }

    @Test func aTombstoneTakesItsLateReply() throws {
        var queue = ready()
        for waiter in 1...3 { _ = submit(&queue, waiter) }
        _ = sent(&queue)
        let gone = queue.abandon(2)
        #expect(gone?.waiter == 2)
        #expect(gone?.effect == .unknown)
        #expect(queue.abandon(2)?.waiter == nil, "nobody is answered twice")
        #expect(try answer(&queue) == [1])
        #expect(try answer(&queue) == [])
        #expect(try answer(&queue) == [3])
        #expect(queue.count == 0)
    }

    @Test func whatWasGivenUpUnsentIsNeverSent() throws {
        var queue = ready()
        for waiter in 1...4 { _ = submit(&queue, waiter, deadline: waiter == 3 ? 5 : 1000) }
        let cancelled = queue.abandon(1)
        #expect(cancelled?.effect == StoreError.Effect.none)
        let expired = queue.expire(now: 5)
        #expect(expired.map(\.waiter) == [3])
        #expect(expired.first?.effect == StoreError.Effect.none)
        #expect(sent(&queue) == ["2", "4"])
        #expect(try answer(&queue) == [2])
        #expect(try answer(&queue) == [4])
    }

    @Test func aBatchIsAnsweredOnceInOrder() throws {
        var queue = ready()
        _ = submit(&queue, 1, replies: 3)
        _ = submit(&queue, 2)
        _ = sent(&queue)
        #expect(try answer(&queue, .integer(1)) == [])
        #expect(try answer(&queue, .integer(2)) == [])
        guard case .many(let waiter, let replies) = try queue.receive(.integer(3)) else {
            Issue.record("no batch")
            return
        }
        #expect(waiter == 1)
        #expect(replies == [.integer(1), .integer(2), .integer(3)])
        #expect(try answer(&queue) == [2])
    }

    @Test func aBatchThatIsGivenUpHalfWayStillTakesAllItsReplies() throws {
        var queue = ready()
        _ = submit(&queue, 1, replies: 3)
        _ = submit(&queue, 2, replies: 1)
        _ = sent(&queue)
        #expect(try answer(&queue) == [])
        #expect(queue.abandon(1)?.waiter == 1)
        #expect(try answer(&queue) == [])
        #expect(try answer(&queue) == [])
        guard case .many(2, let replies) = try queue.receive(.integer(9)) else {
            Issue.record("no batch")
            return
        }
        #expect(replies == [.integer(9)])
    }

    @Test func aReplyToNothingIsAViolation() {
        var queue = ready()
        let error = #expect(throws: StoreError.self) { _ = try queue.receive(.ok) }
        #expect(error?.code == .protocolViolation)
        _ = submit(&queue, 1)
        #expect(throws: StoreError.self) { _ = try queue.receive(.ok) }
    }

    @Test func aLossTellsWhatWasSentAndWhatWasNot() {
        var queue = ready()
        _ = submit(&queue, 1)
        _ = sent(&queue)
        _ = submit(&queue, 2)
        let lost = queue.disconnected()
        #expect(lost.map(\.waiter) == [1, 2])
        #expect(lost.map(\.effect) == [.unknown, .none])
        guard case .connect = submit(&queue, 3) else {
            Issue.record("the next call does not connect")
            return
        }
    }

    @Test func whileAFailureIsFreshCallsFailAtOnce() {
        var queue = queue()
        _ = submit(&queue, 1, now: 10)
        let failure = StoreError(.serverRefused)
        #expect(queue.connectingFailed(failure, now: 10) { _ in 50 }.map(\.waiter) == [1])
        guard case .refused(let error) = submit(&queue, 2, now: 59), error == failure else {
            Issue.record("not refused")
            return
        }
        guard case .connect = submit(&queue, 3, now: 60) else {
            Issue.record("not tried again")
            return
        }
        var failures = 0
        _ = queue.connectingFailed(failure, now: 60) { count in
            failures = count
            return 0
        }
        #expect(failures == 2)
    }

    @Test func limitsRefuseBeforeAnythingIsWritten() {
        var queue = queue(inFlight: 2, bytes: 60)
        _ = submit(&queue, 1)
        _ = submit(&queue, 2)
        guard case .refused(let error) = submit(&queue, 3), error.code == .overloaded else {
            Issue.record("too many in flight")
            return
        }
        var full = self.queue(bytes: 30)
        _ = submit(&full, 1)
        _ = submit(&full, 2)
        guard case .refused(let second) = submit(&full, 3), second.code == .overloaded else {
            Issue.record("too many bytes")
            return
        }
    }

    @Test func aClosedQueueAnswersNobody() {
        var queue = ready()
        _ = submit(&queue, 1)
        #expect(queue.close().map(\.waiter) == [1])
        guard case .refused(let error) = submit(&queue, 2), error.code == .shuttingDown else {
            Issue.record("not refused")
            return
        }
        queue.connected()
        #expect(sent(&queue).isEmpty)
    }

    @Test func silenceIsCountedOnlyWhileRepliesAreAwaited() {
        var queue = ready()
        #expect(queue.tick() == 0)
        _ = submit(&queue, 1)
        #expect(queue.tick() == 0)
        _ = sent(&queue)
        #expect(queue.tick() == 1)
        #expect(queue.tick() == 2)
        queue.receivedSomething()
        #expect(queue.tick() == 1)
    }

    /// Every waiter is answered exactly once, and each reply goes to the command it belongs to, whatever happens in whichever order.
    @Test(arguments: 0..<50) func anyHistoryAnswersEveryoneOnce(_ seed: UInt64) throws {
        var generator = RandomSource(seed: seed)
        var queue = queue()
        var next = 0
        var wire: [Int] = []
        var open: Set<Int> = []
        func settle(_ waiter: Int) { #expect(open.remove(waiter) != nil, "answered twice: \(waiter)") }
        for step in 0..<400 {
            switch Int.random(in: 0..<12, using: &generator) {
            case 0...4:
                next += 1
                switch submit(&queue, next, now: UInt64(step), deadline: UInt64(step) + .random(in: 1..<200, using: &generator)) {
                case .refused: break
                case .connect:
                    open.insert(next)
                    if Bool.random(using: &generator) {
                        queue.connected()
                    } else {
                        for gone in queue.connectingFailed(StoreError(.connectionFailed), now: UInt64(step), pause: { _ in 3 }) {
                            settle(gone.waiter)
                        }
                    }
                case .queued, .send: open.insert(next)
                }
            case 5, 6: wire += sent(&queue).compactMap { Int($0) }
            case 7...9:
                guard !wire.isEmpty else { break }
                let asked = wire.removeFirst()
                if case .one(let waiter, _) = try queue.receive(.integer(Int64(asked))) {
                    #expect(waiter == asked)
                    settle(waiter)
                }
            case 10:
                if let gone = queue.abandon(UInt64.random(in: 0...UInt64(next), using: &generator)) { settle(gone.waiter) }
                for gone in queue.expire(now: UInt64(step)) { settle(gone.waiter) }
            default:
                guard Int.random(in: 0..<5, using: &generator) == 0 else { break }
                for gone in queue.disconnected() { settle(gone.waiter) }
                wire = []
            }
        }
        for gone in queue.close() { settle(gone.waiter) }
        #expect(open.isEmpty)
    }
}

@Suite struct HandshakeTests {
    private func configuration(_ change: (inout RedisConfiguration) -> Void = { _ in }) -> RedisConfiguration {
        var configuration = RedisConfiguration()
        change(&configuration)
        return configuration
    }

    @Test func everythingGoesIntoOneHelloButTheDatabase() {
        var handshake = Handshake(
            configuration {
                $0.username = "ann"
                $0.password = "pw"
                $0.clientName = "app"
                $0.database = 2
            })
        #expect(handshake.begin() == .send([["HELLO", "3", "AUTH", "ann", "pw", "SETNAME", "app"]] + Handshake.introduction))
        #expect(handshake.receive(.map([])) == .send([["SELECT", "2"]]))
        // What the server makes of our name is all the same.
        #expect(handshake.receive(.error(ReplyError("ERR unknown subcommand"))) == .wait)
        #expect(handshake.receive(.ok) == .wait)
        #expect(handshake.receive(.bytes("id=7 addr=10.0.0.1:4711 laddr=10.0.0.2:6379 fd=8")) == .wait)
        #expect(handshake.receive(.ok) == .done(.resp3))
        #expect(handshake.identity?.ending == ["CLIENT", "KILL", "ID", "7", "ADDR", "10.0.0.1:4711"])
    }

    @Test(arguments: ["NOPROTO sorry", "ERR unknown command 'HELLO'"])
    func aServerWithoutRESP3IsAskedInRESP2(_ line: String) {
        var handshake = Handshake(
            configuration {
                $0.password = "pw"
                $0.clientName = "app"
            })
        #expect(handshake.begin() == .send([["HELLO", "3", "AUTH", "default", "pw", "SETNAME", "app"]] + Handshake.introduction))
        #expect(handshake.receive(.error(ReplyError(line))) == .send([["AUTH", "pw"], ["CLIENT", "SETNAME", "app"]]))
        // The answers to what came with HELLO.
        for _ in Handshake.introduction { #expect(handshake.receive(.error(ReplyError("NOAUTH"))) == .wait) }
        #expect(handshake.receive(.ok) == .wait)
        #expect(handshake.receive(.ok) == .done(.resp2))
    }

    @Test func anEmptyPasswordIsNone() {
        var handshake = Handshake(configuration { $0.password = "" })
        #expect(handshake.begin() == .send([["HELLO", "3"]] + Handshake.introduction))
        #expect(handshake.receive(.map([])) == .wait)
        #expect(handshake.receive(.ok) == .wait)
        #expect(handshake.receive(.ok) == .wait)
        #expect(handshake.receive(.ok) == .done(.resp3))
        #expect(handshake.identity == nil)
    }

    @Test func onlyAPrimarysRoleWillDoWhereThatIsAskedFor() {
        for (role, isPrimary) in [("master", true), ("slave", false)] as [(Bytes, Bool)] {
            var handshake = Handshake(configuration { $0.protocolVersion = .resp2 }, role: .primary)
            #expect(handshake.begin() == .send(Handshake.introduction + [["ROLE"]]))
            for _ in Handshake.introduction { #expect(handshake.receive(.error(ReplyError("ERR unknown"))) == .wait) }
            let step = handshake.receive(.array([.bytes(role)]))
            if case .failed(let error) = step { #expect(!isPrimary && error.code == .serverReadOnly) } else { #expect(isPrimary) }
        }
    }

    @Test func refusalsAreToldFromAServerThatIsNotReady() {
        func code(_ line: String) -> ErrorCode? {
            var handshake = Handshake(configuration())
            _ = handshake.begin()
            guard case .failed(let error) = handshake.receive(.error(ReplyError(line))) else { return nil }
            return error.code
        }
        #expect(code("WRONGPASS invalid username-password pair or user is disabled.") == .serverRefused)
        #expect(code("NOAUTH HELLO must be called with the client already authenticated") == .serverRefused)
        #expect(code("ERR invalid DB index") == .serverRefused)
        #expect(code("LOADING Redis is loading the dataset in memory") == .serverLoading)
        #expect(code("ERR max number of clients reached") == .serverBusy)
    }

    @Test func pausesDoubleUpToTheirMaximumAndNeverBunch() {
        let backoff = Backoff(initial: .milliseconds(20), maximum: .milliseconds(500))
        #expect(backoff.pause(afterFailures: 1, fraction: 1) == .milliseconds(20))
        #expect(backoff.pause(afterFailures: 1, fraction: 0) == .milliseconds(10))
        #expect(backoff.pause(afterFailures: 3, fraction: 1) == .milliseconds(80))
        #expect(backoff.pause(afterFailures: 1_000_000, fraction: 1) == .milliseconds(500))
    }
}
