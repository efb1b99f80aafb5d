import HoldfastStore

/// The keys of the limiter, all of them.
///
/// `rate:{ids…}:{{tenant}}:{kinds}:{rule}:{algorithm}:{window in ms}`, such as
/// `holdfast:rate:ann:/api/v1/search:{default}:user+endpoint:minute:sliding-counter:60000`: the reference systems' `rate:{user}:{endpoint}`
/// with what keeps rules apart behind it. The braces that are written are the tenant's cluster tag: rules that are decided in one
/// atomic call must share a slot, and any two of a tenant may be decided together. A user `1.2.3.4` and an address `1.2.3.4` are told
/// apart by the kinds.
extension Namespace {
    func rateLimitKey(_ rule: RateLimit, _ subject: RateLimitSubject) -> Key {
        var pattern = KeyPattern.StringInterpolation(literalCapacity: 80, interpolationCount: subject.parts.count + 2)
        pattern.appendLiteral("rate:")
        for part in subject.parts {
            pattern.appendInterpolation(part.id)
            pattern.appendLiteral(":")
        }
        pattern.appendLiteral("{")
        pattern.appendInterpolation(tenant ?? "default")
        pattern.appendLiteral("}")
        var separator = ":"
        for part in subject.parts {
            pattern.appendLiteral(separator)
            pattern.appendLiteral(part.kind.rawValue)
            separator = "+"
        }
        pattern.appendLiteral(":")
        pattern.appendInterpolation(rule.name)
        pattern.appendLiteral(":")
        pattern.appendLiteral(rule.algorithm.rawValue)
        pattern.appendLiteral(":")
        pattern.appendInterpolation(rule.window.milliseconds)
        return key(KeyPattern(stringInterpolation: pattern))
    }

    /// `rate_once:{{tenant}}:{operation}`: the marker of an operation with a name, in the slot of all the tenant's rules.
    func rateLimitMarker(_ operation: OperationID) -> Key {
        var pattern = KeyPattern.StringInterpolation(literalCapacity: 80, interpolationCount: 2)
        pattern.appendLiteral("rate_once:{")
        pattern.appendInterpolation(tenant ?? "default")
        pattern.appendLiteral("}:")
        pattern.appendLiteral(operation.text)
        return key(KeyPattern(stringInterpolation: pattern))
    }
}
