import HoldfastStore

/// Whose consumption is counted: a user, an API key, an address, an endpoint, a tenant, or several of these together.
///
///     let subject = RateLimitSubject.user("ann").and(.endpoint("/api/v1/search"))
public struct RateLimitSubject: Sendable, Hashable {
    public enum Kind: String, Sendable, Hashable, CaseIterable, Codable {
        case user, key, ip, endpoint, tenant
        /// Anything else that is counted: a model, a tool, a workspace.
        case custom = "id"
    }

    /// One identifier with its kind.
    public struct Part: Sendable, Hashable {
        public let kind: Kind
        public let id: String
    }

    public private(set) var parts: [Part]

    public init(_ kind: Kind, _ id: String) { parts = [Part(kind: kind, id: id)] }

    public static func user(_ id: String) -> RateLimitSubject { RateLimitSubject(.user, id) }
    /// The name or hash of an API key; never the secret itself, because it stands in the store's key.
    public static func key(_ id: String) -> RateLimitSubject { RateLimitSubject(.key, id) }
    public static func ip(_ address: String) -> RateLimitSubject { RateLimitSubject(.ip, address) }
    public static func endpoint(_ path: String) -> RateLimitSubject { RateLimitSubject(.endpoint, path) }
    public static func tenant(_ id: String) -> RateLimitSubject { RateLimitSubject(.tenant, id) }
    public static func id(_ id: String) -> RateLimitSubject { RateLimitSubject(.custom, id) }

    /// Both together: counted apart from either alone.
    public func and(_ other: RateLimitSubject) -> RateLimitSubject {
        var both = self
        both.parts += other.parts
        return both
    }

    public static let maximumParts = 8
    /// Bytes of one identifier in UTF-8.
    public static let maximumLength = 512

    func validate() throws(StoreError) {
        guard parts.count <= Self.maximumParts else {
            throw .invalid("subject", "A subject has at most \(Self.maximumParts) parts")
        }
        for part in parts where !(1...Self.maximumLength).contains(part.id.utf8.count) {
            throw .invalid(part.kind.rawValue, "An identifier has 1 to \(Self.maximumLength) bytes")
        }
    }
}

/// A rule, whose consumption it counts, and how much one call consumes of it.
public struct RateLimitCharge: Sendable, Hashable {
    public var rule: RateLimit
    public var subject: RateLimitSubject
    /// 0 to 1,000,000,000. A cost above the rule's capacity is denied without a retry-after: it can never be admitted.
    public var cost: Int

    public init(_ rule: RateLimit, for subject: RateLimitSubject, cost: Int = 1) {
        self.rule = rule
        self.subject = subject
        self.cost = cost
    }

    func validate() throws(StoreError) {
        try rule.checkRanges()
        try subject.validate()
        guard (0...RateLimit.maximumLimit).contains(cost) else {
            throw .invalid("cost", "The cost is \(cost); accepted is 0 to \(RateLimit.maximumLimit)")
        }
    }
}
