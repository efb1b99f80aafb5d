public import HoldfastStore

/// One rule: how much may happen in how long, and how that is counted.
///
/// A rule is a plain value; it is checked when it is used, and a value out of range throws ``/HoldfastStore/ErrorCode/invalidArgument`` with the
/// field's name. Name, algorithm and window are part of the key under which consumption is kept, so a rule whose algorithm or
/// window changes starts anew, and one whose limit changes goes on with what was consumed.
public struct RateLimit: Sendable, Hashable {
    /// How consumption is counted. Costs are per rule, for the store.
    public enum Algorithm: String, Sendable, Hashable, CaseIterable, Codable {
        /// A count per window; windows are aligned to the Unix epoch. Admits up to twice the limit across a boundary. O(1).
        case fixedWindow = "fixed-window"
        /// Two fixed windows, the earlier one weighted by what the sliding window still covers of it (Cloudflare, "How we built rate
        /// limiting capable of scaling to millions of domains", 2017). O(1).
        ///
        /// It is exact when the calls of the earlier window were evenly spread. Otherwise it errs to both sides: it never admits more
        /// than the limit in an aligned window, and less than twice the limit in any window (all calls of the earlier window at its
        /// end); Cloudflare found 0.003% of decisions wrong. Time is divided into at most 2²² ticks per window, rounded to the
        /// careful side.
        case slidingCounter = "sliding-counter"
        /// Every admitted call is remembered: never more than the limit in any window, to the millisecond. O(log n) time, and memory
        /// for min(limit, milliseconds in the window) entries of about 100 bytes.
        case slidingLog = "sliding-log"
        /// A bucket of ``RateLimit/burst`` tokens, refilled evenly by the limit per window (Turner 1986; RFC 2697 calls it a
        /// meter). Exact: counted in fractions of a token that come out even. O(1).
        case tokenBucket = "token-bucket"
        /// The generic cell rate algorithm (ITU-T I.371, annex A, virtual scheduling): one moment, the theoretical arrival time of the
        /// next call, decides. It admits what the token bucket of the same burst admits, but keeps no second number; a clock that
        /// is set back therefore delays callers by as much. O(1).
        case gcra
    }

    /// What tells this rule from the others of a call, and stands in results, headers and the key: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    public var name: String
    public var algorithm: Algorithm
    /// How much may be consumed per window; 1 to 1,000,000,000.
    public var limit: Int
    /// In whole milliseconds; 1 ms to 400 days.
    public var window: Duration
    /// For ``Algorithm/tokenBucket`` and ``Algorithm/gcra``: how much may be consumed at once after a pause; nil for `limit`. Other
    /// algorithms ignore it.
    public var burst: Int?

    public init(_ name: String, _ algorithm: Algorithm, limit: Int, per window: Duration, burst: Int? = nil) {
        self.name = name
        self.algorithm = algorithm
        self.limit = limit
        self.window = window
        self.burst = burst
    }

    public static let maximumLimit = 1_000_000_000
    public static let maximumWindow = Duration.seconds(400 * 86_400)

    /// The most that can ever be admitted at once.
    public var capacity: Int { algorithm.hasBurst ? burst ?? limit : limit }

    /// How long it takes until an exhausted rule is whole again: the window, or the time in which the bucket fills.
    public var recovery: Duration {
        guard algorithm.hasBurst, capacity != limit else { return window }
        return .milliseconds(Int64((Double(window.milliseconds) * Double(capacity) / Double(max(1, limit))).rounded(.up)))
    }

    /// The same rule with its limit and burst times a number, at most ``maximumLimit``.
    public func multiplied(by factor: Int) -> RateLimit {
        func times(_ value: Int) -> Int {
            let (product, overflow) = value.multipliedReportingOverflow(by: factor)
            return overflow ? Self.maximumLimit : min(product, Self.maximumLimit)
        }
        var rule = self
        rule.limit = times(limit)
        rule.burst = burst.map(times)
        return rule
    }

    /// One of so many equal parts of this rule, rounded down but never to nothing: what an instance that is cut off may admit.
    public func share(of instances: Int) -> RateLimit {
        guard instances > 1 else { return self }
        var rule = self
        rule.limit = max(1, limit / instances)
        rule.burst = burst.map { max(1, $0 / instances) }
        return rule
    }
}

extension RateLimit.Algorithm {
    /// Whether the capacity is a burst of its own.
    public var hasBurst: Bool { self == .tokenBucket || self == .gcra }
}

extension RateLimit {
    /// Checks the rule as every call does; for configurations, before anything is served.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming the field.
    public func validate() throws(StoreError) {
        try checkRanges()
        _ = try terms()
    }

    /// What makes the rule's numbers safe to compute with; ``terms()`` finds the rest.
    func checkRanges() throws(StoreError) {
        guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy(Self.isNameCharacter) else {
            throw .invalid("name", "A rule's name is 1 to 64 of A-Z a-z 0-9 . _ -")
        }
        guard (1...Self.maximumLimit).contains(limit) else {
            throw .invalid("limit", "The limit of rule \(name) is \(limit); accepted is 1 to \(Self.maximumLimit)")
        }
        guard window >= .milliseconds(1), window <= Self.maximumWindow else {
            throw .invalid("window", "The window of rule \(name) is \(window); accepted is 1 ms to 400 days")
        }
        if let burst, !(1...Self.maximumLimit).contains(burst) {
            throw .invalid("burst", "The burst of rule \(name) is \(burst); accepted is 1 to \(Self.maximumLimit)")
        }
    }

    private static func isNameCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
