import HoldfastStore

/// Server-Sent Events taken apart, as a value: bytes in, events out (WHATWG HTML, §9.2.6).
///
/// An event's `data:` lines are joined with line feeds and end with an empty line. Upstash's documentation shows streams without empty
/// lines, one message in each line: where the line behind the first message is not empty, every line counts as an event.
struct EventLines {
    enum Event: Hashable {
        case data(Bytes)
        case comment(Bytes)
    }

    /// No event of the protocol is longer than a request may be, however many lines it has.
    static let maximumEventBytes = 64 * 1024 * 1024
    var limit = Self.maximumEventBytes

    private var line: [UInt8] = []
    private var data: [UInt8]?
    private var lastWasReturn = false
    /// Nil until the line behind the first message has told.
    private var isLineByLine: Bool?
    private var hasMessage = false

    /// - Returns: nil where an event is longer than any could be.
    mutating func read(_ bytes: some Sequence<UInt8>) -> [Event]? {
        var events: [Event] = []
        for byte in bytes {
            defer { lastWasReturn = byte == UInt8(ascii: "\r") }
            switch byte {
            case UInt8(ascii: "\n") where lastWasReturn: continue
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"): end(&events)
            default:
                guard line.count + (data?.count ?? 0) < limit else { return nil }
                line.append(byte)
            }
        }
        return events
    }

    private mutating func end(_ events: inout [Event]) {
        defer { line.removeAll(keepingCapacity: true) }
        if hasMessage, isLineByLine == nil { isLineByLine = !line.isEmpty }
        guard !line.isEmpty else {
            if let data { events.append(.data(Bytes(data))) }
            data = nil
            return
        }
        if line[0] == UInt8(ascii: ":") { return events.append(.comment(Bytes(Array(Self.value(line[1...]))))) }
        guard line.starts(with: "data:".utf8) else { return }
        let value = Self.value(line[5...])
        // The first message is a confirmation of one line: it need not wait for what follows.
        if !hasMessage || isLineByLine == true {
            hasMessage = true
            return events.append(.data(Bytes(Array(value))))
        }
        if data == nil {
            data = Array(value)
        } else {
            // In place: an event may have any number of lines.
            data?.append(UInt8(ascii: "\n"))
            data?.append(contentsOf: value)
        }
    }

    /// Without the one space that may stand behind the colon.
    private static func value(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        text.first == UInt8(ascii: " ") ? text.dropFirst() : text
    }
}
