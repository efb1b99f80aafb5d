import HoldfastStore

/// The clock of ``HoldfastStore/TimeSource/uptime`` in nanoseconds, read cheaply: every call on a connection reads it once.
///
/// It is the machine's, not an injected one, because the event loop's timers run by a clock of the machine's too. Theirs stands still while
/// the machine is suspended, and this one goes on: a timer that was set by it never comes early, and after a suspension it comes late, by
/// what was left of its span.
enum Uptime {
    static var nanoseconds: UInt64 { SystemTime.uptimeNanoseconds }

    /// The caller's deadline, where the task has one.
    static var callersDeadline: UInt64? {
        guard let deadline = CallContext.current?.deadline else { return nil }
        return UInt64(deadline.clampedNanoseconds)
    }
}
