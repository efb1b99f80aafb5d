public import HTTPTypes
public import Holdfast

extension HTTPFields {
    /// What tells a client about a decision: `Retry-After`, `X-RateLimit-*`, `RateLimit` and `RateLimit-Policy`; see
    /// ``Holdfast/RateLimitHeaders``.
    public init(_ decision: RateLimitDecision) {
        self.init()
        for field in RateLimitHeaders.fields(for: decision) {
            if let name = HTTPField.Name(field.name) { self[name] = field.value }
        }
    }
}
