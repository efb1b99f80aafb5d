import HoldfastStore

/// Commands and replies as JSON: `["SET","k","v"]` there, `{"result":"T0s="}` back.
///
/// JSON strings are text. What a command says in other bytes cannot stand in one, so ``canCarry(_:)`` is asked first; replies come
/// in base64, which carries any bytes.
enum RESTBody {
    /// Whether all arguments are text.
    static func canCarry(_ arguments: [Bytes]) -> Bool { arguments.allSatisfy { isText($0) } }

    static func isText(_ bytes: Bytes) -> Bool { String(validating: bytes, as: UTF8.self) != nil }

    /// One command: an array of strings.
    static func write(_ arguments: [Bytes], to text: inout [UInt8]) {
        text.append(UInt8(ascii: "["))
        for (index, argument) in arguments.enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            write(argument, to: &text)
        }
        text.append(UInt8(ascii: "]"))
    }

    /// Several: an array of them.
    static func write(_ commands: [[Bytes]], to text: inout [UInt8]) {
        text.append(UInt8(ascii: "["))
        for (index, command) in commands.enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            write(command, to: &text)
        }
        text.append(UInt8(ascii: "]"))
    }

    private static func write(_ argument: Bytes, to text: inout [UInt8]) {
        text.append(UInt8(ascii: "\""))
        for byte in argument {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                text.append(UInt8(ascii: "\\"))
                text.append(byte)
            case 0..<0x20:
                text.append(contentsOf: "\\u00".utf8)
                text.append(hexDigits[Int(byte >> 4)])
                text.append(hexDigits[Int(byte & 15)])
            default: text.append(byte)
            }
        }
        text.append(UInt8(ascii: "\""))
    }

    static let hexDigits = Array("0123456789ABCDEF".utf8)

    /// What an endpoint answered: one item, or an array of them.
    enum Answer: Hashable {
        case one(Reply)
        case many([Reply])
    }

    /// Reads an answer; nil where it has another form than the protocol's.
    static func answer(_ text: some Collection<UInt8>) -> Answer? {
        var reader = AnswerReader(Array(text))
        return reader.answer()
    }
}

/// Reads `{"result": …}` and `{"error": "…"}`, whose strings are in base64, straight into replies.
private struct AnswerReader {
    private static let maximumDepth = 64
    private let text: [UInt8]
    private var position = 0

    init(_ text: [UInt8]) { self.text = text }

    mutating func answer() -> RESTBody.Answer? {
        guard let answer = skip("[") ? items().map(RESTBody.Answer.many) : item().map(RESTBody.Answer.one) else { return nil }
        skipSpace()
        return position == text.count ? answer : nil
    }

    private mutating func items() -> [Reply]? { list { $0.item() } }

    /// `{"result": …}` or `{"error": …}`; members that are neither are passed over.
    private mutating func item() -> Reply? {
        guard skip("{") else { return nil }
        var reply: Reply?
        if skip("}") { return nil }
        repeat {
            guard let name = string(), skip(":") else { return nil }
            switch String(decoding: name, as: UTF8.self) {
            case "result":
                guard let value = value(depth: 0) else { return nil }
                if reply == nil { reply = value }
            case "error":
                skipSpace()
                // Errors are never encoded. Some endpoints send `"error": null` beside a result.
                if let line = string() {
                    reply = .error(ReplyError(String(decoding: line, as: UTF8.self)))
                } else {
                    guard word("null") else { return nil }
                }
            default: guard value(depth: 0) != nil else { return nil }
            }
        } while skip(",")
        return skip("}") ? reply : nil
    }

    private mutating func value(depth: Int) -> Reply? {
        guard depth < Self.maximumDepth else { return nil }
        skipSpace()
        guard position < text.count else { return nil }
        switch text[position] {
        case UInt8(ascii: "\""): return string().flatMap(Self.decode)
        case UInt8(ascii: "["):
            position += 1
            return list { $0.value(depth: depth + 1) }.map(Reply.array)
        case UInt8(ascii: "{"):
            position += 1
            return members(depth: depth)
        case UInt8(ascii: "n"): return word("null") ? .null : nil
        case UInt8(ascii: "t"): return word("true") ? .boolean(true) : nil
        case UInt8(ascii: "f"): return word("false") ? .boolean(false) : nil
        default: return number()
        }
    }

    /// The one string that is not encoded is a status; base64 is never so short.
    private static func decode(_ string: [UInt8]) -> Reply? {
        string == Array("OK".utf8) ? .ok : Base64.standard.decode(string).map { .bytes(Bytes($0)) }
    }

    /// A map, behind its opening brace: names are not encoded.
    private mutating func members(depth: Int) -> Reply? {
        if skip("}") { return .map([]) }
        var elements: [Reply] = []
        repeat {
            guard let name = string(), skip(":"), let value = value(depth: depth + 1) else { return nil }
            elements += [.bytes(Bytes(name)), value]
        } while skip(",")
        return skip("}") ? .map(elements) : nil
    }

    /// Elements behind an opening bracket.
    private mutating func list<Element>(_ element: (inout Self) -> Element?) -> [Element]? {
        var elements: [Element] = []
        if skip("]") { return elements }
        repeat {
            guard let next = element(&self) else { return nil }
            elements.append(next)
        } while skip(",")
        return skip("]") ? elements : nil
    }

    private mutating func number() -> Reply? {
        let start = position
        while position < text.count, "+-0123456789.eE".utf8.contains(text[position]) { position += 1 }
        let digits = Bytes(text[start..<position])
        return digits.integer.map(Reply.integer) ?? digits.double.map(Reply.double)
    }

    /// A string's bytes, escapes resolved; nil where there is none.
    private mutating func string() -> [UInt8]? {
        guard skip("\"") else { return nil }
        var bytes: [UInt8] = []
        while position < text.count {
            let byte = text[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return bytes
            case UInt8(ascii: "\\"): guard escape(into: &bytes) else { return nil }
            default: bytes.append(byte)
            }
        }
        return nil
    }

    private mutating func escape(into bytes: inout [UInt8]) -> Bool {
        guard position < text.count else { return false }
        defer { position += 1 }
        switch text[position] {
        case UInt8(ascii: "b"): bytes.append(8)
        case UInt8(ascii: "f"): bytes.append(12)
        case UInt8(ascii: "n"): bytes.append(10)
        case UInt8(ascii: "r"): bytes.append(13)
        case UInt8(ascii: "t"): bytes.append(9)
        case UInt8(ascii: "u"): return unicode(into: &bytes)
        case let byte: bytes.append(byte)
        }
        return true
    }

    /// `\uXXXX`, or two of them for what lies beyond; leaves the position at the last digit.
    private mutating func unicode(into bytes: inout [UInt8]) -> Bool {
        guard var scalar = unit() else { return false }
        if (0xD800..<0xDC00).contains(scalar), position + 2 < text.count, text[position + 1] == UInt8(ascii: "\\"),
            text[position + 2] == UInt8(ascii: "u")
        {
            position += 2
            guard let low = unit(), (0xDC00..<0xE000).contains(low) else { return false }
            scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let character = UnicodeScalar(scalar) else { return false }
        bytes.append(contentsOf: String(character).utf8)
        return true
    }

    private mutating func unit() -> UInt32? {
        guard position + 4 < text.count else { return nil }
        let digits = String(decoding: text[(position + 1)...(position + 4)], as: UTF8.self)
        position += 4
        return UInt32(digits, radix: 16)
    }

    private mutating func word(_ word: StaticString) -> Bool {
        word.withUTF8Buffer { word in
            guard text[position...].starts(with: word) else { return false }
            position += word.count
            return true
        }
    }

    private mutating func skip(_ mark: Character) -> Bool {
        skipSpace()
        guard position < text.count, text[position] == mark.asciiValue else { return false }
        position += 1
        return true
    }

    private mutating func skipSpace() {
        while position < text.count, [0x20, 0x0A, 0x0D, 0x09].contains(text[position]) { position += 1 }
    }
}
