import HoldfastStore
import Testing

@testable import HoldfastRedis

/// What sentinels say, read and weighed, without any.
@Suite struct SentinelAnswerTests {
    private typealias Node = RedisConfiguration.Node

    private static func texts(_ list: [String]) -> [Reply] { list.map { .bytes(Bytes($0)) } }

    private func replies(_ port: String = "6379", epoch: String = "3", isMap: Bool = true) -> [Reply] {
        let facts = Self.texts(["name", "main", "config-epoch", epoch])
        let other = Self.texts(["name", "abc", "ip", "10.0.0.2", "port", "26379"])
        return [
            .array(Self.texts(["10.0.0.1", port])), isMap ? .map(facts) : .array(facts),
            .array([isMap ? .map(other) : .array(other)]),
        ]
    }

    @Test(arguments: [true, false])
    func anAnswerIsReadInBothProtocols(isMap: Bool) throws {
        let answer = try SentinelAnswer(replies(isMap: isMap), name: "main")
        #expect(answer.primary == Node(host: "10.0.0.1", port: 6379))
        #expect(answer.epoch == 3)
        #expect(answer.sentinels == [Node(host: "10.0.0.2", port: 26379)])
    }

    @Test(arguments: ["0", "65536", "x", "-1"])
    func anAddressThatIsNoneIsNotBelieved(port: String) {
        #expect(throws: StoreError.self) { try SentinelAnswer(replies(port), name: "main") }
    }

    @Test(arguments: [
        (Reply.null, ErrorCode.serverRefused), (.error(ReplyError("NOAUTH Authentication required.")), .serverRefused),
        (.error(ReplyError("NOPERM no")), .serverRefused), (.error(ReplyError("ERR unknown command 'SENTINEL'")), .serverRefused),
        (.error(ReplyError("LOADING soon")), .serverLoading), (.integer(1), .unexpectedReply),
    ]) func whatIsNoAnswerHasItsReason(reply: Reply, code: ErrorCode) {
        let error = #expect(throws: StoreError.self) { try SentinelAnswer([reply, .null, .null], name: "main") }
        #expect(error?.code == code)
    }

    @Test(arguments: [
        ("main 10.0.0.1 6379 10.0.0.2 6380", Node(host: "10.0.0.2", port: 6380)), ("other 10.0.0.1 6379 10.0.0.2 6380", nil),
        ("main 10.0.0.1", nil), ("", nil), ("main a 1 b x", nil), ("slave a:1 a 1 @ main b 2", nil),
    ]) private func aSwitchIsReadWhereItIsOurs(payload: String, node: Node?) {
        #expect(SentinelAnswer.node(ofSwitch: Bytes(payload), name: "main") == node)
    }

    @Test func theNewestAnswerCountsWhateverTheOthersSay() throws {
        var inquiry = Inquiry<SentinelAnswer>(asked: 4)
        for (port, epoch) in [("1", "4"), ("2", "5"), ("1", "4")] {
            let answer = try SentinelAnswer(replies(port, epoch: epoch), name: "main")
            inquiry.receive(.success(answer), epoch: \.epoch)
        }
        #expect(!inquiry.isComplete)
        inquiry.receive(.failure(StoreError(.connectionFailed)), epoch: \.epoch)
        #expect(inquiry.isComplete)
        #expect(inquiry.best?.answer.primary.port == 2)
    }

    @Test func aRefusalIsToldBeforeASilence() {
        var inquiry = Inquiry<SentinelAnswer>(asked: 2)
        inquiry.receive(.failure(StoreError(.serverRefused, "WRONGPASS")), epoch: \.epoch)
        inquiry.receive(.failure(StoreError(.timeout, effect: .unknown)), epoch: \.epoch)
        #expect(inquiry.failure?.code == .serverRefused)
        #expect(inquiry.best == nil)
    }
}
