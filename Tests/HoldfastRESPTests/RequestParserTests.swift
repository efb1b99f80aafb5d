import HoldfastStore
import NIOCore
import Testing

@testable import HoldfastRESP

@Suite struct RequestParserTests {
    private static let stream = Array(
        ("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\nab\r\n" + "PING\r\n" + "*0\r\n" + "\r\n" + "*1\r\n$4\r\nQUIT\r\n"
            + "set k \"a \\x41\\n\" 'b'\n" + "*2\r\n$0\r\n\r\n$12\r\nabcdefghijkl\r\n").utf8)
    private static let requests: [[Bytes]] = [
        ["SET", "k", "\r\nab"], ["PING"], ["QUIT"], ["set", "k", "a A\n", "b"], ["", "abcdefghijkl"],
    ]

    private func parse(_ pieces: [ArraySlice<UInt8>], _ limits: RequestParser.Limits = .init()) throws -> [[Bytes]] {
        var parser = RequestParser()
        var found: [[Bytes]] = []
        var arguments: [Bytes] = []
        for piece in pieces {
            try parser.feed(ByteBuffer(bytes: piece), limits)
            while try parser.next(into: &arguments, limits) { found.append(arguments) }
        }
        return found
    }

    @Test func requestsAreReadHoweverTheyAreCut() throws {
        let stream = Self.stream[...]
        #expect(try parse([stream]) == Self.requests)
        #expect(try parse(stream.indices.map { stream[$0...$0] }) == Self.requests)
        for cut in stream.indices {
            #expect(try parse([stream[..<cut], stream[cut...]]) == Self.requests, "cut at \(cut)")
        }
    }

    /// Each request is put back once, and the second is only taken again when more has come.
    @Test func whatIsPutBackIsGivenAgain() throws {
        for cut in Self.stream.indices {
            var parser = RequestParser()
            var found: [[Bytes]] = []
            var arguments: [Bytes] = []
            for (number, piece) in [Self.stream[..<cut], Self.stream[cut...]].enumerated() {
                try parser.feed(ByteBuffer(bytes: piece), .init())
                while try parser.next(into: &arguments, .init()) {
                    parser.putBack()
                    if number == 0, found.count == 1 { break }
                    #expect(try parser.next(into: &arguments, .init()))
                    found.append(arguments)
                }
            }
            #expect(found == Self.requests, "cut at \(cut)")
        }
    }

    @Test(arguments: [
        ("*x\r\n", "invalid multibulk length"), ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"), ("*1048577\r\n", "invalid multibulk length"),
        ("*1\r\nfoo\r\n", "expected '$', got 'f'"), ("*1\r\n$x\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"), ("*1\r\n$67108865\r\n", "invalid bulk length"),
        ("*1\r\n$99999999999999999999\r\n", "invalid bulk length"), ("set \"a\n", "unbalanced quotes in request"),
        ("set \"a\"b\n", "unbalanced quotes in request"),
    ])
    func hostileRequestsAreRefused(_ text: String, _ reason: String) throws {
        let error = #expect(throws: RequestParser.Violation.self) { try parse([Array(text.utf8)[...]]) }
        #expect(error?.line == "ERR Protocol error: \(reason)")
    }

    @Test func nothingIsBelievedBeforeItIsThere() throws {
        var parser = RequestParser()
        var arguments: [Bytes] = []
        try parser.feed(ByteBuffer(string: "*1048576\r\n$67108864\r\nabc"), .init())
        #expect(try !parser.next(into: &arguments, .init()))
        #expect(parser.pendingBytes < 100)
    }

    @Test func linesAndBuffersHaveEnds() {
        let line = [UInt8](repeating: UInt8(ascii: "a"), count: (64 << 10) + 1)
        #expect(throws: RequestParser.Violation.self) { try parse([line[...]]) }
        let number = Array("*".utf8) + [UInt8](repeating: UInt8(ascii: "1"), count: (64 << 10) + 1)
        #expect(throws: RequestParser.Violation.self) { try parse([number[...]]) }
        let large = Array("*1\r\n$1000\r\n".utf8) + [UInt8](repeating: 0, count: 900)
        #expect(throws: RequestParser.Violation.self) {
            try parse([large[...]], RequestParser.Limits(argumentBytes: 1000, bufferBytes: 500))
        }
    }

    @Test func whoHasShownNoPasswordMaySendLittle() throws {
        let arguments = #expect(throws: RequestParser.Violation.self) {
            try parse([Array("*11\r\n".utf8)[...]], .unauthenticated)
        }
        #expect(arguments?.line == "ERR Protocol error: unauthenticated multibulk length")
        let length = #expect(throws: RequestParser.Violation.self) {
            try parse([Array("*1\r\n$16385\r\n".utf8)[...]], .unauthenticated)
        }
        #expect(length?.line == "ERR Protocol error: unauthenticated bulk length")
    }
}
