import HoldfastStore
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The machine's clocks.
@Suite struct SystemTimeTests {
    #if os(Linux)
        /// On a machine that was never suspended CLOCK_MONOTONIC says the same; in a time namespace with another boot time it does not
        /// (`unshare --time --boottime 86400`).
        @Test func uptimeGoesOnWhileTheMachineIsSuspended() {
            func sinceBoot() -> Duration {
                var time = timespec()
                clock_gettime(CLOCK_BOOTTIME, &time)
                return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
            }
            let before = sinceBoot()
            let uptime = SystemTime().uptime
            let nanoseconds = Duration.nanoseconds(Int64(SystemTime.uptimeNanoseconds))
            #expect(before <= uptime && uptime <= nanoseconds && nanoseconds <= sinceBoot())
        }
    #endif
}
