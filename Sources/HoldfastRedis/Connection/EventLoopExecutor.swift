import HoldfastStore
import NIOCore

/// Runs tasks on a connection's event loop, so that a call from one of them wakes nobody: neither the loop to send, nor a thread to
/// take the reply.
final class EventLoopExecutor: TaskExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        /// Whether the loop is on its way to run them.
        var isScheduled = false
    }

    private let eventLoop: any EventLoop
    private let state = Locked(State())

    init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let schedules = state.withLock { state in
            defer { state.isScheduled = true }
            state.jobs.append(job)
            return !state.isScheduled
        }
        if schedules { eventLoop.execute { self.runJobs() } }
    }

    /// Runs what has gathered. What comes meanwhile has its turn when the loop has looked at its other work.
    private func runJobs() {
        let jobs = state.withLock { state in
            defer { (state.jobs, state.isScheduled) = ([], false) }
            return state.jobs
        }
        for job in jobs { job.runSynchronously(on: asUnownedTaskExecutor()) }
    }
}
