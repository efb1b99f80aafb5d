import HoldfastRESP
import HoldfastStore
import Testing

@Suite struct ConnectionTests {
    @Test func commandsReachTheStoreThatOthersUse() async throws {
        try await ServedStore.with { served in
            let client = try served.connect()
            #expect(try client("SET", "a", "1") == "+OK\r\n")
            #expect(try await served.store(.get(Key(raw: "a"))) == "1")
            try await served.store(.set(Key(raw: "b"), "2"))
            #expect(try client("GET", "b") == "$1\r\n2\r\n")
        }
    }

    @Test func aPipelineIsAnsweredInOrderHoweverItIsCut() async throws {
        var writer = CommandWriter()
        for command: [Bytes] in [
            ["SET", "k", "v"], ["GET", "k"], ["NOSUCH"], ["MULTI"], ["INCR", "n"], ["EXEC"], ["HELLO", "3"], ["GET", "none"],
            ["QUIT"],
        ] {
            writer.command(command)
        }
        let bytes = writer.buffer
        try await ServedStore.with { served in
            let whole = try served.connect()
            whole.send(bytes)
            let expected = try whole.rest()
            #expect(expected.hasSuffix("_\r\n+OK\r\n"))
            let pieces = try served.connect()
            _ = try pieces("FLUSHALL")
            for byte in bytes { pieces.send([byte]) }
            // The clients' numbers differ, and nothing else.
            #expect(try pieces.rest() == expected.replacing("$2\r\nid\r\n:1\r\n", with: "$2\r\nid\r\n:2\r\n"))
        }
    }

    @Test func aValueOfMegabytesComesBackWhole() async throws {
        let value = Bytes((0..<(5 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        try await ServedStore.with { served in
            let client = try served.connect()
            client.send(["SET", "big", value])
            #expect(try client.reply() == Array("+OK\r\n".utf8))
            client.send(["GET", "big"])
            #expect(try client.reply() == Array("$\(value.count)\r\n".utf8) + Array(value) + [13, 10])
        }
    }

    @Test func hostileRequestsEndTheConnectionWithAReason() async throws {
        try await ServedStore.with { served in
            let client = try served.connect()
            client.send("*1\r\n$99999999999\r\n")
            #expect(try client.rest() == "-ERR Protocol error: invalid bulk length\r\n")
            let browser = try served.connect()
            browser.send("POST / HTTP/1.1\r\nSET injected 1\r\n")
            _ = try browser.rest()
            #expect(try await served.store(.exists(Key(raw: "injected"))) == false)
        }
    }

    @Test func aPasswordIsAskedFor() async throws {
        try await ServedStore.with(configured: { $0.password = "secret" }) { served in
            let client = try served.connect()
            #expect(try client("GET", "a") == "-NOAUTH Authentication required.\r\n")
            #expect(try client("HELLO", "3").hasPrefix("-NOAUTH HELLO must be called"))
            let refusal = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
            #expect(try client("AUTH", "wrong") == refusal)
            #expect(try client("AUTH", "secre") == refusal)
            #expect(try client("AUTH", "") == refusal)
            #expect(try client("AUTH", "other", "secret") == refusal)
            #expect(try client("AUTH", "default", "secret") == "+OK\r\n")
            #expect(try client("GET", "a") == "$-1\r\n")
            #expect(try client("RESET") == "+RESET\r\n")
            #expect(try client("GET", "a") == "-NOAUTH Authentication required.\r\n")
            let other = try served.connect()
            #expect(try other("HELLO", "3", "AUTH", "default", "secret").hasPrefix("%7\r\n"))
            #expect(try other("GET", "a") == "_\r\n")
            let flood = try served.connect()
            flood.send("*1000\r\n")
            #expect(try flood.rest() == "-ERR Protocol error: unauthenticated multibulk length\r\n")
        }
    }

    @Test func tooManyClientsAreTurnedAway() async throws {
        try await ServedStore.with(configured: { $0.maximumClients = 1 }) { served in
            let first = try served.connect()
            #expect(try first("PING") == "+PONG\r\n")
            let second = try served.connect()
            #expect(try second.rest() == "-ERR max number of clients reached\r\n")
            #expect(try first("PING") == "+PONG\r\n")
        }
    }

    @Test func oneReplyIsNoLargerThanAClientsOutputMayBe() async throws {
        try await ServedStore.with(configured: { $0.outputBytes = 1 << 20 }) { served in
            let value = Bytes([UInt8](repeating: 1, count: 256 << 10))
            try await served.store(.set(Key(raw: "b"), value))
            let (few, many) = (try served.connect(), try served.connect())
            few.send(["MGET", "b", "b"])
            #expect(try few.reply()?.count ?? 0 > 512 << 10)
            many.send(["MGET"] + [Bytes](repeating: "b", count: 100))
            many.send(["SET", "behind", "1"])
            #expect(try many.rest() == "")
            #expect(try few("EXISTS", "behind") == ":0\r\n")
        }
    }

    @Test func aTransactionWhoseAnswerIsTooLargeIsCarriedOutAndEndsItsConnection() async throws {
        try await ServedStore.with(configured: { $0.outputBytes = 1 << 20 }) { served in
            let value = Bytes([UInt8](repeating: 1, count: 256 << 10))
            try await served.store(.set(Key(raw: "b"), value))
            let transactions: [[[Bytes]]] = [
                [["MGET"] + [Bytes](repeating: "b", count: 100), ["INCR", "n"]],
                [["INCR", "n"]] + [[Bytes]](repeating: ["ECHO", value], count: 100),
            ]
            for (index, commands) in transactions.enumerated() {
                let client = try served.connect()
                for command in [["MULTI"]] + commands {
                    client.send(command)
                    #expect(try client.reply()?.first == UInt8(ascii: "+"))
                }
                client.send(["EXEC"])
                #expect(try client.rest() == "")
                let number = try await served.store(.get(Key(raw: "n")))
                #expect(number?.integer == Int64(index + 1))
            }
        }
    }

    @Test func aClientIsListedAndKilled() async throws {
        try await ServedStore.with { served in
            let (killer, victim) = (try served.connect(), try served.connect())
            #expect(try victim("CLIENT", "SETNAME", "victim") == "+OK\r\n")
            #expect(try killer("CLIENT", "LIST").contains("name=victim"))
            let id = try victim("CLIENT", "ID").filter(\.isNumber)
            #expect(try killer("CLIENT", "KILL", "ID", id) == ":1\r\n")
            #expect(try victim.rest() == "")
            #expect(try !killer("CLIENT", "LIST").contains("name=victim"))
        }
    }

    @Test func clientReplyOffAndSkipAnswerNothing() async throws {
        try await ServedStore.with { served in
            let client = try served.connect()
            client.send(
                "CLIENT REPLY SKIP\r\nSET a 1\r\nGET a\r\nCLIENT REPLY OFF\r\nSET a 2\r\nGET a\r\nCLIENT REPLY ON\r\nQUIT\r\n")
            #expect(try client.rest() == "$1\r\n1\r\n+OK\r\n+OK\r\n")
        }
    }

    @Test func userLuaIsRefusedInPlainWords() async throws {
        try await ServedStore.with { served in
            let client = try served.connect()
            for command in ["EVAL", "EVALSHA", "FCALL"] {
                #expect(try client(command, "return 1", "0").contains("user Lua runs on servers only"))
            }
            #expect(try client("BLPOP", "a", "1").hasPrefix("-ERR unknown command 'BLPOP'"))
            #expect(try client("SELECT", "1") == "-ERR DB index is out of range\r\n")
        }
    }

    @Test func monitorShowsWhatOthersDo() async throws {
        try await ServedStore.with { served in
            let (watcher, client) = (try served.connect(), try served.connect())
            #expect(try watcher("MONITOR") == "+OK\r\n")
            #expect(try client("SET", "a", "x\"y\n") == "+OK\r\n")
            let line = String(decoding: try #require(try watcher.reply()), as: UTF8.self)
            #expect(line.hasSuffix(#"] "SET" "a" "x\"y\n""# + "\r\n"))
        }
    }

    @Test func aServerThatEndsEndsItsConnections() async throws {
        let client = try await ServedStore.with { served in
            let client = try served.connect()
            _ = try client("PING")
            return UncheckedBox(client)
        }
        #expect(try client.value.rest() == "")
    }
}

/// Hands a client from one task to the next; only one of them uses it.
struct UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
