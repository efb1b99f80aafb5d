// How the sorted-set commands are read from the wire. The older range commands become ZRANGE, whose replies are the same.

extension SortedSetOperation {
    static let table: [CommandSpec] = scoreTable + rangeTable + combinationTable

    private static let scoreTable: [CommandSpec] = [
        CommandSpec("ZADD", arity: -4, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .sortedSets(try parseAdd(&r))
        },
        CommandSpec("ZINCRBY", arity: 4, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zincrby(try r.key(), try r.double(), try r.bytes()))
        },
        CommandSpec("ZREM", arity: -3, [.write], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zrem(try r.key(), try r.rest()))
        },
        CommandSpec("ZSCORE", arity: 3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zscore(try r.key(), try r.bytes()))
        },
        CommandSpec("ZMSCORE", arity: -3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zmscore(try r.key(), try r.rest()))
        },
        CommandSpec("ZCARD", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zcard(try r.key()))
        },
        CommandSpec("ZRANK", arity: 3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zrank(try r.key(), try r.bytes()))
        },
        CommandSpec("ZREVRANK", arity: 3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zrevrank(try r.key(), try r.bytes()))
        },
        CommandSpec("ZPOPMIN", arity: -2, [.write], keys: .first) { r throws(ReplyError) in
            let key = try r.key()
            guard r.remaining <= 1 else { throw .syntax }
            return .sortedSets(.zpopmin(key, count: try r.popCount()))
        },
        CommandSpec("ZPOPMAX", arity: -2, [.write], keys: .first) { r throws(ReplyError) in
            let key = try r.key()
            guard r.remaining <= 1 else { throw .syntax }
            return .sortedSets(.zpopmax(key, count: try r.popCount()))
        },
        CommandSpec("ZMPOP", arity: -4, [.write], keys: .counted(at: 1)) { r throws(ReplyError) in
            let keys = try r.poppedKeys()
            let isMin = r.skip("MIN")
            guard isMin || r.skip("MAX") else { throw .syntax }
            return .sortedSets(.zmpop(keys, isMin ? .min : .max, count: try r.optionalCount()))
        },
        CommandSpec("ZRANDMEMBER", arity: -2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            let key = try r.key()
            guard !r.isAtEnd else { return .sortedSets(.zrandmember(key, count: nil, withScores: false)) }
            return .sortedSets(.zrandmember(key, count: try r.drawCount(), withScores: r.skip("WITHSCORES")))
        },
        CommandSpec("ZSCAN", arity: -3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sortedSets(
                .zscan(try r.key(), try KeyOperation.parseCursor(&r), try ScanOptions.parse(&r, allowsType: false)))
        },
    ]

    private static let rangeTable: [CommandSpec] = [
        CommandSpec("ZCOUNT", arity: 4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zcount(try r.key(), try ScoreRange.parse(&r)))
        },
        CommandSpec("ZLEXCOUNT", arity: 4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zlexcount(try r.key(), try LexRange.parse(&r)))
        },
        CommandSpec("ZRANGE", arity: -4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            try parseRange(&r, .any)
        },
        CommandSpec("ZREVRANGE", arity: -4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            try parseRange(&r, .ranks, isReversed: true)
        },
        CommandSpec("ZRANGEBYSCORE", arity: -4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            try parseRange(&r, .scores)
        },
        CommandSpec("ZREVRANGEBYSCORE", arity: -4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            try parseRange(&r, .scores, isReversed: true)
        },
        CommandSpec("ZRANGEBYLEX", arity: -4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            try parseRange(&r, .members)
        },
        CommandSpec("ZREVRANGEBYLEX", arity: -4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            try parseRange(&r, .members, isReversed: true)
        },
        CommandSpec("ZRANGESTORE", arity: -5, [.write, .denyOOM], keys: .firstTwo) { r throws(ReplyError) in
            let (destination, source) = (try r.key(), try r.key())
            return .sortedSets(.zrangestore(destination, source, try SortedSetRange.parse(&r, .any).range))
        },
        CommandSpec("ZREMRANGEBYSCORE", arity: 4, [.write], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zremrangebyscore(try r.key(), try ScoreRange.parse(&r)))
        },
        CommandSpec("ZREMRANGEBYRANK", arity: 4, [.write], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zremrangebyrank(try r.key(), try r.integer(), try r.integer()))
        },
        CommandSpec("ZREMRANGEBYLEX", arity: 4, [.write], keys: .first) { r throws(ReplyError) in
            .sortedSets(.zremrangebylex(try r.key(), try LexRange.parse(&r)))
        },
    ]

    private static let combinationTable: [CommandSpec] = [
        CommandSpec("ZUNION", arity: -3, [.readOnly, .idempotent], keys: .counted(at: 1)) { r throws(ReplyError) in
            let keys = try r.inputKeys()
            let (combination, withScores) = try Combination.parse(&r, keys.count, allowsScores: true)
            return .sortedSets(.zunion(keys, combination, withScores: withScores))
        },
        CommandSpec("ZINTER", arity: -3, [.readOnly, .idempotent], keys: .counted(at: 1)) { r throws(ReplyError) in
            let keys = try r.inputKeys()
            let (combination, withScores) = try Combination.parse(&r, keys.count, allowsScores: true)
            return .sortedSets(.zinter(keys, combination, withScores: withScores))
        },
        CommandSpec("ZDIFF", arity: -3, [.readOnly, .idempotent], keys: .counted(at: 1)) { r throws(ReplyError) in
            .sortedSets(.zdiff(try r.inputKeys(), withScores: r.skip("WITHSCORES")))
        },
        CommandSpec("ZUNIONSTORE", arity: -4, [.write, .denyOOM], keys: .destinationAndCounted) { r throws(ReplyError) in
            let (destination, keys) = (try r.key(), try r.inputKeys())
            return .sortedSets(
                .zunionstore(destination, keys, try Combination.parse(&r, keys.count, allowsScores: false).0))
        },
        CommandSpec("ZINTERSTORE", arity: -4, [.write, .denyOOM], keys: .destinationAndCounted) { r throws(ReplyError) in
            let (destination, keys) = (try r.key(), try r.inputKeys())
            return .sortedSets(
                .zinterstore(destination, keys, try Combination.parse(&r, keys.count, allowsScores: false).0))
        },
        CommandSpec("ZDIFFSTORE", arity: -4, [.write, .denyOOM], keys: .destinationAndCounted) { r throws(ReplyError) in
            .sortedSets(.zdiffstore(try r.key(), try r.inputKeys()))
        },
        CommandSpec("ZINTERCARD", arity: -3, [.readOnly, .idempotent], keys: .counted(at: 1)) { r throws(ReplyError) in
            .sortedSets(.zintercard(try r.inputKeys(), limit: try r.optionalLimit()))
        },
    ]

    private static func parseAdd(_ reader: inout ArgumentReader) throws(ReplyError) -> SortedSetOperation {
        let key = try reader.key()
        let (options, increments) = try ZAddOptions.parse(&reader)
        let members = try reader.scoredMembers()
        guard increments else { return .zadd(key, members, options) }
        guard let only = members.first, members.count == 1 else { throw .syntax }
        return .zaddincr(key, only, options)
    }

    private static func parseRange(
        _ reader: inout ArgumentReader, _ kind: SortedSetRange.Kind, isReversed: Bool = false
    ) throws(ReplyError) -> Operation {
        let key = try reader.key()
        let (range, withScores) = try SortedSetRange.parse(&reader, kind, isReversed: isReversed, allowsScores: true)
        return .sortedSets(.zrange(key, range, withScores: withScores))
    }
}

extension ZAddOptions {
    /// The options and whether INCR is among them.
    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> (ZAddOptions, increments: Bool) {
        var (onlyNew, onlyOld, greater, less, increments) = (false, false, false, false, false)
        var options = ZAddOptions()
        while true {
            if reader.skip("NX") {
                onlyNew = true
            } else if reader.skip("XX") {
                onlyOld = true
            } else if reader.skip("GT") {
                greater = true
            } else if reader.skip("LT") {
                less = true
            } else if reader.skip("CH") {
                options.countsChanged = true
            } else if reader.skip("INCR") {
                increments = true
            } else {
                break
            }
        }
        guard reader.remaining > 0, reader.remaining.isMultiple(of: 2) else { throw .syntax }
        guard !(onlyNew && onlyOld) else {
            throw ReplyError("ERR XX and NX options at the same time are not compatible")
        }
        guard [greater, less, onlyNew].count(where: { $0 }) < 2 else {
            throw ReplyError("ERR GT, LT, and/or NX options at the same time are not compatible")
        }
        guard !increments || reader.remaining == 2 else {
            throw ReplyError("ERR INCR option supports a single increment-element pair")
        }
        options.existence = onlyNew ? .ifAbsent : onlyOld ? .ifPresent : nil
        options.comparison = greater ? .ifGreater : less ? .ifLess : nil
        return (options, increments)
    }
}

extension ScoreRange {
    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> ScoreRange {
        ScoreRange(try ScoreBound.parse(&reader), try ScoreBound.parse(&reader))
    }
}

extension LexRange {
    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> LexRange {
        LexRange(try LexBound.parse(&reader), try LexBound.parse(&reader))
    }
}

extension SortedSetRange {
    /// What a command's name says about the span.
    enum Kind {
        case any, ranks, scores, members
    }

    /// Reads `start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`.
    static func parse(
        _ reader: inout ArgumentReader, _ named: Kind, isReversed: Bool = false, allowsScores: Bool = false
    ) throws(ReplyError) -> (range: SortedSetRange, withScores: Bool) {
        let bounds = [try reader.bytes(), try reader.bytes()]
        var (kind, isReversed, withScores) = (named, isReversed, false)
        var limit: Limit?
        while !reader.isAtEnd {
            if allowsScores, reader.skip("WITHSCORES") {
                withScores = true
            } else if reader.remaining >= 3, reader.skip("LIMIT") {
                limit = Limit(offset: try reader.integer(), count: try reader.integer())
            } else if named == .any, reader.skip("REV") {
                isReversed = true
            } else if named == .any, kind == .any || kind == .scores, reader.skip("BYSCORE") {
                kind = .scores
            } else if named == .any, kind == .any || kind == .members, reader.skip("BYLEX") {
                kind = .members
            } else {
                throw .syntax
            }
        }
        if kind == .any { kind = .ranks }
        // A count of -1 with no offset is Redis's own "no limit", which it lets pass.
        if let given = limit, kind == .ranks {
            guard given == Limit(offset: given.offset, count: -1) else {
                throw ReplyError(
                    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
            }
            limit = nil
        }
        guard !(withScores && kind == .members) else {
            throw ReplyError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
        }
        var ends = ArgumentReader(
            ["", isReversed && kind != .ranks ? bounds[1] : bounds[0]] + [
                isReversed && kind != .ranks ? bounds[0] : bounds[1]
            ], command: reader.command)
        let span: Span =
            switch kind {
            case .scores: .scores(try ScoreRange.parse(&ends))
            case .members: .members(try LexRange.parse(&ends))
            case .ranks, .any: .ranks(try ends.integer(), try ends.integer())
            }
        return (SortedSetRange(span, isReversed: isReversed, limit: limit), withScores)
    }
}

extension Combination {
    /// Reads `[WEIGHTS w …] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`.
    static func parse(
        _ reader: inout ArgumentReader, _ keyCount: Int, allowsScores: Bool
    ) throws(ReplyError) -> (Combination, withScores: Bool) {
        var combination = Combination()
        var withScores = false
        while !reader.isAtEnd {
            if reader.remaining > keyCount, reader.skip("WEIGHTS") {
                var weights: [Double] = []
                for _ in 0..<keyCount { weights.append(try reader.double(orElse: ReplyError("ERR weight value is not a float"))) }
                combination.weights = weights
            } else if reader.remaining > 1, reader.skip("AGGREGATE") {
                guard let aggregate = Aggregate.allCases.first(where: { reader.skip($0.word) }) else { throw .syntax }
                combination.aggregate = aggregate
            } else if allowsScores, reader.skip("WITHSCORES") {
                withScores = true
            } else {
                throw .syntax
            }
        }
        return (combination, withScores)
    }
}

extension ArgumentReader {
    /// Scores and members by turns, to the end.
    mutating func scoredMembers() throws(ReplyError) -> [ScoredMember] {
        var members: [ScoredMember] = []
        members.reserveCapacity(remaining / 2)
        while !isAtEnd {
            let score = try double()
            members.append(ScoredMember(try bytes(), score))
        }
        return members
    }

    /// `numkeys key [key …]` of ZUNION and its kin, whose errors are their own.
    mutating func inputKeys() throws(ReplyError) -> [Key] {
        let count = try integer()
        guard count >= 1 else {
            throw ReplyError("ERR at least 1 input key is needed for '\(command.lowercased())' command")
        }
        guard count <= Int64(remaining) else { throw .syntax }
        var keys: [Key] = []
        for _ in 0..<count { keys.append(try key()) }
        return keys
    }

    /// `numkeys key [key …]` of LMPOP and ZMPOP, with at least one argument behind.
    mutating func poppedKeys() throws(ReplyError) -> [Key] {
        let error = ReplyError("ERR numkeys should be greater than 0")
        let count = try integer(orElse: error)
        guard count >= 1 else { throw error }
        guard count < Int64(remaining) else { throw .syntax }
        var keys: [Key] = []
        for _ in 0..<count { keys.append(try key()) }
        return keys
    }
}
