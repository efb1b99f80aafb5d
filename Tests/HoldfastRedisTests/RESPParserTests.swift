import HoldfastStore
import Testing

@testable import HoldfastRedis

@Suite struct RESPParserTests {
    /// One of everything, nested, with attributes and pushes between.
    private static let sample = """
        +OK\r\n+PONG\r\n-ERR no\r\n:0\r\n:-42\r\n:+7\r\n$5\r\nhello\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n_\r\n#t\r\n#f\r\n,1.5\r\n,inf\r\n\
        (3492890328409238509324850943850943825024385\r\n!9\r\nERR wrong\r\n=8\r\ntxt:text\r\n\
        %1\r\n+a\r\n*2\r\n:1\r\n~1\r\n$2\r\n\r\n\r\n|1\r\n+ttl\r\n:3600\r\n:9\r\n*2\r\n|1\r\n+x\r\n:1\r\n:5\r\n:6\r\n\
        >3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\np\r\n%0\r\n~0\r\n|0\r\n:1\r\n
        """

    private static let expected: [RESPItem] = [
        .reply(.ok), .reply(.status("PONG")), .reply(.error(ReplyError("ERR no"))), .reply(.integer(0)), .reply(.integer(-42)),
        .reply(.integer(7)), .reply(.bytes("hello")), .reply(.bytes("")), .reply(.null), .reply(.null), .reply(.array([])),
        .reply(.null), .reply(.boolean(true)), .reply(.boolean(false)), .reply(.double(1.5)), .reply(.double(.infinity)),
        .reply(.bytes("3492890328409238509324850943850943825024385")), .reply(.error(ReplyError("ERR wrong"))),
        .reply(.bytes("text")),
        .reply(.map([.status("a"), .array([.integer(1), .set([.bytes("\r\n")])])])), .reply(.integer(9)),
        .reply(.array([.integer(5), .integer(6)])), .push([.bytes("message"), .bytes("c"), .bytes("p")]),
        .reply(.map([])), .reply(.set([])), .reply(.integer(1)),
    ]

    private func parse(_ pieces: [ArraySlice<UInt8>], limits: RESPParser.Limits = .init()) throws -> [RESPItem] {
        var parser = RESPParser(limits: limits)
        var items: [RESPItem] = []
        for piece in pieces {
            piece.withUnsafeBytes { parser.feed($0) }
            while let item = try parser.next() { items.append(item) }
        }
        return items
    }

    @Test func everyTypeIsRead() throws {
        #expect(try parse([Array(Self.sample.utf8)[...]]) == Self.expected)
    }

    /// What came together lies together: the distance between two byte strings is that between them on the wire.
    @Test func byteStringsAreSlicesOfWhatWasRead() throws {
        let values = [3, 40, 1000, 100_000].map { [UInt8](repeating: UInt8(ascii: "v"), count: $0) }
        var wire = Array("+first\r\n*\(values.count)\r\n".utf8)
        var places: [Int] = []
        for value in values {
            wire += Array("$\(value.count)\r\n".utf8)
            places.append(wire.count)
            wire += value + [13, 10]
        }
        let items = try parse([wire[...]])
        guard items.count == 2, case .reply(.array(let elements)) = items[1] else {
            Issue.record("\(items.count) items")
            return
        }
        let found = elements.compactMap(\.bytes)
        let addresses = found.map { bytes in bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } }
        try #require(addresses.count == values.count)
        for (index, address) in addresses.enumerated() {
            #expect(address &- addresses[0] == UInt(places[index] - places[0]), "value \(index)")
        }
        // One in memory of its own lies elsewhere: the test can tell.
        let copy = found[2].compacted()
        #expect(copy.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } &- addresses[0] != UInt(places[2] - places[0]))
    }

    @Test func everySplitInTwoGivesTheSame() throws {
        let bytes = Array(Self.sample.utf8)
        for cut in 0...bytes.count { #expect(try parse([bytes[..<cut], bytes[cut...]]) == Self.expected, "cut at \(cut)") }
    }

    @Test func everySplitInThreeOfTheNestedPartGivesTheSame() throws {
        let bytes = Array("*2\r\n%1\r\n$3\r\nabc\r\n:12\r\n~2\r\n+OK\r\n$-1\r\n".utf8)
        let whole = try parse([bytes[...]])
        for first in 0...bytes.count {
            for second in first...bytes.count {
                #expect(try parse([bytes[..<first], bytes[first..<second], bytes[second...]]) == whole, "\(first), \(second)")
            }
        }
    }

    @Test func oneByteAtATimeGivesTheSame() throws {
        let bytes = Array(Self.sample.utf8)
        #expect(try parse(bytes.indices.map { bytes[$0...$0] }) == Self.expected)
    }

    @Test(arguments: [
        "$4294967297\r\n", "$9223372036854775807\r\n", "$9223372036854775808\r\n", "$99999999999999999999\r\n", "$-2\r\n",
        "$\r\n",
        "$1x\r\n", "$?\r\n", "*268435457\r\n", "*9223372036854775807\r\n", "*-2\r\n", "*?\r\n", "%9223372036854775807\r\n",
        "%4611686018427387904\r\n", "%-1\r\n", "~-1\r\n", ">-1\r\n", ">0\r\n", "|-1\r\n", "=-1\r\n", "=3\r\nabc\r\n", "!-1\r\n",
        "=9223372036854775807\r\n", ":\r\n", ":--1\r\n", ":9223372036854775808\r\n", ":-9223372036854775809\r\n", ",x\r\n",
        "#x\r\n",
        "#\r\n", "_x\r\n", "+a\rb", "$3\r\nabcde", "HTTP/1.1 400 Bad Request\r\n", "\r\n",
        "*1\r\n>1\r\n+a\r\n",
    ])
    func hostileInputIsAProtocolViolation(_ text: String) {
        let error = #expect(throws: StoreError.self) { try parse([Array(text.utf8)[...]]) }
        #expect(error?.code == .protocolViolation)
        #expect(error?.effect == .unknown)
    }

    /// A script can make a server send that, and all who share the connection would lose it.
    @Test(arguments: [
        ("*2\r\n+a\r\n", 64), ("%1\r\n+k\r\n", 64), ("~2\r\n*0\r\n", 64), ("|1\r\n+k\r\n+v\r\n*2\r\n+a\r\n", 64),
        ("*2\r\n*2\r\n:1\r\n$1\r\nx\r\n", 63),
    ])
    func whatIsNestedTooDeepIsAnErrorOfItsOwnCall(level: String, deepest: Int) throws {
        let tooDeep = RESPItem.reply(.error(ReplyError("ERR The reply is nested deeper than 64")))
        for depth in [deepest, deepest + 1, deepest + 2, 20_000] {
            let stream = Array((String(repeating: level, count: depth) + ":5\r\n" + ":7\r\n").utf8)
            let items = try parse([stream[...]])
            #expect(items.count == 2 && items.last == .reply(.integer(7)), "\(depth)")
            #expect((items.first == tooDeep) == (depth > deepest), "\(depth)")
            if depth < 100 { #expect(try parse(stream.indices.map { stream[$0...$0] }) == items) }
        }
        let push = ">2\r\n+a\r\n" + String(repeating: "*1\r\n", count: 70) + ":5\r\n" + ":7\r\n"
        let items = try parse([Array(push.utf8)[...]])
        #expect(items.count == 2 && items.last == .reply(.integer(7)))
        #expect(try parse([Array("(abc\r\n(12\r\n".utf8)[...]]) == [.reply(.bytes("abc")), .reply(.bytes("12"))])
    }

    /// Commands and scripts of one caller's can bring such lines.
    @Test(arguments: ["+", "-", "("], [99, 100, 101, 102, 5000]) func aTextThatIsTooLongIsAnErrorOfItsOwnCall(
        mark: String, length: Int
    ) throws {
        let stream = Array("\(mark)\(String(repeating: "x", count: length))\r\n:7\r\n".utf8)
        for pieces in [[stream[...]], stream.indices.map { stream[$0...$0] }] {
            let items = try parse(pieces, limits: .init(lineLength: 100))
            #expect(items.count == 2 && items.last == .reply(.integer(7)))
            let text = String(repeating: "x", count: min(length, 100))
            switch (mark, items.first) {
            case ("-", .reply(.error(let error))): #expect(error == ReplyError(text))
            case (_, .reply(.error(let error))):
                #expect(length > 100 && error == ReplyError("ERR The reply is a line of more than 100 bytes"))
            default: #expect(length <= 100)
            }
        }
        let inside = try parse(
            [Array("*2\r\n+\(String(repeating: "x", count: 200))\r\n:1\r\n:7\r\n".utf8)[...]], limits: .init(lineLength: 100))
        guard case .reply(.array(let elements)) = inside.first else {
            Issue.record("\(inside)")
            return
        }
        #expect(elements.last == .integer(1) && inside.last == .reply(.integer(7)))
    }

    @Test func aByteStringThatIsTooLongIsAnErrorOfItsOwnCall() throws {
        let stream = Array("$101\r\n\(String(repeating: "x", count: 101))\r\n$1\r\ny\r\n".utf8)
        for pieces in [[stream[...]], stream.indices.map { stream[$0...$0] }] {
            let items = try parse(pieces, limits: .init(bulkLength: 100))
            let error = ReplyError("ERR The reply has a byte string of 101 bytes, more than 100")
            #expect(items == [.reply(.error(error)), .reply(.bytes("y"))])
        }
        let error = #expect(throws: StoreError.self) { try parse([Array("$801\r\n".utf8)[...]], limits: .init(bulkLength: 100)) }
        #expect(error?.code == .protocolViolation)
    }

    @Test func aNumberThatNeverEndsIsGivenUp() {
        let line = [UInt8](repeating: UInt8(ascii: "1"), count: 100_000)
        let error = #expect(throws: StoreError.self) { try parse([Array(":".utf8)[...], line[...]]) }
        #expect(error?.code == .protocolViolation)
    }

    /// An attribute stands before the reply that it describes.
    @Test func anAttributeThatIsNestedTooDeepIsAnErrorOfItsOwnCall() throws {
        let attribute = "|1\r\n+k\r\n" + String(repeating: "*1\r\n", count: 70) + ":1\r\n"
        let items = try parse([Array((attribute + "+OK\r\n*1\r\n:2\r\n").utf8)[...]])
        #expect(items == [.reply(.error(ReplyError("ERR The reply is nested deeper than 64"))), .reply(.array([.integer(2)]))])
    }

    @Test func theSmallestAndLargestIntegersAreRead() throws {
        let items = try parse([Array(":9223372036854775807\r\n:-9223372036854775808\r\n".utf8)[...]])
        #expect(items == [.reply(.integer(.max)), .reply(.integer(.min))])
    }

    @Test func aMillionElementsTakeLinearWork() throws {
        // Counted in bytes looked at, the work would show as time; a quadratic parser needs minutes for this.
        var bytes = Array("*1000000\r\n".utf8)
        for index in 0..<1_000_000 { bytes.append(contentsOf: "$2\r\n\(10 + index % 90)\r\n".utf8) }
        let pieces = stride(from: 0, to: bytes.count, by: 1500).map { bytes[$0..<min($0 + 1500, bytes.count)] }
        let clock = ContinuousClock()
        var items: [RESPItem] = []
        let took = try clock.measure { items = try parse(pieces) }
        guard case .reply(.array(let elements)) = items.first else {
            Issue.record("no array")
            return
        }
        #expect(elements.count == 1_000_000)
        #expect(elements.last == .bytes(Bytes("\(10 + 999_999 % 90)")))
        #expect(took < .seconds(90))
    }

    @Test func aLargeByteStringInSmallPiecesTakesLinearWork() throws {
        let size = 16 << 20
        let bytes = Array("$\(size)\r\n".utf8) + [UInt8](repeating: 65, count: size) + [13, 10]
        let pieces = stride(from: 0, to: bytes.count, by: 1000).map { bytes[$0..<min($0 + 1000, bytes.count)] }
        guard case .reply(.bytes(let value)) = try parse(pieces).first else {
            Issue.record("no bytes")
            return
        }
        #expect(value.count == size)
    }

    @Test func randomBytesNeverCrash() {
        var generator = RandomSource(seed: 20_260_101)
        let alphabet = Array("$*:+-%~>|=!(,#_0123456789\r\n\r\n\r\nax".utf8)
        for _ in 0..<30_000 {
            let length = Int.random(in: 0..<80, using: &generator)
            let bytes = (0..<length).map { _ in
                Bool.random(using: &generator)
                    ? alphabet.randomElement(using: &generator)! : UInt8.random(in: 0...255, using: &generator)
            }
            let cut = Int.random(in: 0...length, using: &generator)
            _ = try? parse([bytes[..<cut], bytes[cut...]])
        }
    }

    @Test func mutatedRepliesNeverCrash() {
        var generator = RandomSource(seed: 7)
        let sample = Array(Self.sample.utf8)
        for _ in 0..<20_000 {
            var bytes = sample
            for _ in 0..<3 {
                bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? parse([bytes[...]])
        }
    }
}
