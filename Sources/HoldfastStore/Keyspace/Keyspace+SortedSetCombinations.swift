// What makes one sorted set of several, or stores a part of one.

extension Keyspace {
    mutating func combinations(_ operation: SortedSetOperation) throws(ReplyError) -> Reply {
        switch operation {
        case .zrangestore(let destination, let source, let range):
            var result = SortedSetValue()
            for scored in try zrange(source, range) { result.set(scored.score, for: scored.member) }
            return try store(result, at: destination)
        case .zunion(let keys, let combination, let withScores):
            return Reply(try union(keys, combination, "zunion").all, withScores: withScores)
        case .zinter(let keys, let combination, let withScores):
            return Reply(try intersection(keys, combination, "zinter").all, withScores: withScores)
        case .zdiff(let keys, let withScores): return Reply(try difference(keys, "zdiff").all, withScores: withScores)
        case .zunionstore(let destination, let keys, let combination):
            return try store(try union(keys, combination, "zunionstore"), at: destination)
        case .zinterstore(let destination, let keys, let combination):
            return try store(try intersection(keys, combination, "zinterstore"), at: destination)
        case .zdiffstore(let destination, let keys):
            return try store(try difference(keys, "zdiffstore"), at: destination)
        case .zintercard(let keys, let limit):
            guard limit >= 0 else { throw .negativeLimit }
            let limit = limit == 0 ? Int.max : Int(clamping: limit)
            return Reply(try intersection(keys, Combination(), "zintercard", limit: limit).count)
        default: preconditionFailure("not a combination of sorted sets")
        }
    }

    private mutating func store(_ result: SortedSetValue, at destination: Key) throws(ReplyError) -> Reply {
        try store(result, at: destination, result.all) { .sortedSets(.zadd(destination, $0, ZAddOptions())) }
        return Reply(result.count)
    }

    /// One of the sets that are combined: a sorted set, or a set, whose members score 1.
    private struct Source {
        let members: any Sequence<(Bytes, Double)>
        let count: Int
        let score: (Bytes) -> Double?
        let weight: Double

        init(_ value: Value?, weight: Double) throws(ReplyError) {
            self.weight = weight
            switch value {
            case nil: (members, count, score) = ([], 0, { _ in nil })
            case .sortedSet(let sortedSet):
                members = sortedSet.members.lazy.map { ($0.key, $0.value) }
                count = sortedSet.count
                score = sortedSet.score(of:)
            case .set(let set):
                members = set.members.lazy.map { ($0.key, 1) }
                count = set.count
                score = { set.contains($0) ? 1 : nil }
            case .string, .hash, .list: throw .wrongType
            }
        }

        func weighted(_ score: Double) -> Double {
            let product = weight * score
            return product.isNaN ? 0 : product
        }
    }

    /// The sets in the order in which Redis adds their scores up, the smallest first.
    private mutating func sources(
        _ keys: [Key], _ weights: [Double]?, _ command: String
    ) throws(ReplyError) -> [Source] {
        guard !keys.isEmpty else { throw ReplyError("ERR at least 1 input key is needed for '\(command)' command") }
        guard weights.map({ $0.count == keys.count }) ?? true else { throw .syntax }
        var sources: [Source] = []
        for (place, key) in keys.enumerated() {
            let value = slot(reading: key).map { entries[$0].value }
            sources.append(try Source(value, weight: weights?[place] ?? 1))
        }
        return sources
    }

    private mutating func union(
        _ keys: [Key], _ combination: Combination, _ command: String
    ) throws(ReplyError) -> SortedSetValue {
        var scores: [Bytes: Double] = [:]
        for source in try sources(keys, combination.weights, command).sorted(by: { $0.count < $1.count }) {
            for (member, score) in source.members {
                let score = source.weighted(score)
                scores[member] = scores[member].map { combination.aggregate.combine($0, score) } ?? score
            }
        }
        return SortedSetValue(scores)
    }

    private mutating func intersection(
        _ keys: [Key], _ combination: Combination, _ command: String, limit: Int = .max
    ) throws(ReplyError) -> SortedSetValue {
        let sources = try sources(keys, combination.weights, command).sorted { $0.count < $1.count }
        guard let smallest = sources.first else { return SortedSetValue() }
        var result = SortedSetValue()
        next: for (member, score) in smallest.members {
            var total = smallest.weighted(score)
            for other in sources.dropFirst() {
                guard let score = other.score(member) else { continue next }
                // Only the first product is made a number by Redis here; a later one that is none makes the sum zero.
                total = combination.aggregate.combine(total, other.weight * score)
            }
            result.set(total, for: member)
            if result.count == limit { break }
        }
        return result
    }

    private mutating func difference(_ keys: [Key], _ command: String) throws(ReplyError) -> SortedSetValue {
        let sources = try sources(keys, nil, command)
        guard let first = sources.first else { return SortedSetValue() }
        var result = SortedSetValue()
        for (member, score) in first.members where sources.dropFirst().allSatisfy({ $0.score(member) == nil }) {
            result.set(score, for: member)
        }
        return result
    }
}

extension Combination.Aggregate {
    /// Opposite infinities add up to zero.
    fileprivate func combine(_ left: Double, _ right: Double) -> Double {
        switch self {
        case .sum:
            let sum = left + right
            return sum.isNaN ? 0 : sum
        case .min: return right < left ? right : left
        case .max: return right > left ? right : left
        }
    }
}

extension SortedSetValue {
    fileprivate init(_ scores: [Bytes: Double]) {
        self.init()
        for (member, score) in scores { set(score, for: member) }
    }

    fileprivate var all: [ScoredMember] { elements(0..<count) }
}
