import Holdfast
import HoldfastStore
import HoldfastTesting
import OutageLedger

/// One process of the fleet: its own failover and services, and its own way to the server.
///
/// What outlives it is in ``Durable``, which a restart hands to the successor: in some schedules the outbox, and then the ledger demands
/// that what a process accepted by itself survives its crash (`Ledger.Durability.keepsLocalWork`).
final class SimulatedProcess: Sendable {
    /// What outlives a crash.
    struct Durable: Sendable {
        /// What the outbox keeps; nil where that is in memory only. How it comes to be on a real disk: `JournalFaultTests`, `KillTests`.
        var disk: EmbeddedStore?
    }

    let number: Int
    /// How often it has been started.
    let generation: Int
    let durable: Durable
    let link: SimulatedLink
    let failover: Failover
    let services: Workload.Services
    var cache: Cache { services.cache }
    var instances: Instances { services.limits.instances }
    /// Whether the server has heard of all that was decided here, but for the cache's changes.
    var hasHandedOver: Bool { failover.outbox.isEmpty && services.limits.backlog.keys == 0 }
    var name: Ledger.Process { Ledger.Process(number, generation: generation) }
    /// Whether it counts the others, or is told how many there are.
    private let counts: Bool
    private let disk: SimulatedDisk?
    private let watch = Locked<Task<Void, Never>?>(nil)

    init(_ number: Int, generation: Int, _ durable: Durable, world: World, onReturn: @escaping @Sendable (Ledger.Process) -> Void)
    {
        self.number = number
        self.generation = generation
        self.durable = durable
        counts = world.register != nil
        let (time, random) = (world.time, world.random)
        let name = Ledger.Process(number, generation: generation)
        link = SimulatedLink(name, in: world)
        disk = durable.disk.map { [link] in SimulatedDisk($0, of: link, in: world.network, time: time) }
        failover = Failover(
            server: link, local: EmbeddedStore(.init(seed: random()), time: time), outbox: Outbox(keptIn: disk, time: time),
            configuration: Failover.Configuration(
                thresholds: .init(failures: 2, successes: 1, trust: .milliseconds(200)...(.seconds(1)), calm: .seconds(10)),
                probeBackoff: .milliseconds(100)...(.seconds(1))),
            time: time, random: random
        ) { if $0 == .server { onReturn(name) } }
        // In the order of AgentState, which is that of the return hooks.
        services = Workload.Services(
            failover: failover, cache: Cache(failover: failover, random: random),
            sessions: Sessions(failover: failover) { SessionID(high: random(), low: random()) },
            limits: RateLimiter(
                failover,
                instances: Instances(
                    failover: failover, configuration: .init(fixed: world.register == nil ? World.processes : nil),
                    id: link.name)),
            idempotency: Idempotency(failover: failover, namespace: Namespace()))
    }

    /// Recalls what its predecessor left, and begins to watch the server; where processes count each other it also holds a lease, and writes down
    /// what its limits admit by themselves.
    func start() {
        let task = Task { [failover, disk, limits = services.limits, counts] in
            if let disk {
                try? await failover.outbox.load(into: failover.local)
                disk.isHeld = true
            }
            guard counts else { return await failover.run() }
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await failover.run() }
                group.addTask { await limits.instances.run() }
                group.addTask { await limits.run() }
            }
        }
        watch.withLock { $0 = task }
    }

    /// As kill -9: its connections break, and nobody hears of it any more.
    func crash(_ network: Network) {
        link.state = .cut
        disk?.isDead = true
        watch.withLock { $0 }?.cancel()
        for call in network.calls where call.link === link {
            network.release(call.id, .fail(StoreError(.connectionLost, effect: .unknown)))
        }
    }
}

/// What all processes share.
struct World: Sendable {
    static let processes = 3

    let time = ManualTime()
    let network = Network()
    let server: EmbeddedStore
    /// Randomness for the program under test; the schedule has its own.
    let random: @Sendable () -> UInt64
    /// Where processes count each other by their leases.
    let register: InstanceRegister?

    /// - Parameter count: told of each process how many it must know of, where they count each other.
    init(seed: UInt64, count: InstanceRegister.Observer?) {
        let source = Locked(RandomSource(seed: seed))
        random = { source.withLock { $0.next() } }
        server = EmbeddedStore(.init(seed: seed), time: time)
        register = count.map { [time] in InstanceRegister(time: time, observer: $0) }
    }
}
