import HoldfastStore
import Testing

@Suite struct ConnectionTests {
    @Test func commandsAreAnswered() async throws {
        try await ServedStore.with { served in
            let client = try served.connect()
            #expect(try client("PING") == "+PONG\r\n")
            #expect(try client("SET", "a", "1") == "+OK\r\n")
            #expect(try client("GET", "a") == "$1\r\n1\r\n")
            #expect(try client("GET", "nothing") == "$-1\r\n")
            #expect(try client("INCR", "a") == ":2\r\n")
            #expect(try await served.store(.get(Key(raw: "a"))) == "2")
        }
    }
}
