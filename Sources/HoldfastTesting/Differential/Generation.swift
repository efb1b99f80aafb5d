public import HoldfastStore

/// What a generator draws from: seeded randomness, small alphabets and the program's clock.
///
/// The alphabets are small on purpose. A program of two hundred steps over a handful of keys, fields and members meets collisions,
/// wrong types, expired entries and removed ones all the time; over many keys it would meet none.
public struct Generation: Sendable {
    public var random: RandomSource
    /// Where all keys of the program are.
    public let names: Namespace
    /// The program's time at this step. Procedures are given it as their `now`.
    public var now: Timestamp

    public init(seed: UInt64, names: Namespace, now: Timestamp) {
        random = RandomSource(seed: seed)
        self.names = names
        self.now = now
    }

    /// One of several, each as likely.
    public mutating func pick<Element>(_ choices: [Element]) -> Element { choices[int(0...(choices.count - 1))] }

    public mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    /// True in this share of the draws.
    public mutating func chance(_ share: Double) -> Bool { Double.random(in: 0..<1, using: &random) < share }

    /// One of `count` identifiers: `a`, `b`, `c`… For what a service inserts into its keys.
    public mutating func id(of count: Int = 3) -> String {
        String(UnicodeScalar(UInt8(ascii: "a") + UInt8(int(0...(count - 1)))))
    }

    /// A short value. Some are numbers, some are empty, some are no text.
    public mutating func value() -> Bytes {
        switch int(0...9) {
        case 0: Bytes()
        case 1...4: number()
        case 5: Bytes([0, 13, 10, 255, UInt8(int(0...255))])
        case 6: Bytes(String(repeating: "x", count: int(1...300)))
        default: Bytes(pick(["x", "yy", "hello", "1.5", "-0", " 1", "01", "nan"]))
        }
    }

    /// A decimal integer; mostly small, at times at the ends of 64 bits.
    public mutating func number() -> Bytes {
        switch int(0...19) {
        case 0: Bytes(Int64.max)
        case 1: Bytes(Int64.min)
        case 2: Bytes(Int64(int(-1_000_000_000_000...1_000_000_000_000)))
        default: Bytes(Int64(int(-3...12)))
        }
    }

    /// A moment around ``now``: mostly within the next two minutes, at times just past or exactly now.
    public mutating func moment() -> Timestamp {
        Timestamp(milliseconds: now.milliseconds + Int64(chance(0.15) ? int(-2000...0) : int(1...120_000)))
    }
}
