public import HoldfastStore

/// What a look into a cache found.
///
/// A value that is nil is a hit all the same: `Cached<User?>.hit(nil, …)` says "known to be nobody", `.miss` says "not known".
public enum Cached<Value: Sendable>: Sendable {
    case hit(Value, from: CacheSource)
    case miss

    /// The value; nil for a miss.
    public var value: Value? { if case .hit(let value, _) = self { value } else { nil } }

    /// Where the value came from; nil for a miss.
    public var source: CacheSource? { if case .hit(_, let source) = self { source } else { nil } }

    public func map<Mapped>(_ transform: (Value) -> Mapped) -> Cached<Mapped> {
        switch self {
        case .hit(let value, let source): .hit(transform(value), from: source)
        case .miss: .miss
        }
    }
}

extension Cached: Equatable where Value: Equatable {}

/// Where a cached value came from.
public enum CacheSource: Hashable, Sendable {
    /// This process's near cache: the server's value at a moment that is at most the near TTL ago.
    case near
    /// The configured store: the server, or this process where no server is configured.
    case store
    /// This process's local store, because the server has been away since then.
    case local(since: Timestamp)
    /// Past its TTL, served because nothing fresher could be had; this long past it.
    case stale(age: Duration)
    /// Just computed.
    case factory

    init(_ decider: Decider) {
        switch decider {
        case .server: self = .store
        case .local(let since): self = .local(since: since)
        }
    }
}
