import HoldfastStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The clock of ``HoldfastStore/TimeSource/uptime`` in nanoseconds, read cheaply: every call on a connection reads it once.
///
/// It is the machine's, not an injected one, because the event loop's timers run by the machine's clock too.
enum Uptime {
    static var nanoseconds: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    /// The caller's deadline, where the task has one.
    static var callersDeadline: UInt64? {
        guard let deadline = CallContext.current?.deadline else { return nil }
        return UInt64(deadline.clampedNanoseconds)
    }
}
