import HoldfastStore
import TestServers
import Testing

@testable import HoldfastUpstash

/// Request bytes and answer bytes as Upstash's documentation shows them (REST API; "Max Request Size Exceeded"), without an endpoint of
/// ours: what both sides of ours misread alike would show here.
@Suite(.timeLimit(.minutes(2))) struct TranscriptTests {
    private static let token = "2553feg6a2d9842h2a0gcdb5f8efe9934"
    private let foo = Key(raw: "foo")

    /// A store in front of a peer that gives these answers.
    private func withStore<R>(
        _ answers: TranscriptPeer.Answer..., configure: (inout UpstashConfiguration) -> Void = { _ in },
        _ body: (UpstashStore, TranscriptPeer) async throws -> R
    ) async throws -> R {
        let peer = try await TranscriptPeer.start(answers)
        var configuration = UpstashConfiguration(url: peer.url, token: Self.token)
        configuration.commandTimeout = .seconds(60)
        configure(&configuration)
        let store = try UpstashStore(configuration)
        let result: Result<R, any Error>
        do { result = .success(try await body(store, peer)) } catch { result = .failure(error) }
        await store.shutdown()
        try await peer.stop()
        return try result.get()
    }

    // MARK: - Commands

    @Test func aCommandIsAnArrayAndItsReplyIsBase64() async throws {
        try await withStore(
            TranscriptPeer.json(#"{"result":"OK"}"#), TranscriptPeer.json(#"{"result":"YmFy"}"#),
            TranscriptPeer.json(#"{"result":null}"#), TranscriptPeer.json(#"{"result":137}"#),
            TranscriptPeer.json(#"{ "result": ["dmFsdWUx", null, "dmFsdWUy"] }"#)
        ) { store, peer async throws in
            try await store(.set(foo, "bar", expiration: .after(.seconds(100))))
            #expect(try await store(.get(foo)) == "bar")
            #expect(try await store(.get(foo)) == nil)
            #expect(try await store(.incr(foo)) == 137)
            #expect(try await store(.mget([foo, foo, foo])) == ["value1", nil, "value2"])
            let first = try #require(peer.requests.first)
            #expect(first.line == "POST / HTTP/1.1")
            #expect(first.text == #"["SET","foo","bar","PX","100000"]"#)
            #expect(first.headers["authorization"] == "Bearer \(Self.token)")
            #expect(first.headers["upstash-encoding"] == "base64")
            #expect(
                peer.requests.map(\.text)[1...] == [
                    #"["GET","foo"]"#, #"["GET","foo"]"#, #"["INCRBY","foo","1"]"#, #"["MGET","foo","foo","foo"]"#,
                ])
        }
    }

    /// The shapes that the documentation of each command shows, which are RESP2's: hashes and scores are flat lists of texts, cursors and
    /// numbers with a fraction are texts. Encoded, all texts are, but for OK.
    @Test func repliesHaveTheShapesOfRESP2() async throws {
        let answers = [
            #"["YQ==","djE=","Yg==","djI="]"#, "[]", #"["djE=",null]"#, #"["YQ==","MQ==","Yg==","Mi41"]"#, #""Mi41""#, "null",
            #""aW5m""#,
            #"["MA==",["a2V5MQ=="]]"#, #"["MTc=",["YQ==","djE="]]"#, #"["YQ==","Yg=="]"#, #"["Yg=="]"#, #""Mi41""#, "null", "-2",
            "-1", "1500",
            #""c3RyaW5n""#, #""bm9uZQ==""#, "1", "0",
        ].map { TranscriptPeer.json(#"{"result":\#($0)}"#) }
        let peer = try await TranscriptPeer.start(answers)
        let store = try UpstashStore(UpstashConfiguration(url: peer.url, token: Self.token))
        #expect(try await store(.hgetall(foo)) == ["a": "v1", "b": "v2"])
        #expect(try await store(.hgetall(foo)) == [:])
        #expect(try await store(.hmget(foo, ["a", "b"])) == ["v1", nil])
        #expect(
            try await store(.zrangeWithScores(foo, SortedSetRange(.ranks(0, -1)))) == [
                ScoredMember("a", 1), ScoredMember("b", 2.5),
            ])
        #expect(try await store(.zscore(foo, "b")) == 2.5)
        #expect(try await store(.zscore(foo, "c")) == nil)
        #expect(try await store(.zscore(foo, "d")) == .infinity)
        let page = try await store(.scan(0))
        #expect(page.cursor == 0 && page.elements == [Key(raw: "key1")])
        let fields = try await store(.hscan(foo, 0))
        #expect(fields.cursor == 17 && fields.elements == [HashField("a", "v1")])
        #expect(try await store(.lrange(foo, 0, -1)) == ["a", "b"])
        #expect(try await store(.smembers(foo)) == ["b"])
        #expect(try await store(.incrbyfloat(foo, 1.5)) == 2.5)
        #expect(try await store(.lpop(foo)) == nil)
        #expect(try await store(.pttl(foo)) == .noSuchKey)
        #expect(try await store(.pttl(foo)) == .forever)
        #expect(try await store(.pttl(foo)) == .remaining(.milliseconds(1500)))
        #expect(try await store(.type(foo)) == .string)
        #expect(try await store(.type(foo)) == nil)
        #expect(try await store(.sismember(foo, "a")))
        #expect(try await store(.exists([foo])) == 0)
        await store.shutdown()
        try await peer.stop()
    }

    @Test func whatIsNoTextGoesAsTheBodyOfAPath() async throws {
        try await withStore(TranscriptPeer.json(#"{"result":1}"#), TranscriptPeer.json(#"{"result":"AP8="}"#)) {
            store, peer async throws in
            #expect(try await store(.publish(Channel("a/b c"), Bytes([0, 255]))) == 1)
            #expect(try await store(.get(foo)) == Bytes([0, 255]))
            #expect(peer.requests[0].line == "POST /PUBLISH/a%2Fb%20c HTTP/1.1")
            #expect(peer.requests[0].body == [0, 255])
        }
    }

    @Test func textIsEscapedAsJSONAsks() async throws {
        try await withStore(TranscriptPeer.json(#"{"result":"OK"}"#)) { store, peer async throws in
            try await store(.set(foo, Bytes("\"\\\u{0}\n\u{1F}é😀/")))
            #expect(peer.requests[0].text == #"["SET","foo","\"\\\u0000\u000A\u001Fé😀/"]"#)
        }
    }

    @Test func aPipelineAnswersEachCommand() async throws {
        let answer = """
            [{"result":"OK"},{"result":"OK"},{"error":"ERR value is not an int or out of range"},{"result":2}]
            """
        try await withStore(TranscriptPeer.json(answer)) { store, peer async throws in
            let batch: [Operation] = [
                .raw(["SET", "key1", "valuex"]), .raw(["SETEX", "key2", "13", "valuez"]), .raw(["INCR", "key1"]),
                .raw(["ZADD", "myset", "11", "item1", "22", "item2"]),
            ]
            let replies = try await store.execute(Batch(.pipeline, batch))
            #expect(
                replies == [.ok, .ok, .error(ReplyError("ERR value is not an int or out of range")), .integer(2)])
            #expect(peer.requests.map(\.line) == ["POST /pipeline HTTP/1.1"])
            #expect(
                peer.requests[0].text
                    == #"[["SET","key1","valuex"],["SETEX","key2","13","valuez"],["INCR","key1"],["ZADD","myset","11","item1","22","item2"]]"#
            )
        }
    }

    /// What is no text goes as a script, which a token, or a server without memory, may refuse: the others are answered all the same.
    @Test func aScriptThatIsRefusedIsOneErrorOfItsPipeline() async throws {
        let refusal = "NOPERM this user has no permissions to run the 'eval' command"
        let answer = #"[{"result":"OK"},{"error":"\#(refusal)"},{"result":2}]"#
        func refused(_ line: String) -> TranscriptPeer.Answer {
            TranscriptPeer.json(#"{"error":"\#(line)"}"#, status: "400 Bad Request")
        }
        try await withStore(
            TranscriptPeer.json(answer), refused(refusal), refused("ERR user_script:3: boom script: abc, on @user_script:3.")
        ) { store, peer async throws in
            let binary = Operation.raw(["HSET", "k", Bytes([255]), Bytes([254])])
            let replies = try await store.execute(
                Batch(.pipeline, [.raw(["SET", "a", "1"]), binary, .raw(["INCR", "a"])]))
            try #require(replies.count == 3)
            #expect(replies[0] == .ok && replies[2] == .integer(2))
            guard case .error(let error) = replies[1] else {
                Issue.record("\(replies[1])")
                return
            }
            #expect(error.line.hasPrefix(refusal) && error.line.contains("read-only token"))
            #expect(peer.requests[0].text.contains(#"["EVAL","#))
            // By itself it is thrown: refused at the door it has no effect, half-way it may have.
            for effect in [StoreError.Effect.none, .unknown] {
                let error = await #expect(throws: StoreError.self) { try await store.execute(binary) }
                #expect(error?.effect == effect, "\(error as Any)")
            }
        }
    }

    @Test func aTransactionIsAnsweredAsAWholeOrDiscarded() async throws {
        try await withStore(
            TranscriptPeer.json(#"[{"result":"OK"},{"error":"ERR value is not an int or out of range"}]"#),
            TranscriptPeer.json(
                #"{"error":"ERR Command is not available: 'NOSUCH'. See https://docs.upstash.com"}"#, status: "400 Bad Request")
        ) { store, peer async throws in
            let batch = Batch(.transaction, [.raw(["SET", "key1", "valuex"]), .raw(["INCR", "key1"])])
            let replies = try await store.execute(batch)
            #expect(replies == [.ok, .error(ReplyError("ERR value is not an int or out of range"))])
            let error = await #expect(throws: StoreError.self) {
                try await store.execute(Batch(.transaction, [.raw(["SET", "a", "b"]), .raw(["NOSUCH"])]))
            }
            #expect(error?.code == .unknownCommand && error?.effect == StoreError.Effect.none)
            #expect(peer.requests.map(\.line) == ["POST /multi-exec HTTP/1.1", "POST /multi-exec HTTP/1.1"])
        }
    }

    @Test func theSyncTokenIsSentBack() async throws {
        try await withStore(
            TranscriptPeer.json(#"{"result":"OK"}"#, headers: ["upstash-sync-token: AA==1"]),
            TranscriptPeer.json(#"{"result":null}"#)
        ) { store, peer async throws in
            try await store(.set(foo, "bar"))
            #expect(try await store(.get(foo)) == nil)
            #expect(peer.requests[0].headers["upstash-sync-token"] == nil)
            #expect(peer.requests[1].headers["upstash-sync-token"] == "AA==1")
        }
    }

    @Test func aScriptThatIsNotKnownIsTaught() async throws {
        let script = Script("test.one", version: 1, lua: "return 1") { (_, _, _, _) throws(ReplyError) in .integer(1) }
        try await withStore(
            TranscriptPeer.json(#"{"error":"NOSCRIPT No matching script. Please use EVAL."}"#, status: "400 Bad Request"),
            TranscriptPeer.json(#"{"result":1}"#)
        ) { store, peer async throws in
            let answer = try await store.run(Procedure(script, keys: [foo], arguments: ["x"]) { $0.integer })
            #expect(answer == 1)
            #expect(peer.requests[0].text.hasPrefix(#"["EVALSHA",""#))
            #expect(peer.requests[0].text.hasSuffix(#"","1","foo","","x"]"#))
            #expect(peer.requests[1].text.hasPrefix(##"["EVAL","#!lua\u000A"##))
        }
    }

    // MARK: - Errors

    @Test(
        arguments: [
            ("400 Bad Request", #"{"error":"ERR wrong number of arguments for 'get' command"}"#, ErrorCode.commandFailed),
            ("400 Bad Request", #"{"error":"WRONGTYPE Operation against a key holding the wrong kind of value"}"#, .wrongType),
            ("401 Unauthorized", #"{"error":"WRONGPASS invalid or missing auth token"}"#, .serverRefused),
            ("401 Unauthorized", "Unauthorized", .serverRefused), ("405 Method Not Allowed", "", .protocolViolation),
            ("400 Bad Request", #"{"error":"NOPERM this user has no permissions to run the 'get' command"}"#, .permissionMissing),
            ("404 Not Found", "<html>", .protocolViolation), ("200 OK", "<html>", .protocolViolation),
            ("302 Found", "", .protocolViolation),
            ("429 Too Many Requests", #"{"error":"ERR max requests limit exceeded"}"#, .serverBusy),
            ("503 Service Unavailable", "busy", .serverBusy), ("504 Gateway Timeout", "", .timeout),
            ("503 Service Unavailable", #"{"error":"LOADING the dataset"}"#, .serverLoading),
        ] as [(String, String, ErrorCode)])
    func failuresHaveTheirCodes(status: String, body: String, code: ErrorCode) async throws {
        try await withStore(TranscriptPeer.json(body, status: status), configure: { $0.retriesOnTimeout = false }) {
            store, _ async throws in
            let error = await #expect(throws: StoreError.self) { try await store(.get(foo)) }
            #expect(error?.code == code)
            #expect(error?.operation == "GET")
            #expect(error?.message.contains(Self.token) == false)
        }
    }

    @Test func aReadOnlyTokenIsNamed() async throws {
        let answer = #"{"error":"NOPERM this user has no permissions to run the 'set' command"}"#
        try await withStore(TranscriptPeer.json(answer, status: "400 Bad Request")) { store, _ async throws in
            let error = await #expect(throws: StoreError.self) { try await store(.set(foo, "x")) }
            #expect(error?.code == .permissionMissing && error?.message.contains("read-only token") == true)
            #expect(error?.effect == StoreError.Effect.none)
        }
    }

    @Test func aWriteWhoseAnswerIsLostIsNotSentAgain() async throws {
        try await withStore(.close) { store, peer async throws in
            let error = await #expect(throws: StoreError.self) { try await store(.incr(foo)) }
            #expect(error?.code == .connectionLost && error?.effect == .unknown)
            #expect(peer.requests.count == 1)
        }
        try await withStore(.close, TranscriptPeer.json(#"{"result":"YmFy"}"#)) { store, peer async throws in
            #expect(try await store(.get(foo)) == "bar")
            #expect(peer.requests.count == 2)
        }
    }

    @Test func alsoAnIdempotentWriteIsNotSentAgain() async throws {
        let script = Script("test.idempotent", version: 1, isIdempotent: true, lua: "return 1") {
            (_, _, _, _) throws(ReplyError) in .integer(1)
        }
        let binary = Bytes([255, 0])
        let writes: [(String, @Sendable (UpstashStore) async throws -> Void)] = [
            ("SET", { [foo] in try await $0(.set(foo, "bar")) }), ("SET of bytes", { [foo] in try await $0(.set(foo, binary)) }),
            ("DEL", { [foo] in _ = try await $0(.del(foo)) }),
            ("MSET", { _ = try await $0.execute(.raw(["MSET", "a", "1", "b", "2"])) }),
            ("HSET of bytes", { [foo] in _ = try await $0(.hset(foo, binary, "1")) }),
            ("pipeline", { [foo] in _ = try await $0.pipeline(.get(foo), .set(foo, Bytes("1"))) }),
            ("transaction", { [foo] in _ = try await $0.transaction(.get(foo), .set(foo, Bytes("1"))) }),
            ("carried transaction", { [foo] in _ = try await $0.transaction(.get(foo), .set(foo, binary)) }),
            ("procedure", { [foo] in _ = try await $0.run(Procedure(script, keys: [foo], arguments: []) { $0.integer }) }),
        ]
        for (name, write) in writes {
            try await withStore(.close, TranscriptPeer.json(#"{"result":"OK"}"#)) { store, peer async throws in
                let error = await #expect(throws: StoreError.self, "\(name)") { try await write(store) }
                #expect(error?.code == .connectionLost && error?.effect == .unknown, "\(name)")
                #expect(peer.requests.count == 1, "\(name)")
            }
        }
    }

    @Test func readsThatGoTogetherAreSentAgain() async throws {
        let both = TranscriptPeer.json(#"[{"result":"YmFy"},{"result":null}]"#)
        try await withStore(.close, both, .close, both) { store, peer async throws in
            let piped = try await store.pipeline(.get(foo), .get(foo))
            #expect(piped.0 == "bar" && piped.1 == nil)
            let together = try await store.transaction(.get(foo), .get(foo))
            #expect(together.0 == "bar" && together.1 == nil)
            #expect(peer.requests.count == 4)
        }
        let carried = TranscriptPeer.json(#"{"result":[[0,"YmFy"],[0,null]]}"#)
        try await withStore(.close, carried) { store, peer async throws in
            let key = Key(raw: Bytes([255]))
            let together = try await store.transaction(.get(key), .get(foo))
            #expect(together.0 == "bar" && together.1 == nil)
            #expect(peer.requests.count == 2)
        }
    }

    @Test func aCallEndsWithItsDeadlineItsTimeoutOrItsTask() async throws {
        try await withStore(.silence, configure: { $0.commandTimeout = .milliseconds(50) }) { store, peer async throws in
            let error = await #expect(throws: StoreError.self) { try await store(.incr(foo)) }
            #expect(error?.code == .timeout && error?.effect == .unknown)
            #expect(peer.requests.count <= 1)
        }
        try await withStore(.silence) { store, _ async throws in
            let context = CallContext(deadline: SystemTime.system.uptime + .milliseconds(50))
            let error = await #expect(throws: StoreError.self) {
                try await context.run { () async throws(StoreError) in try await store(.incr(foo)) }
            }
            #expect(error?.code == .deadlineExceeded)
            let past = CallContext(deadline: SystemTime.system.uptime)
            let late = await #expect(throws: StoreError.self) {
                try await past.run { () async throws(StoreError) in try await store(.incr(foo)) }
            }
            #expect(late?.code == .deadlineExceeded && late?.effect == StoreError.Effect.none)
            let task = Task { try await store(.incr(foo)) }
            task.cancel()
            let cancelled = await #expect(throws: StoreError.self) { try await task.value }
            #expect(cancelled?.code == .cancelled)
        }
    }

    @Test func nobodyThereIsNoEffect() async throws {
        let peer = try await TranscriptPeer.start([.close])
        try await peer.stop()
        let store = try UpstashStore(UpstashConfiguration(url: peer.url, token: "t"))
        let error = await #expect(throws: StoreError.self) { try await store(.incr(foo)) }
        #expect(error?.code == .connectionFailed && error?.effect == StoreError.Effect.none && error?.isServerFailure == true)
        await store.shutdown()
    }

    @Test func sizesAreCheckedBeforeAnythingIsSent() async throws {
        try await withStore(TranscriptPeer.json(#"{"result":"OK"}"#)) { store, peer async throws in
            let key = Key(raw: Bytes([UInt8](repeating: 107, count: 32 * 1024 + 1)))
            let long = await #expect(throws: StoreError.self) { try await store(.get(key)) }
            #expect(long?.code == .tooLarge && long?.field == "key")
            let value = Bytes([UInt8](repeating: 118, count: 10 * 1024 * 1024))
            let large = await #expect(throws: StoreError.self) { try await store(.set(foo, value)) }
            #expect(large?.code == .tooLarge && large?.effect == StoreError.Effect.none)
            #expect(peer.requests.isEmpty)
        }
    }

    /// It says nothing against the endpoint, and would be as large the next time.
    @Test func anAnswerThatIsTooLargeIsNoLostConnection() async throws {
        let answer = TranscriptPeer.json(#"{"result":\#(String(repeating: "1", count: 18))}"#)
        try await withStore(answer, configure: { $0.maximumResponseBytes = 20 }) { store, peer async throws in
            let read = await #expect(throws: StoreError.self) { try await store(.get(foo)) }
            #expect(read?.code == .tooLarge && read?.effect == StoreError.Effect.none && read?.isServerFailure == false)
            #expect(peer.requests.count == 1)
            let written = await #expect(throws: StoreError.self) { try await store(.incr(foo)) }
            #expect(written?.code == .tooLarge && written?.effect == .unknown && written?.isServerFailure == false)
            #expect(peer.requests.count == 2)
        }
    }

    // MARK: - Streams

    @Test(arguments: ["\n\n", "\n"])
    func messagesAreSplitAtTheirFirstCommas(lineEnd: String) async throws {
        let lines = ["subscribe,chat,1", "message,chat,hello", "message,chat,how are you, today?", "message,chat,"]
        let text = lines.map { "data: \($0)\(lineEnd)" }.joined()
        try await withStore(TranscriptPeer.stream(text)) { store, peer async throws in
            let messages = try await store.withSubscription(to: [.channel(Channel("chat"))]) { subscription async throws in
                var iterator = subscription.makeAsyncIterator()
                return [await iterator.next(), await iterator.next(), await iterator.next()]
            }
            let expected: [Bytes] = ["hello", "how are you, today?", ""]
            #expect(messages == expected.map { .message(channel: Channel("chat"), payload: $0) })
            #expect(peer.requests[0].line == "POST /subscribe/chat HTTP/1.1")
            #expect(peer.requests[0].headers["accept"] == "text/event-stream")
        }
    }

    @Test func aPatternsMessagesNameTheirChannel() async throws {
        let text = "data: psubscribe,c*,1\n\ndata: pmessage,c*,chat,a,b\n\n: heartbeat\n\ndata: pmessage,c*,cat,x\n\n"
        try await withStore(TranscriptPeer.stream(text)) { store, peer async throws in
            let messages = try await store.withSubscription(to: [.pattern("c*")]) { subscription async throws in
                var iterator = subscription.makeAsyncIterator()
                return [await iterator.next(), await iterator.next()]
            }
            #expect(
                messages == [
                    .message(channel: Channel("chat"), payload: "a,b"), .message(channel: Channel("cat"), payload: "x"),
                ])
            #expect(peer.requests[0].line == "POST /psubscribe/c%2A HTTP/1.1")
        }
    }

    @Test func aSubscriptionThatIsRefusedSaysSo() async throws {
        let answer = TranscriptPeer.json(#"{"error":"WRONGPASS invalid or missing auth token"}"#, status: "401 Unauthorized")
        try await withStore(answer) { store, _ async throws in
            let error = await #expect(throws: StoreError.self) {
                try await store.withSubscription(to: [.channel(Channel("chat"))]) { _ async throws in }
            }
            #expect(error?.code == .serverRefused)
        }
    }

    /// The endpoint answers, and goes on sending signs of life.
    @Test func aSubscriptionThatIsNeverConfirmedEndsInTime() async throws {
        let answer = TranscriptPeer.stream(": heartbeat\n\n")
        try await withStore(answer, configure: { $0.commandTimeout = .milliseconds(100) }) { store, _ async throws in
            let error = await #expect(throws: StoreError.self) {
                try await store.withSubscription(to: [.channel(Channel("chat"))]) { _ async throws in }
            }
            #expect(error?.code == .timeout)
        }
        try await withStore(answer) { store, _ async throws in
            let context = CallContext(deadline: SystemTime.system.uptime + .milliseconds(100))
            let error = await #expect(throws: StoreError.self) {
                try await CallContext.$current.withValue(context) {
                    try await store.withSubscription(to: [.channel(Channel("chat"))]) { _ async throws in }
                }
            }
            #expect(error?.code == .deadlineExceeded)
        }
    }

    @Test func whoNamesAChannelTwiceListensOnce() async throws {
        try await withStore(TranscriptPeer.stream("data: subscribe,chat,1\n\n")) { store, peer async throws in
            let twice: [ChannelSelector] = [.channel(Channel("chat")), .channel(Channel("chat"))]
            try await store.withSubscription(to: twice) { _ async throws in }
            #expect(peer.requests.count == 1)
        }
    }

    private static let firstStream = TranscriptPeer.stream("data: subscribe,chat,1\n\ndata: message,chat,END\n\n")

    /// What will be answered again however often it is asked.
    @Test(
        arguments: [
            ("400 Bad Request", #"{"error":"ERR wrong number of arguments"}"#, ErrorCode.commandFailed),
            (
                "400 Bad Request", #"{"error":"NOPERM this user has no permissions to run the 'subscribe' command"}"#,
                .permissionMissing
            ),
            ("400 Bad Request", "<html>", .protocolViolation),
            ("401 Unauthorized", #"{"error":"WRONGPASS invalid or missing auth token"}"#, .serverRefused),
            ("403 Forbidden", "", .serverRefused), ("404 Not Found", "<html>", .protocolViolation),
            ("405 Method Not Allowed", "", .protocolViolation), ("302 Found", "", .protocolViolation),
            ("308 Permanent Redirect", "", .protocolViolation),
        ] as [(String, String, ErrorCode)])
    func aRefusalForGoodEndsTheSubscription(status: String, body: String, code: ErrorCode) async throws {
        try await withStore(Self.firstStream, TranscriptPeer.json(body, status: status)) { store, peer async throws in
            let heard = Locked<[Subscription.Event]>([])
            let error = await #expect(throws: StoreError.self) {
                try await store.withSubscription(to: [.channel(Channel("chat"))]) { subscription async throws in
                    for await event in subscription { heard.withLock { $0.append(event) } }
                }
            }
            #expect(error?.code == code && error?.operation == "SUBSCRIBE", "\(error as Any)")
            #expect(heard.withLock { $0 } == [.message(channel: Channel("chat"), payload: "END")])
            #expect(peer.requests.count == 2)
        }
    }

    /// What passes: the stream is made again, and the gap told.
    @Test(
        arguments: [
            TranscriptPeer.json(#"{"error":"ERR max requests limit exceeded"}"#, status: "429 Too Many Requests"),
            TranscriptPeer.json("", status: "500 Internal Server Error"),
            TranscriptPeer.json("busy", status: "503 Service Unavailable"),
            TranscriptPeer.json("", status: "504 Gateway Timeout"), TranscriptPeer.json("", status: "408 Request Timeout"),
            TranscriptPeer.json(#"{"error":"LOADING the dataset"}"#, status: "400 Bad Request"), .close,
        ])
    func whatPassesIsTriedAgain(answer: TranscriptPeer.Answer) async throws {
        try await withStore(
            Self.firstStream, answer, answer,
            TranscriptPeer.stream("data: subscribe,chat,1\n\ndata: message,chat,two\n\n")
        ) { store, peer async throws in
            let events = try await store.withSubscription(to: [.channel(Channel("chat"))]) { subscription async throws in
                var iterator = subscription.makeAsyncIterator()
                return [await iterator.next(), await iterator.next(), await iterator.next()]
            }
            #expect(
                events == [
                    .message(channel: Channel("chat"), payload: "END"), .gap(missed: nil),
                    .message(channel: Channel("chat"), payload: "two"),
                ])
            #expect(peer.requests.count == 4)
        }
    }

    /// The pause doubles: before the twelfth stream they add up to more than a second, however the jitter falls.
    @Test func streamsThatBringNothingAreMadeAgainEverMoreSlowly() async throws {
        let answer = TranscriptPeer.stream("data: subscribe,chat,1\n\n: END\n\n")
        let backoff = Duration.milliseconds(1)...(.seconds(3600))
        try await withStore(answer, configure: { $0.reconnectBackoff = backoff }) { store, peer async throws in
            let start = ContinuousClock.now
            try await store.withSubscription(to: [.channel(Channel("chat"))]) { _ async throws in
                try await eventually("twelve streams") { peer.requests.count >= 12 }
            }
            #expect(ContinuousClock.now - start >= .seconds(1))
        }
        // With a message the pause begins anew: thirty would take weeks else.
        try await withStore(Self.firstStream, configure: { $0.reconnectBackoff = backoff }) { store, peer async throws in
            try await store.withSubscription(to: [.channel(Channel("chat"))]) { _ async throws in
                try await eventually("thirty streams") { peer.requests.count >= 30 }
            }
        }
    }

    // MARK: - Settings

    @Test func noFormOfAConfigurationShowsItsToken() {
        let configuration = UpstashConfiguration(url: "https://user:hidden@h", token: Self.token)
        var dumped = ""
        dump([configuration], to: &dumped)
        for text in ["\(configuration)", String(describing: [configuration]), String(reflecting: configuration), dumped] {
            #expect(!text.contains(Self.token) && !text.contains("hidden") && text.contains("***"), "\(text)")
        }
    }

    @Test func settingsThatCannotWorkAreNamed() throws {
        for url in ["", "redis://h", "https://", "https:///x", "https://h?a=b", "https://h x"] {
            let error = #expect(throws: StoreError.self) { try UpstashStore(UpstashConfiguration(url: url, token: "t")) }
            #expect(error?.field == "url", "\(url)")
        }
        let error = #expect(throws: StoreError.self) { try UpstashStore(UpstashConfiguration(url: "https://h", token: "a b")) }
        #expect(error?.field == "token")
        let wrong: [(String, (inout UpstashConfiguration) -> Void)] = [
            ("reconnectBackoff", { $0.reconnectBackoff = .zero ... .seconds(1) }),
            ("streamIdleLimit", { $0.streamIdleLimit = .zero }), ("commandTimeout", { $0.commandTimeout = .zero }),
        ]
        for (field, change) in wrong {
            var configuration = UpstashConfiguration(url: "https://h", token: "t")
            change(&configuration)
            let error = #expect(throws: StoreError.self) { try UpstashStore(configuration) }
            #expect(error?.field == field && error?.code == .invalidArgument)
        }
    }
}
