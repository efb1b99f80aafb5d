import HoldfastStore

/// How a command's reply differs between the protocol versions, beyond what its parts say.
enum ReplyShape: Sendable {
    case plain
    /// Where RESP3 has a null, RESP2 has the null array rather than the null string.
    case list
    /// The same, where the command has a count as its second argument.
    case counted
    /// Where RESP3 has a list of pairs, RESP2 has them by turns in one list.
    case pairs
    /// Text for people: RESP3 says so.
    case verbatim
}

/// Writes replies in RESP2 or RESP3 straight into one buffer.
struct ReplyWriter {
    private(set) var bytes: [UInt8] = []
    var isRESP3 = false
    /// Most that replies may add up to.
    var limit = Int.max
    /// Whether a reply was left off half-way because there was more than ``limit``: what has been written is of no use then.
    private(set) var isOverfull = false

    var isEmpty: Bool { bytes.isEmpty }
    var count: Int { bytes.count }

    /// Empties the buffer and keeps its memory, unless that is much.
    mutating func removeAll() {
        if bytes.capacity > 256 << 10 { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
    }

    /// Takes back what was written after this many bytes, as far as it is still there.
    mutating func truncate(to count: Int) { bytes.removeSubrange(min(count, bytes.count)...) }

    /// Appends what was written before.
    mutating func append(_ written: ArraySlice<UInt8>) { bytes.append(contentsOf: written) }

    // MARK: - Replies

    mutating func reply(_ reply: Reply, _ shape: ReplyShape = .plain) {
        // For each part: a list of one value may name it a thousand times.
        guard hasRoom(for: reply) else { return }
        switch reply {
        case .bytes(let text):
            if shape == .verbatim { verbatim(text) } else { bulk(text) }
        case .integer(let value): integer(value)
        case .status(let text): status(text)
        case .null:
            if shape == .list { nullArray() } else { null() }
        case .array(let elements):
            if shape == .pairs, !isRESP3 { return flattened(elements) }
            array(elements.count)
            for element in elements { self.reply(element) }
        case .map(let elements):
            map(elements.count / 2)
            for element in elements { self.reply(element) }
        case .set(let elements):
            set(elements.count)
            for element in elements { self.reply(element) }
        case .double(let value): double(value)
        case .boolean(let value): boolean(value)
        case .error(let error): self.error(error.line)
        }
    }

    private mutating func hasRoom(for reply: Reply) -> Bool {
        let size = if case .bytes(let text) = reply { text.count } else { 0 }
        if bytes.count + size > limit { isOverfull = true }
        return !isOverfull
    }

    private mutating func flattened(_ elements: [Reply]) {
        guard case .array(let first)? = elements.first else {
            array(elements.count)
            for element in elements { reply(element) }
            return
        }
        array(elements.count * first.count)
        for element in elements {
            for part in element.elements ?? [element] { reply(part) }
        }
    }

    mutating func error(_ line: String) {
        bytes.append(UInt8(ascii: "-"))
        bytes.append(contentsOf: line.utf8)
        endLine()
    }

    mutating func ok() { append("+OK\r\n") }

    mutating func status(_ text: Bytes) {
        bytes.append(UInt8(ascii: "+"))
        text.withUnsafeBytes { bytes.append(contentsOf: $0) }
        endLine()
    }

    mutating func integer(_ value: Int64) { header(UInt8(ascii: ":"), value) }

    mutating func integer(_ value: Int) { integer(Int64(value)) }

    mutating func bulk(_ text: Bytes) {
        header(UInt8(ascii: "$"), Int64(text.count))
        text.withUnsafeBytes { bytes.append(contentsOf: $0) }
        endLine()
    }

    mutating func bulk(_ text: String) { bulk(Bytes(text)) }

    /// Text for people.
    mutating func verbatim(_ text: Bytes) {
        guard isRESP3 else { return bulk(text) }
        header(UInt8(ascii: "="), Int64(text.count + 4))
        append("txt:")
        text.withUnsafeBytes { bytes.append(contentsOf: $0) }
        endLine()
    }

    mutating func null() { append(isRESP3 ? "_\r\n" : "$-1\r\n") }

    mutating func nullArray() { append(isRESP3 ? "_\r\n" : "*-1\r\n") }

    mutating func boolean(_ value: Bool) {
        if isRESP3 { append(value ? "#t\r\n" : "#f\r\n") } else { integer(value ? 1 : 0) }
    }

    mutating func double(_ value: Double) {
        let text = Reply.double(value).bytes ?? Bytes()
        guard isRESP3 else { return bulk(text) }
        bytes.append(UInt8(ascii: ","))
        text.withUnsafeBytes { bytes.append(contentsOf: $0) }
        endLine()
    }

    // MARK: - Beginnings of aggregates

    mutating func array(_ count: Int) { header(UInt8(ascii: "*"), Int64(count)) }

    /// What follows is `count` keys, each with its value.
    mutating func map(_ count: Int) {
        header(isRESP3 ? UInt8(ascii: "%") : UInt8(ascii: "*"), Int64(isRESP3 ? count : count * 2))
    }

    mutating func set(_ count: Int) { header(isRESP3 ? UInt8(ascii: "~") : UInt8(ascii: "*"), Int64(count)) }

    /// A message that nobody asked for.
    mutating func push(_ count: Int) { header(isRESP3 ? UInt8(ascii: ">") : UInt8(ascii: "*"), Int64(count)) }

    // MARK: - Parts

    private mutating func append(_ text: StaticString) { text.withUTF8Buffer { bytes.append(contentsOf: $0) } }

    private mutating func endLine() {
        bytes.append(13)
        bytes.append(10)
    }

    private mutating func header(_ mark: UInt8, _ value: Int64) {
        bytes.append(mark)
        if value >= 0, value < 10 {
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value))
        } else {
            digits(value)
        }
        endLine()
    }

    private mutating func digits(_ value: Int64) {
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        let start = bytes.count
        var rest = value.magnitude
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }
}
