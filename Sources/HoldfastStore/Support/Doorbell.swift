#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Wakes one thread that waits. A ring before the wait is not lost; several rings count as one.
///
/// `@unchecked Sendable`: `hasRung` is reached only between `pthread_mutex_lock` and `pthread_mutex_unlock`.
package final class Doorbell: @unchecked Sendable {
    private var hasRung = false
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    package init() {
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        condition = .allocate(capacity: 1)
        condition.initialize(to: pthread_cond_t())
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    package func ring() {
        pthread_mutex_lock(mutex)
        hasRung = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    /// Waits for a ring, at most for so long (nil: for ever). A step of the machine's clock may shorten or lengthen the wait; whoever
    /// waits looks again.
    package func wait(atMost span: Duration?) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if let span {
            guard span > .zero else {
                hasRung = false
                return
            }
            var end = timespec()
            clock_gettime(CLOCK_REALTIME, &end)
            let nanoseconds = Int64(end.tv_nsec) + span.components.attoseconds / 1_000_000_000
            end.tv_sec += Int(span.components.seconds + nanoseconds / 1_000_000_000)
            end.tv_nsec = Int(nanoseconds % 1_000_000_000)
            while !hasRung, pthread_cond_timedwait(condition, mutex, &end) == 0 {}
        } else {
            while !hasRung { pthread_cond_wait(condition, mutex) }
        }
        hasRung = false
    }
}
