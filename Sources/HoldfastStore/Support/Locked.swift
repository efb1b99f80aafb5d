#if canImport(Glibc)
    public import Glibc
#elseif canImport(Musl)
    public import Musl
#else
    public import Darwin
#endif

/// State behind a mutex. The one lock of the code base.
///
/// It is a `pthread_mutex_t` and not `Synchronization.Mutex`, because the thread sanitizer understands the former on Linux and
/// reports false races under the latter. Rule of use: lock, decide, unlock, act; never call out, log or resume a continuation
/// inside the body.
///
/// `@unchecked Sendable`: `state` is reached only between `pthread_mutex_lock` and `pthread_mutex_unlock`.
public final class Locked<State>: @unchecked Sendable {
    /// Reached only inside ``withLock(_:)``, so accesses never overlap; the run-time check of that, a visible part of a short
    /// critical section, is left out.
    @exclusivity(unchecked) @usableFromInline var state: State
    @usableFromInline let mutex: UnsafeMutablePointer<pthread_mutex_t>

    public init(_ state: sending State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        let result = pthread_mutex_init(mutex, nil)
        precondition(result == 0, "pthread_mutex_init failed: \(result)")
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    @inlinable public func withLock<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }
}
