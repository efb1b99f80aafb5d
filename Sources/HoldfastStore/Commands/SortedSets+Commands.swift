// The sorted-set commands as users call them.

extension Reply {
    /// Members with their scores: RESP3's pairs, or RESP2's members and scores by turns.
    var scoredMembers: [ScoredMember]? {
        guard let elements else { return isNull ? [] : nil }
        var flat: [Reply] = []
        flat.reserveCapacity(elements.count)
        for element in elements {
            if case .array(let pair) = element { flat.append(contentsOf: pair) } else { flat.append(element) }
        }
        guard flat.count.isMultiple(of: 2) else { return nil }
        var members: [ScoredMember] = []
        members.reserveCapacity(flat.count / 2)
        for place in stride(from: 0, to: flat.count, by: 2) {
            guard let member = flat[place].bytes, let score = flat[place + 1].double else { return nil }
            members.append(ScoredMember(member, score))
        }
        return members
    }
}

extension Command where Output == Int {
    /// Adds members or changes their scores, and answers how many are new (or, with `countsChanged`, new or changed).
    public static func zadd(_ key: Key, _ members: [ScoredMember], _ options: ZAddOptions = ZAddOptions()) -> Self {
        Command(count: .sortedSets(.zadd(key, members, options)))
    }
    /// Removes members and answers how many there were; a sorted set without members is removed.
    public static func zrem(_ key: Key, _ members: [Bytes]) -> Self { Command(count: .sortedSets(.zrem(key, members))) }
    /// The number of members; 0 where there is no such key.
    public static func zcard(_ key: Key) -> Self { Command(count: .sortedSets(.zcard(key))) }
    /// How many members have a score in the range.
    public static func zcount(_ key: Key, _ range: ScoreRange = .all) -> Self {
        Command(count: .sortedSets(.zcount(key, range)))
    }
    /// How many members are in the range, where all scores are equal.
    public static func zlexcount(_ key: Key, _ range: LexRange) -> Self {
        Command(count: .sortedSets(.zlexcount(key, range)))
    }
    /// Removes the members with a score in the range and answers how many there were.
    public static func zremrangebyscore(_ key: Key, _ range: ScoreRange) -> Self {
        Command(count: .sortedSets(.zremrangebyscore(key, range)))
    }
    /// Removes the members from rank `start` to `end`, both included, negative from the end; answers how many there were.
    public static func zremrangebyrank(_ key: Key, _ start: Int, _ end: Int) -> Self {
        Command(count: .sortedSets(.zremrangebyrank(key, Int64(start), Int64(end))))
    }
    /// Removes the members in the range, where all scores are equal, and answers how many there were.
    public static func zremrangebylex(_ key: Key, _ range: LexRange) -> Self {
        Command(count: .sortedSets(.zremrangebylex(key, range)))
    }
    /// Stores a part of one sorted set in another, and answers its size.
    public static func zrangestore(_ destination: Key, _ source: Key, _ range: SortedSetRange) -> Self {
        Command(count: .sortedSets(.zrangestore(destination, source, range)))
    }
    /// Stores the members of all the sorted sets (or sets, whose members score 1), and answers their number.
    public static func zunionstore(
        _ destination: Key, _ keys: [Key], _ combination: Combination = Combination()
    ) -> Self {
        Command(count: .sortedSets(.zunionstore(destination, keys, combination)))
    }
    /// Stores the members that all the sorted sets have, and answers their number.
    public static func zinterstore(
        _ destination: Key, _ keys: [Key], _ combination: Combination = Combination()
    ) -> Self {
        Command(count: .sortedSets(.zinterstore(destination, keys, combination)))
    }
    /// Stores the members of the first sorted set that no other has, and answers their number.
    public static func zdiffstore(_ destination: Key, _ keys: [Key]) -> Self {
        Command(count: .sortedSets(.zdiffstore(destination, keys)))
    }
    /// How many members all the sorted sets have, counted up to `limit` (0 for no limit).
    public static func zintercard(_ keys: [Key], limit: Int = 0) -> Self {
        Command(count: .sortedSets(.zintercard(keys, limit: Int64(limit))))
    }
}

extension Command where Output == Bool {
    /// Adds one member or changes its score; true where it is new.
    public static func zadd(_ key: Key, _ member: Bytes, _ score: Double) -> Self {
        Command(flag: .sortedSets(.zadd(key, [ScoredMember(member, score)], ZAddOptions())))
    }
    /// Removes one member; false where there is none.
    public static func zrem(_ key: Key, _ member: Bytes) -> Self { Command(flag: .sortedSets(.zrem(key, [member]))) }
}

extension Command where Output == Double? {
    /// A member's score; nil where there is no such member or key.
    public static func zscore(_ key: Key, _ member: Bytes) -> Self { Command(optional: .sortedSets(.zscore(key, member))) }
    /// Adds to a member's score on a condition and answers the new score; nil where the condition did not hold.
    public static func zincrby(_ key: Key, _ amount: Double, _ member: Bytes, if options: ZAddOptions) -> Self {
        Command(optional: .sortedSets(.zaddincr(key, ScoredMember(member, amount), options)))
    }
}

extension Command where Output == [Double?] {
    /// The scores of several members, nil for those that do not exist.
    public static func zmscore(_ key: Key, _ members: [Bytes]) -> Self {
        Command(.sortedSets(.zmscore(key, members))) { reply in
            reply.elements?.map { $0.double }
        }
    }
}

extension Command where Output == Double {
    /// Adds to a member's score, which begins at zero, and answers the new score.
    public static func zincrby(_ key: Key, _ amount: Double, _ member: Bytes) -> Self {
        Command(double: .sortedSets(.zincrby(key, amount, member)))
    }
}

extension Command where Output == Int? {
    init(rank operation: Operation) {
        self.init(operation) { reply in
            reply.isNull ? .some(nil) : reply.integer.map { Int($0) }
        }
    }

    /// A member's rank, 0 for the lowest score; nil where there is no such member or key.
    public static func zrank(_ key: Key, _ member: Bytes) -> Self { Command(rank: .sortedSets(.zrank(key, member))) }
    /// A member's rank, 0 for the highest score; nil where there is no such member or key.
    public static func zrevrank(_ key: Key, _ member: Bytes) -> Self { Command(rank: .sortedSets(.zrevrank(key, member))) }
}

extension Command where Output == [Bytes] {
    /// The members of a part of a sorted set, in order.
    public static func zrange(_ key: Key, _ range: SortedSetRange) -> Self {
        Command(list: .sortedSets(.zrange(key, range, withScores: false)))
    }
    /// The members from rank `start` to `end`, both included; negative from the end.
    public static func zrange(_ key: Key, _ start: Int, _ end: Int) -> Self {
        zrange(key, SortedSetRange(.ranks(Int64(start), Int64(end))))
    }
    /// The members with a score in the range, the lowest first.
    public static func zrange(_ key: Key, scores range: ScoreRange, limit: Int? = nil) -> Self {
        zrange(key, SortedSetRange(.scores(range), limit: limit.map { SortedSetRange.Limit(count: Int64($0)) }))
    }
    /// The members that the sorted sets (or sets) have between them, in the order of the combined scores.
    public static func zunion(_ keys: [Key], _ combination: Combination = Combination()) -> Self {
        Command(list: .sortedSets(.zunion(keys, combination, withScores: false)))
    }
    /// The members that all the sorted sets have, in the order of the combined scores.
    public static func zinter(_ keys: [Key], _ combination: Combination = Combination()) -> Self {
        Command(list: .sortedSets(.zinter(keys, combination, withScores: false)))
    }
    /// The members of the first sorted set that no other has.
    public static func zdiff(_ keys: [Key]) -> Self { Command(list: .sortedSets(.zdiff(keys, withScores: false))) }
    /// Up to `count` different members at random; with a negative count that many draws, where a member can come twice.
    public static func zrandmember(_ key: Key, count: Int) -> Self {
        Command(list: .sortedSets(.zrandmember(key, count: Int64(count), withScores: false)))
    }
}

extension Command where Output == Bytes? {
    /// A member at random; nil where there is no such key.
    public static func zrandmember(_ key: Key) -> Self {
        Command(optional: .sortedSets(.zrandmember(key, count: nil, withScores: false)))
    }
}

extension Command where Output == [ScoredMember] {
    init(scored operation: Operation) { self.init(operation) { $0.scoredMembers } }

    /// The members of a part of a sorted set with their scores, in order.
    public static func zrangeWithScores(_ key: Key, _ range: SortedSetRange) -> Self {
        Command(scored: .sortedSets(.zrange(key, range, withScores: true)))
    }
    /// Takes up to `count` members with the lowest scores.
    public static func zpopmin(_ key: Key, count: Int) -> Self {
        Command(scored: .sortedSets(.zpopmin(key, count: Int64(count))))
    }
    /// Takes up to `count` members with the highest scores, the highest first.
    public static func zpopmax(_ key: Key, count: Int) -> Self {
        Command(scored: .sortedSets(.zpopmax(key, count: Int64(count))))
    }
    /// As `zunion`, with the combined scores.
    public static func zunionWithScores(_ keys: [Key], _ combination: Combination = Combination()) -> Self {
        Command(scored: .sortedSets(.zunion(keys, combination, withScores: true)))
    }
    /// As `zinter`, with the combined scores.
    public static func zinterWithScores(_ keys: [Key], _ combination: Combination = Combination()) -> Self {
        Command(scored: .sortedSets(.zinter(keys, combination, withScores: true)))
    }
    /// As `zdiff`, with the scores.
    public static func zdiffWithScores(_ keys: [Key]) -> Self { Command(scored: .sortedSets(.zdiff(keys, withScores: true))) }
}

extension Command where Output == ScoredMember? {
    /// Takes the member with the lowest score; nil where there is no such key.
    public static func zpopmin(_ key: Key) -> Self {
        Command(.sortedSets(.zpopmin(key, count: nil))) { reply in reply.scoredMembers.map(\.first) }
    }
    /// Takes the member with the highest score; nil where there is no such key.
    public static func zpopmax(_ key: Key) -> Self {
        Command(.sortedSets(.zpopmax(key, count: nil))) { reply in reply.scoredMembers.map(\.first) }
    }
}

/// What ZMPOP took, and from which sorted set.
public struct PoppedMembers: Hashable, Sendable {
    public let key: Key
    public let members: [ScoredMember]
}

extension Command where Output == PoppedMembers? {
    /// Takes up to `count` members from the first of the sorted sets that is not empty; nil where all are.
    public static func zmpop(_ keys: [Key], _ end: ScoreEnd, count: Int = 1) -> Self {
        Command(.sortedSets(.zmpop(keys, end, count: Int64(count)))) { reply in
            if reply.isNull { return .some(nil) }
            guard let parts = reply.elements, parts.count == 2, let key = parts[0].bytes,
                let members = parts[1].scoredMembers
            else { return nil }
            return PoppedMembers(key: Key(raw: key), members: members)
        }
    }
}

extension Command where Output == ScanPage<ScoredMember> {
    /// One page of a sorted set's members, in no order. Begin with cursor 0; see ``ScanPage``.
    public static func zscan(_ key: Key, _ cursor: UInt64, _ options: ScanOptions = ScanOptions()) -> Self {
        Command(.sortedSets(.zscan(key, cursor, options))) { reply in
            ScanPage(reply) { list in
                stride(from: 0, to: list.count - 1, by: 2).compactMap { place in
                    list[place + 1].double.map { ScoredMember(list[place], $0) }
                }
            }
        }
    }
}
