import HoldfastStore
import Testing

@testable import HoldfastRedis

/// What a server says of changes, from its bytes to what it means.
@Suite struct InvalidationMessageTests {
    private func messages(_ wire: String) throws -> [InvalidationMessage] {
        var parser = RESPParser(limits: .init())
        Array(wire.utf8).withUnsafeBytes { parser.feed($0) }
        var messages: [InvalidationMessage] = []
        while let item = try parser.next() { messages.append(InvalidationMessage(item)) }
        return messages
    }

    private static let channel = "$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"

    @Test func keysAreChanged() throws {
        let keys = "*2\r\n$1\r\na\r\n$3\r\np:b\r\n"
        let expected: [InvalidationMessage] = [.changed([Key(raw: "a"), Key(raw: "p:b")])]
        #expect(try messages(">2\r\n$10\r\ninvalidate\r\n" + keys) == expected)
        #expect(try messages("*3\r\n" + Self.channel + keys) == expected)
        #expect(try messages(">2\r\n$10\r\ninvalidate\r\n*0\r\n") == [.changed([])])
    }

    /// RESP3 has one null; RESP2 has that of an array, and that of a string.
    @Test func nullInPlaceOfKeysIsAFlush() throws {
        for null in ["_\r\n", "*-1\r\n", "$-1\r\n"] {
            #expect(try messages(">2\r\n$10\r\ninvalidate\r\n" + null) == [.flushed], "\(null)")
            #expect(try messages("*3\r\n" + Self.channel + null) == [.flushed], "\(null)")
        }
    }

    @Test func whatIsNoListOfKeysIsTakenForTheWorst() throws {
        #expect(try messages(">2\r\n$10\r\ninvalidate\r\n:1\r\n") == [.flushed])
        #expect(try messages(">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n_\r\n") == [.flushed])
    }

    @Test func otherPushesAreNothingAndOtherRepliesAnswers() throws {
        #expect(try messages(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\np\r\n") == [.nothing])
        #expect(try messages("+PONG\r\n") == [.answer(.status("PONG"))])
        #expect(try messages("_\r\n") == [.answer(.null)])
        #expect(
            try messages("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n_\r\n")
                == [.answer(.array([.bytes("message"), .bytes("c"), .null]))])
    }
}
