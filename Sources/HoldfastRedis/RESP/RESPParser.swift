import HoldfastStore

/// What a server sends: an answer to a command, or a message of its own accord.
enum RESPItem: Equatable {
    case reply(Reply)
    /// RESP3's out-of-band messages (publications, invalidations): never the answer to a command, except to SUBSCRIBE and its kin.
    case push([Reply])

    /// Moves the item out and leaves a null, so that nothing is copied.
    mutating func take() -> RESPItem {
        var item = RESPItem.reply(.null)
        swap(&item, &self)
        return item
    }
}

/// Reads RESP2 and RESP3 from bytes in whatever pieces they come.
///
/// Every byte is looked at once: a reply that is not complete is left where it stands and gone on with, however deep in
/// aggregates. The work is linear in what was received, and so is the memory, because no claimed length is believed before its
/// bytes are there.
///
/// Byte strings are slices of the piece that they came in. One that came in several pieces is joined in memory of its own.
///
/// Anything that is no RESP, or that claims more than the limits, throws ``ErrorCode/protocolViolation``; the stream is lost then. Not so
/// what some caller's command or script can make the server send: aggregates that are nested too deep, and texts that are too long, are read
/// to their end and are an error line, of that call only; a big number is whatever stands in its line.
/// Streamed strings and aggregates (`$?`), which no released server sends, count as such.
struct RESPParser {
    struct Limits {
        /// Redis's own `proto-max-bulk-len`.
        var bulkLength = 512 << 20
        var elements = 1 << 28
        var depth = 64
        /// Numbers are short, and so are status and error lines mostly; they are cut here.
        var lineLength = 64 << 10
    }

    private struct Aggregate {
        enum Kind { case array, set, map, push, attribute }
        let kind: Kind
        var remaining: Int
        var elements: [Reply]
    }

    private enum BulkKind { case bytes, verbatim, error }

    /// A byte string of which only a part has come.
    private struct PartialBulk {
        let kind: BulkKind
        let length: Int
        var bytes: [UInt8]
    }

    /// A text that is too long, which is read to its end and forgotten.
    private struct Forgotten {
        /// What it is to be taken for.
        let error: ReplyError
        /// How many bytes are still to come; nil for a line, which ends with its line end.
        var remaining: Int?
    }

    private let limits: Limits
    private var chunk: [UInt8] = []
    private var position = 0
    /// Up to where the line at `position` was searched for its end without finding it.
    private var scanned = 0
    private var bulk: PartialBulk?
    private var forgotten: Forgotten?
    private var stack: [Aggregate] = []
    /// How many values are still to be read, and forgotten, of an aggregate that is nested too deep; 0 where there is none.
    private var skipped = 0
    private var isTooDeep = false

    init(limits: Limits = Limits()) { self.limits = limits }

    /// Adds what was received. All that ``next()`` can give should have been taken before.
    mutating func feed(_ received: UnsafeRawBufferPointer) {
        guard !received.isEmpty else { return }
        let rest = chunk.count - position
        if rest == 0 {
            chunk = Array(received)
        } else {
            // What is left is the beginning of one line: short.
            var joined: [UInt8] = []
            joined.reserveCapacity(rest + received.count)
            joined.append(contentsOf: chunk[position...])
            joined.append(contentsOf: received)
            chunk = joined
        }
        scanned = max(0, scanned - position)
        position = 0
    }

    /// The next complete item, or nil when more bytes are needed.
    mutating func next() throws(StoreError) -> RESPItem? {
        while true {
            let value: Reply
            if bulk != nil {
                guard let finished = try continueBulk() else { return nil }
                value = finished
            } else if forgotten != nil {
                guard let finished = try forget() else { return nil }
                value = finished
            } else {
                switch try token() {
                case .incomplete: return nil
                case .opened: continue
                case .value(let reply): value = reply
                }
            }
            if stack.isEmpty {
                // Perhaps of an attribute that stood before it.
                defer { isTooDeep = false }
                return .reply(isTooDeep ? .error(tooDeep) : value)
            }
            if skipped > 1 {
                skipped -= 1
                continue
            }
            skipped = 0
            guard let item = close(with: value) else { continue }
            defer { isTooDeep = false }
            if isTooDeep, case .reply = item { return .reply(.error(tooDeep)) }
            return item
        }
    }

    private var tooDeep: ReplyError { ReplyError("ERR The reply is nested deeper than \(limits.depth)") }

    // MARK: - Aggregates

    /// Puts a value into the innermost aggregate, and that one into its own when it is complete.
    private mutating func close(with value: consuming Reply) -> RESPItem? {
        while let top = stack.indices.last {
            stack[top].elements.append(value)
            stack[top].remaining -= 1
            guard stack[top].remaining == 0 else { return nil }
            let complete = stack.removeLast()
            switch complete.kind {
            case .array: value = .array(complete.elements)
            case .set: value = .set(complete.elements)
            case .map: value = .map(complete.elements)
            case .push: return .push(complete.elements)
            case .attribute: return nil  // What it describes follows.
            }
        }
        return .reply(value)
    }

    private mutating func open(_ kind: Aggregate.Kind, _ count: Int) throws(StoreError) -> Token {
        guard count >= 0 else {
            guard count == -1, kind == .array else { throw Self.violation("a negative count") }
            return .value(.null)
        }
        guard count <= limits.elements else { throw Self.violation("an aggregate of \(count) elements") }
        guard count > 0 else {
            switch kind {
            case .array: return .value(.array([]))
            case .set: return .value(.set([]))
            case .map: return .value(.map([]))
            case .attribute: return .opened
            case .push: throw Self.violation("an empty push")
            }
        }
        guard kind != .push || stack.isEmpty else { throw Self.violation("a push inside a reply") }
        let total = kind == .map || kind == .attribute ? count * 2 : count
        guard stack.count < limits.depth else {
            try skip(total, kind)
            return .opened
        }
        var elements: [Reply] = []
        // The claimed count is believed as far as the bytes at hand could hold it (each element takes at least three).
        elements.reserveCapacity(min(total, (chunk.count - position) / 3 + 1))
        stack.append(Aggregate(kind: kind, remaining: total, elements: elements))
        return .opened
    }

    /// What is in an aggregate that is nested too deep counts as one value, which is forgotten; an attribute and what it describes too.
    private mutating func skip(_ values: Int, _ kind: Aggregate.Kind) throws(StoreError) {
        isTooDeep = true
        let (sum, isBeyond) = max(1, skipped).addingReportingOverflow(kind == .attribute ? values : values - 1)
        guard !isBeyond else { throw Self.violation("more values than can be counted") }
        skipped = sum
    }

    // MARK: - Tokens

    private enum Token {
        case incomplete
        /// An aggregate began, or something that counts as nothing.
        case opened
        case value(Reply)
    }

    private mutating func token() throws(StoreError) -> Token {
        guard position < chunk.count else { return .incomplete }
        let mark = chunk[position]
        guard Self.isMark(mark) else { throw Self.violation("a line that begins with byte \(mark)") }
        guard let end = try lineEnd() else {
            if scanned - position <= limits.lineLength + 1 { return .incomplete }
            try beginToForgetLine(mark)
            return .opened
        }
        let line = (position + 1)..<end
        position = end + 2
        switch mark {
        case UInt8(ascii: "$"): return try beginBulk(.bytes, try number(line))
        case UInt8(ascii: ":"): return .value(.integer(Int64(try number(line))))
        case UInt8(ascii: "+"): return .value(status(line))
        case UInt8(ascii: "*"): return try open(.array, try number(line))
        case UInt8(ascii: "%"): return try open(.map, try number(line))
        case UInt8(ascii: ">"): return try open(.push, try number(line))
        case UInt8(ascii: "~"): return try open(.set, try number(line))
        case UInt8(ascii: "|"): return try open(.attribute, try number(line))
        case UInt8(ascii: "="): return try beginBulk(.verbatim, try number(line))
        case UInt8(ascii: "!"): return try beginBulk(.error, try number(line))
        case UInt8(ascii: "("): return .value(.bytes(Bytes(chunk[line])))
        case UInt8(ascii: ","): return .value(.double(try double(line)))
        case UInt8(ascii: "#"): return .value(.boolean(try boolean(line)))
        case UInt8(ascii: "_"):
            guard line.isEmpty else { throw Self.violation("a null with a value") }
            return .value(.null)
        default: return .value(.error(ReplyError(String(decoding: chunk[line], as: UTF8.self))))
        }
    }

    private static func isMark(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "$"), UInt8(ascii: ":"), UInt8(ascii: "+"), UInt8(ascii: "*"), UInt8(ascii: "%"), UInt8(ascii: ">"),
            UInt8(ascii: "~"), UInt8(ascii: "|"), UInt8(ascii: "="), UInt8(ascii: "!"), UInt8(ascii: "("), UInt8(ascii: ","),
            UInt8(ascii: "#"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// Where the line's CR stands, once its LF is there too.
    private mutating func lineEnd() throws(StoreError) -> Int? {
        var index = max(position + 1, scanned)
        let count = chunk.count
        while index < count, chunk[index] != 13 { index += 1 }
        scanned = index
        guard index - position <= limits.lineLength + 1, index + 1 < count else { return nil }
        guard chunk[index + 1] == 10 else { throw Self.violation("a CR without LF") }
        return index
    }

    // MARK: - Texts that are too long

    /// - Throws: for a line that must be a number.
    private mutating func beginToForgetLine(_ mark: UInt8) throws(StoreError) {
        switch mark {
        case UInt8(ascii: "-"):
            let beginning = chunk[(position + 1)..<(position + 1 + limits.lineLength)]
            forgotten = Forgotten(error: ReplyError(String(decoding: beginning, as: UTF8.self)))
        case UInt8(ascii: "+"), UInt8(ascii: "("):
            forgotten = Forgotten(error: ReplyError("ERR The reply is a line of more than \(limits.lineLength) bytes"))
        default: throw Self.violation("a line without end")
        }
        position += 1
    }

    /// What the rest of it makes of it, once it is there.
    private mutating func forget() throws(StoreError) -> Reply? {
        guard let text = forgotten else { return nil }
        if let remaining = text.remaining {
            let part = min(chunk.count - position, remaining)
            position += part
            forgotten?.remaining = remaining - part
            if part < remaining { return nil }
        } else {
            position = chunk[position...].firstIndex(of: 13) ?? chunk.count
            // The CR stays until its LF is there.
            guard position + 1 < chunk.count else { return nil }
            guard chunk[position + 1] == 10 else { throw Self.violation("a CR without LF") }
            position += 2
        }
        forgotten = nil
        return .error(text.error)
    }

    // MARK: - Lines

    private func number(_ line: Range<Int>) throws(StoreError) -> Int {
        var index = line.lowerBound
        guard index < line.upperBound else { throw Self.violation("an empty number") }
        let sign = chunk[index]
        let isNegative = sign == UInt8(ascii: "-")
        if isNegative || sign == UInt8(ascii: "+") { index += 1 }
        guard index < line.upperBound, line.upperBound - index <= 19 else { throw Self.violation("a number that is none") }
        // Nineteen digits fit into 64 bits without a sign.
        var magnitude: UInt64 = 0
        while index < line.upperBound {
            let digit = chunk[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { throw Self.violation("a number that is none") }
            magnitude = magnitude &* 10 &+ UInt64(digit)
            index += 1
        }
        if isNegative {
            guard magnitude <= UInt64(Int.max) + 1 else { throw Self.violation("a number beyond 64 bits") }
            return Int(truncatingIfNeeded: 0 &- magnitude)
        }
        guard let number = Int(exactly: magnitude) else { throw Self.violation("a number beyond 64 bits") }
        return number
    }

    private func status(_ line: Range<Int>) -> Reply {
        if line.count == 2, chunk[line.lowerBound] == UInt8(ascii: "O"), chunk[line.lowerBound + 1] == UInt8(ascii: "K") {
            return .ok
        }
        return .status(Bytes(chunk[line]))
    }

    private func double(_ line: Range<Int>) throws(StoreError) -> Double {
        let text = Bytes(chunk[line])
        if let value = text.double { return value }
        guard text == "nan" || text == "-nan" else { throw Self.violation("a double that is none") }
        return .nan
    }

    private func boolean(_ line: Range<Int>) throws(StoreError) -> Bool {
        guard line.count == 1 else { throw Self.violation("a boolean that is none") }
        switch chunk[line.lowerBound] {
        case UInt8(ascii: "t"): return true
        case UInt8(ascii: "f"): return false
        default: throw Self.violation("a boolean that is none")
        }
    }

    // MARK: - Byte strings

    private mutating func beginBulk(_ kind: BulkKind, _ length: Int) throws(StoreError) -> Token {
        guard length >= 0 else {
            guard length == -1, kind == .bytes else { throw Self.violation("a negative length") }
            return .value(.null)
        }
        guard length <= limits.bulkLength else {
            // Beyond this nobody has sent what was read as a length.
            guard length <= limits.bulkLength * 8 else { throw Self.violation("a byte string of \(length) bytes") }
            let error = ReplyError("ERR The reply has a byte string of \(length) bytes, more than \(limits.bulkLength)")
            forgotten = Forgotten(error: error, remaining: length + 2)
            return .opened
        }
        if chunk.count - position >= length + 2 {
            let body = position..<(position + length)
            guard chunk[body.upperBound] == 13, chunk[body.upperBound + 1] == 10 else {
                throw Self.violation("a byte string without end")
            }
            position = body.upperBound + 2
            return .value(try Self.reply(kind, Bytes(chunk[body])))
        }
        bulk = PartialBulk(kind: kind, length: length, bytes: [])
        return .opened
    }

    private mutating func continueBulk() throws(StoreError) -> Reply? {
        guard var partial = bulk.take() else { return nil }
        let part = min(chunk.count - position, partial.length + 2 - partial.bytes.count)
        partial.bytes.append(contentsOf: chunk[position..<(position + part)])
        position += part
        guard partial.bytes.count == partial.length + 2 else {
            bulk = partial
            return nil
        }
        guard partial.bytes[partial.length] == 13, partial.bytes[partial.length + 1] == 10 else {
            throw Self.violation("a byte string without end")
        }
        return try Self.reply(partial.kind, Bytes(partial.bytes[..<partial.length]))
    }

    private static func reply(_ kind: BulkKind, _ bytes: Bytes) throws(StoreError) -> Reply {
        switch kind {
        case .bytes: return .bytes(bytes)
        case .error: return .error(ReplyError(bytes.lossyString))
        case .verbatim:
            // Three letters of format and a colon stand before the text.
            guard bytes.count >= 4, bytes[bytes.startIndex + 3] == UInt8(ascii: ":") else {
                throw violation("a verbatim string without format")
            }
            return .bytes(bytes[(bytes.startIndex + 4)..<bytes.endIndex])
        }
    }

    private static func violation(_ what: String) -> StoreError {
        StoreError(.protocolViolation, "The server sent \(what)", effect: .unknown)
    }
}
