import HoldfastStore

/// Runs tasks on the thread that calls ``run(_:)``, one after the other, without libdispatch's threads.
///
/// For counting instructions: valgrind 3.19 ends with a fault of its own once libdispatch has started a thread, and counts would
/// hold the scheduler's work besides.
final class InlineExecutor: TaskExecutor {
    private let jobs = Locked<[UnownedJob]>([])
    private let isDone = Locked(false)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
    }

    /// Runs the body to its end. It must wait for nothing but other tasks of this executor.
    func run(_ body: @escaping @Sendable () async -> Void) {
        Task(executorPreference: self) { [isDone] in
            await body()
            isDone.withLock { $0 = true }
        }
        while !isDone.withLock({ $0 }) {
            guard let job = jobs.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else { continue }
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
}
