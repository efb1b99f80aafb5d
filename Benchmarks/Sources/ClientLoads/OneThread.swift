import Dispatch
import Foundation
import HoldfastStore

/// Runs all tasks of the process on the thread that calls ``run(_:)``, without libdispatch's threads; it sleeps while there are none.
///
/// For counting instructions: valgrind 3.19 ends with a fault of its own once libdispatch has started a thread, and counts would
/// hold the scheduler's work besides. Tasks are caught where the runtime hands them to the default executor, and not by an executor
/// that they prefer, because a preference costs every switch of a task a lock: callers usually have none.
public enum OneThread {
    private typealias Original = @convention(thin) (UnownedJob) -> Void
    private typealias Hook = @convention(thin) (UnownedJob, Original) -> Void

    private static let jobs = Locked<[UnownedJob]>([])
    private static let enqueued = DispatchSemaphore(value: 0)
    private static let isDone = Locked(false)

    /// Runs the body to its end.
    public static func run(_ body: @escaping @Sendable () async -> Void) {
        guard let symbol = dlsym(dlopen(nil, RTLD_NOW), "swift_task_enqueueGlobal_hook") else {
            fatalError("This runtime has no hook for the default executor")
        }
        let hook: Hook = { job, _ in
            let wakes = OneThread.jobs.withLock { jobs in
                jobs.append(job)
                return jobs.count == 1
            }
            if wakes { OneThread.enqueued.signal() }
        }
        symbol.assumingMemoryBound(to: Hook?.self).pointee = hook
        Task {
            await body()
            isDone.withLock { $0 = true }
        }
        // No actor's: the default executor is the one without identity.
        let executor = unsafeBitCast((UInt(0), UInt(0)), to: UnownedSerialExecutor.self)
        var batch: [UnownedJob] = []
        while !isDone.withLock({ $0 }) {
            enqueued.wait()
            jobs.withLock { swap(&$0, &batch) }
            for job in batch { runJob(job, executor) }
            batch.removeAll(keepingCapacity: true)
        }
    }
}

@_silgen_name("swift_job_run") private func runJob(_ job: UnownedJob, _ executor: UnownedSerialExecutor)
