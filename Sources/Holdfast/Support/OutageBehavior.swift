/// What a feature does with calls while the configured server is away: ``CacheConfiguration/outage``, ``Sessions/Configuration/outage``.
///
/// Limits have a choice more (``RateLimiter/OutageBehavior``).
public enum OutageBehavior: String, Sendable, Hashable, Codable, CaseIterable {
    /// Decided in this process, as far as that is right for the call, and handed over when the server is back.
    case local
    /// Refused: nothing is read from or written to this process's own store, and nothing is kept for the server. The error is
    /// ``/HoldfastStore/ErrorCode/unavailable``, or what the call itself met before the server counted as away, with its effect.
    ///
    /// What only removes (invalidations of the cache; what ends sessions) is accepted as with ``local``, holds here at once and is handed
    /// over: refusing an invalidation or a logout helps nobody.
    case closed
}
