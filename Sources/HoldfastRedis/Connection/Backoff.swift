/// How long to leave a server alone after failed attempts: doubled each time, jittered so that a fleet does not come back at once.
public struct Backoff: Hashable, Sendable {
    /// After the first failed attempt.
    public var initial: Duration
    /// Never longer than this.
    public var maximum: Duration

    public init(initial: Duration = .milliseconds(20), maximum: Duration = .seconds(1)) {
        self.initial = initial
        self.maximum = maximum
    }

    /// The pause after that many failed attempts in a row (from 1).
    ///
    /// - Parameter fraction: a random number from 0 to 1. The pause lies between half of the full one and all of it: never so short
    ///   that attempts bunch, never beyond ``maximum``.
    func pause(afterFailures failures: Int, fraction: Double) -> Duration {
        let doublings = max(0, min(failures - 1, 30))
        let full = min(maximum, initial * (1 << doublings))
        return full * (0.5 + 0.5 * fraction)
    }
}
