/// What has become of the calls over shared connections, since they were first made: for metrics.
///
/// On a cluster those of the nodes that are known now: the counts fall when one leaves.
public struct ClientStatistics: Hashable, Sendable {
    /// Commands and batches, each attempt counted, those that were refused included.
    public var calls = 0
    /// Were sent and have no reply yet.
    public var outstanding = 0
    /// Were given up by their callers.
    public var cancelled = 0
    /// Had no reply in time: the command timeout, or the caller's deadline.
    public var timedOut = 0
    /// Were refused because too much was outstanding or waited to be sent.
    public var overloaded = 0
    /// Connections that were made, attempts that failed, and connections that ended without having been closed here.
    public var connected = 0
    public var failedAttempts = 0
    public var lost = 0

    public init() {}

    static func + (left: Self, right: Self) -> Self {
        var sum = left
        sum.calls += right.calls
        sum.outstanding += right.outstanding
        sum.cancelled += right.cancelled
        sum.timedOut += right.timedOut
        sum.overloaded += right.overloaded
        sum.connected += right.connected
        sum.failedAttempts += right.failedAttempts
        sum.lost += right.lost
        return sum
    }
}
