import Holdfast
import HoldfastStore
import OutageLedger
import TestServers
import Testing

/// Three processes that count each other by leases on a real Redis, which is then killed: what all of them admit together, also where one
/// of them is killed too.
@Suite struct CountedShareTests {
    private static let processes = 3
    /// A third of it is three. Its window is 400 days.
    private static let ten = RateLimit("ten", .fixedWindow, limit: 10, per: .seconds(34_560_000))
    private static let ann = RateLimitSubject.user("ann")

    @Test func theFleetTogetherAdmitsNoMoreThanTheLimitOverARestart() async throws {
        try await withFleet(isDurable: true) { stage in
            try await goesAway(stage)
            #expect(try await admittedByEach(stage) == [3, 3, 3])
            try await stage.restart(0)
            try await stage.outageIsDeclared(by: 0)
            let instances = stage.limits(of: 0).instances
            #expect(instances.count == 3 && instances.source == .remembered)
            #expect(try await admittedByEach(stage) == [0, 0, 0])

            try await comesBack(stage)
            #expect(try await used(stage) == 9)
            #expect(try await stage.limits(of: 2).check([Self.ten], for: Self.ann).isAllowed)
            #expect(try await stage.limits(of: 1).check([Self.ten], for: Self.ann).isAllowed == false)
        }
    }

    /// Nobody tells it of the others, and of what its predecessor admitted: it admits the limit whole, once. Known, and why a folder matters.
    @Test func aProcessThatStartsInTheOutageWithoutAFolderTakesTheLimitWhole() async throws {
        try await withFleet(isDurable: false) { stage in
            try await goesAway(stage)
            #expect(try await admittedByEach(stage) == [3, 3, 3])
            try await stage.restart(0)
            try await stage.outageIsDeclared(by: 0)
            let instances = stage.limits(of: 0).instances
            #expect(instances.count == 1 && instances.source == .assumed)
            #expect(try await admittedByEach(stage) == [10, 0, 0])

            // What the first had admitted ended with it.
            try await comesBack(stage)
            #expect(try await used(stage) == 16)
            #expect(try await stage.limits(of: 1).check([Self.ten], for: Self.ann).isAllowed == false)

            // It has counted the others since, and knows what it has used.
            #expect(instances.count >= Self.processes && instances.source == .counted)
            try await goesAway(stage)
            #expect(try await admittedByEach(stage) == [0, 0, 0])
        }
    }

    /// Started anew while the server is there it is one of the fleet at once, whose predecessor may be counted for a while.
    @Test(arguments: [true, false]) func aProcessThatStartsBeforeTheOutageTakesItsShare(_ isDurable: Bool) async throws {
        try await withFleet(isDurable: isDurable) { stage in
            try await stage.restart(0)
            try await stage.countEachOther()
            try await goesAway(stage)
            let shares = (0..<Self.processes).map { 10 / stage.limits(of: $0).instances.count }
            #expect(shares.reduce(0, +) <= 10)
            #expect(try await admittedByEach(stage) == shares)
        }
    }

    // MARK: - The fleet

    private func withFleet(isDurable: Bool, _ body: (FaultStage) async throws -> Void) async throws {
        let fault = try #require(Fault.all.first(where: { $0.testDescription == "the server is killed and keeps its data" }))
        let stage = try await FaultStage.start(
            fault, isDurable: isDurable, processes: Self.processes, patience: .milliseconds(1250))
        do {
            try await stage.prepare()
            try await body(stage)
        } catch {
            await stage.stop()
            throw error
        }
        let violations = stage.ledger.withLock { $0.violations }
        #expect(violations.isEmpty, "\(violations.prefix(5))")
        await stage.stop()
    }

    private func goesAway(_ stage: FaultStage) async throws {
        stage.server.kill()
        for number in 0..<Self.processes { try await stage.outageIsDeclared(by: number) }
    }

    private func comesBack(_ stage: FaultStage) async throws {
        try await stage.server.restart()
        try await stage.quiet()
        try await stage.countEachOther()
    }

    /// How many of twelve calls each process admits, every other of them with a name.
    private func admittedByEach(_ stage: FaultStage) async throws -> [Int] {
        var admitted = Array(repeating: 0, count: Self.processes)
        for number in admitted.indices {
            let limits = stage.limits(of: number)
            for call in 0..<12 {
                let name = call.isMultiple(of: 2) ? OperationID.random() : nil
                let decision = try await limits.check([Self.ten], for: Self.ann, once: name)
                #expect(decision.by.isLocal)
                if decision.isAllowed { admitted[number] += 1 }
            }
        }
        return admitted
    }

    /// As the server counts it, however much is above the limit.
    private func used(_ stage: FaultStage) async throws -> Int {
        var wide = Self.ten
        wide.limit = 1000
        let decision = try await stage.limits(of: 1).peek([RateLimitCharge(wide, for: Self.ann, cost: 0)])
        #expect(decision.by == .server)
        return decision.rules.first?.used ?? -1
    }
}
