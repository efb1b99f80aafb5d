/// Members with scores, in their order. What they mean stands in `Keyspace/Keyspace+SortedSets.swift`; the ways to name a part of
/// one in `SortedSetRange.swift`, what users call in `SortedSets+Commands.swift`.
public enum SortedSetOperation: Hashable, Sendable {
    case zadd(Key, [ScoredMember], ZAddOptions)
    /// ZADD with INCR: adds to a score on a condition, and answers it.
    case zaddincr(Key, ScoredMember, ZAddOptions)
    case zincrby(Key, Double, Bytes)
    case zrem(Key, [Bytes])
    case zscore(Key, Bytes)
    case zmscore(Key, [Bytes])
    case zcard(Key)
    case zcount(Key, ScoreRange)
    case zlexcount(Key, LexRange)
    case zrank(Key, Bytes)
    case zrevrank(Key, Bytes)
    case zrange(Key, SortedSetRange, withScores: Bool)
    case zrangestore(Key, Key, SortedSetRange)
    case zremrangebyscore(Key, ScoreRange)
    case zremrangebyrank(Key, Int64, Int64)
    case zremrangebylex(Key, LexRange)
    /// Without a count: one member, in a flat reply.
    case zpopmin(Key, count: Int64?)
    case zpopmax(Key, count: Int64?)
    case zmpop([Key], ScoreEnd, count: Int64?)
    case zrandmember(Key, count: Int64?, withScores: Bool)
    case zunion([Key], Combination, withScores: Bool)
    case zinter([Key], Combination, withScores: Bool)
    case zdiff([Key], withScores: Bool)
    case zunionstore(Key, [Key], Combination)
    case zinterstore(Key, [Key], Combination)
    case zdiffstore(Key, [Key])
    /// A limit of 0 is none.
    case zintercard([Key], limit: Int64)
    case zscan(Key, UInt64, ScanOptions)
}

/// A member of a sorted set and its score.
public struct ScoredMember: Hashable, Sendable {
    public let member: Bytes
    public let score: Double
    public init(_ member: Bytes, _ score: Double) {
        self.member = member
        self.score = score
    }
}

/// ZADD's options.
public struct ZAddOptions: Hashable, Sendable {
    public enum Existence: Hashable, Sendable {
        /// NX: only add.
        case ifAbsent
        /// XX: only change.
        case ifPresent
    }

    public enum Comparison: Hashable, Sendable {
        /// GT: change a score only to a greater one. New members are added.
        case ifGreater
        /// LT: change a score only to a lesser one. New members are added.
        case ifLess
    }

    public var existence: Existence?
    public var comparison: Comparison?
    /// CH: count the members that were changed too, not only the new ones.
    public var countsChanged: Bool

    public init(existence: Existence? = nil, comparison: Comparison? = nil, countsChanged: Bool = false) {
        self.existence = existence
        self.comparison = comparison
        self.countsChanged = countsChanged
    }
}

/// The lowest or the highest scores.
public enum ScoreEnd: Hashable, Sendable, CaseIterable {
    case min, max
}

/// How ZUNION and ZINTER make one score of several.
public struct Combination: Hashable, Sendable {
    public enum Aggregate: Hashable, Sendable, CaseIterable {
        case sum, min, max

        var word: StaticString {
            switch self {
            case .sum: "SUM"
            case .min: "MIN"
            case .max: "MAX"
            }
        }
    }

    /// What each set's scores are multiplied by, one for each key; nil for 1.
    public var weights: [Double]?
    public var aggregate: Aggregate

    public init(weights: [Double]? = nil, aggregate: Aggregate = .sum) {
        self.weights = weights
        self.aggregate = aggregate
    }
}

// MARK: - On the wire

extension SortedSetOperation: OperationFamily {
    var name: StaticString {
        switch self {
        case .zadd, .zaddincr: "ZADD"
        case .zincrby: "ZINCRBY"
        case .zrem: "ZREM"
        case .zscore: "ZSCORE"
        case .zmscore: "ZMSCORE"
        case .zcard: "ZCARD"
        case .zcount: "ZCOUNT"
        case .zlexcount: "ZLEXCOUNT"
        case .zrank: "ZRANK"
        case .zrevrank: "ZREVRANK"
        case .zrange: "ZRANGE"
        case .zrangestore: "ZRANGESTORE"
        case .zremrangebyscore: "ZREMRANGEBYSCORE"
        case .zremrangebyrank: "ZREMRANGEBYRANK"
        case .zremrangebylex: "ZREMRANGEBYLEX"
        case .zpopmin: "ZPOPMIN"
        case .zpopmax: "ZPOPMAX"
        case .zmpop: "ZMPOP"
        case .zrandmember: "ZRANDMEMBER"
        case .zunion: "ZUNION"
        case .zinter: "ZINTER"
        case .zdiff: "ZDIFF"
        case .zunionstore: "ZUNIONSTORE"
        case .zinterstore: "ZINTERSTORE"
        case .zdiffstore: "ZDIFFSTORE"
        case .zintercard: "ZINTERCARD"
        case .zscan: "ZSCAN"
        }
    }

    func writeArguments(to writer: inout CommandWriter) {
        switch self {
        case .zadd(let key, let members, let options):
            writer.append(key)
            options.write(to: &writer)
            for scored in members { writer.append(scored) }
        case .zaddincr(let key, let scored, let options):
            writer.append(key)
            options.write(to: &writer)
            writer.word("INCR")
            writer.append(scored)
        case .zincrby(let key, let amount, let member):
            writer.append(key)
            writer.append(ScoredMember(member, amount))
        case .zrem(let key, let members), .zmscore(let key, let members):
            writer.append(key)
            writer.append(members)
        case .zscore(let key, let member), .zrank(let key, let member), .zrevrank(let key, let member):
            writer.append(key)
            writer.append(member)
        case .zcard(let key):
            writer.append(key)
        case .zcount(let key, let range), .zremrangebyscore(let key, let range):
            writer.append(key)
            writer.append(range.lower.text)
            writer.append(range.upper.text)
        case .zlexcount(let key, let range), .zremrangebylex(let key, let range):
            writer.append(key)
            writer.append(range.lower.text)
            writer.append(range.upper.text)
        case .zremrangebyrank(let key, let start, let end):
            writer.append(key)
            writer.append(start)
            writer.append(end)
        case .zrange(let key, let range, let withScores):
            writer.append(key)
            range.write(to: &writer)
            if withScores { writer.word("WITHSCORES") }
        case .zrangestore(let destination, let source, let range):
            writer.append(destination)
            writer.append(source)
            range.write(to: &writer)
        case .zpopmin(let key, let count), .zpopmax(let key, let count):
            writer.append(key)
            if let count { writer.append(count) }
        case .zmpop(let keys, let end, let count):
            writer.append(keys.count)
            writer.append(keys)
            writer.word(end == .min ? "MIN" : "MAX")
            writer.appendCount(count)
        case .zrandmember(let key, let count, let withScores):
            writer.append(key)
            if let count { writer.append(count) }
            if withScores { writer.word("WITHSCORES") }
        case .zunion(let keys, let combination, let withScores), .zinter(let keys, let combination, let withScores):
            writer.append(keys.count)
            writer.append(keys)
            combination.write(to: &writer)
            if withScores { writer.word("WITHSCORES") }
        case .zdiff(let keys, let withScores):
            writer.append(keys.count)
            writer.append(keys)
            if withScores { writer.word("WITHSCORES") }
        case .zunionstore(let destination, let keys, let combination), .zinterstore(let destination, let keys, let combination):
            writer.append(destination)
            writer.append(keys.count)
            writer.append(keys)
            combination.write(to: &writer)
        case .zdiffstore(let destination, let keys):
            writer.append(destination)
            writer.append(keys.count)
            writer.append(keys)
        case .zintercard(let keys, let limit):
            writer.append(keys.count)
            writer.append(keys)
            writer.appendLimit(limit)
        case .zscan(let key, let cursor, let options):
            writer.append(key)
            writer.append(Bytes(cursor.description))
            options.write(to: &writer)
        }
    }
}

extension CommandWriter {
    /// Score and member, in this order.
    mutating func append(_ scored: ScoredMember) {
        append(scored.score)
        append(scored.member)
    }
}

extension ZAddOptions {
    func write(to writer: inout CommandWriter) {
        switch existence {
        case .ifAbsent: writer.word("NX")
        case .ifPresent: writer.word("XX")
        case nil: break
        }
        switch comparison {
        case .ifGreater: writer.word("GT")
        case .ifLess: writer.word("LT")
        case nil: break
        }
        if countsChanged { writer.word("CH") }
    }
}

extension Combination {
    func write(to writer: inout CommandWriter) {
        if let weights {
            writer.word("WEIGHTS")
            for weight in weights { writer.append(weight) }
        }
        if aggregate != .sum {
            writer.word("AGGREGATE")
            writer.word(aggregate.word)
        }
    }
}
