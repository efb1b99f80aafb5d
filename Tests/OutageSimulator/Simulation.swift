import Holdfast
import HoldfastStore
import HoldfastTesting
import OutageLedger

/// One random schedule: what callers do, what becomes of each call on its way, when links fail and heal, when the clock moves, and
/// when processes crash. The seed decides all of it.
final class Simulation {
    private let world: World
    private let ledger = Locked(Ledger(processes: World.processes))
    private var random: RandomSource
    private var processes: [SimulatedProcess] = []
    private let inFlight = Locked<[Int: Int]>([:])
    private let loop = DeterministicLoop.shared
    private let trace: @Sendable (String) -> Void
    private var conversation = SessionID(high: 0, low: 0)

    /// How many things happen before everything heals.
    static let length = 240

    /// What this schedule is about: a few kinds of operations that meet often find more than many that seldom meet (Groce and others,
    /// "Swarm testing", 2012).
    private let actions: [Workload.Action]
    /// How often a link changes, of a thousand things that happen, and a process crashes.
    private let faults: (links: Int, crashes: Int)
    /// One of how many calls is lost on a link that is up.
    private let losses: Int
    /// Whether processes keep their outbox on a disk.
    private let isDurable: Bool
    /// How often the server is killed and forgets everything, of a thousand things that happen.
    private let forgetting: Int
    /// Whether processes count each other by their leases, by which limits are then divided.
    private let areCounted: Bool

    private static let aboutFields: [Workload.Action] =
        [.create, .read, .look, .look, .rotate] + Array(repeating: .update, count: 8)

    /// Where it is counted how many share a limit.
    private static let aboutShares: [Workload.Action] = Array(repeating: .check, count: 8) + [.checkUnnamed, .charge]

    init(seed: UInt64, trace: @escaping @Sendable (String) -> Void) {
        ledger.withLock { $0.trace = trace }
        var random = RandomSource(seed: seed)
        // Drawn beside the others, so that they stay what they were.
        var other = RandomSource(seed: ~seed)
        let worldSeed = random.next()
        let share = Int.random(in: 2...10, using: &random)
        let some = Workload.Action.allCases.filter { _ in Int.random(in: 0..<10, using: &random) < share }
        faults = ([0, 10, 40, 100].randomElement(using: &random) ?? 0, [0, 3, 15].randomElement(using: &random) ?? 0)
        losses = [10, 40, 1000].randomElement(using: &random) ?? 40
        isDurable = UInt64.random(in: 0..<3, using: &other) == 0
        forgetting = UInt64.random(in: 0..<5, using: &other) == 0 ? 5 : 0
        // One field must be changed on both sides of a partition several times: elsewhere that is too seldom.
        let isAboutFields = UInt64.random(in: 0..<6, using: &other) == 0
        areCounted = UInt64.random(in: 0..<4, using: &other) == 0
        let drawn = isAboutFields ? Self.aboutFields : some.isEmpty ? Workload.Action.allCases : some
        actions = areCounted ? drawn + Self.aboutShares : drawn
        let observer: InstanceRegister.Observer = { [ledger] process, count in
            ledger.withLock { $0.knows(process, instances: count) }
        }
        world = World(seed: worldSeed, count: areCounted ? observer : nil)
        self.random = random
        self.trace = trace
        ledger.withLock { [isDurable] in
            $0.durability.keepsLocalWork = isDurable
            $0.durability.judgesEffects = true
        }
    }

    /// - Returns: what did not hold.
    func run() -> [Ledger.Violation] {
        for number in 0..<World.processes {
            let disk = isDurable ? EmbeddedStore(.init(seed: UInt64(number)), time: world.time) : nil
            world.register?.starts(Ledger.Process(number))
            processes.append(started(number, generation: 0, .init(disk: disk)))
        }
        prepare()
        for _ in 0..<Self.length where violations.isEmpty { happen() }
        if violations.isEmpty, heal() { examine() }
        for process in processes { process.crash(world.network) }
        finishAll()
        return violations
    }

    private var violations: [Ledger.Violation] { ledger.withLock { $0.violations } }

    // MARK: - What happens

    private func happen() {
        loop.drain()
        switch Int.random(in: 0..<1000, using: &random) {
        case 0..<faults.links: changeLink()
        case 100..<100 + faults.crashes: restart()
        case 150..<250: advance(by: spans.randomElement(using: &random) ?? .zero)
        case 250..<500: begin()
        case 500..<500 + forgetting: forget()
        default: deliverOne()
        }
        loop.drain()
        for process in processes where process.failover.localSince == nil && process.hasHandedOver {
            ledger.withLock { $0.handedOver(process.name) }
        }
    }

    private func started(_ number: Int, generation: Int, _ durable: SimulatedProcess.Durable) -> SimulatedProcess {
        let process = SimulatedProcess(number, generation: generation, durable, world: world) { [ledger] name in
            ledger.withLock { $0.returned(name) }
        }
        process.start()
        loop.drain()
        return process
    }

    private let spans: [Duration] = [
        .milliseconds(1), .milliseconds(20), .milliseconds(150), .milliseconds(400), .seconds(1), .seconds(3), .seconds(7),
    ]

    /// Lets one call that is under way go on, or be lost.
    private func deliverOne() {
        guard let call = world.network.calls.filter(isMoving).randomElement(using: &random) else { return begin() }
        deliver(call, losing: Int.random(in: 0..<losses, using: &random) == 0)
    }

    private func isMoving(_ call: Network.Held) -> Bool {
        switch (call.link.state, call.stage) {
        case (_, .work): true
        case (.hanging, _), (.mute, .reply): false
        default: true
        }
    }

    private func deliver(_ call: Network.Held, losing isLost: Bool) {
        let verdict: Network.Verdict =
            switch (call.link.state, call.stage) {
            case (_, .work): .arrive
            case (.cut, .request): .fail(StoreError(.connectionFailed))
            case (.cut, .reply): .fail(StoreError(.connectionLost, effect: .unknown))
            default: isLost ? .fail(StoreError(.connectionLost, effect: .unknown)) : .arrive
            }
        trace("  \(call.link.name) \(call.stage) \(call.id): \(verdict)")
        world.network.release(call.id, verdict)
        loop.drain()
    }

    private func begin() {
        guard let process = processes.randomElement(using: &random),
            let action = actions.randomElement(using: &random)
        else { return }
        guard inFlight.withLock({ $0[process.number, default: 0] }) < 3 else { return deliverSome() }
        // What happens one after the other does so on the clock too: some of it is told apart by milliseconds.
        world.time.advance(by: .milliseconds(1))
        start(process) { [inner = RandomSource(seed: random.next())] workload in await workload.perform(action, inner) }
        trace("\(process.link.name) \(action) at \(world.time.uptime), \(process.link.state), \(process.failover.health.state)")
        loop.drain()
    }

    private func start(_ process: SimulatedProcess, _ body: @escaping @Sendable (Workload) async -> Void) {
        let (network, link) = (world.network, process.link)
        let workload = Workload(
            process.name, process.services, ledger, conversation: conversation, random: world.random
        ) {
            _ = await network.hold(.work, on: link, until: .seconds(1_000_000_000), StoreError(.cancelled))
        }
        let number = process.number
        inFlight.withLock { $0[number, default: 0] += 1 }
        Task { [inFlight] in
            await body(workload)
            inFlight.withLock { $0[number, default: 0] -= 1 }
        }
    }

    private func deliverSome() {
        for call in world.network.calls where isMoving(call) && Bool.random(using: &random) { deliver(call, losing: false) }
    }

    private func changeLink() {
        guard let process = processes.randomElement(using: &random) else { return }
        let isHealed = process.link.state != .up && Bool.random(using: &random)
        process.link.state = isHealed ? .up : SimulatedLink.State.allCases.randomElement(using: &random) ?? .up
        trace("\(process.link.name) is \(process.link.state)")
    }

    /// Moves the clock, and stops wherever somebody wakes or gives up.
    private func advance(by span: Duration) {
        let end = world.time.uptime + span
        trace("the clock moves by \(span)")
        while world.time.uptime < end {
            let next = [world.network.nextExpiry, world.time.nextWake].compactMap { $0 }.min() ?? end
            world.time.advance(by: max(.zero, min(next, end) - world.time.uptime))
            loop.drain()
            while world.network.expire(at: world.time.uptime) { loop.drain() }
            deliverSome()
        }
    }

    /// Kills a process and starts it again.
    private func restart() {
        guard let place = processes.indices.randomElement(using: &random) else { return }
        let old = processes[place]
        trace("\(old.link.name) crashes")
        let isClean = old.failover.outbox.isEmpty && old.cache.pendingChanges == 0
        let (backlog, new) = (old.services.limits.backlog, Ledger.Process(old.number, generation: old.generation + 1))
        // What was admitted in the last second may be gone.
        let written = world.time.uptime - .seconds(1)
        ledger.withLock { [areCounted, isDurable] ledger in
            ledger.crash(old.name, withWork: !isClean, sums: backlog.keys > 0)
            guard areCounted, isDurable else { return }
            ledger.succeeds(new, old.name, writtenUntil: written, charged: backlog.handedOver + backlog.lost)
        }
        old.crash(world.network)
        loop.drain()
        world.register?.starts(new, after: isDurable ? old.name : nil)
        processes[place] = started(old.number, generation: old.generation + 1, old.durable)
    }

    /// Kills the server and starts it again without its data: all connections break.
    private func forget() {
        trace("the server forgets")
        ledger.withLock { $0.serverForgets() }
        for call in world.network.calls where call.stage != .work {
            world.network.release(call.id, .fail(StoreError(.connectionLost, effect: .unknown)))
        }
        let server = world.server
        Task { _ = try await server.execute(.server(.flushdb)) }
        loop.drain()
        world.register?.serverForgets()
        ledger.withLock { $0.serverIsBack() }
    }

    // MARK: - Before and after

    private func prepare() {
        let found = Locked<Session?>(nil)
        let sessions = processes[0].services.sessions
        Task {
            let session = try? await sessions.create(userID: "caller", kind: .conversation)
            found.withLock { $0 = session }
        }
        _ = settle { found.withLock { $0 != nil } }
        guard let session = found.withLock({ $0 }) else {
            return ledger.withLock { $0.violated("stuck: no session at the beginning") }
        }
        conversation = session.id
        start(processes[0]) { workload in try? await workload.prepare() }
        if !settle({ self.isIdle }) { ledger.withLock { $0.violated("stuck: no charge at the beginning") } }
        ledger.withLock { $0.created(session, by: processes[0].name, began: 0) }
    }

    /// Mends everything and waits until all is quiet; whether it came to that.
    private func heal() -> Bool {
        trace("all links are mended")
        for process in processes { process.link.state = .up }
        let isQuiet = settle { self.isIdle && self.processes.allSatisfy { $0.failover.localSince == nil } }
        guard isQuiet else {
            let states = processes.map { "\($0.link.name): \($0.failover.health.state)" }.joined(separator: ", ")
            ledger.withLock {
                $0.violated("stuck: all links are mended, and \(inFlight.withLock { $0 }) operations are under way; \(states)")
            }
            return false
        }
        // Nobody calls any more, and what was left behind is handed over all the same; and the near caches forget.
        guard settle({ self.processes.allSatisfy { $0.cache.pendingChanges == 0 && $0.hasHandedOver } }) else {
            ledger.withLock { $0.violated("stuck: a process keeps changes for a server that is there") }
            return false
        }
        world.time.advance(by: processes[0].cache.configuration.near.ttl + .seconds(1))
        guard settle({ self.isIdle && self.processes.allSatisfy { $0.failover.localSince == nil } }) else { return false }
        return countEachOther()
    }

    /// Whoever is there is counted by everybody again, and whoever crashed not any more.
    private func countEachOther() -> Bool {
        let isCounted = { (process: SimulatedProcess) in
            process.instances.source == .counted && process.instances.count == World.processes
        }
        guard areCounted, !settle({ self.processes.allSatisfy(isCounted) }) else { return true }
        let counts = processes.map { "\($0.link.name): \($0.instances.count)" }.joined(separator: ", ")
        ledger.withLock { $0.violated("stuck: all links are mended, and \(World.processes) processes count \(counts)") }
        return false
    }

    private var isIdle: Bool { inFlight.withLock { $0.values.allSatisfy { $0 == 0 } } }

    /// Lets everything go on as it should until the condition holds; false after ten minutes of the clock.
    private func settle(_ condition: () -> Bool) -> Bool {
        let end = world.time.uptime + .seconds(600)
        while true {
            loop.drain()
            if condition() { return true }
            if let call = world.network.calls.randomElement(using: &random) {
                deliver(call, losing: false)
            } else if world.time.uptime < end {
                world.time.advance(by: .milliseconds(100))
            } else {
                return false
            }
        }
    }

    /// Asks every process for everything.
    private func examine() {
        for process in processes {
            start(process) { workload in await workload.examine() }
        }
        if !settle({ self.isIdle }) { ledger.withLock { $0.violated("stuck: the examination does not end") } }
    }

    /// So that nothing of this schedule is left when the next begins.
    private func finishAll() {
        for _ in 0..<1000 {
            loop.drain()
            let calls = world.network.calls
            if calls.isEmpty, world.time.sleeperCount == 0 { return }
            for call in calls { world.network.release(call.id, .fail(StoreError(.connectionLost, effect: .unknown))) }
            world.time.advance(by: .seconds(1))
        }
    }
}
