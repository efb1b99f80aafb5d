/// The members of a sorted set: by name, and in the order of their scores.
struct SortedSetValue: CollectionValue {
    static var type: EntryType { .sortedSet }

    /// A member in the order: by score, then by bytes.
    struct Ranked: Comparable, Sendable {
        let score: Double
        let member: Bytes

        static func < (left: Ranked, right: Ranked) -> Bool {
            left.score == right.score ? left.member < right.member : left.score < right.score
        }
    }

    private(set) var members = SlotTable<Bytes, Double>()
    private(set) var order = SortedList<Ranked>()
    private(set) var cost = MemoryCost.collection

    init() {}
    init?(_ value: consuming Value) {
        guard case .sortedSet(let sortedSet) = consume value else { return nil }
        self = sortedSet
    }

    var wrapped: Value { .sortedSet(self) }
    var isEmpty: Bool { members.isEmpty }
    var count: Int { members.count }

    func score(of member: Bytes) -> Double? { members.value(for: member) }

    /// Adds a member or changes its score; false where it has this score already.
    @discardableResult
    mutating func set(_ score: Double, for member: Bytes) -> Bool {
        // Zero has no sign, as in Redis's small sorted sets.
        let score = score == 0 ? 0 : score
        if let slot = members.slot(of: member) {
            let old = members[slot]
            guard old != score, let kept = members.key(at: slot) else { return false }
            order.remove(Ranked(score: old, member: kept))
            order.insert(Ranked(score: score, member: kept))
            members[slot] = score
            return true
        }
        let kept = member.compacted()
        members.insert(score, for: kept)
        order.insert(Ranked(score: score, member: kept))
        cost += Self.cost(of: kept)
        return true
    }

    @discardableResult
    mutating func remove(_ member: Bytes) -> Bool {
        guard let score = members.remove(member) else { return false }
        order.remove(Ranked(score: score, member: member))
        cost -= Self.cost(of: member)
        return true
    }

    /// Removes the members of these ranks and answers them in order.
    mutating func remove(ranks: Range<Int>) -> [ScoredMember] {
        let doomed = elements(ranks)
        for scored in doomed { remove(scored.member) }
        return doomed
    }

    private static func cost(of member: Bytes) -> Int {
        MemoryCost.slot + MemoryCost.ordered + MemoryCost.bytes(member.count)
    }

    // MARK: - By rank

    func rank(of member: Bytes) -> Int? {
        guard let score = score(of: member) else { return nil }
        let ranked = Ranked(score: score, member: member)
        return order.rank { $0 >= ranked }
    }

    /// The members of these ranks, in order.
    func elements(_ ranks: Range<Int>) -> [ScoredMember] { order[ranks].map { ScoredMember($0.member, $0.score) } }

    func ranks(of range: ScoreRange) -> Range<Int> {
        let low = order.rank { range.isAtOrBehindLower($0.score) }
        return low..<max(low, order.rank { range.isBehindUpper($0.score) })
    }

    func ranks(of range: LexRange) -> Range<Int> {
        let low = order.rank { range.isAtOrBehindLower($0.member) }
        return low..<max(low, order.rank { range.isBehindUpper($0.member) })
    }

    /// The members of a range, in its direction.
    func elements(_ range: SortedSetRange) -> [ScoredMember] {
        let ranks = ranks(of: range)
        return range.isReversed ? elements(ranks).reversed() : elements(ranks)
    }

    private func ranks(of range: SortedSetRange) -> Range<Int> {
        let all =
            switch range.span {
            case .scores(let scores): ranks(of: scores)
            case .members(let lex): ranks(of: lex)
            case .ranks(let start, let end): ranks(start, end, isReversed: range.isReversed)
            }
        guard let limit = range.limit else { return all }
        guard limit.offset >= 0, limit.offset < Int64(all.count) else { return 0..<0 }
        let left = all.count - Int(limit.offset)
        let taken = limit.count < 0 ? left : min(left, Int(clamping: limit.count))
        let start = range.isReversed ? all.upperBound - Int(limit.offset) - taken : all.lowerBound + Int(limit.offset)
        return start..<(start + taken)
    }

    func ranks(_ start: Int64, _ end: Int64, isReversed: Bool = false) -> Range<Int> {
        let range = RankRange(start, end, count: count).range
        return isReversed ? (count - range.upperBound)..<(count - range.lowerBound) : range
    }
}
