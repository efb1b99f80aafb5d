/// A store that can tell of changes to its keys, whoever makes them: what keeps copies in a process true (client-side caching).
///
/// Optional: a store that is this process has nothing to tell, and one that cannot listen (REST) does not conform.
public protocol ChangeTracking: Store {
    /// Begins to tell of changes, and goes on until the handle is ended or the store is closed. Returns at once; the store connects in
    /// the background, and again whenever it has to.
    ///
    /// - Parameters:
    ///   - prefixes: what the keys of interest begin with. None may be the beginning of another.
    ///   - interval: how often to confirm that nothing is being missed.
    ///   - observe: called for each event, on any thread, one session's in their order. It must not wait.
    /// - Returns: nil where the store is configured not to, or cannot for certain.
    func trackChanges(
        of prefixes: [Bytes], confirmingEvery interval: Duration, _ observe: @escaping @Sendable (KeyChangeEvent) -> Void
    ) -> ChangeTrackingHandle?
}

/// What is told of changes.
///
/// The contract: a read that began after `established`, and whose value is covered, is followed by `changed`, `flushed`, `disturbed` or
/// `lost` if the value is changed, at the latest before the first `confirmed` whose moment is after the change. So a copy that was
/// confirmed for a moment was the server's value at that moment.
public enum KeyChangeEvent: Sendable, Equatable {
    /// From now on changes are told of. What happened before is not known: older copies say nothing.
    ///
    /// - Parameter elapsed: how long ago the session began to listen.
    case established(ChangeCoverage, elapsed: Duration)
    /// Everything that had changed by then, so long ago, has been told.
    case confirmed(elapsed: Duration)
    case changed([Key])
    /// All keys are gone.
    case flushed
    /// What is being read at this moment may not be covered: copies that exist are.
    case disturbed
    /// Changes are not told of any more, until `established`.
    case lost
    /// The server does not do this, or not for us. It is asked again now and then.
    case unavailable(StoreError)
}

/// Which copies a session tells the truth about.
public enum ChangeCoverage: Sendable, Hashable {
    /// Those of keys that begin with one of these, however they came here.
    case prefixes(Set<Bytes>)
    /// Those that were read through the store. Not what was written, until it is read.
    case reads
}

/// What ends a tracking of changes, or widens it.
public struct ChangeTrackingHandle: Sendable {
    /// Adds a prefix. The session begins anew: `lost`, then `established` with it.
    public let add: @Sendable (_ prefix: Bytes) -> Void
    /// Ends it; no event comes afterwards but those under way.
    public let end: @Sendable () -> Void

    public init(add: @escaping @Sendable (Bytes) -> Void, end: @escaping @Sendable () -> Void) {
        self.add = add
        self.end = end
    }
}
