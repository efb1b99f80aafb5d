import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

@Suite struct CacheFillingTests {
    let time = ManualTime()
    let store: EmbeddedStore
    let cache: Cache
    /// Another process on the same store.
    let elsewhere: Cache

    init() {
        store = EmbeddedStore(time: time)
        cache = Cache(failover: Failover(local: store, time: time))
        elsewhere = Cache(failover: Failover(local: store, time: time))
    }

    @Test func aMissIsFilledAndThenAHit() async throws {
        #expect(try await cache.getOrSet("k", ttl: .seconds(60)) { 1 }.value == 1)
        #expect(try await cache.getOrSet("k") { 2 }.value == 1)
        #expect(try await elsewhere.getOrSet("k") { 3 }.value == 1)
        #expect(try await elsewhere.ttl("k").value == .seconds(60))
        #expect(store.statistics.keys == 1, "no lease is left")
    }

    @Test func theSourceIsTold() async throws {
        #expect(try await cache.resolve("k") { 1 }.source == .factory(by: .server))
        #expect(try await cache.resolve("k") { 2 }.source == .near)
        #expect(try await elsewhere.resolve("k") { 3 }.source == .store)
    }

    @Test func nothingIsKeptAsAnAnswer() async throws {
        let calls = Locked(0)
        for _ in 1...3 {
            let found = try await elsewhere.getOrSet("nobody", as: User?.self) {
                calls.withLock { $0 += 1 }
                return nil
            }
            #expect(found.value == nil)
        }
        #expect(calls.withLock { $0 } == 1)
    }

    @Test func aTTLOfZeroKeepsNothing() async throws {
        #expect(try await cache.getOrSet("k", ttl: .zero) { 1 }.value == 1)
        #expect(try await cache.getOrSet("k", ttl: .zero) { 2 }.value == 2)
    }

    @Test func ofManyCallersOneRunsTheFactory() async throws {
        let (calls, gate) = (Locked(0), Gate())
        let results = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 1...100 {
                group.addTask {
                    try await cache.getOrSet("k") {
                        await gate.wait()
                        return calls.withLock { calls in
                            calls += 1
                            return calls
                        }
                    }.value
                }
            }
            for _ in 1...1000 { await Task.yield() }
            gate.open()
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results == Array(repeating: 1, count: 100))
    }

    @Test func aCallerThatGivesUpLeavesTheOthersTheirResult() async throws {
        let (gate, started) = (Gate(), Gate())
        let first = Task {
            try await cache.getOrSet("k") {
                started.open()
                await gate.wait()
                return 1
            }
        }
        await started.wait()
        let second = Task { try await cache.getOrSet("k") { 2 }.value }
        for _ in 1...10_000 { await Task.yield() }
        first.cancel()
        await #expect(throws: CancellationError.self) { try await first.value }
        gate.open()
        #expect(try await second.value == 1)
    }

    @Test func aFactoryThatNobodyWaitsForIsCancelled() async throws {
        let (started, ended) = (Gate(), Gate())
        let caller = Task {
            try await cache.getOrSet("k") {
                started.open()
                while !Task.isCancelled { await Task.yield() }
                ended.open()
                return 1
            }
        }
        await started.wait()
        caller.cancel()
        await ended.wait()
    }

    @Test func aCallerWhoseDeadlinePassesLeavesAndTheOthersGetTheirResult() async throws {
        let (started, gate) = (Gate(), Gate())
        let (patient, hurried) = (cache, cache)
        async let value = patient.getOrSet("k") {
            started.open()
            await gate.wait()
            return 1
        }
        await started.wait()
        let late = Task {
            try await CallContext.$current.withValue(CallContext(deadline: time.uptime + .seconds(1))) {
                try await hurried.getOrSet("k") { 2 }
            }
        }
        while time.sleeperCount == 0 { await Task.yield() }
        time.advance(by: .seconds(1))
        await #expect(throws: StoreError(.deadlineExceeded)) { try await late.value }
        gate.open()
        #expect(try await value == Decided(1, by: .server))
    }

    /// Nobody but callers of `getOrSet` meets the server, which takes calls and answers none.
    @Test func callersWhoseDeadlinesEndMakeTheServerNoticed() async throws {
        let hanging = InterceptedStore(store) { [time] _ throws(StoreError) in
            let patience = CallContext.current?.deadline.map { $0 - time.uptime } ?? .seconds(3600)
            guard (try? await time.sleep(for: patience)) != nil else { throw StoreError(.cancelled) }
            throw StoreError(.deadlineExceeded, effect: .unknown)
        }
        let failover = Failover(server: hanging, local: EmbeddedStore(time: time), time: time)
        let cache = Cache(failover: failover)
        let hasEnded = Locked(false)
        let caller = Task {
            while failover.localSince == nil {
                try? await CallContext.$current.withValue(CallContext(deadline: time.uptime + .milliseconds(100))) {
                    _ = try await cache.getOrSet("k") { 1 }
                }
                await Task.yield()
            }
            hasEnded.withLock { $0 = true }
        }
        // Its last call may be waiting for its deadline when the server is noticed to be away.
        #expect(await time.advanceUntil(by: .milliseconds(50)) { hasEnded.withLock { $0 } })
        await caller.value
        // Five pings, one after the other. How much time passes meanwhile is the loop's above, which does not wait for tasks that have to run.
        #expect(failover.statistics.failedProbes == 5)
    }

    @Test func whenAllGiveUpAtOnceNothingIsLeft() async throws {
        let flights = SingleFlight()
        let space = NearSpace(CachePlace(namespace: Namespace(), workspace: "w"))
        let (started, ended) = (Locked(0), Locked(0))
        let callers = (0..<400).map { number in
            Task {
                try await flights.run(SingleFlight.Name(space: space, key: "\(number / 2)")) {
                    started.withLock { $0 += 1 }
                    // Until it is cancelled.
                    try? await Task.sleep(for: .seconds(3600))
                    ended.withLock { $0 += 1 }
                }
            }
        }
        while started.withLock({ $0 }) < 200 { await Task.yield() }
        for caller in callers { caller.cancel() }
        for caller in callers { await #expect(throws: CancellationError.self) { try await caller.value } }
        #expect(flights.isIdle)
        while ended.withLock({ $0 }) < started.withLock({ $0 }) { await Task.yield() }
    }

    @Test func aFailureGoesToAllAndIsNotKept() async throws {
        struct Broken: Error {}
        await #expect(throws: Broken.self) { try await cache.getOrSet("k") { () async throws -> Int in throw Broken() } }
        #expect(try await cache.getOrSet("k") { 1 }.value == 1)
    }

    /// What may happen to a key while a slow factory runs for it, done by this process or another one.
    enum Event: CaseIterable {
        case delete, invalidate, clear, invalidateCategory

        func happen(to cache: Cache) async throws {
            switch self {
            case .delete: try await cache.delete("agent_memory:k")
            case .invalidate: try await cache.invalidate("agent?memory:*")
            case .clear: try await cache.clear()
            case .invalidateCategory: try await cache.invalidate(category: .agentMemory)
            }
        }
    }

    @Test(arguments: Event.allCases, [true, false])
    func aLateFillerDoesNotBringBackWhatWasInvalidated(_ event: Event, isHere: Bool) async throws {
        let other = isHere ? cache : elsewhere
        let value = try await cache.getOrSet("agent_memory:k") { [event] in
            try await event.happen(to: other)
            return "old"
        }
        #expect(value.value == "old")
        #expect(try await cache.get("agent_memory:k", as: String.self).isMiss)
        #expect(try await elsewhere.get("agent_memory:k", as: String.self).isMiss)
        #expect(try await elsewhere.getOrSet("agent_memory:k") { "new" }.value == "new")
        #expect(cache.statistics.total.refusedFills == 1)
    }

    @Test(arguments: [true, false])
    func aLateFillerDoesNotOverwriteWhatWasWritten(isHere: Bool) async throws {
        let other = isHere ? cache : elsewhere
        _ = try await cache.getOrSet("k") {
            try await other.set("k", "written", ttl: .seconds(10))
            return "old"
        }
        #expect(try await cache.get("k").value == "written")
        _ = try await cache.getOrSet("m") {
            try await other.setMany(["m": "written"])
            return "old"
        }
        #expect(try await cache.get("m").value == "written")
    }

    @Test func aFillAfterItsLeaseHasEndedIsRefused() async throws {
        _ = try await cache.getOrSet("k") {
            time.advance(by: .seconds(31))
            return 1
        }
        #expect(try await elsewhere.get("k", as: Int.self).isMiss)
    }

    @Test func whoAsksAfterAnInvalidationIsNotGivenWhatWasComputedBefore() async throws {
        let (gate, started) = (Gate(), Gate())
        let old = Task {
            try await cache.getOrSet("k") {
                started.open()
                await gate.wait()
                return "old"
            }
        }
        await started.wait()
        try await cache.delete("k")
        #expect(try await cache.getOrSet("k") { "new" }.value == "new")
        gate.open()
        #expect(try await old.value.value == "old")
        #expect(try await cache.get("k").value == "new")
        #expect(try await elsewhere.get("k").value == "new")
    }

    /// The interleaving that the order of the two scans is for: the entry is set, and the lease gone, while the invalidation is
    /// between its pages.
    @Test(arguments: 1...4)
    func aFillInTheMiddleOfAnInvalidationDoesNotSurviveIt(beforeScan number: Int) async throws {
        let scans = ScanHook()
        let invalidator = Cache(failover: Failover(local: scans.store(over: store), time: time))
        let (gate, started) = (Gate(), Gate())
        let filling = Task {
            try await cache.getOrSet("users:1") {
                started.open()
                await gate.wait()
                return "old"
            }
        }
        await started.wait()
        scans.before(scan: number) {
            gate.open()
            _ = try? await filling.value
        }
        try await invalidator.invalidate("users:*")
        gate.open()
        _ = try await filling.value
        #expect(try await elsewhere.get("users:1", as: String.self).isMiss)
    }

    @Test func aRefreshReplacesAValueUnlessItWasChangedMeanwhile() async throws {
        try await cache.set("k", 1)
        #expect(try await cache.refresh("k") { 2 }.value == 2)
        #expect(try await elsewhere.get("k").value == 2)
        _ = try await cache.refresh("k") {
            try await elsewhere.delete("k")
            return 3
        }
        #expect(try await elsewhere.get("k", as: Int.self).isMiss)
    }

    @Test func whenTheFactoryFailsAValueWithinItsFailSafeTimeServes() async throws {
        struct Broken: Error {}
        let cache = Cache(
            failover: Failover(local: store, time: time), configuration: CacheConfiguration(failSafe: .seconds(60)))
        try await cache.set("k", 1, ttl: .seconds(10))
        time.advance(by: .seconds(30))
        #expect(try await cache.get("k", as: Int.self).isMiss)
        #expect(try await cache.ttl("k").value == nil)
        let found = try await cache.resolve("k") { () async throws -> Int in throw Broken() }
        #expect(found.value == 1 && found.source == .stale(age: .seconds(20), by: .server))
        time.advance(by: .seconds(40))
        await #expect(throws: Broken.self) { try await cache.resolve("k") { () async throws -> Int in throw Broken() } }
        #expect(try await cache.getOrSet("k") { 2 }.value == 2)
    }

    @Test func whatANewerVersionWroteIsComputedAgain() async throws {
        try await cache.set("k", 1)
        _ = try await store(.setrange(Key(raw: "holdfast:cache:default:k"), 1, Bytes([99])))
        #expect(try await elsewhere.getOrSet("k") { 2 }.value == 2)
        #expect(try await elsewhere.get("k").value == 2)
    }

    @Test func aStoreThatIsFullDoesNotKeepTheFactorysValueFromItsCaller() async throws {
        let full = EmbeddedStore(.init(limits: .init(maximumBytes: 500)), time: time)
        _ = try await full(.set(Key(raw: "x"), "y"))
        let cache = Cache(failover: Failover(local: full, time: time))
        #expect(try await cache.getOrSet("k") { 1 }.value == 1)
    }
}
