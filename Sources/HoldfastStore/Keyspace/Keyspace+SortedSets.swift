// The meaning of the sorted-set commands. Typed functions first, for procedures; the replies to commands last.

extension Keyspace {
    /// A member's score; nil where there is no such member or key.
    public mutating func zscore(_ key: Key, _ member: Bytes) throws(ReplyError) -> Double? {
        try collection(SortedSetValue.self, at: key)?.score(of: member)
    }

    public mutating func zcard(_ key: Key) throws(ReplyError) -> Int {
        try collection(SortedSetValue.self, at: key)?.count ?? 0
    }

    /// How many members have a score in the range.
    public mutating func zcount(_ key: Key, _ range: ScoreRange = .all) throws(ReplyError) -> Int {
        try collection(SortedSetValue.self, at: key)?.ranks(of: range).count ?? 0
    }

    /// A member's rank, 0 for the lowest score; nil where there is no such member or key.
    public mutating func zrank(_ key: Key, _ member: Bytes) throws(ReplyError) -> Int? {
        try collection(SortedSetValue.self, at: key)?.rank(of: member)
    }

    /// The members of a part of a sorted set with their scores, in order.
    public mutating func zrange(_ key: Key, _ range: SortedSetRange) throws(ReplyError) -> [ScoredMember] {
        try collection(SortedSetValue.self, at: key)?.elements(range) ?? []
    }

    /// Adds one member or changes its score; true where it is new.
    @discardableResult
    public mutating func zadd(_ key: Key, _ member: Bytes, _ score: Double) throws(ReplyError) -> Bool {
        try zadd(key, [ScoredMember(member, score)]) == 1
    }

    /// Adds members or changes their scores, and answers how many are new (or, with `countsChanged`, new or changed).
    @discardableResult
    public mutating func zadd(
        _ key: Key, _ members: [ScoredMember], _ options: ZAddOptions = ZAddOptions()
    ) throws(ReplyError) -> Int {
        guard !members.contains(where: { $0.score.isNaN }) else { throw .notAFloat }
        let (added, changed) = try change(SortedSetValue.self, at: key, changed: { !$0.changed.isEmpty }) { sortedSet in
            sortedSet.add(members, options)
        }
        emit(changed) { .sortedSets(.zadd(key, $0, ZAddOptions())) }
        return options.countsChanged ? changed.count : added
    }

    /// Adds to a member's score, which begins at zero, and answers the new score; nil where a condition did not hold.
    @discardableResult
    public mutating func zincrby(
        _ key: Key, _ amount: Double, _ member: Bytes, if options: ZAddOptions = ZAddOptions()
    ) throws(ReplyError) -> Double? {
        guard !amount.isNaN else { throw .notAFloat }
        let old = try collection(SortedSetValue.self, changing: key)?.score(of: member)
        let new = old.map { $0 + amount } ?? amount
        guard options.allows(new, replacing: old) else { return nil }
        guard !new.isNaN else { throw ReplyError("ERR resulting score is not a number (NaN)") }
        try zadd(key, member, new)
        return new
    }

    /// Removes members and answers how many there were; a sorted set without members is removed.
    @discardableResult
    public mutating func zrem(_ key: Key, _ members: [Bytes]) throws(ReplyError) -> Int {
        let removed = try changeExisting(SortedSetValue.self, at: key, changed: { !$0.isEmpty }) { sortedSet in
            members.filter { sortedSet.remove($0) }
        }
        guard let removed, !removed.isEmpty else { return 0 }
        emit(removed) { .sortedSets(.zrem(key, $0)) }
        return removed.count
    }

    /// Removes the members with a score in the range and answers how many there were.
    @discardableResult
    public mutating func zremrangebyscore(_ key: Key, _ range: ScoreRange) throws(ReplyError) -> Int {
        try removeRanks(key, .sortedSets(.zremrangebyscore(key, range))) { $0.ranks(of: range) }
    }

    /// Removes the members from rank `start` to `end`, both included, negative from the end; answers how many there were.
    @discardableResult
    public mutating func zremrangebyrank(_ key: Key, _ start: Int64, _ end: Int64) throws(ReplyError) -> Int {
        try removeRanks(key, .sortedSets(.zremrangebyrank(key, start, end))) { $0.ranks(start, end) }
    }

    /// Takes up to `count` members with the lowest or the highest scores, the outermost first.
    @discardableResult
    public mutating func zpop(_ key: Key, _ end: ScoreEnd, count: Int = 1) throws(ReplyError) -> [ScoredMember] {
        let popped = try changeExisting(SortedSetValue.self, at: key, changed: { !$0.isEmpty }) { sortedSet in
            let taken = max(0, min(count, sortedSet.count))
            switch end {
            case .min: return sortedSet.remove(ranks: 0..<taken)
            case .max: return sortedSet.remove(ranks: (sortedSet.count - taken)..<sortedSet.count).reversed()
            }
        }
        guard let popped, !popped.isEmpty else { return [] }
        emit(popped.map(\.member)) { .sortedSets(.zrem(key, $0)) }
        return popped
    }

    private mutating func removeRanks(
        _ key: Key, _ effect: @autoclosure () -> Operation, _ ranks: (SortedSetValue) -> Range<Int>
    ) throws(ReplyError) -> Int {
        let removed = try changeExisting(SortedSetValue.self, at: key, changed: { $0 > 0 }) { sortedSet in
            sortedSet.remove(ranks: ranks(sortedSet)).count
        }
        guard let removed, removed > 0 else { return 0 }
        emit(effect())
        return removed
    }

    // MARK: - Commands

    mutating func sortedSets(_ operation: SortedSetOperation) throws(ReplyError) -> Reply {
        switch operation {
        case .zadd(let key, let members, let options): return Reply(try zadd(key, members, options))
        case .zaddincr(let key, let scored, let options):
            return Reply(try zincrby(key, scored.score, scored.member, if: options))
        case .zincrby(let key, let amount, let member): return Reply(try zincrby(key, amount, member))
        case .zrem(let key, let members): return Reply(try zrem(key, members))
        case .zscore(let key, let member): return Reply(try zscore(key, member))
        case .zmscore(let key, let members):
            let sortedSet = try collection(SortedSetValue.self, at: key)
            return .array(members.map { Reply(sortedSet?.score(of: $0)) })
        case .zcard(let key): return Reply(try zcard(key))
        case .zcount(let key, let range): return Reply(try zcount(key, range))
        case .zlexcount(let key, let range):
            return Reply(try collection(SortedSetValue.self, at: key)?.ranks(of: range).count ?? 0)
        case .zrank(let key, let member): return try zrank(key, member).map { Reply($0) } ?? .null
        case .zrevrank(let key, let member):
            guard let sortedSet = try collection(SortedSetValue.self, at: key), let rank = sortedSet.rank(of: member) else {
                return .null
            }
            return Reply(sortedSet.count - 1 - rank)
        case .zrange(let key, let range, let withScores): return Reply(try zrange(key, range), withScores: withScores)
        case .zremrangebyscore(let key, let range): return Reply(try zremrangebyscore(key, range))
        case .zremrangebyrank(let key, let start, let end): return Reply(try zremrangebyrank(key, start, end))
        case .zremrangebylex(let key, let range):
            return Reply(try removeRanks(key, .sortedSets(operation)) { $0.ranks(of: range) })
        case .zpopmin(let key, let count): return try popped(key, .min, count)
        case .zpopmax(let key, let count): return try popped(key, .max, count)
        case .zmpop(let keys, let end, let count): return try popFirstNonEmpty(keys, end, count ?? 1)
        case .zrandmember(let key, let count, let withScores):
            return try randomMembers(key, count, withScores: withScores)
        case .zscan(let key, let cursor, let options):
            return try scan(SortedSetValue.self, at: key, cursor, options, in: \.members) { member, score in
                [.bytes(member), .bytes(Bytes(Decimal.format(score)))]
            }
        case .zrangestore, .zunion, .zinter, .zdiff, .zunionstore, .zinterstore, .zdiffstore, .zintercard:
            return try combinations(operation)
        }
    }

    private mutating func popped(_ key: Key, _ end: ScoreEnd, _ count: Int64?) throws(ReplyError) -> Reply {
        if let count, count < 0 { throw .notPositive }
        let popped = try zpop(key, end, count: Int(clamping: count ?? 1))
        guard count == nil else { return Reply(popped, withScores: true) }
        return .array(popped.flatMap { [.bytes($0.member), .double($0.score)] })
    }

    private mutating func popFirstNonEmpty(_ keys: [Key], _ end: ScoreEnd, _ count: Int64) throws(ReplyError) -> Reply {
        guard count > 0 else { throw ReplyError("ERR count should be greater than 0") }
        for key in keys {
            let popped = try zpop(key, end, count: Int(clamping: count))
            if !popped.isEmpty { return .array([.bytes(key.bytes), Reply(popped, withScores: true)]) }
        }
        return .null
    }

    private mutating func randomMembers(_ key: Key, _ count: Int64?, withScores: Bool) throws(ReplyError) -> Reply {
        let sortedSet = try collection(SortedSetValue.self, at: key)
        guard let count else { return Reply(sortedSet?.members.draw(1, using: &random).first?.key) }
        let drawn = try draw(count, from: sortedSet?.members) { $0.key.count }
        return Reply(drawn.map { ScoredMember($0.key, $0.value) }, withScores: withScores)
    }
}

extension Reply {
    init(_ score: Double?) { self = score.map(Reply.double) ?? .null }

    /// Members, with or without their scores, as RESP3 shows them.
    init(_ members: [ScoredMember], withScores: Bool) {
        self = .array(members.map { withScores ? .array([.bytes($0.member), .double($0.score)]) : .bytes($0.member) })
    }
}

extension ZAddOptions {
    /// Whether a score may be set, where `old` is the present one.
    func allows(_ new: Double, replacing old: Double?) -> Bool {
        guard let old else { return existence != .ifPresent }
        guard existence != .ifAbsent else { return false }
        return switch comparison {
        case nil: true
        case .ifGreater: new > old || new.isNaN
        case .ifLess: new < old || new.isNaN
        }
    }
}

extension SortedSetValue {
    /// Adds members or changes their scores; answers how many are new, and which were changed or added.
    fileprivate mutating func add(_ members: [ScoredMember], _ options: ZAddOptions) -> (added: Int, changed: [ScoredMember]) {
        var added = 0
        var changed: [ScoredMember] = []
        for scored in members {
            let old = score(of: scored.member)
            guard options.allows(scored.score, replacing: old), set(scored.score, for: scored.member) else { continue }
            if old == nil { added += 1 }
            changed.append(scored)
        }
        return (added, changed)
    }
}
