public import HoldfastStore

/// What a look into a cache found.
///
/// A value that is nil is a hit all the same: `Cached<User?>.hit(nil, …)` says "known to be nobody", a miss says "not known".
public enum Cached<Value: Sendable>: Sendable {
    case hit(Value, from: CacheSource)
    /// Where this process decides because the server is away: not known here.
    case miss(by: Decider)

    /// The value; nil for a miss.
    public var value: Value? { if case .hit(let value, _) = self { value } else { nil } }

    /// Where the value came from; nil for a miss.
    public var source: CacheSource? { if case .hit(_, let source) = self { source } else { nil } }

    public var isMiss: Bool { if case .miss = self { true } else { false } }

    /// Who decided.
    public var by: Decider {
        switch self {
        case .hit(_, let source): source.by
        case .miss(let by): by
        }
    }

    public func map<Mapped>(_ transform: (Value) -> Mapped) -> Cached<Mapped> {
        switch self {
        case .hit(let value, let source): .hit(transform(value), from: source)
        case .miss(let by): .miss(by: by)
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
    /// This process, which has decided the value because the server has been away since then: its local store, or what is near of it.
    case local(since: Timestamp)
    /// Past its TTL, served because nothing fresher could be had; this long past it.
    case stale(age: Duration, by: Decider)
    /// Just computed; by whoever keeps it, or, where it is not kept, said that there was none.
    case factory(by: Decider)

    /// Who decided: for a near copy the server, which had the value.
    public var by: Decider {
        switch self {
        case .near, .store: .server
        case .local(let since): .local(since: since)
        case .stale(_, let by), .factory(let by): by
        }
    }

    init(_ decider: Decider) {
        switch decider {
        case .server: self = .store
        case .local(let since): self = .local(since: since)
        }
    }
}
