import HTTPTypes
import Holdfast
import HoldfastHummingbird
import HoldfastStore

/// Limits how often callers may call this server itself: by API key, or by client address where there is none.
///
/// Off unless configured. The callers of a state layer are the agents' own back ends: limiting them by default would fail requests of
/// theirs that they have admitted already, at a rate (60 a minute) that is meant for people. What they limit, they limit by
/// `/api/v1/limits`.
struct CallerLimits: Sendable {
    let limiter: RateLimiter
    let addresses: ClientAddress

    /// Decides one call, and charges it.
    ///
    /// - Parameter context: nil for a call that was not let in.
    func check(
        _ context: CallContext?, peer: String?, _ headers: HTTPFields, endpoint: String
    ) async throws(StoreError) -> RateLimitDecision {
        let subject: RateLimitSubject
        if let actor = context?.actor {
            subject = .key(actor)
        } else {
            subject = .ip(addresses.address(peer: peer, headers) ?? "unknown")
        }
        return try await limiter.check(subject, endpoint: endpoint)
    }
}
