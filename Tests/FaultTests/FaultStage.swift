import Holdfast
import HoldfastRedis
import HoldfastStore
import HoldfastTesting
import OutageLedger
import TestServers

/// A real Redis with two processes' services on it: one that reaches it through a network that can fail, and one directly. Or a primary with
/// a replica, which both find through sentinels. Limits are divided among them by the leases that they hold there.
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
    private let participants: Locked<[Participant]>
    private let conversation: SessionID
    private let heartbeat: Heartbeat
    private let pulse: Task<Void, Never>

    private var processes: [Participant] { participants.withLock { $0 } }

    private struct Participant: Sendable {
        let name: Ledger.Process
        let store: RedisStore
        let services: Workload.Services
        let place: Place
        /// A session of its own, which nobody ends.
        var witness = FaultStage.none
        /// Its returns from outages when it last saw that on the server, and what it had met when the fault began.
        var returns = 0
        var failures = 0
        var refusals = 0
        let watch: Task<Void, Never>
    }

    /// Where a process reaches the server, and what outlives it.
    private struct Place: Sendable {
        let endpoint: RedisConfiguration.Endpoint
        let time: any TimeSource
        /// What its outbox keeps; nil where that is in memory only.
        let disk: EmbeddedStore?
    }

    static let nearTTL = Duration.milliseconds(200)

    /// By how much the moments that the ledger compares may differ.
    ///
    /// Where nobody sets a clock the server and both processes go by this machine's. What a process takes for the server's lead moves only as
    /// far as a reply proves it wrong, and none, however late, proves the truth wrong: it is off by the milliseconds to which moments are
    /// cut (`ServerClock`). A near copy counts what is left from the arrival of its reply, up to a call's 800 ms late; so what is extended
    /// here ends later for that, on the server too, and never sooner ("twice" allows 5 s for it). What remains is how far the machine's
    /// clock is slewed while a play lasts.
    ///
    /// A change that is carried out when its caller has given up, and has been told of a decision here, is stamped then: late by as much as
    /// the fault lasts, and so are the expiries that it sets.
    private static func clockError(_ fault: Fault) -> Duration {
        if fault.delaysEffects { return .seconds(65) }
        return fault.clockStep == .zero ? .milliseconds(250) : fault.clockStep * 2 + .seconds(5)
    }

    /// - Parameters:
    ///   - patience: how long after its deadline a call may end; see ``Heartbeat``.
    ///   - isDurable: whether what processes accept outlives them.
    ///   - count: how many processes there are, the first behind the network that can fail.
    static func start(
        _ fault: Fault, isDurable: Bool, processes count: Int = 2, patience: Duration
    ) async throws -> FaultStage {
        let serverClock = fault.setsServerClock ? try await ServerClock.start() : nil
        let sentinels = fault.needsSentinels ? try await SentinelSet.start() : nil
        let server = if let sentinels { sentinels.servers[0] } else { try await start(fault.configuration, serverClock) }
        let proxy = try await FaultProxy.start(to: server.port)
        let (clock, heartbeat) = (SteppingClock(), Heartbeat())
        let named = sentinels?.configuration().endpoint
        func place(_ port: Int, _ time: any TimeSource) -> Place {
            Place(
                endpoint: named ?? .tcp(host: "127.0.0.1", port: port), time: time,
                disk: isDurable ? EmbeddedStore(time: .system) : nil)
        }
        let afflicted = try await participant(Ledger.Process(0), place(proxy.port, clock))
        let other = try await participant(Ledger.Process(1), place(server.port, .system))
        var participants = [afflicted, other]
        for number in 2..<max(2, count) {
            participants.append(try await participant(Ledger.Process(number), place(server.port, .system)))
        }
        var ledger = Ledger(processes: participants.count)
        // Until they have counted each other each may take itself for the only one.
        for participant in participants { ledger.knows(participant.name, instances: 1) }
        ledger.durability.keepsLocalWork = isDurable
        // Without an exception: the client says "none" only of what it has not sent, or the server has refused before it began.
        ledger.durability.judgesEffects = true
        ledger.patience = patience
        ledger.serverClockIsSet = fault.setsServerClock
        ledger.clockError = clockError(fault)
        let session = try await other.services.sessions.create(userID: "caller", kind: .conversation)
        ledger.created(session, by: other.name, began: 0)
        let control = try RedisStore(
            RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: server.port)).patient)
        return FaultStage(
            server: server, sentinels: sentinels, proxy: proxy, serverClock: serverClock, ledger: Locked(ledger), clock: clock,
            control: control, participants: Locked(participants), conversation: session.id, heartbeat: heartbeat,
            pulse: Task { await heartbeat.run() })
    }

    private static func start(_ configuration: [String], _ clock: ServerClock?) async throws -> RedisProcess {
        var options = RedisProcess.Options()
        options.unixSocket = false
        options.configuration = configuration
        options.clock = clock
        return try await RedisProcess.start(options)
    }

    private static func participant(_ name: Ledger.Process, _ place: Place) async throws -> Participant {
        let time = place.time
        var configuration = RedisConfiguration(endpoint: place.endpoint)
        (configuration.commandTimeout, configuration.connectTimeout) = (.milliseconds(800), .milliseconds(800))
        let store = try RedisStore(configuration)
        let failover = Failover(
            server: store, local: EmbeddedStore(time: time), outbox: Outbox(keptIn: place.disk, time: time),
            configuration: Failover.Configuration(
                thresholds: .init(failures: 3, successes: 1, trust: .milliseconds(100)...(.milliseconds(500)), calm: .seconds(2)),
                checkInterval: .milliseconds(100), probeBackoff: .milliseconds(20)...(.milliseconds(200)),
                probeTimeout: .milliseconds(800)),
            time: time)
        let services = Workload.Services(
            failover: failover,
            cache: Cache(failover: failover, configuration: CacheConfiguration(near: .init(ttl: nearTTL))),
            sessions: Sessions(failover: failover),
            // Renewed so often that each is soon counted by the others, and so seldom that a slow network carries it.
            limits: RateLimiter(
                failover, instances: Instances(failover: failover, configuration: .init(renewal: .milliseconds(500)))),
            idempotency: Idempotency(failover: failover, namespace: Namespace()))
        try await failover.outbox.load(into: failover.local)
        let watch = Task {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await failover.run() }
                group.addTask { await services.limits.instances.run() }
                group.addTask { await services.limits.run() }
            }
        }
        return Participant(name: name, store: store, services: services, place: place, watch: watch)
    }

    func stop() async {
        for task in [pulse] + processes.map(\.watch) {
            task.cancel()
            await task.value
        }
        for process in processes { await process.store.shutdown() }
        await control.shutdown()
        await proxy.stop()
        if let sentinels { sentinels.stop() } else { server.stop() }
    }

    func time(of process: Int) -> any TimeSource { processes[process].place.time }
    func store(of process: Int) -> RedisStore { processes[process].store }
    func limits(of process: Int) -> RateLimiter { processes[process].services.limits }

    /// Waits until a process has noticed; by default the one that the network troubles.
    func outageIsDeclared(by process: Int = 0) async throws {
        let failover = processes[process].services.failover
        try await eventually(within: .seconds(120), "process \(process) is by itself") { failover.localSince != nil }
    }

    /// Waits until each of these has been answered with one of these codes, and has counted a failure since the fault began; a refusal where
    /// that is the code.
    func hasStruck(_ numbers: [Int], as codes: Set<ErrorCode>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            // At once, for some of it passes by itself.
            for number in numbers { group.addTask { try await hasStruck(number, as: codes) } }
            try await group.waitForAll()
        }
    }

    private func hasStruck(_ number: Int, as codes: Set<ErrorCode>) async throws {
        let process = processes[number]
        let failover = process.services.failover
        var isMet = false
        try await eventually(within: .seconds(120), "process \(number) has met \(codes.map(\.name).sorted())") {
            // By the failover, which counts it, and past it, because it answers by itself for a server that it takes to be away.
            _ = try? await failover.perform(.fail) { (store, _) throws(StoreError) in try await Self.write(to: store) }
            do throws(StoreError) {
                try await Self.write(to: process.store)
            } catch {
                isMet = isMet || codes.contains(error.code)
            }
            let statistics = failover.statistics
            let isCounted =
                codes.contains(.serverRefused)
                ? statistics.refusals > process.refusals : statistics.failures > process.failures
            return isMet && isCounted
        }
    }

    /// A write, because some faults answer everything else.
    private static func write(to store: any Store) async throws(StoreError) {
        try await store(.set(Key(raw: "holdfast:outage:strike"), "1"))
    }

    // MARK: - What a process does by itself

    /// What there is to be given back, before anything else happens.
    func prepare() async throws {
        let workload = workload(of: processes[1])
        try await eventually(within: .seconds(120), "the first charge is made") { (try? await workload.prepare()) != nil }
        try await countEachOther()
    }

    /// Waits until each process has heard from the server of all others; while that is there.
    func countEachOther() async throws {
        let (processes, count) = (processes, processes.count)
        try await eventually(within: .seconds(120), "all \(count) processes count each other") {
            processes.allSatisfy { process in
                let instances = process.services.limits.instances
                return instances.source == .counted && instances.count >= count
            }
        }
        ledger.withLock { ledger in
            for process in processes { ledger.knows(process.name, instances: count) }
        }
    }

    /// The witness of a process that has none yet.
    private static let none = SessionID(high: 0, low: 0)

    /// Both have seen a session of their own; just before a fault.
    func see() async throws {
        for (place, process) in processes.enumerated() {
            let (workload, failover) = (workload(of: process), process.services.failover)
            var witness = process.witness
            try await eventually(within: .seconds(120), "process \(place) sees a session of its own") {
                if witness == Self.none {
                    guard let made = try? await workload.witness() else { return false }
                    witness = made
                }
                participants.withLock { $0[place].returns = failover.statistics.returns }
                return (try? await workload.sees(witness)) ?? false
            }
            let statistics = failover.statistics
            participants.withLock { [witness] in
                $0[place].witness = witness
                $0[place].failures = statistics.failures
                $0[place].refusals = statistics.refusals
            }
        }
    }

    /// Each of these processes is by itself, and does what it promises to do then.
    func workAlone(_ numbers: [Int]) async throws {
        for number in numbers {
            try await outageIsDeclared(by: number)
            let process = processes[number]
            // Where it was away on its own account since it saw its session, it may have forgotten that.
            guard process.services.failover.statistics.returns == process.returns else { continue }
            do throws(StoreError) {
                try await workload(of: process).doesItsWork(with: process.witness)
            } catch {
                ledger.withLock { $0.violated("refused: process \(number) by itself: \(error)") }
            }
            if process.services.failover.localSince == nil {
                ledger.withLock { $0.violated("struck: process \(number) is back while the fault lasts") }
            }
        }
    }

    /// The server is there, and both do their work there.
    func workTogether() async throws {
        for process in processes {
            let workload = workload(of: process)
            var witness = process.witness
            try await eventually(within: .seconds(120), "process \(process.name.number) works again") {
                do throws(StoreError) {
                    if witness == Self.none { witness = try await workload.witness() }
                    try await workload.doesItsWork(with: witness)
                    return process.services.failover.localSince == nil
                } catch {
                    return false
                }
            }
        }
    }

    /// As kill -9 of a process that decides by itself and has done nothing for a second, so that its sums are in the folder; and a new start.
    ///
    /// Where it has the folder it goes by the number of instances that its predecessor knew, and on with its share.
    func restart(_ number: Int) async throws {
        let old = processes[number]
        let (failover, services, isDurable) = (old.services.failover, old.services, old.place.disk != nil)
        old.watch.cancel()
        await old.watch.value
        let (backlog, uptime, instances) = (services.limits.backlog, old.place.time.uptime, services.limits.instances.count)
        let name = Ledger.Process(number, generation: old.name.generation + 1)
        ledger.withLock { ledger in
            let isClean = failover.outbox.isEmpty && services.cache.pendingChanges == 0
            ledger.crash(old.name, withWork: !isClean, sums: !isDurable && backlog.keys > 0)
            if isDurable {
                ledger.succeeds(name, old.name, writtenUntil: uptime, charged: backlog.handedOver + backlog.lost)
            } else {
                ledger.knows(name, instances: 1)
            }
        }
        await old.store.shutdown()
        var new = try await Self.participant(name, old.place)
        let known = new.services.limits.instances.count
        if isDurable, known < instances {
            ledger.withLock { $0.violated("limit: \(name.name) goes by \(known) instances, its predecessor by \(instances)") }
        }
        // Without the folder it has not seen it, and a server that forgets has it no more.
        if isDurable { new.witness = old.witness }
        if failover.statistics.returns != old.returns { new.returns = -1 }
        participants.withLock { [new] in $0[number] = new }
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

    /// Waits until both are back and have nothing left to hand over.
    func quiet() async throws {
        for process in processes {
            let (failover, services) = (process.services.failover, process.services)
            try await eventually(within: .seconds(120), "process \(process.name.number) is back: \(failover.status)") {
                // Asked of the server, and not of a process that may not have noticed yet that it was away.
                let answer = try? await failover.perform(.fail) { (store, _) throws(StoreError) in try await store(.ping) }
                return answer != nil && failover.status == .server && services.cache.pendingChanges == 0
                    && failover.outbox.isEmpty && services.limits.backlog.keys == 0
            }
            ledger.withLock { $0.handedOver(process.name) }
        }
        ledger.withLock { $0.beginsRound() }
    }

    /// Asks both for everything, when the near caches have forgotten.
    func examine() async throws {
        try await quiet()
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
