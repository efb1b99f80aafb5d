import HoldfastRESP
import HoldfastStore
import Testing

@Suite struct TransactionTests {
    /// What another does between WATCH and EXEC, and whether that undoes the transaction.
    private static let interventions: [(before: [String], between: [String], isUndone: Bool)] = [
        (["SET k 1"], ["SET k 1"], true), (["SET k 1"], ["GET k"], false), (["SET k 1"], ["SET other 1"], false),
        (["SET k 1"], ["DEL k"], true), (["SET k 1"], ["DEL k", "SET k 1"], true), (["SET k 1"], ["PEXPIRE k 100000"], true),
        (["SET k 1"], ["FLUSHALL"], true), (["SET k 1"], ["RENAME k other"], true), ([], ["SET k 1"], true),
        ([], ["DEL k"], false),
        ([], ["SET k 1", "DEL k"], true), ([], ["FLUSHALL"], false), (["RPUSH k a"], ["LPOP k"], true),
        (["SADD k a"], ["SADD k a"], false), (["HSET k f v"], ["HSET k f w"], true), (["SET k 1 PX 1"], ["wait"], true),
    ]

    @Test func watchedEntriesUndoATransactionWhenTheyChange() async throws {
        try await ServedStore.with { served in
            for (before, between, isUndone) in Self.interventions {
                let (client, other) = (try served.connect(), try served.connect())
                _ = try other("FLUSHALL")
                if before == ["SET k 1 PX 1"] {
                    // Watched while it is there, gone by the time of EXEC.
                    _ = try other("SET", "k", "1", "PX", "3000")
                    _ = try client("WATCH", "k")
                    _ = try other("PEXPIRE", "k", "1")
                } else {
                    for line in before { _ = try send(line, other) }
                    _ = try client("WATCH", "k")
                    for line in between { _ = try send(line, other) }
                }
                _ = try client("MULTI")
                #expect(try client("SET", "done", "1") == "+QUEUED\r\n")
                #expect(try client("EXEC") == (isUndone ? "*-1\r\n" : "*1\r\n+OK\r\n"), "\(before) \(between)")
            }
        }
    }

    private func send(_ line: String, _ client: RawClient) throws -> [UInt8]? {
        client.send(line + "\r\n")
        return try client.reply()
    }

    @Test func unwatchedEntriesUndoNothing() async throws {
        try await ServedStore.with { served in
            let (client, other) = (try served.connect(), try served.connect())
            for command in ["UNWATCH", "DISCARD"] {
                _ = try client("WATCH", "k", "absent")
                if command == "DISCARD" { _ = try client("MULTI") }
                #expect(try client(command) == "+OK\r\n")
                _ = try other("SET", "k", "\(command)")
                _ = try client("MULTI")
                #expect(try client("EXEC") == "*0\r\n")
            }
        }
    }

    @Test func answersStandInTheirPlacesWhateverCommandsAreQueued() async throws {
        try await ServedStore.with { served in
            let (client, listener) = (try served.connect(), try served.connect())
            _ = try listener("SUBSCRIBE", "news")
            _ = try client("MULTI")
            for line in ["SET a 1", "CLIENT GETNAME", "INCR a", "PUBLISH news hello", "LPOP none 1", "GET a", "SELECT 7"] {
                #expect(try send(line, client) == Array("+QUEUED\r\n".utf8))
            }
            #expect(
                try client("EXEC") == "*7\r\n+OK\r\n$-1\r\n:2\r\n:1\r\n*-1\r\n$1\r\n2\r\n-ERR DB index is out of range\r\n")
            #expect(try listener.reply() == Array("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n".utf8))
        }
    }

    @Test func arefusedCommandDiscardsAll() async throws {
        try await ServedStore.with(configured: { $0.transactionBytes = 10_000 }) { served in
            let client = try served.connect()
            for wrong in ["NOSUCH", "GET", "SET a \(String(repeating: "x", count: 10_000))"] {
                _ = try client("MULTI")
                #expect(try send("SET a 1", client) == Array("+QUEUED\r\n".utf8))
                #expect(try send(wrong, client)?.first == UInt8(ascii: "-"))
                #expect(try client("EXEC") == "-EXECABORT Transaction discarded because of previous errors.\r\n")
                #expect(try client("GET", "a") == "$-1\r\n")
            }
        }
    }

    /// What MONITOR does not show by itself it does not show within a transaction.
    @Test func monitorShowsNoPasswordsOfATransaction() async throws {
        try await ServedStore.with { served in
            let (watcher, client) = (try served.connect(), try served.connect())
            #expect(try watcher("MONITOR") == "+OK\r\n")
            _ = try client("MULTI")
            for line in ["AUTH hunter2", "CONFIG SET requirepass hunter2", "SET a 1"] {
                #expect(try send(line, client) == Array("+QUEUED\r\n".utf8))
            }
            _ = try client("EXEC")
            var shown: [String] = []
            while !shown.contains(where: { $0.contains(#""SET" "a" "1""#) }) {
                shown.append(String(decoding: try #require(try watcher.reply()), as: UTF8.self))
            }
            #expect(!shown.contains { $0.contains("hunter2") }, "\(shown)")
        }
    }
}
