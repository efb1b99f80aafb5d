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
    /// A clock that never steps back, from an arbitrary origin, for deadlines, latencies, and whatever must not be older than it says. It goes
    /// on while the machine is suspended.
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
        let time = Self.sinceBoot()
        return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
    }

    /// The same in nanoseconds, read cheaply.
    package static var uptimeNanoseconds: UInt64 {
        let time = sinceBoot()
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    /// Markers on the server, its leases and others' changes go on while this machine is suspended, and Linux's CLOCK_MONOTONIC stands still
    /// then. `Task.sleep(for:)` goes by this clock too.
    private static func sinceBoot() -> timespec {
        var time = timespec()
        #if os(Linux)
            clock_gettime(CLOCK_BOOTTIME, &time)
        #else
            clock_gettime(CLOCK_MONOTONIC, &time)
        #endif
        return time
    }

    public func sleep(for span: Duration) async throws { try await Task.sleep(for: span) }
}

extension TimeSource where Self == SystemTime {
    /// The machine's clocks.
    public static var system: SystemTime { SystemTime() }
}
