import HoldfastRESP
import HoldfastStore
import TestServers
import Testing

@Suite struct PubSubTests {
    private func next(_ client: RawClient) throws -> String { String(decoding: try client.reply() ?? [], as: UTF8.self) }

    @Test func messagesReachWhoListensAndOnlyThem() async throws {
        try await ServedStore.with { served in
            let (listener, sender) = (try served.connect(), try served.connect())
            #expect(try listener("SUBSCRIBE", "a") == "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
            #expect(try listener("PSUBSCRIBE", "b*") == "*3\r\n$10\r\npsubscribe\r\n$2\r\nb*\r\n:2\r\n")
            #expect(try sender("PUBLISH", "a", "1") == ":1\r\n")
            #expect(try sender("PUBLISH", "b2", "2") == ":1\r\n")
            #expect(try sender("PUBLISH", "c", "3") == ":0\r\n")
            #expect(try next(listener) == "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n")
            #expect(try next(listener) == "*4\r\n$8\r\npmessage\r\n$2\r\nb*\r\n$2\r\nb2\r\n$1\r\n2\r\n")
            #expect(try listener("GET", "x").hasPrefix("-ERR Can't execute 'get': only (P|S)SUBSCRIBE"))
            #expect(try listener("PING") == "*2\r\n$4\r\npong\r\n$0\r\n\r\n")
            #expect(try sender("PUBSUB", "NUMSUB", "a", "z") == "*4\r\n$1\r\na\r\n:1\r\n$1\r\nz\r\n:0\r\n")
            #expect(try listener("UNSUBSCRIBE") == "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n")
            #expect(try listener("PUNSUBSCRIBE") == "*3\r\n$12\r\npunsubscribe\r\n$2\r\nb*\r\n:0\r\n")
            #expect(try sender("PUBLISH", "a", "4") == ":0\r\n")
            #expect(try listener("GET", "x") == "$-1\r\n")
        }
    }

    @Test func shardChannelsAreForThemselves() async throws {
        try await ServedStore.with { served in
            let (listener, sender) = (try served.connect(), try served.connect())
            #expect(try listener("SUBSCRIBE", "a").hasSuffix(":1\r\n"))
            #expect(try listener("SSUBSCRIBE", "a") == "*3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n")
            #expect(try sender("SPUBLISH", "a", "1") == ":1\r\n")
            #expect(try next(listener) == "*3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$1\r\n1\r\n")
            #expect(try sender("PUBSUB", "SHARDCHANNELS") == "*1\r\n$1\r\na\r\n")
            #expect(try sender("PUBSUB", "SHARDNUMSUB", "a", "b") == "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n")
            #expect(try listener("SUNSUBSCRIBE") == "*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n")
            #expect(try sender("SPUBLISH", "a", "2") == ":0\r\n")
            #expect(try sender("PUBLISH", "a", "3") == ":1\r\n")
            #expect(try next(listener) == "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n3\r\n")
        }
    }

    @Test func publicationsOfTheProcessArriveInOrder() async throws {
        try await ServedStore.with { served in
            let (listener, sender) = (try served.connect(), try served.connect())
            _ = try listener("HELLO", "3")
            #expect(try listener("SUBSCRIBE", "a").hasPrefix(">3\r\n"))
            for number in 0..<300 {
                if number % 3 == 0 {
                    #expect(try sender("PUBLISH", "a", "\(number)") == ":1\r\n")
                } else {
                    #expect(try await served.store(.publish(Channel("a"), Bytes(Int64(number)))) == 1)
                }
            }
            for number in 0..<300 { #expect(try next(listener).hasSuffix("\r\n\(number)\r\n")) }
            #expect(try listener("PING") == "+PONG\r\n")
        }
    }

    /// Each pattern that matches has its own copy of the message, before any of them can be sent.
    @Test func onePublicationFillsNoMemory() async throws {
        try await ServedStore.with(configured: { $0.listenerOutputBytes = 64 << 10 }) { served in
            let (listener, sender) = (try served.connect(), try served.connect())
            let patterns = (0..<8).map { String("publication".prefix($0)) + "*" }
            for pattern in patterns { #expect(try listener("PSUBSCRIBE", pattern).contains("psubscribe")) }
            let payload = String(repeating: "x", count: 32 << 10)
            #expect(try sender("PUBLISH", "publication", payload) == ":8\r\n")
            #expect(try listener.rest().utf8.count <= 64 << 10)
            try await eventually("the listener is gone") { try sender("PUBLISH", "publication", payload) == ":0\r\n" }
        }
    }

    /// A byte that is no text takes four in a line of MONITOR.
    @Test func oneCommandFillsNoMemoryOfThoseWhoMonitor() async throws {
        try await ServedStore.with(configured: { $0.listenerOutputBytes = 64 << 10 }) { served in
            let (watcher, client) = (try served.connect(), try served.connect())
            for size in [32 << 10, 128 << 10] {
                let watcher = try served.connect()
                #expect(try watcher("MONITOR") == "+OK\r\n")
                client.send(["SET", "a", Bytes([UInt8](repeating: 0, count: size))])
                #expect(try client.reply() == Array("+OK\r\n".utf8))
                #expect(try watcher.rest() == "")
            }
            #expect(try watcher("MONITOR") == "+OK\r\n")
            #expect(try client("PING") == "+PONG\r\n")
            #expect(try String(decoding: watcher.reply() ?? [], as: UTF8.self).hasSuffix("\"PING\"\r\n"))
            // One who watches itself is lost within its own transaction, whose answer then has nowhere to stand.
            let own = try served.connect()
            own.send(["MONITOR"])
            own.send(["MULTI"])
            own.send(["ECHO", Bytes([UInt8](repeating: 0, count: 128 << 10))])
            own.send(["EXEC"])
            _ = try own.rest()
            #expect(try client("PING") == "+PONG\r\n")
        }
    }

    @Test func oneWhoListensAndDoesNotReadIsDisconnected() async throws {
        try await ServedStore.with(configured: { $0.listenerOutputBytes = 64 << 10 }) { served in
            let listener = try served.connect()
            _ = try listener("SUBSCRIBE", "flood")
            let payload = Bytes([UInt8](repeating: 1, count: 64 << 10))
            var rounds = 0
            // The sockets' own buffers take a few megabytes.
            while try await served.store(.publish(Channel("flood"), payload)) > 0, rounds < 20_000 {
                rounds += 1
                if rounds.isMultiple(of: 100) { try await Task.sleep(for: .milliseconds(5)) }
            }
            #expect(rounds < 20_000)
            let client = try served.connect()
            #expect(try client("PING") == "+PONG\r\n")
        }
    }
}
