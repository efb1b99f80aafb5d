import HoldfastStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Carries out every task of the program on one thread, first come, first served: what happens depends on the seed alone.
///
/// It takes the place of Swift's thread pool by the runtime's own hook, so also tasks that services start by themselves come here.
final class DeterministicLoop: TaskExecutor {
    static let shared = DeterministicLoop()

    private let queue = Locked<(jobs: [UnownedJob], next: Int)>(([], 0))

    private typealias Original = @convention(thin) (UnownedJob) -> Void
    private typealias Hook = @convention(thin) (UnownedJob, Original) -> Void

    /// Call it before anything else.
    static func install() {
        guard let symbol = dlsym(dlopen(nil, RTLD_NOW), "swift_task_enqueueGlobal_hook") else {
            fatalError("Swift's runtime has no hook for tasks")
        }
        symbol.assumingMemoryBound(to: Hook?.self).pointee = { job, _ in DeterministicLoop.shared.enqueue(job) }
    }

    func enqueue(_ job: UnownedJob) { queue.withLock { $0.jobs.append(job) } }

    func enqueue(_ job: consuming ExecutorJob) { enqueue(UnownedJob(job)) }

    /// Runs until every task waits for something.
    func drain() {
        while let job = next() { job.runSynchronously(on: asUnownedTaskExecutor()) }
    }

    private func next() -> UnownedJob? {
        queue.withLock { queue in
            guard queue.next < queue.jobs.count else {
                queue = ([], 0)
                return nil
            }
            defer { queue.next += 1 }
            return queue.jobs[queue.next]
        }
    }
}
