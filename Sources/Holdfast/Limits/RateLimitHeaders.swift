import HoldfastStore

/// The header fields that tell an HTTP client about a decision. Knows nothing of HTTP libraries: names and values.
///
/// - `Retry-After` (RFC 9110, 10.2.3), in seconds, on denials that waiting can help.
/// - `X-RateLimit-Limit`, `-Remaining`, `-Reset`: of the decisive rule; reset as Unix seconds, as GitHub has it.
/// - `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-09): structured lists (RFC 9651) with one member for each
///   rule that was asked, `"minute";q=60;w=60` and `"minute";r=12;t=33`. For buckets q is the capacity and w the time in which
///   it fills.
///
/// Seconds are rounded up: a client that waits as told is not early.
public enum RateLimitHeaders {
    /// The fields for a decision, each name once. Empty where no rule was asked.
    public static func fields(for decision: RateLimitDecision) -> [(name: String, value: String)] {
        var fields: [(name: String, value: String)] = []
        if !decision.isAllowed, let wait = decision.retryAfter { fields.append(("Retry-After", "\(max(1, seconds(wait)))")) }
        guard let rule = decision.decisive else { return fields }
        let reset = decision.at + rule.resetAfter
        fields.append(("X-RateLimit-Limit", "\(rule.limit)"))
        fields.append(("X-RateLimit-Remaining", "\(rule.remaining)"))
        fields.append(("X-RateLimit-Reset", "\((reset.milliseconds + 999) / 1000)"))
        fields.append(("RateLimit-Policy", decision.rules.map(policy).joined(separator: ", ")))
        fields.append(("RateLimit", decision.rules.map(state).joined(separator: ", ")))
        return fields
    }

    private static func policy(_ state: RateLimitState) -> String {
        "\"\(state.rule.name)\";q=\(state.limit);w=\(seconds(state.rule.recovery))"
    }

    /// `t` is when the quota is whole again; for a rule without room it is when the call has a chance, which is what a client acts on.
    private static func state(_ state: RateLimitState) -> String {
        let time = state.hasRoom ? state.resetAfter : state.retryAfter ?? state.resetAfter
        return "\"\(state.rule.name)\";r=\(state.remaining);t=\(seconds(time))"
    }

    private static func seconds(_ span: Duration) -> Int64 {
        let (seconds, attoseconds) = span.components
        return seconds + (attoseconds > 0 ? 1 : 0)
    }
}
