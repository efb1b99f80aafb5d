/// The end of a range of scores.
public enum ScoreBound: Hashable, Sendable {
    case inclusive(Double)
    case exclusive(Double)

    var value: Double {
        switch self {
        case .inclusive(let value), .exclusive(let value): value
        }
    }

    /// As ZRANGE reads it: `(1.5` for an end that does not belong.
    var text: Bytes {
        switch self {
        case .inclusive(let value): Bytes(value.description)
        case .exclusive(let value): Bytes("(\(value.description)")
        }
    }

    /// Reads a bound with Redis's leniency: nothing stands for zero, leading spaces do not count.
    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> ScoreBound {
        let text = try reader.bytes()
        let isExclusive = text.first == UInt8(ascii: "(")
        let digits = (isExclusive ? text.dropFirst() : text).drop { $0 == 0x20 || (0x09...0x0D).contains($0) }
        guard let value = digits.isEmpty ? 0 : Decimal.parseDouble(digits.storage, allowsOverflow: true) else {
            throw ReplyError("ERR min or max is not a float")
        }
        return isExclusive ? .exclusive(value) : .inclusive(value)
    }
}

/// A range of scores: `ScoreRange.all`, `.atMost(now)`, `ScoreRange(1...5)`.
public struct ScoreRange: Hashable, Sendable {
    public let lower: ScoreBound
    public let upper: ScoreBound

    public init(_ lower: ScoreBound, _ upper: ScoreBound) {
        self.lower = lower
        self.upper = upper
    }

    public init(_ range: ClosedRange<Double>) { self.init(.inclusive(range.lowerBound), .inclusive(range.upperBound)) }

    public static let all = ScoreRange(.inclusive(-.infinity), .inclusive(.infinity))
    public static func atMost(_ score: Double) -> ScoreRange { ScoreRange(.inclusive(-.infinity), .inclusive(score)) }
    public static func below(_ score: Double) -> ScoreRange { ScoreRange(.inclusive(-.infinity), .exclusive(score)) }
    public static func atLeast(_ score: Double) -> ScoreRange { ScoreRange(.inclusive(score), .inclusive(.infinity)) }
    public static func above(_ score: Double) -> ScoreRange { ScoreRange(.exclusive(score), .inclusive(.infinity)) }

    /// Whether a score is not below the range.
    func isAtOrBehindLower(_ score: Double) -> Bool {
        switch lower {
        case .inclusive(let bound): score >= bound
        case .exclusive(let bound): score > bound
        }
    }

    /// Whether a score is above the range.
    func isBehindUpper(_ score: Double) -> Bool {
        switch upper {
        case .inclusive(let bound): score > bound
        case .exclusive(let bound): score >= bound
        }
    }
}

/// The end of a range of members in byte order.
public enum LexBound: Hashable, Sendable {
    /// `-`: before all members.
    case lowest
    /// `+`: behind all members.
    case highest
    case inclusive(Bytes)
    case exclusive(Bytes)

    var text: Bytes {
        switch self {
        case .lowest: "-"
        case .highest: "+"
        case .inclusive(let member): Bytes(Array("[".utf8) + Array(member))
        case .exclusive(let member): Bytes(Array("(".utf8) + Array(member))
        }
    }

    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> LexBound {
        let text = try reader.bytes()
        switch text.first {
        case UInt8(ascii: "-") where text.count == 1: return .lowest
        case UInt8(ascii: "+") where text.count == 1: return .highest
        case UInt8(ascii: "["): return .inclusive(text.dropFirst())
        case UInt8(ascii: "("): return .exclusive(text.dropFirst())
        default: throw ReplyError("ERR min or max not valid string range item")
        }
    }
}

/// A range of members in byte order. It has a meaning where all scores are equal.
public struct LexRange: Hashable, Sendable {
    public let lower: LexBound
    public let upper: LexBound

    public init(_ lower: LexBound, _ upper: LexBound) {
        self.lower = lower
        self.upper = upper
    }

    public static let all = LexRange(.lowest, .highest)

    /// Whether a member is not before the range.
    func isAtOrBehindLower(_ member: Bytes) -> Bool {
        switch lower {
        case .lowest: true
        case .highest: false
        case .inclusive(let bound): member >= bound
        case .exclusive(let bound): member > bound
        }
    }

    /// Whether a member is behind the range.
    func isBehindUpper(_ member: Bytes) -> Bool {
        switch upper {
        case .lowest: true
        case .highest: false
        case .inclusive(let bound): member > bound
        case .exclusive(let bound): member >= bound
        }
    }
}

/// A part of a sorted set, by rank, score or byte order: what ZRANGE and ZRANGESTORE take.
public struct SortedSetRange: Hashable, Sendable {
    public enum Span: Hashable, Sendable {
        /// Both ends included; negative from the end.
        case ranks(Int64, Int64)
        case scores(ScoreRange)
        case members(LexRange)
    }

    /// Leaves out some of what the span contains.
    public struct Limit: Hashable, Sendable {
        /// How many to skip.
        public let offset: Int64
        /// How many to take; negative for all.
        public let count: Int64
        public init(offset: Int64 = 0, count: Int64) {
            self.offset = offset
            self.count = count
        }
    }

    public let span: Span
    /// From the highest to the lowest. Ranks count from the highest then.
    public let isReversed: Bool
    /// Not for ranks.
    public let limit: Limit?

    public init(_ span: Span, isReversed: Bool = false, limit: Limit? = nil) {
        self.span = span
        self.isReversed = isReversed
        self.limit = limit
    }

    func write(to writer: inout CommandWriter) {
        switch span {
        case .ranks(let start, let end):
            writer.append(start)
            writer.append(end)
        case .scores(let range):
            let (lower, upper) = (range.lower.text, range.upper.text)
            writer.append(isReversed ? upper : lower)
            writer.append(isReversed ? lower : upper)
            writer.word("BYSCORE")
        case .members(let range):
            writer.append(isReversed ? range.upper.text : range.lower.text)
            writer.append(isReversed ? range.lower.text : range.upper.text)
            writer.word("BYLEX")
        }
        if isReversed { writer.word("REV") }
        if let limit {
            writer.word("LIMIT")
            writer.append(limit.offset)
            writer.append(limit.count)
        }
    }
}
