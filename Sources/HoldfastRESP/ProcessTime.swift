#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What this process has used of the processors since it began, in seconds.
struct ProcessTime {
    let system: Double
    let user: Double

    init() {
        var usage = rusage()
        // RUSAGE_SELF, which C libraries give different types.
        getrusage(0, &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000 }
        (system, user) = (seconds(usage.ru_stime), seconds(usage.ru_utime))
    }
}
