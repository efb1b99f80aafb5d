#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Where time comes from. Everything that reads a clock or waits is given one, so that tests never sleep.
public protocol TimeSource: Sendable {
    /// The wall clock, for expiries and whatever else is stored.
    var now: Timestamp { get }
    /// A clock that never steps back, from an arbitrary origin, for deadlines and latencies.
    var uptime: Duration { get }
    /// Waits for a span of ``uptime``; throws `CancellationError` when the task is cancelled meanwhile.
    func sleep(for span: Duration) async throws
}

/// The machine's clocks.
public struct SystemTime: TimeSource {
    public init() {}

    public var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    public var uptime: Duration {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
    }

    public func sleep(for span: Duration) async throws { try await Task.sleep(for: span) }
}

extension TimeSource where Self == SystemTime {
    /// The machine's clocks.
    public static var system: SystemTime { SystemTime() }
}
