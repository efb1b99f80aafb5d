public import HoldfastStore

/// Where a subject stands with one rule, at the moment of a decision.
public struct RateLimitState: Sendable, Hashable {
    public let rule: RateLimit
    public let subject: RateLimitSubject
    /// What the call cost, or would have cost.
    public let cost: Int
    /// Whether this rule had room for the call.
    public let hasRoom: Bool
    /// What can be consumed at once now, after this call if it was admitted.
    public let remaining: Int
    /// Until nothing counts against the subject any more.
    public let resetAfter: Duration
    /// Until this rule would have room for the call, if nobody else calls. Zero where it had room; nil where it never will,
    /// because the cost is above the capacity.
    public let retryAfter: Duration?

    /// The most that can be admitted at once.
    public var limit: Int { rule.capacity }
    public var used: Int { max(0, limit - remaining) }
}

/// The outcome of a check.
public struct RateLimitDecision: Sendable, Hashable {
    public enum Reason: String, Sendable, Hashable, Codable {
        /// Every rule had room.
        case withinLimits = "within-limits"
        /// A rule had no room; ``RateLimitDecision/retryAfter`` says when it will.
        case limitExceeded = "limit-exceeded"
        /// The cost is above a rule's capacity: it can never be admitted.
        case costAboveLimit = "cost-above-limit"
        /// The subject is on the bypass list: no rule was asked.
        case bypassed
        /// The subject is on the block list: no rule was asked.
        case blocked
        /// Limits are switched off, or no rule applies.
        case disabled
        /// The server is away, and the limiter is configured to be open or closed then.
        case storeAway = "store-away"
    }

    /// Whether to go ahead. In shadow mode always true; ``wouldBeAllowed`` has the rules' own answer.
    public let isAllowed: Bool
    /// What the rules say.
    public let wouldBeAllowed: Bool
    public let reason: Reason
    /// One for each rule that was asked, in the order of the call; empty where none was.
    public let rules: [RateLimitState]
    /// When it was decided, by the clock of the store that decided.
    public let at: Timestamp
    /// Who decided: the server, or this process with its share of the limits because the server is away.
    public let by: Decider
    /// Whether the answer is a denial of at most a second ago, given again without asking the store.
    public let isRemembered: Bool

    /// The rule that matters most to the caller: of the rules without room the one to wait for longest, else the one with the
    /// smallest part of its capacity left. Nil where no rule was asked.
    public var decisive: RateLimitState? {
        if let denied = rules.filter({ !$0.hasRoom }).max(by: { $0.wait < $1.wait }) { return denied }
        return rules.min { Double($0.remaining) / Double($0.limit) < Double($1.remaining) / Double($1.limit) }
    }

    /// The decisive rule's capacity.
    public var limit: Int? { decisive?.limit }
    /// What is left of the decisive rule.
    public var remaining: Int? { decisive?.remaining }
    /// Until the decisive rule is whole again.
    public var resetAfter: Duration? { decisive?.resetAfter }
    /// When the decisive rule is whole again, by the deciding store's clock.
    public var resetsAt: Timestamp? { decisive.map { at + $0.resetAfter } }
    /// How long to wait before the same call has a chance. Nil where it was admitted, or where waiting does not help.
    public var retryAfter: Duration? {
        guard !wouldBeAllowed, reason == .limitExceeded else { return nil }
        return decisive?.retryAfter
    }
}

extension RateLimitState {
    fileprivate var wait: Duration { retryAfter ?? .seconds(Int64.max / 2) }
}
