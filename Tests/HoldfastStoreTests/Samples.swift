@testable import HoldfastStore

/// Operations at random, over few keys and members, so that they meet each other.
///
/// Each family's samples are a list with at least one entry for each command name; `WireTests` fails where one is missing.
struct Sampler {
    typealias Sample = @Sendable (inout Sampler) -> Operation

    var random: RandomSource

    init(seed: UInt64) { random = RandomSource(seed: seed) }

    mutating func operation() -> Operation { pick(Sampler.all)(&self) }

    // MARK: - Parts

    mutating func pick<T>(_ list: [T]) -> T { list[Int.random(in: list.indices, using: &random)] }
    mutating func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &random) < probability }
    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    mutating func index() -> Int64 { Int64(number(-4...5)) }
    mutating func key() -> Key { Key(raw: Bytes("key:\(number(0...7))")) }
    mutating func keys() -> [Key] { (0..<number(1...3)).map { _ in key() } }
    mutating func member() -> Bytes { pick(["a", "b", "c", "d", "e", "", "\u{0}\r\n", "10", "aaaa"]) }
    mutating func members() -> [Bytes] { (0..<number(1...4)).map { _ in member() } }
    mutating func value() -> Bytes { pick(["1", "12", "3.25", "text", "", "-7", "\r\n"]) }
    mutating func score() -> Double { pick([1, 2, 3, 0.1, -1.5, 0, .infinity, -.infinity, 1e300, 42]) }
    mutating func count() -> Int64? { chance(0.5) ? Int64(number(1...4)) : nil }
    mutating func fields() -> [HashField] { (0..<number(1...3)).map { _ in HashField(member(), value()) } }
    mutating func scored() -> ScoredMember { ScoredMember(member(), score()) }
    mutating func end() -> ListEnd { pick(ListEnd.allCases) }
    mutating func moment() -> Timestamp { Timestamp(milliseconds: 1_000_000 + Int64(number(1...60_000))) }
    mutating func scan() -> ScanOptions {
        ScanOptions(match: chance(0.5) ? "*a*" : nil, count: chance(0.5) ? number(1...5) : nil)
    }

    mutating func scoreBound() -> ScoreBound {
        let value = score()
        return chance(0.5) ? .inclusive(value) : .exclusive(value)
    }
    mutating func scores() -> ScoreRange { ScoreRange(scoreBound(), scoreBound()) }
    mutating func lexBound() -> LexBound { pick([.lowest, .highest, .inclusive(member()), .exclusive(member())]) }
    mutating func lex() -> LexRange { LexRange(lexBound(), lexBound()) }
    mutating func range() -> SortedSetRange {
        let span: SortedSetRange.Span = pick([.ranks(index(), index()), .scores(scores()), .members(lex())])
        if case .ranks = span { return SortedSetRange(span, isReversed: chance(0.5)) }
        let limit = SortedSetRange.Limit(offset: Int64(number(0...2)), count: Int64(number(-1...3)))
        return SortedSetRange(span, isReversed: chance(0.5), limit: chance(0.5) ? limit : nil)
    }
    /// Scores are shown with ranks and scores only.
    mutating func shownRange() -> (SortedSetRange, Bool) {
        let range = range()
        if case .members = range.span { return (range, false) }
        return (range, chance(0.5))
    }
    mutating func addOptions() -> ZAddOptions {
        var options = ZAddOptions(countsChanged: chance(0.5))
        options.existence = pick([nil, .ifAbsent, .ifPresent])
        if options.existence != .ifAbsent { options.comparison = pick([nil, .ifGreater, .ifLess]) }
        return options
    }
    mutating func combination(_ keys: [Key]) -> Combination {
        Combination(
            weights: chance(0.5) ? keys.map { _ in pick([1, 0.5, -2]) } : nil, aggregate: pick(Combination.Aggregate.allCases))
    }
    mutating func expiration() -> Expiration? {
        pick([nil, .at(moment()), .after(.milliseconds(number(1...5000)))])
    }
    mutating func expireCondition() -> ExpireCondition? { chance(0.5) ? pick(ExpireCondition.allCases) : nil }

    // MARK: - Families

    static let all = strings + hashes + lists + sets + sortedSets + keys

    static let strings: [Sample] = [
        { .strings(.get($0.key())) },
        { .strings(.set($0.key(), $0.value(), SetOptions(expiration: $0.expiration()))) },
        {
            let condition: SetOptions.Condition? = $0.pick([nil, .ifAbsent, .ifPresent])
            let expiration: Expiration? = $0.chance(0.5) ? .keep : nil
            return .strings(
                .set($0.key(), $0.value(), SetOptions(expiration: expiration, condition: condition, returnsOld: $0.chance(0.5))))
        },
        { .strings(.setnx($0.key(), $0.value())) },
        { .strings(.getdel($0.key())) },
        { .strings(.getex($0.key(), $0.chance(0.5) ? .never : $0.expiration())) },
        { .strings(.getset($0.key(), $0.value())) },
        { .strings(.mget($0.keys())) },
        { s in .strings(.mset(s.keys().map { StringOperation.Pair($0, s.value()) })) },
        { s in .strings(.msetnx(s.keys().map { StringOperation.Pair($0, s.value()) })) },
        { .strings(.incrby($0.key(), $0.index())) },
        { .strings(.decrby($0.key(), $0.index())) },
        { .strings(.incrbyfloat($0.key(), $0.score())) },
        { .strings(.append($0.key(), $0.value())) },
        { .strings(.strlen($0.key())) },
        { .strings(.getrange($0.key(), $0.index(), $0.index())) },
        { .strings(.setrange($0.key(), Int64($0.number(0...5)), $0.value())) },
    ]

    static let hashes: [Sample] = [
        { .hashes(.hset($0.key(), $0.fields())) },
        { .hashes(.hset($0.key(), $0.fields())) },
        { .hashes(.hmset($0.key(), $0.fields())) },
        { .hashes(.hsetnx($0.key(), $0.member(), $0.value())) },
        { .hashes(.hget($0.key(), $0.member())) },
        { .hashes(.hmget($0.key(), $0.members())) },
        { .hashes(.hgetall($0.key())) },
        { .hashes(.hdel($0.key(), $0.members())) },
        { .hashes(.hexists($0.key(), $0.member())) },
        { .hashes(.hlen($0.key())) },
        { .hashes(.hkeys($0.key())) },
        { .hashes(.hvals($0.key())) },
        { .hashes(.hincrby($0.key(), $0.member(), $0.index())) },
        { .hashes(.hincrbyfloat($0.key(), $0.member(), $0.score())) },
        { .hashes(.hstrlen($0.key(), $0.member())) },
        {
            let count = $0.count()
            return .hashes(.hrandfield($0.key(), count: count, withValues: count != nil && $0.chance(0.5)))
        },
        { .hashes(.hscan($0.key(), UInt64($0.number(0...3)), $0.scan())) },
    ]

    static let lists: [Sample] = [
        { .lists(.lpush($0.key(), $0.members())) },
        { .lists(.rpush($0.key(), $0.members())) },
        { .lists(.lpushx($0.key(), $0.members())) },
        { .lists(.rpushx($0.key(), $0.members())) },
        { .lists(.lpop($0.key(), count: $0.count())) },
        { .lists(.rpop($0.key(), count: $0.count())) },
        { .lists(.llen($0.key())) },
        { .lists(.lrange($0.key(), $0.index(), $0.index())) },
        { .lists(.lindex($0.key(), $0.index())) },
        { .lists(.lset($0.key(), $0.index(), $0.member())) },
        { .lists(.linsert($0.key(), $0.pick(ListPlace.allCases), pivot: $0.member(), $0.member())) },
        { .lists(.lrem($0.key(), $0.index(), $0.member())) },
        { .lists(.ltrim($0.key(), $0.index(), $0.index())) },
        { .lists(.lmove($0.key(), $0.key(), from: $0.end(), to: $0.end())) },
        {
            let search = ListSearch(
                rank: $0.pick([1, 2, -1, -2]), count: $0.pick([nil, 0, 2]), maximumComparisons: $0.pick([0, 3]))
            return .lists(.lpos($0.key(), $0.member(), search))
        },
        { .lists(.lmpop($0.keys(), $0.end(), count: $0.count())) },
    ]

    static let sets: [Sample] = [
        { .sets(.sadd($0.key(), $0.members())) },
        { .sets(.sadd($0.key(), $0.members())) },
        { .sets(.srem($0.key(), $0.members())) },
        { .sets(.smembers($0.key())) },
        { .sets(.sismember($0.key(), $0.member())) },
        { .sets(.smismember($0.key(), $0.members())) },
        { .sets(.scard($0.key())) },
        { .sets(.spop($0.key(), count: $0.count())) },
        { .sets(.srandmember($0.key(), count: $0.pick([nil, 2, -3]))) },
        { .sets(.smove($0.key(), $0.key(), $0.member())) },
        { .sets(.sunion($0.keys())) },
        { .sets(.sinter($0.keys())) },
        { .sets(.sdiff($0.keys())) },
        { .sets(.sunionstore($0.key(), $0.keys())) },
        { .sets(.sinterstore($0.key(), $0.keys())) },
        { .sets(.sdiffstore($0.key(), $0.keys())) },
        { .sets(.sintercard($0.keys(), limit: Int64($0.number(0...2)))) },
        { .sets(.sscan($0.key(), UInt64($0.number(0...3)), $0.scan())) },
    ]

    static let sortedSets: [Sample] = [
        { s in .sortedSets(.zadd(s.key(), (0..<s.number(1...4)).map { _ in s.scored() }, ZAddOptions())) },
        { s in .sortedSets(.zadd(s.key(), (0..<s.number(1...4)).map { _ in s.scored() }, s.addOptions())) },
        { .sortedSets(.zaddincr($0.key(), $0.scored(), $0.addOptions())) },
        { .sortedSets(.zincrby($0.key(), $0.score(), $0.member())) },
        { .sortedSets(.zrem($0.key(), $0.members())) },
        { .sortedSets(.zscore($0.key(), $0.member())) },
        { .sortedSets(.zmscore($0.key(), $0.members())) },
        { .sortedSets(.zcard($0.key())) },
        { .sortedSets(.zcount($0.key(), $0.scores())) },
        { .sortedSets(.zlexcount($0.key(), $0.lex())) },
        { .sortedSets(.zrank($0.key(), $0.member())) },
        { .sortedSets(.zrevrank($0.key(), $0.member())) },
        {
            let (range, withScores) = $0.shownRange()
            return .sortedSets(.zrange($0.key(), range, withScores: withScores))
        },
        { .sortedSets(.zrangestore($0.key(), $0.key(), $0.range())) },
        { .sortedSets(.zremrangebyscore($0.key(), $0.scores())) },
        { .sortedSets(.zremrangebyrank($0.key(), $0.index(), $0.index())) },
        { .sortedSets(.zremrangebylex($0.key(), $0.lex())) },
        { .sortedSets(.zpopmin($0.key(), count: $0.count())) },
        { .sortedSets(.zpopmax($0.key(), count: $0.count())) },
        { .sortedSets(.zmpop($0.keys(), $0.pick(ScoreEnd.allCases), count: $0.count())) },
        {
            let count = $0.count()
            return .sortedSets(.zrandmember($0.key(), count: count, withScores: count != nil && $0.chance(0.5)))
        },
        {
            let keys = $0.keys()
            return .sortedSets(.zunion(keys, $0.combination(keys), withScores: $0.chance(0.5)))
        },
        {
            let keys = $0.keys()
            return .sortedSets(.zinter(keys, $0.combination(keys), withScores: $0.chance(0.5)))
        },
        { .sortedSets(.zdiff($0.keys(), withScores: $0.chance(0.5))) },
        {
            let keys = $0.keys()
            return .sortedSets(.zunionstore($0.key(), keys, $0.combination(keys)))
        },
        {
            let keys = $0.keys()
            return .sortedSets(.zinterstore($0.key(), keys, $0.combination(keys)))
        },
        { .sortedSets(.zdiffstore($0.key(), $0.keys())) },
        { .sortedSets(.zintercard($0.keys(), limit: Int64($0.number(0...2)))) },
        { .sortedSets(.zscan($0.key(), UInt64($0.number(0...3)), $0.scan())) },
    ]

    static let keys: [Sample] = [
        { .keys(.del($0.keys())) },
        { .keys(.unlink($0.keys())) },
        { .keys(.exists($0.keys())) },
        { .keys(.touch($0.keys())) },
        { .keys(.type($0.key())) },
        { .keys(.pexpire($0.key(), Int64($0.number(-1...5000)), $0.expireCondition())) },
        { .keys(.pexpireat($0.key(), $0.moment(), $0.expireCondition())) },
        { .keys(.pttl($0.key())) },
        { .keys(.ttl($0.key())) },
        { .keys(.pexpiretime($0.key())) },
        { .keys(.expiretime($0.key())) },
        { .keys(.persist($0.key())) },
        { .keys(.rename($0.key(), $0.key())) },
        { .keys(.renamenx($0.key(), $0.key())) },
        { .keys(.copy($0.key(), $0.key(), replace: $0.chance(0.5))) },
        { _ in .keys(.randomkey) },
        { .keys(.scan(UInt64($0.number(0...3)), $0.scan())) },
    ]

    static let others: [Sample] = [
        { .pubSub(.publish(Channel($0.member()), $0.value())) },
        { .pubSub(.spublish(Channel($0.member()), $0.value())) },
        { .server(.ping($0.chance(0.5) ? $0.value() : nil)) },
        { .server(.echo($0.value())) },
        { _ in .server(.time) },
        { _ in .server(.dbsize) },
        { _ in .server(.flushdb) },
        { .server(.info($0.chance(0.5) ? "memory" : nil)) },
    ]
}
