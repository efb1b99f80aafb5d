import HoldfastStore

/// Replies as they are compared.
enum ReplyForm {
    /// Whether two stores gave the same answer.
    ///
    /// - Parameter isRESP2: the second store speaks RESP2: an array where RESP3 has a map, a set or a list of pairs, text where it
    ///   has a double, an integer where it has a boolean.
    static func agree(_ ours: Reply, _ theirs: Reply, order: CommandTraits.Order = .exact, isRESP2: Bool) -> Bool {
        guard isRESP2 else { return sorted(ours, order) == sorted(theirs, order) }
        switch (ours, theirs) {
        case (.double(let left), .bytes(let right)): return right.double == left
        case (.boolean(let left), .integer(let right)): return right == (left ? 1 : 0)
        case (.array, .array), (.map, .array), (.set, .array):
            var order = order
            if case .map = ours { order = .pairs }
            if case .set = ours { order = .elements }
            var (left, right) = (elements(ours, order), elements(theirs, order))
            // Members with scores, fields with values: flat in RESP2.
            if left.count != right.count { (left, right) = (left.flatMap { $0.elements ?? [$0] }, right) }
            return left.count == right.count && zip(left, right).allSatisfy { agree($0, $1, isRESP2: true) }
        default: return ours == theirs
        }
    }

    /// What a procedure answers has no status lines, only byte strings.
    static func plain(_ reply: Reply) -> Reply {
        switch reply {
        case .status(let text): .bytes(text)
        case .array(let elements): .array(elements.map(plain))
        default: reply
        }
    }

    /// The words of a server's error without the place in a script where it happened.
    static func withoutScript(_ line: String) -> String {
        guard let range = line.firstRange(of: " script: ") else { return line }
        return String(line[..<range.lowerBound])
    }

    /// The leaves of a reply, as byte strings.
    static func leaves(_ reply: Reply) -> [Bytes] {
        if let elements = reply.elements { return elements.flatMap(leaves) }
        return reply.bytes.map { [$0] } ?? []
    }

    private static func sorted(_ reply: Reply, _ order: CommandTraits.Order) -> Reply {
        switch reply {
        case .set: .set(elements(reply, .elements))
        case .map: .map(elements(reply, .pairs))
        case .array: .array(elements(reply, order))
        default: reply
        }
    }

    private static func elements(_ reply: Reply, _ order: CommandTraits.Order) -> [Reply] {
        let elements = reply.elements ?? []
        switch order {
        case .exact: return elements
        case .elements: return elements.sorted { ($0.bytes ?? Bytes()) < ($1.bytes ?? Bytes()) }
        case .pairs:
            guard elements.count.isMultiple(of: 2) else { return elements }
            let pairs = stride(from: 0, to: elements.count, by: 2).map { (elements[$0], elements[$0 + 1]) }
            return pairs.sorted { ($0.0.bytes ?? Bytes()) < ($1.0.bytes ?? Bytes()) }.flatMap { [$0.0, $0.1] }
        }
    }
}

extension Reply {
    var isEmpty: Bool { isNull || elements?.isEmpty == true || self == .integer(0) }

    /// For people.
    var shown: String {
        switch self {
        case .null: "(nil)"
        case .status(let text): text.lossyString
        case .integer(let value): "(integer) \(value)"
        case .bytes(let bytes): Step.quoted(bytes)
        case .double(let value): "(double) \(value)"
        case .boolean(let value): "(\(value))"
        case .array(let elements): "[" + elements.map(\.shown).joined(separator: ", ") + "]"
        case .map(let elements): "map[" + elements.map(\.shown).joined(separator: ", ") + "]"
        case .set(let elements): "set[" + elements.map(\.shown).joined(separator: ", ") + "]"
        case .error(let error): "(error) \(error.line)"
        }
    }
}
