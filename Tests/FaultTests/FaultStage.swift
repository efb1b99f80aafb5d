import Holdfast
import HoldfastRedis
import HoldfastStore
import HoldfastTesting
import OutageLedger
import TestServers

/// A real Redis with two processes' services on it: one that reaches it through a network that can fail, and one directly.
///
/// Both do the same kinds of work all the time and tell one ledger; which of them a fault meets is the fault's own affair.
struct FaultStage: Sendable {
    let server: RedisProcess
    let proxy: FaultProxy
    let ledger: Locked<Ledger>
    let clock: SteppingClock
    /// Looks after the server from outside.
    let control: RedisStore
    /// A restart that is under way.
    let loading = Locked<Task<Void, any Error>?>(nil)
    private let processes: [Participant]
    private let conversation: SessionID
    private let watches: [Task<Void, Never>]

    private struct Participant: Sendable {
        let name: Ledger.Process
        let store: RedisStore
        let services: Workload.Services
    }

    static let nearTTL = Duration.milliseconds(200)

    static func start(_ options: RedisProcess.Options, _ durability: Ledger.Durability) async throws -> FaultStage {
        let server = try await RedisProcess.start(options)
        let proxy = try await FaultProxy.start(to: server.port)
        let clock = SteppingClock()
        let afflicted = try participant(0, port: proxy.port, clock)
        let other = try participant(1, port: server.port, .system)
        var ledger = Ledger(processes: 2)
        ledger.durability = durability
        // How late a call ends is the machine's load; the simulation looks at that, on a manual clock.
        ledger.patience = nil
        let session = try await other.services.sessions.create(userID: "caller", kind: .conversation)
        ledger.created(session.id, user: "caller", by: other.name, began: 0)
        let control = try RedisStore(
            RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: server.port)).patient)
        return FaultStage(
            server: server, proxy: proxy, ledger: Locked(ledger), clock: clock, control: control,
            processes: [afflicted, other], conversation: session.id,
            watches: [afflicted, other].map { participant in Task { await participant.services.failover.run() } })
    }

    private static func participant(_ number: Int, port: Int, _ time: any TimeSource) throws -> Participant {
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: port))
        (configuration.commandTimeout, configuration.connectTimeout) = (.milliseconds(800), .milliseconds(800))
        let store = try RedisStore(configuration)
        let failover = Failover(
            server: store, local: EmbeddedStore(time: time),
            configuration: Failover.Configuration(
                thresholds: .init(failures: 3, successes: 1, trust: .milliseconds(100)...(.milliseconds(500)), calm: .seconds(2)),
                checkInterval: .milliseconds(100), probeBackoff: .milliseconds(20)...(.milliseconds(200)),
                probeTimeout: .milliseconds(800)),
            time: time)
        let services = Workload.Services(
            failover: failover,
            cache: Cache(failover: failover, configuration: CacheConfiguration(near: .init(ttl: nearTTL))),
            sessions: Sessions(failover: failover),
            limits: RateLimiter(
                failover, instances: Instances(failover: failover, namespace: Namespace(), configuration: .init(fixed: 2))),
            idempotency: Idempotency(failover: failover, namespace: Namespace()))
        return Participant(name: Ledger.Process(number), store: store, services: services)
    }

    func stop() async {
        for watch in watches { watch.cancel() }
        for watch in watches { await watch.value }
        for process in processes { await process.store.shutdown() }
        await control.shutdown()
        await proxy.stop()
        server.stop()
    }

    // MARK: - Work

    /// So many operations by each process, six at a time.
    func work(_ count: Int, _ actions: [Workload.Action], _ random: inout RandomSource) async {
        await withTaskGroup(of: Void.self) { group in
            for participant in processes {
                let workload = workload(of: participant)
                for lane in 0..<6 {
                    let source = RandomSource(seed: random.next())
                    group.addTask {
                        var random = source
                        for _ in 0..<(count + lane) / 6 {
                            guard let action = actions.randomElement(using: &random) else { return }
                            await workload.perform(action, RandomSource(seed: random.next()))
                        }
                    }
                }
            }
        }
    }

    /// Waits until both are back and have nothing left to hand over, and asks them for everything.
    func examine() async throws {
        for process in processes {
            let (failover, cache) = (process.services.failover, process.services.cache)
            try await eventually(within: .seconds(120), "process \(process.name.number) is back: \(failover.status)") {
                failover.status == .server && cache.pendingChanges == 0 && failover.outbox.isEmpty
            }
        }
        let end = ContinuousClock.now + Self.nearTTL
        try await eventually("the near caches have forgotten") { ContinuousClock.now > end }
        for process in processes { await workload(of: process).examine() }
    }

    private func workload(of participant: Participant) -> Workload {
        Workload(
            participant.name, participant.services, ledger, conversation: conversation,
            random: { .random(in: .min ... .max) }, factoryWork: { await Task.yield() })
    }
}

/// The machine's clocks, of which the one on the wall can be set.
final class SteppingClock: TimeSource {
    private let offset = Locked(Duration.zero)

    func step(by span: Duration) { offset.withLock { $0 += span } }

    var now: Timestamp { SystemTime().now + offset.withLock { $0 } }
    var uptime: Duration { SystemTime().uptime }
    func sleep(for span: Duration) async throws { try await SystemTime().sleep(for: span) }
}
