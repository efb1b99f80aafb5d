/// What an operation does while the configured server is away. Each service operation states one, chosen for its meaning.
public enum OutagePolicy: String, Sendable, Hashable, Codable, CaseIterable {
    /// Refused with ``ErrorCode/unavailable``: it cannot be known or must not be decided here.
    case fail
    /// Carried out in this process; the result says so.
    case local
    /// Carried out in this process, and on the server when it is back: the body adds what is to be done there to
    /// ``Failover/outbox`` before it returns.
    case localThenReplay
}

/// Who decided.
public enum Decider: Sendable, Hashable {
    /// The configured store: the server, or this process where no server is configured.
    case server
    /// This process, because the server has been away since then.
    case local(since: Timestamp)

    public var isLocal: Bool { self != .server }
}

/// A result with the side that decided it.
public struct Decided<Output: Sendable>: Sendable {
    public let value: Output
    public let by: Decider

    @inlinable public init(_ value: Output, by decider: Decider) {
        self.value = value
        by = decider
    }

    public func map<Mapped>(_ transform: (Output) -> Mapped) -> Decided<Mapped> { Decided<Mapped>(transform(value), by: by) }
}

extension Decided: Equatable where Output: Equatable {}
