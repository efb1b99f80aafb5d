import HoldfastStore

/// How random calls of one command are made. The families' generators stand in files of their own.
struct CommandGenerator: Sendable {
    /// In capitals.
    let name: String
    /// How often it is drawn, beside others.
    let weight: Int
    let make: @Sendable (inout Generation) -> [Bytes]

    /// - Parameter make: the arguments behind the name.
    init(_ name: String, weight: Int = 1, _ make: @escaping @Sendable (inout Generation) -> [Bytes]) {
        self.name = name
        self.weight = weight
        self.make = make
    }

    static let all: [CommandGenerator] = strings + hashes + lists + sets + sortedSets + keys + server
}

/// The kinds of keys of a program. A command mostly draws a key of its own kind, and at times one of another, whose type is wrong.
enum KeyKind: String, CaseIterable {
    case string = "s"
    case hash = "h"
    case list = "l"
    case set = "u"
    case sortedSet = "z"
    /// Sorted sets whose members all have one score, for the lexicographical ranges, which mean nothing otherwise.
    case lexical = "x"

    /// What may take any content, scores of all kinds included.
    static let free: [KeyKind] = [.string, .hash, .list, .set, .sortedSet]
    /// What can be mistaken for a lexical sorted set without having scores.
    static let unordered: [KeyKind] = [.string, .hash, .list, .set]
}

extension Generation {
    mutating func key(_ kind: KeyKind) -> Bytes {
        let kind = chance(0.06) ? pick(kind == .lexical ? KeyKind.unordered : KeyKind.free) : kind
        return names.key("\(literal: kind.rawValue)\(id(of: 4))").bytes
    }

    mutating func anyKey() -> Bytes { key(pick(KeyKind.allCases)) }

    mutating func keys(_ kind: KeyKind, _ range: ClosedRange<Int> = 1...3) -> [Bytes] {
        (0..<int(range)).map { _ in key(kind) }
    }

    /// A hash field or a member, from few. Some are integers, so that sets begin as Redis's integer sets.
    mutating func member() -> Bytes {
        Bytes(pick(["a", "b", "c", "d", "1", "2", "3", "10", "-5", "", "long-member-\(int(0...3))"]))
    }

    mutating func members(_ range: ClosedRange<Int> = 1...4) -> [Bytes] { (0..<int(range)).map { _ in member() } }

    /// A position in a sequence, from either end, at times far outside.
    mutating func index() -> Bytes {
        chance(0.05) ? pick([Bytes(Int64.max), Bytes(Int64.min), Bytes(1000), Bytes(-1000)]) : Bytes(Int64(int(-6...6)))
    }

    mutating func score() -> Bytes {
        pick([
            "0", "1", "2", "3", "-1", "1.5", "-2.25", "inf", "-inf", "+inf", "1e3", "0.1", "100000000000000000000", "3.0",
            "1e-7", "123456789.125",
        ])
    }

    /// One option out of several, or none.
    mutating func option(_ choices: [[Bytes]], share: Double = 0.5) -> [Bytes] { chance(share) ? pick(choices) : [] }
}

extension KeyPattern.StringInterpolation {
    fileprivate mutating func appendInterpolation(literal text: String) { appendLiteral(text + ":") }
}
