import HoldfastStore
import Testing

@testable import HoldfastUpstash

/// The forms of commands, replies and events, as values.
@Suite struct RESTBodyTests {
    @Test(
        arguments: [
            (#"{"result":"OK"}"#, .one(.ok)), (#"{"result":"T0s="}"#, .one(.bytes("OK"))), (#"{"result":""}"#, .one(.bytes(""))),
            (#" { "result" : -7 } "#, .one(.integer(-7))), (#"{"result":1.5}"#, .one(.double(1.5))),
            (#"{"result":[[],["YQ==",[null]]]}"#, .one(.array([.array([]), .array([.bytes("a"), .array([.null])])]))),
            (#"{"error":"ERR a\"b\u00e9\ud83d\ude00"}"#, .one(.error(ReplyError("ERR a\"bé😀")))),
            (#"{"result":null,"error":null}"#, .one(.null)), (#"[]"#, .many([])),
            (#"[{"result":1},{"error":"E"}]"#, .many([.integer(1), .error(ReplyError("E"))])),
        ] as [(String, RESTBody.Answer)])
    func answersAreRead(text: String, answer: RESTBody.Answer) { #expect(RESTBody.answer(Array(text.utf8)) == answer) }

    @Test(arguments: [
        "", "{", "{}", "[", "[{}]", "7", #"{"result":}"#, #"{"result":"a"}"#, #"{"result":"YQ=="} x"#, #"{"result":[1,]}"#,
        #"{"error":"\u12"}"#, #"{"error":"\ud800"}"#, #"{"result":tru}"#, #"{"result":--1}"#,
        #"{"result":"# + String(repeating: "[", count: 100_000),
    ])
    func whatIsNoAnswerIsRefused(text: String) { #expect(RESTBody.answer(Array(text.utf8)) == nil) }

    @Test func anyCutOfAnAnswerIsNoAnswer() {
        let text = Array(#"[{"result":["YQ==",1.5,null]},{"error":"E\u00e9"}]"#.utf8)
        for count in 0..<text.count { #expect(RESTBody.answer(text.prefix(count)) == nil, "\(count)") }
    }

    @Test func eventsAreTheSameHoweverTheyAreCut() {
        let text = Array("data: subscribe,c,1\r\n\r\n: hi\n\ndata: a\ndata:b\n\nid: 7\nevent: x\ndata: c\r\rdata: lost".utf8)
        let expected: [EventLines.Event] = [
            .data("subscribe,c,1"), .comment("hi"), .data("a\nb"), .data("c"),
        ]
        for size in 1...text.count {
            var lines = EventLines()
            var events: [EventLines.Event] = []
            for start in stride(from: 0, to: text.count, by: size) {
                events += lines.read(text[start..<min(start + size, text.count)]) ?? []
            }
            #expect(events == expected, "\(size)")
        }
    }

    @Test func anEventOfManyLinesIsNoLongerThanAny() {
        let first = "data: subscribe,c,1\n\n"
        var lines = EventLines()
        lines.limit = 100
        let confirmation = lines.read(Array(first.utf8))
        #expect(confirmation == [.data("subscribe,c,1")])
        let event = lines.read(Array((String(repeating: "data: 1234567\n", count: 5) + "\n").utf8))
        #expect(event?.count == 1)
        let long = lines.read(Array(String(repeating: "data: 1234567\n", count: 1000).utf8))
        #expect(long == nil)
        // Lines without anything in them are a byte each.
        var empty = EventLines()
        empty.limit = 100
        let many = empty.read(Array((first + String(repeating: "data:\n", count: 1000)).utf8))
        #expect(many == nil)
    }

    @Test func manyLinesOfAnEventAreJoined() {
        var lines = EventLines()
        let text = "data: subscribe,c,1\n\n" + String(repeating: "data: x\n", count: 100_000) + "\n"
        let events = lines.read(Array(text.utf8))
        #expect(events?.last == .data(Bytes(Array(repeating: "x", count: 100_000).joined(separator: "\n"))))
    }

    /// Lua's `unpack` would fail at the endpoint, in the middle of a transaction.
    @Test func aCommandWithTooManyArgumentsForLuaIsRefused() throws {
        let binary = Bytes([255])
        let most: [Bytes] = ["DEL"] + [Bytes](repeating: binary, count: RESTCarrier.maximumArguments - 1)
        #expect(try RESTCall.command(most).isCarried)
        let error = #expect(throws: StoreError.self) { try RESTCall.command(most + [binary]) }
        #expect(error?.code == .tooLarge && error?.effect == StoreError.Effect.none)
        #expect(throws: StoreError.self) { try RESTCall.carrier(for: [["GET", binary], most + [binary]]) }
        let text: [Bytes] = ["DEL"] + [Bytes](repeating: "k", count: 10_000)
        #expect(try !RESTCall.command(text).isCarried)
    }
}
