public import HoldfastStore

// JSON as text (RFC 8259), without Foundation: the stored form must be the same bytes for the same value, whoever writes it, so that a
// server can compare values without understanding them.

extension JSONValue {
    /// The one text of this value: no spaces, members sorted by the bytes of their names, shortest numbers, only what must be
    /// escaped escaped. Nil where it holds a number that JSON cannot write (an infinity or NaN).
    ///
    /// Equal values have equal texts and `JSONValue(json:)` reads the same value back.
    public func encoded() -> Bytes? {
        var writer = JSONWriter()
        return writer.write(self) ? Bytes(writer.text) : nil
    }

    /// Reads one JSON text; nil where it is none, or is nested deeper than ``maximumDepth``.
    ///
    /// Of several members with one name the last counts. A number beyond the range of a `Double` (`1e999`) is refused.
    public init?(json: some Collection<UInt8>) {
        let value = Array(json).withUnsafeBufferPointer { text -> JSONValue? in
            var parser = JSONParser(text)
            return parser.document()
        }
        guard let value else { return nil }
        self = value
    }

    public static let maximumDepth = 128
}

private struct JSONWriter {
    var text: [UInt8] = []

    /// False where the value holds a number that cannot be written.
    mutating func write(_ value: JSONValue) -> Bool {
        switch value {
        case .null: append("null")
        case .bool(let value): append(value ? "true" : "false")
        case .integer(let value): text.append(contentsOf: value.description.utf8)
        case .double(let value):
            guard value.isFinite else { return false }
            // Swift prints the shortest digits that read back the same, always with a point or an exponent.
            text.append(contentsOf: value.description.utf8)
        case .number(let value): text.append(contentsOf: value.text.utf8)
        case .string(let value): write(value)
        case .array(let values):
            append("[")
            for (index, value) in values.enumerated() {
                if index > 0 { append(",") }
                guard write(value) else { return false }
            }
            append("]")
        case .object(let members):
            append("{")
            // Byte order: String's own order is Unicode's canonical one, which differs between equal-looking names.
            let sorted = members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            for (index, member) in sorted.enumerated() {
                if index > 0 { append(",") }
                write(member.key)
                append(":")
                guard write(member.value) else { return false }
            }
            append("}")
        }
        return true
    }

    private mutating func append(_ word: StaticString) { word.withUTF8Buffer { text.append(contentsOf: $0) } }

    private mutating func write(_ string: String) {
        text.append(UInt8(ascii: "\""))
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                text.append(UInt8(ascii: "\\"))
                text.append(byte)
            case 0x0A: append("\\n")
            case 0x0D: append("\\r")
            case 0x09: append("\\t")
            case 0..<0x20:
                append("\\u00")
                for digit in [byte >> 4, byte & 15] { text.append(digit < 10 ? digit + 0x30 : digit - 10 + 0x61) }
            default: text.append(byte)
            }
        }
        text.append(UInt8(ascii: "\""))
    }
}

private struct JSONParser {
    private let text: UnsafeBufferPointer<UInt8>
    private var position = 0
    private var depth = 0

    init(_ text: UnsafeBufferPointer<UInt8>) { self.text = text }

    mutating func document() -> JSONValue? {
        guard let value = value() else { return nil }
        skipSpace()
        return position == text.count ? value : nil
    }

    private var next: UInt8? { position < text.count ? text[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private mutating func skip(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    private mutating func value() -> JSONValue? {
        skipSpace()
        switch next {
        case UInt8(ascii: "n"): return word("null", .null)
        case UInt8(ascii: "t"): return word("true", .bool(true))
        case UInt8(ascii: "f"): return word("false", .bool(false))
        case UInt8(ascii: "\""): return string().map(JSONValue.string)
        case UInt8(ascii: "["): return nested { $0.array() }
        case UInt8(ascii: "{"): return nested { $0.object() }
        case let byte? where byte == UInt8(ascii: "-") || 0x30...0x39 ~= byte: return number()
        default: return nil
        }
    }

    private mutating func nested(_ body: (inout JSONParser) -> JSONValue?) -> JSONValue? {
        guard depth < JSONValue.maximumDepth else { return nil }
        depth += 1
        position += 1
        defer { depth -= 1 }
        return body(&self)
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) -> JSONValue? {
        let matches = word.withUTF8Buffer { text[position...].starts(with: $0) }
        guard matches else { return nil }
        position += word.utf8CodeUnitCount
        return value
    }

    private mutating func array() -> JSONValue? {
        var elements: [JSONValue] = []
        skipSpace()
        if skip(UInt8(ascii: "]")) { return .array([]) }
        while let element = value() {
            elements.append(element)
            skipSpace()
            if skip(UInt8(ascii: "]")) { return .array(elements) }
            guard skip(UInt8(ascii: ",")) else { return nil }
        }
        return nil
    }

    private mutating func object() -> JSONValue? {
        var members: [String: JSONValue] = [:]
        skipSpace()
        if skip(UInt8(ascii: "}")) { return .object([:]) }
        while true {
            skipSpace()
            guard let name = string() else { return nil }
            skipSpace()
            guard skip(UInt8(ascii: ":")), let member = value() else { return nil }
            members[name] = member
            skipSpace()
            if skip(UInt8(ascii: "}")) { return .object(members) }
            guard skip(UInt8(ascii: ",")) else { return nil }
        }
    }

    private mutating func number() -> JSONValue? {
        let start = position
        _ = skip(UInt8(ascii: "-"))
        if !skip(UInt8(ascii: "0")) { guard digits() else { return nil } }
        var isInteger = true
        if skip(UInt8(ascii: ".")) {
            isInteger = false
            guard digits() else { return nil }
        }
        if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
            isInteger = false
            if !skip(UInt8(ascii: "+")) { _ = skip(UInt8(ascii: "-")) }
            guard digits() else { return nil }
        }
        let digits = String(decoding: text[start..<position], as: UTF8.self)
        // Minus zero is no integer: that has no such value.
        if isInteger, digits != "-0", let integer = Int64(digits) { return .integer(integer) }
        guard let double = Double(digits), double.isFinite else { return nil }
        return double.description == digits ? .double(double) : .number(JSONNumber(text: digits))
    }

    private mutating func digits() -> Bool {
        let start = position
        while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
        return position > start
    }

    private mutating func string() -> String? {
        guard skip(UInt8(ascii: "\"")) else { return nil }
        let start = position
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
        // Most strings have nothing escaped and are read in one piece.
        if next == UInt8(ascii: "\"") {
            defer { position += 1 }
            return String(validating: text[start..<position], as: UTF8.self)
        }
        var bytes = Array(text[start..<position])
        while let byte = next, byte >= 0x20 {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return String(validating: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"): guard escape(into: &bytes) else { return nil }
            default: bytes.append(byte)
            }
        }
        return nil
    }

    private mutating func escape(into bytes: inout [UInt8]) -> Bool {
        guard let byte = next else { return false }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "u"):
            guard let scalar = unicodeEscape() else { return false }
            bytes.append(contentsOf: String(scalar).utf8)
        default: return false
        }
        return true
    }

    /// What follows `\u`: four hex digits, or a surrogate pair in two such escapes. A lone surrogate is no text.
    private mutating func unicodeEscape() -> UnicodeScalar? {
        guard let unit = hexUnit() else { return nil }
        guard 0xD800...0xDBFF ~= unit else { return UnicodeScalar(unit) }
        guard skip(UInt8(ascii: "\\")), skip(UInt8(ascii: "u")), let low = hexUnit(), 0xDC00...0xDFFF ~= low else { return nil }
        return UnicodeScalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
    }

    private mutating func hexUnit() -> UInt32? {
        guard position + 4 <= text.count else { return nil }
        var unit: UInt32 = 0
        for byte in text[position..<(position + 4)] {
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x41...0x46: digit = byte - 0x41 + 10
            case 0x61...0x66: digit = byte - 0x61 + 10
            default: return nil
            }
            unit = unit << 4 | UInt32(digit)
        }
        position += 4
        return unit
    }
}
