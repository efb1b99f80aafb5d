/// Reads a command's arguments one after the other, with Redis's own errors.
struct ArgumentReader {
    private let arguments: [Bytes]
    private var position = 1
    let command: String

    init(_ arguments: [Bytes], command: String) {
        self.arguments = arguments
        self.command = command
    }

    var isAtEnd: Bool { position >= arguments.count }
    var remaining: Int { arguments.count - position }

    mutating func bytes() throws(ReplyError) -> Bytes {
        // The table's arity has been checked: what is missing belongs to an option.
        guard position < arguments.count else { throw .syntax }
        defer { position += 1 }
        return arguments[position]
    }

    mutating func key() throws(ReplyError) -> Key { Key(raw: try bytes()) }

    mutating func integer(orElse error: ReplyError = .notAnInteger) throws(ReplyError) -> Int64 {
        guard let value = try bytes().integer else { throw error }
        return value
    }

    mutating func count(orElse error: ReplyError = .notAnInteger) throws(ReplyError) -> Int {
        Int(try integer(orElse: error))
    }

    mutating func double(orElse error: ReplyError = .notAFloat) throws(ReplyError) -> Double {
        guard let value = try bytes().double else { throw error }
        return value
    }

    /// All that is left; at least one.
    mutating func rest() throws(ReplyError) -> [Bytes] {
        guard !isAtEnd else { throw .wrongArity(command) }
        defer { position = arguments.count }
        return Array(arguments[position...])
    }

    mutating func restKeys() throws(ReplyError) -> [Key] { try rest().map(Key.init(raw:)) }

    /// All that is left, two by two; at least one pair.
    mutating func restPairs<Pair>(_ pair: (Bytes, Bytes) -> Pair) throws(ReplyError) -> [Pair] {
        guard !isAtEnd, remaining.isMultiple(of: 2) else { throw .wrongArity(command) }
        var pairs: [Pair] = []
        pairs.reserveCapacity(remaining / 2)
        while !isAtEnd {
            pairs.append(pair(arguments[position], arguments[position + 1]))
            position += 2
        }
        return pairs
    }

    /// `numkeys key [key …]`.
    mutating func countedKeys() throws(ReplyError) -> [Key] {
        let number = try count(orElse: ReplyError("ERR numkeys should be greater than 0"))
        guard number > 0 else { throw ReplyError("ERR numkeys should be greater than 0") }
        guard number <= remaining else { throw ReplyError("ERR Number of keys can't be greater than number of args") }
        var keys: [Key] = []
        for _ in 0..<number { keys.append(try key()) }
        return keys
    }

    /// Whether the next argument is this word, in any case; if so it is consumed.
    mutating func skip(_ word: StaticString) -> Bool {
        guard position < arguments.count, Self.matches(arguments[position], word) else { return false }
        position += 1
        return true
    }

    private static func matches(_ bytes: Bytes, _ word: StaticString) -> Bool {
        word.withUTF8Buffer { word in
            bytes.count == word.count && zip(bytes, word).allSatisfy { $0 & ~0x20 == $1 & ~0x20 }
        }
    }
}
