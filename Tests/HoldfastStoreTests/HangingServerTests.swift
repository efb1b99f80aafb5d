import HoldfastStore
import HoldfastTesting
import Testing

/// A server that takes calls and answers none of them, or only pings, and callers that wait for less than a command's timeout.
@Suite struct HangingServerTests {
    private let time = ManualTime()
    private let answersPings = Locked(false)
    private let failover: Failover

    init() {
        // As a client does: until the caller's deadline, and no longer than 5 s.
        let server = InterceptedStore(EmbeddedStore(time: time)) { [time, answersPings] (call) throws(StoreError) in
            if case .operation(let operation) = call, operation.name == "PING", answersPings.withLock({ $0 }) { return }
            let patience = CallContext.current?.deadline.map { $0 - time.uptime } ?? .seconds(5)
            guard (try? await time.sleep(for: min(patience, .seconds(5)))) != nil else { throw StoreError(.cancelled) }
            throw StoreError(patience < .seconds(5) ? .deadlineExceeded : .timeout, effect: .unknown)
        }
        failover = Failover(server: server, local: EmbeddedStore(time: time), time: time)
    }

    /// Calls again and again with such deadlines until it is decided here, or so much time has passed; answers how much.
    private func call(_ callers: Int, deadline: Duration, for limit: Duration) async -> Duration {
        let start = time.uptime
        let isOver = Locked(false)
        return await withTaskGroup(of: Void.self) { group in
            group.addTask { await failover.run() }
            for _ in 0..<callers {
                group.addTask {
                    while !isOver.withLock({ $0 }) {
                        let context = CallContext(deadline: time.uptime + deadline)
                        _ = try? await context.run { () async throws(StoreError) in
                            try await failover.perform(.local) { (store, _) throws(StoreError) in
                                try await store(.get(Key(raw: "k")))
                            }
                        }
                        // Whoever was answered at once lets the others go on.
                        await Task.yield()
                    }
                }
            }
            await time.advanceUntil(by: min(deadline, .milliseconds(50))) {
                failover.localSince != nil || time.uptime - start >= limit
            }
            let span = time.uptime - start
            isOver.withLock { $0 = true }
            group.cancelAll()
            // What was asked at once is nobody's.
            await time.advanceUntil(by: .seconds(1)) { time.sleeperCount == 0 }
            return span
        }
    }

    @Test(arguments: [(1, 200, 2250), (10, 200, 1450), (10, 20, 1100), (3, 2000, 4100)])
    func callersWithShortDeadlinesNoticeIt(callers: Int, deadline: Int64, within bound: Int64) async {
        let span = await call(callers, deadline: .milliseconds(deadline), for: .seconds(30))
        #expect(failover.localSince != nil)
        #expect(failover.statistics.outages == 1)
        #expect(span <= .milliseconds(bound), "\(span)")
    }

    /// The server is there, and takes longer for a call than these callers wait.
    @Test func deadlinesAloneAreNoOutage() async {
        answersPings.withLock { $0 = true }
        let span = await call(4, deadline: .milliseconds(1), for: .seconds(3))
        #expect(failover.localSince == nil && failover.health.state == .up)
        #expect(failover.statistics.failures == 0)
        // Ten questions a second, and the usual one.
        #expect((20...Int(span.inSeconds * 11) + 2).contains(failover.statistics.probes), "\(failover.statistics.probes)")
    }
}
