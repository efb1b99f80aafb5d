import HoldfastStore
import NIOCore

/// Reads requests, `*2\r\n$3\r\nGET\r\n…` or a line of words, from bytes in whatever pieces they come.
///
/// Every byte is looked at once: a request that is not complete is gone on with where it stands, and its arguments are only
/// made when it is. No claimed length is believed before its bytes are there, so memory is bounded by what was sent, and what may
/// be sent by ``Limits``. Arguments are slices of the buffer: who keeps one compacts it.
///
/// It takes what Redis takes, also where that is lenient (the two bytes behind an argument are not looked at), and refuses in
/// Redis's words. After a refusal the stream is lost.
struct RequestParser {
    struct Limits: Sendable {
        /// One argument: `proto-max-bulk-len`.
        var argumentBytes = 64 << 20
        var arguments = 1 << 20
        /// One request that is not complete, with whatever else came with it: `client-query-buffer-limit`.
        var bufferBytes = 128 << 20
        /// A line of words, or the line of a length.
        var lineBytes = 64 << 10

        var isUnauthenticated = false

        /// Who has not shown a password may send no more than that needs.
        static let unauthenticated = Limits(argumentBytes: 16 << 10, arguments: 10, isUnauthenticated: true)
    }

    /// Why the stream cannot be read on.
    struct Violation: Error {
        let line: String
        init(_ what: String) { line = "ERR Protocol error: \(what)" }
    }

    private var buffer: [UInt8] = []
    private var position = 0
    /// Where the request being read begins.
    private var start = 0
    /// Where the one begins that was taken last.
    private var last = 0
    /// Arguments of the request that have not come yet; nil between requests.
    private var remaining: Int?
    /// The length of the argument being read, once it is known.
    private var length: Int?
    private var ranges: [Range<Int>] = []
    /// Up to where the present line was searched for its end without finding it.
    private var scanned = 0

    /// A buffer that a large request left behind is given back beyond this size.
    private static let keptCapacity = 256 << 10

    /// What has come and is not taken.
    var pendingBytes: Int { buffer.count - start }

    /// Adds what was received.
    ///
    /// - Throws: ``Violation`` where an unfinished request outgrows the limit.
    mutating func feed(_ received: ByteBuffer, _ limits: Limits) throws(Violation) {
        if start == buffer.count {
            if buffer.capacity > Self.keptCapacity { buffer = [] } else { buffer.removeAll(keepingCapacity: true) }
            shift(by: start)
        } else if start > 0 {
            // At most once for each request that spans reads, so that a long one is not moved again and again.
            buffer.removeSubrange(..<start)
            shift(by: start)
        }
        guard buffer.count + received.readableBytes <= limits.bufferBytes else { throw Violation("too big query buffer") }
        received.withUnsafeReadableBytes { buffer.append(contentsOf: $0) }
    }

    private mutating func shift(by offset: Int) {
        guard offset > 0 else { return }
        position -= offset
        start = 0
        scanned = max(0, scanned - offset)
        for index in ranges.indices { ranges[index] = (ranges[index].lowerBound - offset)..<(ranges[index].upperBound - offset) }
    }

    /// Takes the next complete request; false when more bytes are needed. A request without arguments is no request.
    mutating func next(into arguments: inout [Bytes], _ limits: Limits) throws(Violation) -> Bool {
        arguments.removeAll(keepingCapacity: true)
        while true {
            if remaining == nil {
                guard position < buffer.count else { return false }
                if buffer[position] != UInt8(ascii: "*") {
                    guard try inlineRequest(into: &arguments, limits) else { return false }
                    if arguments.isEmpty { continue }
                    return true
                }
                guard try beginRequest(limits) else { return false }
                if remaining == nil { continue }
            }
            guard try readArguments(limits) else { return false }
            for range in ranges { arguments.append(Bytes(buffer[range])) }
            finish()
            return true
        }
    }

    /// Puts the request back that ``next(into:_:)`` has just given: it gives it again.
    mutating func putBack() { (start, position, scanned) = (last, last, last) }

    private mutating func finish() {
        ranges.removeAll(keepingCapacity: ranges.capacity <= 1024)
        remaining = nil
        last = start
        start = position
        scanned = position
    }

    // MARK: - Multibulk

    /// Reads `*<count>`; false when the line is not complete.
    private mutating func beginRequest(_ limits: Limits) throws(Violation) -> Bool {
        guard let line = try line(limits, tooLong: "too big mbulk count string") else { return false }
        guard let count = integer(line), count <= Int(Int32.max) else { throw Violation("invalid multibulk length") }
        guard count <= limits.arguments else {
            throw Violation(limits.isUnauthenticated ? "unauthenticated multibulk length" : "invalid multibulk length")
        }
        if count <= 0 { finish() } else { remaining = count }
        return true
    }

    /// Reads arguments until the request is complete; false when more bytes are needed.
    private mutating func readArguments(_ limits: Limits) throws(Violation) -> Bool {
        while let left = remaining, left > 0 {
            if length == nil {
                guard position < buffer.count else { return false }
                guard let line = try line(limits, tooLong: "too big bulk count string") else { return false }
                guard let claimed = integer(line), claimed >= 0 else { throw Violation("invalid bulk length") }
                guard claimed <= limits.argumentBytes else {
                    throw Violation(limits.isUnauthenticated ? "unauthenticated bulk length" : "invalid bulk length")
                }
                length = claimed
            }
            guard let length, buffer.count - position >= length + 2 else { return false }
            ranges.append(position..<(position + length))
            position += length + 2
            scanned = position
            self.length = nil
            remaining = left - 1
        }
        return true
    }

    /// The line at the position behind its mark, which is checked to be `*` or `$`; nil when it is not complete.
    private mutating func line(_ limits: Limits, tooLong: String) throws(Violation) -> Range<Int>? {
        guard let end = lineEnd(13), end + 1 < buffer.count else {
            guard buffer.count - position <= limits.lineBytes else { throw Violation(tooLong) }
            return nil
        }
        if remaining != nil, buffer[position] != UInt8(ascii: "$") {
            throw Violation("expected '$', got '\(Bytes([buffer[position]]).shown(1))'")
        }
        defer { position = end + 2 }
        return (position + 1)..<end
    }

    private mutating func lineEnd(_ mark: UInt8) -> Int? {
        let from = max(position, scanned)
        let (count, end) = buffer.withUnsafeBufferPointer { bytes in
            var index = from
            while index < bytes.count, bytes[index] != mark { index += 1 }
            return (bytes.count, index)
        }
        scanned = end
        return end < count ? end : nil
    }

    private func integer(_ line: Range<Int>) -> Int? {
        // Nearly all are one or two digits.
        var value = 0
        guard line.count <= 4, !line.isEmpty else { return Bytes(buffer[line]).integer.map { Int($0) } }
        for index in line {
            let digit = buffer[index] &- UInt8(ascii: "0")
            guard digit <= 9, !(value == 0 && index > line.lowerBound) else { return Bytes(buffer[line]).integer.map { Int($0) } }
            value = value * 10 + Int(digit)
        }
        return value
    }

    // MARK: - A line of words

    private mutating func inlineRequest(into arguments: inout [Bytes], _ limits: Limits) throws(Violation) -> Bool {
        guard let end = lineEnd(10) else {
            guard buffer.count - position <= limits.lineBytes else { throw Violation("too big inline request") }
            return false
        }
        let hasReturn = end > position && buffer[end - 1] == 13
        let line = buffer[position..<(hasReturn ? end - 1 : end)]
        position = end + 1
        guard let words = InlineWords.split(line) else { throw Violation("unbalanced quotes in request") }
        arguments.append(contentsOf: words)
        finish()
        return true
    }
}

/// A line of words as people type it: `SET key "a value\n"`, by the rules of Redis's `sdssplitargs`.
enum InlineWords {
    /// Nil where quotes do not close, or close in the middle of a word.
    static func split(_ line: ArraySlice<UInt8>) -> [Bytes]? {
        var words: [Bytes] = []
        var rest = line.prefix { $0 != 0 }
        while true {
            rest = rest.drop(while: isSpace)
            guard let first = rest.first else { return words }
            if first != UInt8(ascii: "\""), first != UInt8(ascii: "'"), let plain = plainWord(rest) {
                words.append(Bytes(plain))
                rest = rest[plain.endIndex...]
            } else {
                guard let word = quotedWord(&rest) else { return nil }
                words.append(Bytes(word))
            }
        }
    }

    /// The word at the beginning where it has no quotes in it: a slice.
    private static func plainWord(_ rest: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        let word = rest.prefix { !isSpace($0) }
        return word.contains { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "'") } ? nil : word
    }

    private static func quotedWord(_ rest: inout ArraySlice<UInt8>) -> [UInt8]? {
        var word: [UInt8] = []
        var quote: UInt8?
        while let byte = rest.popFirst() {
            switch (quote, byte) {
            case (nil, UInt8(ascii: "\"")), (nil, UInt8(ascii: "'")): quote = byte
            case (nil, _):
                if isSpace(byte) { return word }
                word.append(byte)
            case (UInt8(ascii: "\""), UInt8(ascii: "\\")):
                guard let escaped = escape(&rest) else { return nil }
                word.append(escaped)
            case (UInt8(ascii: "'"), UInt8(ascii: "\\")) where rest.first == UInt8(ascii: "'"):
                rest.removeFirst()
                word.append(UInt8(ascii: "'"))
            case (let open?, _) where open == byte:
                guard rest.first.map(isSpace) ?? true else { return nil }
                return word
            default: word.append(byte)
            }
        }
        return quote == nil ? word : nil
    }

    /// What stands behind a backslash between double quotes.
    private static func escape(_ rest: inout ArraySlice<UInt8>) -> UInt8? {
        guard let byte = rest.popFirst() else { return nil }
        switch byte {
        case UInt8(ascii: "n"): return 10
        case UInt8(ascii: "r"): return 13
        case UInt8(ascii: "t"): return 9
        case UInt8(ascii: "b"): return 8
        case UInt8(ascii: "a"): return 7
        case UInt8(ascii: "x"):
            let digits = rest.prefix(2).compactMap(hexValue)
            guard digits.count == 2 else { return byte }
            rest = rest.dropFirst(2)
            return digits[0] << 4 | digits[1]
        default: return byte
        }
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
}
