import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// What a process admitted on its own without names, and its successor, which has the folder. One of four: of twenty each admits five.
@Suite struct RateLimitRestartTests {
    /// The server and the clock, which outlive the processes.
    private struct World {
        let time = ManualTime()
        let truth: EmbeddedStore

        init() { truth = EmbeddedStore(time: time) }

        func used(_ rule: RateLimit, _ user: RateLimitSubject, tenant: String? = nil) async throws -> Int {
            let limiter = RateLimiter(Failover(local: truth, time: time))
            let charge = [RateLimitCharge(rule, for: user, cost: 0)]
            return try await (tenant.map(limiter.scoped) ?? limiter).peek(charge).rules[0].used
        }
    }

    private struct Process {
        let world: World
        let line: FaultyStore
        let failover: Failover
        let limiter: RateLimiter

        /// A process that finds its server away.
        init(
            _ world: World, keptIn folder: any Store, keys: Int = 100_000,
            server: (FaultyStore) -> any Store = { $0 }
        ) async throws {
            self.world = world
            line = FaultyStore(world.truth)
            line.fail(with: StoreError(.connectionFailed))
            failover = Failover(
                server: server(line), local: EmbeddedStore(time: world.time),
                outbox: Outbox(keptIn: folder, configuration: .init(maximumEntries: keys), time: world.time),
                configuration: Failover.Configuration(thresholds: .init(failures: 1, successes: 1)), time: world.time)
            limiter = RateLimiter(
                failover, configuration: RateLimiter.Configuration(denialMemory: .zero),
                instances: Instances(failover: failover, configuration: .init(fixed: 4)))
            try await failover.outbox.load(into: failover.local)
            await failover.start()
        }

        /// As the loop does twice a second.
        func write() async { await limiter.consumption.write(from: failover.local, sharedBy: 4) }

        func handOver() async throws {
            try await limiter.consumption.handOver(
                from: failover.local, to: failover.server ?? line, sharedBy: 4)
        }

        func comeBack() async {
            line.recover()
            let watch = Task { await failover.run() }
            #expect(await world.time.advanceUntil(by: .milliseconds(10)) { failover.localSince == nil })
            watch.cancel()
            await watch.value
        }

        func admitted(_ count: Int, _ rule: RateLimit, _ user: RateLimitSubject = .user("ann")) async throws -> Int {
            var admitted = 0
            for _ in 0..<count where try await limiter.check([rule], for: user).isAllowed { admitted += 1 }
            return admitted
        }
    }

    private static let table = Key(raw: "outbox:table:rate-limits")
    private static let always = JournalConfiguration(sync: .always, retryInterval: .milliseconds(1))

    private static func twenty(_ algorithm: RateLimit.Algorithm = .slidingLog) -> RateLimit {
        RateLimit("twenty", algorithm, limit: 20, per: .seconds(3600))
    }

    private let ann = RateLimitSubject.user("ann")

    // MARK: - Restarts

    @Test(arguments: RateLimit.Algorithm.allCases)
    func aGracefulRestartOpensNoSecondShare(_ algorithm: RateLimit.Algorithm) async throws {
        let world = World()
        let rule = Self.twenty(algorithm)
        let disk = SimulatedFolder()
        let kept = try await EmbeddedStore.open(in: disk, journal: Self.always)
        let first = try await Process(world, keptIn: kept)
        let loop = Task { await first.limiter.run() }
        #expect(try await first.admitted(3, rule) == 3)
        _ = try await first.limiter.scoped(to: "acme").check([rule], for: ann)
        loop.cancel()
        await loop.value

        let reopened = try await EmbeddedStore.open(in: disk.afterPowerFailure(seed: 1), journal: Self.always)
        let second = try await Process(world, keptIn: reopened)
        let left = second.limiter.backlog
        #expect(left.keys == 2 && left.units == 4 && left.lost == 0 && left.oldest == world.time.now && left.handedOver == 0)
        #expect(try await second.admitted(10, rule) == 2)
        await second.comeBack()
        #expect(try await world.used(rule, ann) == 5)
        #expect(try await world.used(rule, ann, tenant: "acme") == 1)
        await second.write()
        #expect(try await reopened(.hlen(Self.table)) == 0)
        for store in [kept, reopened] { try await store.close() }
    }

    /// The whole of the services, ended as a service group ends them.
    @Test func theStateWritesDownWhatItHoldsWhenItEnds() async throws {
        let world = World()
        let kept = EmbeddedStore(time: world.time)
        let line = FaultyStore(world.truth)
        line.fail(with: StoreError(.connectionFailed))
        let failover = Failover(
            server: line, local: EmbeddedStore(time: world.time), outbox: Outbox(keptIn: kept, time: world.time),
            configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: world.time)
        let state = AgentState(failover: failover)
        await failover.start()
        let running = Task { try await state.run() }
        #expect(try await state.limits.check([Self.twenty()], for: ann).by.isLocal)
        running.cancel()
        _ = await running.result
        #expect(try await kept(.hlen(Self.table)) == 1)
    }

    /// Killed: what was written within the second is there, and what came after it is admitted once more.
    @Test func aKilledProcessTakesAlongWhatWasNotWritten() async throws {
        let world = World()
        let rule = Self.twenty()
        let kept = EmbeddedStore(time: world.time)
        let first = try await Process(world, keptIn: kept)
        let loop = Task { await first.limiter.run() }
        #expect(try await first.admitted(3, rule) == 3)
        let start = world.time.uptime
        while try await kept(.hlen(Self.table)) == 0 {
            if world.time.sleeperCount > 0 { world.time.advance(by: .milliseconds(100)) }
            await Task.yield()
        }
        #expect(world.time.uptime - start <= .seconds(1))
        let copy = EmbeddedStore(time: world.time)
        for (field, value) in try await kept(.hgetall(Self.table)) { _ = try await copy(.hset(Self.table, field, value)) }
        #expect(try await first.admitted(2, rule) == 2)
        let second = try await Process(world, keptIn: copy)
        #expect(try await second.admitted(10, rule) == 2)
        await second.comeBack()
        #expect(try await world.used(rule, ann) == 5)
        loop.cancel()
        await loop.value
    }

    /// Calls with names are recalled as of the share, also where the limit has a part in what the state means.
    @Test(arguments: RateLimit.Algorithm.allCases)
    func namedChecksUseUpTheShareOverARestart(_ algorithm: RateLimit.Algorithm) async throws {
        let world = World()
        let rule = Self.twenty(algorithm)
        let kept = EmbeddedStore(time: world.time)
        let first = try await Process(world, keptIn: kept)
        for number in 0..<3 {
            #expect(try await first.limiter.check([rule], for: ann, once: OperationID(high: 1, low: UInt64(number))).isAllowed)
        }
        let second = try await Process(world, keptIn: kept)
        #expect(try await second.admitted(10, rule) == 2)
        await second.comeBack()
        #expect(try await world.used(rule, ann) == 5)
    }

    /// The process dies at each call to its folder or its server in turn, until it has done all: some users were admitted before the first
    /// writing, some after it. Nothing that was written is lost, and nothing is charged twice.
    @Test(arguments: [false, true]) func deathAtEveryCall(_ oneKeyIsWrong: Bool) async throws {
        let users = (0..<20).map { RateLimitSubject.user("\($0)") }
        let rule = Self.twenty()
        var call = 0
        var isDead = true
        while isDead {
            call += 1
            let world = World()
            let wrong = oneKeyIsWrong ? Namespace().rateLimitKey(rule, users[7]) : nil
            if let wrong { _ = try await world.truth(.set(wrong, "something else")) }
            let kept = EmbeddedStore(time: world.time)
            let mortal = Mortal()
            let first = try await Process(world, keptIn: mortal.store(kept)) { mortal.store($0) }
            for user in users { #expect(try await first.admitted(2, rule, user) == 2) }
            mortal.die(after: call)
            await first.write()
            let isWritten = !mortal.isDead
            for user in users[..<10] { #expect(try await first.admitted(1, rule, user) == 1) }
            first.line.recover()
            try? await first.handOver()
            await first.write()
            isDead = mortal.isDead

            if let wrong { _ = try await world.truth(.del([wrong])) }
            let second = try await Process(world, keptIn: kept)
            var late: [Int] = []
            for (number, user) in users.enumerated() {
                let charged = try await world.used(rule, user)
                let admitted = try await second.admitted(6, rule, user)
                late.append(admitted)
                if isWritten { #expect(admitted + max(0, 2 - charged) <= 5, "call \(call), user \(number)") }
            }
            await second.comeBack()
            _ = try await second.limiter.check([rule], for: .user("another"))
            for (number, user) in users.enumerated() {
                let used = try await world.used(rule, user) - late[number]
                #expect(used <= (number < 10 ? 3 : 2), "call \(call), user \(number) is charged twice")
                if isWritten { #expect(used >= 2, "call \(call), user \(number) is forgotten") }
                if !isDead { #expect(used == (number < 10 ? 3 : 2), "user \(number)") }
            }
            await second.write()
            #expect(try await kept(.hlen(Self.table)) == 0, "call \(call)")
            #expect(second.limiter.backlog.keys == 0 && second.failover.outbox.isEmpty)
        }
        // Three writings and two charges, at least.
        #expect(call > 5)
    }

    // MARK: - The folder

    /// One call to the folder fails in turn, before or after its effect: what was admitted is charged once all the same.
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func aFolderThatFailsOnceLosesNothing(_ moment: FaultyStore.Moment) async throws {
        let rule = Self.twenty()
        var call = 0
        var isTouched = true
        while isTouched {
            call += 1
            let world = World()
            let kept = EmbeddedStore(time: world.time)
            let folder = FaultyStore(kept)
            let first = try await Process(world, keptIn: folder)
            let failing = folder.calls + call
            folder.fail(call: failing, with: StoreError(.storageFailed, effect: .unknown), moment)
            #expect(try await first.admitted(2, rule) == 2)
            await first.write()
            #expect(try await first.admitted(1, rule) == 1)
            try await first.limiter.refund([RateLimitCharge(rule, for: ann)])
            await first.write()
            await first.comeBack()
            // As after each ping.
            try await first.handOver()
            await first.write()
            await first.write()
            isTouched = folder.calls >= failing
            #expect(try await world.used(rule, ann) == 2, "call \(call)")
            #expect(try await kept(.hlen(Self.table)) == 0, "call \(call)")
            #expect(first.limiter.backlog.keys == 0, "call \(call)")
        }
        #expect(call > 3)
    }

    /// What is given back of a sum that waits for the folder waits for it too, and keeps nobody else.
    @Test func aRefundWaitsForWhatABrokenFolderKnows() async throws {
        let world = World()
        let rule = Self.twenty()
        let folder = FaultyStore(EmbeddedStore(time: world.time))
        let first = try await Process(world, keptIn: folder)
        #expect(try await first.admitted(2, rule) == 2)
        await first.write()
        try await first.limiter.refund([RateLimitCharge(rule, for: ann, cost: 2)], once: .random())
        folder.fail(with: StoreError(.storageFailed))
        await first.comeBack()
        #expect(try await first.limiter.check([rule], for: .user("bob")).by == .server)
        #expect(first.failover.outbox.status.backlog == 1 && first.limiter.backlog.units == 2)
        #expect(try await world.used(rule, ann) == 0)
        folder.recover()
        #expect(try await first.limiter.check([rule], for: .user("bob")).by == .server)
        #expect(first.failover.outbox.isEmpty && first.limiter.backlog.keys == 0)
        #expect(try await world.used(rule, ann) == 0)
    }

    /// What the folder knows waits until it works again, rather than be charged twice; the process returns to its server without it.
    @Test func whatABrokenFolderKnowsWaitsForIt() async throws {
        let world = World()
        let rule = Self.twenty()
        let kept = EmbeddedStore(time: world.time)
        let folder = FaultyStore(kept)
        let first = try await Process(world, keptIn: folder)
        #expect(try await first.admitted(2, rule) == 2)
        await first.write()
        folder.fail(with: StoreError(.storageFailed))
        #expect(try await first.admitted(1, rule, .user("bob")) == 1)
        await first.write()
        await first.comeBack()
        try await first.handOver()
        #expect(try await world.used(rule, ann) == 0)
        let copy = EmbeddedStore(time: world.time)
        for (field, value) in try await kept(.hgetall(Self.table)) { _ = try await copy(.hset(Self.table, field, value)) }
        folder.recover()
        try await first.handOver()
        #expect(try await world.used(rule, ann) == 2)
        #expect(try await world.used(rule, .user("bob")) == 1)
        await first.write()
        #expect(try await kept(.hlen(Self.table)) == 0)
    }

    /// A folder that never worked keeps nothing from being handed over.
    @Test func whatTheFolderDoesNotKnowIsChargedWithoutIt() async throws {
        let world = World()
        let folder = FaultyStore(EmbeddedStore(time: world.time))
        let first = try await Process(world, keptIn: folder)
        folder.fail(with: StoreError(.storageFailed))
        #expect(try await first.admitted(3, Self.twenty()) == 3)
        await first.write()
        await first.comeBack()
        #expect(try await world.used(Self.twenty(), ann) == 3)
        #expect(first.limiter.backlog.keys == 0)
    }

    /// No step is larger than a few hundred rows, and only what changed is written.
    @Test func whatIsWrittenIsBounded() async throws {
        let world = World()
        let kept = EmbeddedStore(time: world.time)
        let sizes = Locked<[Int]>([])
        let folder = InterceptedStore(kept) { call in
            guard case .batch(let batch) = call else { return }
            let rows = batch.operations.map { operation in
                switch operation {
                case .hashes(.hset(_, let fields)): fields.count
                case .hashes(.hdel(_, let fields)): fields.count
                default: 0
                }
            }
            sizes.withLock { $0.append(rows.reduce(0, +)) }
        }
        let first = try await Process(world, keptIn: folder, keys: 1000)
        for number in 0..<1000 {
            #expect(try await first.admitted(1, Self.twenty(.fixedWindow), .user("\(number)")) == 1)
        }
        await #expect(throws: StoreError.self) { try await first.admitted(1, Self.twenty(.fixedWindow), .user("more")) }
        await first.write()
        #expect(sizes.withLock { $0.max() ?? 0 } <= 256 && sizes.withLock { $0.reduce(0, +) } == 1000)
        await first.write()
        #expect(try await first.admitted(1, Self.twenty(.fixedWindow), .user("7")) == 1)
        await first.write()
        #expect(sizes.withLock { $0.reduce(0, +) } == 1001)
        #expect(try await kept(.hlen(Self.table)) == 1000)
        // What has left its window makes room, there too.
        world.time.advance(by: .seconds(7200))
        #expect(try await first.admitted(1, Self.twenty(.fixedWindow), .user("more")) == 1)
        await first.write()
        #expect(try await kept(.hlen(Self.table)) == 1)
    }

    @Test func whatCannotBeReadEndsTheStart() async throws {
        let world = World()
        let kept = EmbeddedStore(time: world.time)
        let first = try await Process(world, keptIn: kept)
        #expect(try await first.admitted(1, Self.twenty()) == 1)
        await first.write()
        let row = try #require(try await kept(.hgetall(Self.table)).first)
        var later = Array(row.value)
        later[4] = UInt8(ascii: "2")
        for value in [Bytes(later), "", "no row", row.value[0..<(row.value.count - 1)]] {
            _ = try await kept(.hset(Self.table, row.key, value))
            let error = await #expect(throws: StoreError.self) { _ = try await Process(world, keptIn: kept) }
            #expect(error?.code == .dataUnreadable && error?.field == "HOLDFAST_DATA")
        }
        _ = try await kept(.hset(Self.table, row.key, row.value))
        #expect(try await Process(world, keptIn: kept).limiter.backlog.units == 1)
    }

    // MARK: - Time

    @Test func aWindowThatHasPassedMeanwhileCountsNoMore() async throws {
        let world = World()
        let rule = RateLimit("twenty", .fixedWindow, limit: 20, per: .seconds(60))
        let kept = EmbeddedStore(time: world.time)
        let first = try await Process(world, keptIn: kept)
        #expect(try await first.admitted(5, rule) == 5)
        await first.write()
        world.time.advance(by: .seconds(120))
        let second = try await Process(world, keptIn: kept)
        #expect(second.limiter.backlog.keys == 0)
        #expect(try await second.admitted(10, rule) == 5)
        await second.write()
        #expect(try await kept(.hlen(Self.table)) == 1)
        await second.comeBack()
        #expect(try await world.used(rule, ann) == 5)
    }

    /// What came back leaves its window when it would have done so.
    @Test func whatCameBackLeavesItsWindowInTime() async throws {
        let world = World()
        let rule = RateLimit("twenty", .slidingLog, limit: 20, per: .seconds(60))
        let kept = EmbeddedStore(time: world.time)
        let first = try await Process(world, keptIn: kept)
        #expect(try await first.admitted(3, rule) == 3)
        await first.write()
        world.time.advance(by: .seconds(30))
        let second = try await Process(world, keptIn: kept)
        #expect(try await second.admitted(1, rule) == 1)
        world.time.advance(by: .seconds(31))
        #expect(try await second.admitted(10, rule) == 4)
        await second.write()
        let third = try await Process(world, keptIn: kept)
        #expect(try await third.admitted(10, rule) == 0)
        await third.comeBack()
        #expect(try await world.used(rule, ann) == 5)
    }

    /// In a long outage the sum grows; what is written is a window's.
    @Test func whatIsWrittenIsAWindowAtMost() async throws {
        let world = World()
        let rule = RateLimit("twenty", .fixedWindow, limit: 20, per: .seconds(60))
        let kept = EmbeddedStore(time: world.time)
        let first = try await Process(world, keptIn: kept)
        for _ in 0..<3 {
            world.time.advance(by: .seconds(60))
            #expect(try await first.admitted(10, rule) == 5)
        }
        await first.write()
        let second = try await Process(world, keptIn: kept)
        #expect(second.limiter.backlog.units == 5)
        await second.comeBack()
        #expect(try await world.used(rule, ann) == 5)
    }

    // MARK: - In step

    @Test func whatIsGivenBackOrForgottenIsSoInTheFolder() async throws {
        let world = World()
        let rule = Self.twenty()
        let kept = EmbeddedStore(time: world.time)
        let first = try await Process(world, keptIn: kept)
        let charge = [RateLimitCharge(rule, for: ann)]
        #expect(try await first.admitted(3, rule) == 3)
        await first.write()
        for _ in 0..<2 { try await first.limiter.refund(charge) }
        await first.write()
        let second = try await Process(world, keptIn: kept)
        #expect(second.limiter.backlog.units == 1)
        #expect(try await second.admitted(10, rule) == 4)
        await second.write()
        // The sum is forgotten beside a server that is there.
        let direct = try await Process(world, keptIn: kept)
        direct.line.recover()
        await direct.limiter.consumption.forget(
            [Namespace().rateLimitKey(rule, ann)], from: direct.failover.local, sharedBy: 4)
        #expect(direct.limiter.backlog.keys == 0)
        #expect(try await kept(.hlen(Self.table)) == 0)
    }

    /// Part of a batch whose reply was lost is given back, and the process is restarted.
    @Test func aRefundOfWhatIsOnItsWayIsExactOverARestart() async throws {
        let world = World()
        let rule = RateLimit("wide", .slidingLog, limit: 1_000_000, per: .seconds(3600))
        let kept = EmbeddedStore(time: world.time)
        let first = try await Process(world, keptIn: kept)
        try await first.limiter.record([RateLimitCharge(rule, for: ann, cost: 20)])
        first.line.fail(with: StoreError(.connectionLost, effect: .unknown), .afterEffect)
        await #expect(throws: StoreError.self) { try await first.handOver() }
        first.line.fail(with: StoreError(.connectionFailed))
        try await first.limiter.refund([RateLimitCharge(rule, for: ann, cost: 15)])
        await first.write()
        let second = try await Process(world, keptIn: kept)
        try await second.limiter.record([RateLimitCharge(rule, for: ann, cost: 3)])
        await second.comeBack()
        #expect(try await world.used(rule, ann) == 8)
    }

    @Test func aDeadLetterTakesThePlaceOfItsBatch() async throws {
        let world = World()
        let rule = Self.twenty()
        let kept = EmbeddedStore(time: world.time)
        let first = try await Process(world, keptIn: kept)
        #expect(try await first.admitted(2, rule) == 2)
        await first.write()
        let key = Namespace().rateLimitKey(rule, ann)
        _ = try await world.truth(.set(key, "something else"))
        await first.comeBack()
        _ = try? await first.limiter.peek([RateLimitCharge(rule, for: .user("bob"))])
        await first.write()
        #expect(try await kept(.hlen(Self.table)) == 0)
        let second = try await Process(world, keptIn: kept)
        #expect(second.limiter.backlog.keys == 0)
        let letter = try #require(second.failover.outbox.deadLetters().first)
        _ = try await world.truth(.del([key]))
        #expect(try await second.failover.outbox.retry(letter.entry.number))
        await second.comeBack()
        #expect(try await world.used(rule, ann) == 2)
    }
}

/// Dies at a call: that one and all that follow have no effect, wherever they go.
private final class Mortal: Sendable {
    private let left = Locked<Int?>(nil)

    /// The calls from the given number on fail, counted from here.
    func die(after call: Int) { left.withLock { $0 = call - 1 } }

    var isDead: Bool { left.withLock { ($0 ?? 1) < 0 } }

    func store(_ base: any Store) -> InterceptedStore {
        InterceptedStore(base) { _ throws(StoreError) in
            let lives = self.left.withLock { left in
                guard let number = left else { return true }
                left = number - 1
                return number > 0
            }
            if !lives { throw StoreError(.connectionLost, effect: .unknown) }
        }
    }
}
