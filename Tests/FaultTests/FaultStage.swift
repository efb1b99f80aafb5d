import Holdfast
import HoldfastRedis
import HoldfastStore
import HoldfastTesting
import OutageLedger
import TestServers

/// A real Redis with two processes' services on it: one that reaches it through a network that can fail, and one directly. Or a primary with
/// a replica, which both find through sentinels.
///
/// Both do the same kinds of work all the time and tell one ledger; which of them a fault meets is the fault's own affair.
struct FaultStage: Sendable {
    /// The primary at the start.
    let server: RedisProcess
    let sentinels: SentinelSet?
    let proxy: FaultProxy
    /// The server's clock, where the fault wants one.
    let serverClock: ServerClock?
    let ledger: Locked<Ledger>
    let clock: SteppingClock
    /// Looks after the server from outside.
    let control: RedisStore
    /// A restart or a failover that is under way.
    let repair = Locked<Task<Void, any Error>?>(nil)
    private let processes: [Participant]
    private let conversation: SessionID
    private let heartbeat: Heartbeat
    private let watches: [Task<Void, Never>]

    private struct Participant: Sendable {
        let name: Ledger.Process
        let store: RedisStore
        let services: Workload.Services
    }

    static let nearTTL = Duration.milliseconds(200)

    /// - Parameter patience: how long after its deadline a call may end; see ``Heartbeat``.
    static func start(_ fault: Fault, patience: Duration) async throws -> FaultStage {
        let serverClock = fault.setsServerClock ? try await ServerClock.start() : nil
        let sentinels = fault.needsSentinels ? try await SentinelSet.start() : nil
        let server = if let sentinels { sentinels.servers[0] } else { try await start(fault.configuration, serverClock) }
        let proxy = try await FaultProxy.start(to: server.port)
        let (clock, heartbeat) = (SteppingClock(), Heartbeat())
        let named = sentinels?.configuration().endpoint
        let afflicted = try participant(0, named ?? .tcp(host: "127.0.0.1", port: proxy.port), clock)
        let other = try participant(1, named ?? .tcp(host: "127.0.0.1", port: server.port), .system)
        var ledger = Ledger(processes: 2)
        ledger.durability = fault.durability
        ledger.patience = patience
        ledger.serverClockIsSet = fault.setsServerClock
        ledger.clockError = .seconds(65)
        let session = try await other.services.sessions.create(userID: "caller", kind: .conversation)
        ledger.created(session, by: other.name, began: 0)
        let control = try RedisStore(
            RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: server.port)).patient)
        return FaultStage(
            server: server, sentinels: sentinels, proxy: proxy, serverClock: serverClock, ledger: Locked(ledger), clock: clock,
            control: control, processes: [afflicted, other], conversation: session.id, heartbeat: heartbeat,
            watches: [Task { await heartbeat.run() }]
                + [afflicted, other].map { participant in Task { await participant.services.failover.run() } })
    }

    private static func start(_ configuration: [String], _ clock: ServerClock?) async throws -> RedisProcess {
        var options = RedisProcess.Options()
        options.unixSocket = false
        options.configuration = configuration
        options.clock = clock
        return try await RedisProcess.start(options)
    }

    private static func participant(
        _ number: Int, _ endpoint: RedisConfiguration.Endpoint, _ time: any TimeSource
    ) throws -> Participant {
        var configuration = RedisConfiguration(endpoint: endpoint)
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
        if let sentinels { sentinels.stop() } else { server.stop() }
    }

    /// Waits until the process that the network troubles has noticed.
    func outageIsDeclared() async throws {
        let failover = processes[0].services.failover
        try await eventually(within: .seconds(120), "the outage is declared") { failover.localSince != nil }
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
                // Asked of the server, and not of a process that may not have noticed yet that it was away.
                let answer = try? await failover.perform(.fail) { (store, _) throws(StoreError) in try await store(.ping) }
                return answer != nil && failover.status == .server && cache.pendingChanges == 0 && failover.outbox.isEmpty
            }
        }
        let end = ContinuousClock.now + Self.nearTTL
        try await eventually("the near caches have forgotten") { ContinuousClock.now > end }
        for process in processes { await workload(of: process).examine() }
    }

    private func workload(of participant: Participant) -> Workload {
        Workload(
            participant.name, participant.services, ledger, conversation: conversation,
            random: { .random(in: .min ... .max) }, factoryWork: { await Task.yield() },
            lateness: { [heartbeat] in heartbeat.elapsed(since: $0) })
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
