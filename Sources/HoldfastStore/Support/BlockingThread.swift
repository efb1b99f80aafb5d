#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Work that waits on a disk, on a thread of its own: tasks share a few threads, and one that waits there stops the others.
enum BlockingThread {
    /// - Throws: ``ErrorCode/internalError`` where the system gives no more threads.
    static func start(_ body: @escaping @Sendable () -> Void) throws(StoreError) {
        let work = Unmanaged.passRetained(Work(body))
        let result = spawn(work.toOpaque())
        guard result == 0 else {
            work.release()
            throw StoreError(.internalError, "No thread could be started (errno \(result))")
        }
    }

    /// Carries out the body on a thread of its own and waits for it without holding one.
    static func run<Output: Sendable>(_ body: @escaping @Sendable () -> Result<Output, StoreError>) async throws(StoreError)
        -> Output
    {
        let result: Result<Output, StoreError> = await withCheckedContinuation { continuation in
            do throws(StoreError) {
                try start { continuation.resume(returning: body()) }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try result.get()
    }

    private final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private static func spawn(_ work: UnsafeMutableRawPointer) -> Int32 {
        #if canImport(Darwin)
            var thread: pthread_t?
            let result = pthread_create(
                &thread, nil,
                { argument in
                    Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body()
                    return nil
                }, work)
            if let thread { pthread_detach(thread) }
        #else
            var thread = pthread_t()
            let result = pthread_create(
                &thread, nil,
                { argument in
                    if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body() }
                    return nil
                }, work)
            if result == 0 { pthread_detach(thread) }
        #endif
        return result
    }
}
