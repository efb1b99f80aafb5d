import HoldfastStore

/// What is decided in one atomic call, checked and with its keys.
struct RateLimitCall {
    static let maximumRules = 16

    let charges: [RateLimitCharge]
    /// One for each charge.
    let keys: [Key]
    /// What the call is known again by, and the key of its marker.
    private let once: (operation: OperationID, marker: Key)?

    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming the field.
    init(_ charges: [RateLimitCharge], in names: Namespace, once operation: OperationID? = nil) throws(StoreError) {
        guard charges.count <= Self.maximumRules else {
            throw .invalid("rules", "At most \(Self.maximumRules) rules are decided in one call")
        }
        var keys: [Key] = []
        keys.reserveCapacity(charges.count)
        for charge in charges {
            try charge.validate()
            let key = names.rateLimitKey(charge.rule, charge.subject)
            guard !keys.contains(key) else {
                throw .invalid("rules", "Rule \(charge.rule.name) is named twice for one subject")
            }
            keys.append(key)
        }
        self.charges = charges
        self.keys = keys
        once = operation.map { ($0, names.rateLimitMarker($0)) }
    }

    private init(_ other: RateLimitCall, once operation: OperationID, in names: Namespace) {
        (charges, keys) = (other.charges, other.keys)
        once = (operation, names.rateLimitMarker(operation))
    }

    /// Whether the call is an operation with a name.
    var isNamed: Bool { once != nil }
    /// The key that the name is known again by.
    var marker: Key? { once?.marker }
    /// For how long the name is known; zero where there is none.
    var retention: Duration { once?.operation.retention ?? .zero }

    /// The same as an operation with a name: its own, where it has one.
    func named(_ operation: @autoclosure () -> OperationID, in names: Namespace) -> RateLimitCall {
        isNamed ? self : RateLimitCall(self, once: operation(), in: names)
    }

    /// The call with each rule cut to an instance's share.
    ///
    /// - Parameter now: the time that decides, or nil for the store's own clock.
    func procedure(
        _ script: Script, sharedBy instances: Int, now: Timestamp? = nil
    ) throws(StoreError) -> Procedure<RateLimitAnswer> {
        try procedure(script, sharedBy: instances, now: now) { reply, charges in RateLimitAnswer(reply, charges) }
    }

    /// The same for whoever does not look at the answer: an operation that was done before answers as it did then, which may have been
    /// about other rules.
    ///
    /// - Parameter retention: how long its name is to be known; by default as long as its caller said.
    func blindProcedure(_ script: Script, retention: Duration? = nil) throws(StoreError) -> Procedure<Bool> {
        try procedure(script, sharedBy: 1, retention: retention) { reply, _ in reply.elements != nil }
    }

    private func procedure<Output: Sendable>(
        _ script: Script, sharedBy instances: Int, retention: Duration? = nil, now: Timestamp? = nil,
        _ decode: @escaping @Sendable (Reply, [RateLimitCharge]) -> Output?
    ) throws(StoreError) -> Procedure<Output> {
        let charges =
            instances > 1
            ? charges.map { RateLimitCharge($0.rule.share(of: instances), for: $0.subject, cost: $0.cost) } : charges
        var arguments: [Bytes] = []
        arguments.reserveCapacity(charges.count * 6)
        for charge in charges {
            let (a, b, c) = try charge.rule.terms()
            arguments.append(Bytes(charge.rule.algorithm.rawValue))
            arguments.append(Bytes(Int64(charge.cost)))
            arguments.append(Bytes(Int64(charge.rule.capacity)))
            arguments.append(Bytes(a))
            arguments.append(Bytes(b))
            arguments.append(Bytes(c))
        }
        guard let once, !charges.isEmpty else {
            return Procedure(script, keys: keys, arguments: arguments, now: now) { decode($0, charges) }
        }
        return Procedure(
            script, keys: keys + [once.marker],
            arguments: arguments + [Bytes((retention ?? once.operation.retention).milliseconds)], now: now
        ) { decode($0, charges) }
    }
}

/// What the procedures answer.
struct RateLimitAnswer: Sendable {
    let at: Timestamp
    let states: [RateLimitState]

    init?(_ reply: Reply, _ charges: [RateLimitCharge]) {
        guard let elements = reply.elements, elements.count == 1 + 3 * charges.count, let now = elements[0].integer else {
            return nil
        }
        var states: [RateLimitState] = []
        states.reserveCapacity(charges.count)
        for (index, charge) in charges.enumerated() {
            guard let wait = elements[3 * index + 1].integer, let remaining = elements[3 * index + 2].integer,
                let reset = elements[3 * index + 3].integer
            else { return nil }
            states.append(
                RateLimitState(
                    rule: charge.rule, subject: charge.subject, cost: charge.cost, hasRoom: wait == 0, remaining: Int(remaining),
                    resetAfter: .milliseconds(reset), retryAfter: wait < 0 ? nil : .milliseconds(wait)))
        }
        at = Timestamp(milliseconds: now)
        self.states = states
    }
}

extension RateLimit {
    /// The three numbers of the rule's algorithm; what they are stands above each algorithm's Lua.
    func terms() throws(StoreError) -> (Int64, Int64, Int64) {
        let window = window.milliseconds
        switch algorithm {
        case .fixedWindow, .slidingLog: return (window, 1, 1)
        case .slidingCounter:
            let tick = window.dividedUp(by: 1 << 22)
            return (window, tick, window.dividedUp(by: tick))
        case .tokenBucket, .gcra:
            let (a, b) = try fractions(window)
            return (a, b, window)
        }
    }

    /// Fractions of a token: how many make one and how many flow in per ms, in lowest terms, so that nothing is ever rounded.
    ///
    /// Where a full bucket would have more than 2^51 of them, both are halved until it has not, each to the careful side; the rate then
    /// is at most 1/512 too low. (With a burst that is no larger than the limit it is at most 1/32,768, and only from 2^51 tokens × ms
    /// on.)
    private func fractions(_ window: Int64) throws(StoreError) -> (Int64, Int64) {
        let divisor = Self.greatestCommonDivisor(window, Int64(limit))
        var (perToken, perMillisecond) = (window / divisor, Int64(limit) / divisor)
        while perToken > (1 << 51) / Int64(capacity) {
            perToken = perToken.dividedUp(by: 2)
            perMillisecond /= 2
            guard perMillisecond >= 512 else {
                throw .invalid("burst", "The burst of rule \(name) is too large for so slow a refill")
            }
        }
        return (perToken, perMillisecond)
    }

    private static func greatestCommonDivisor(_ left: Int64, _ right: Int64) -> Int64 {
        var (left, right) = (left, right)
        while right != 0 { (left, right) = (right, left % right) }
        return left
    }
}
