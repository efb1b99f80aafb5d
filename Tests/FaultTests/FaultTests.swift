import Foundation
import Holdfast
import HoldfastStore
import OutageLedger
import TestServers
import Testing

/// Each fault while all services work, on a real Redis: nothing accepted is lost, nothing applied twice, nothing revived, no limit
/// exceeded; see `Ledger`. The long form, each fault with each service by itself and from several seeds: `scripts/fault-suite`.
@Suite struct FaultTests {
    @Test(arguments: faults) func theInvariantsHold(_ fault: Fault) async throws {
        try await play(fault, Workload.Action.allCases, seed: 1, operations: 60)
    }

    /// What a process has accepted by itself outlives it, where its outbox does.
    @Test(arguments: faults.filter(\.cutsOff)) func theInvariantsHoldOverARestart(_ fault: Fault) async throws {
        try await play(fault, Workload.Action.allCases, seed: 2, operations: 60, restarts: true)
    }

    /// A process that is started anew without its predecessor's folder knows of no other until it has counted them again, and admits by that.
    @Test(arguments: faults.filter(\.cutsOff)) func limitsHoldOverARestartWithoutAFolder(_ fault: Fault) async throws {
        try await play(fault, Self.services["limits"] ?? [], seed: 3, operations: 60, restarts: true, isDurable: false)
    }

    static let rounds = ProcessInfo.processInfo.environment["HOLDFAST_FAULT_ROUNDS"].flatMap { Int($0) } ?? 0

    /// All, or those whose names contain what is asked for.
    private static let faults = Fault.all.filter { fault in
        ProcessInfo.processInfo.environment["HOLDFAST_FAULT"].map(fault.testDescription.contains) ?? true
    }

    /// What is promised; in CI, where the machine is busy with other tests, a second more, also of the process's own time.
    private static let patience: Duration = rounds > 0 ? .milliseconds(250) : .milliseconds(1250)

    /// What each service does.
    static let services: [String: [Workload.Action]] = [
        "cache": [.set, .setMany, .get, .fill, .delete, .invalidate, .clear, .replace, .deleteVersion, .exists],
        "sessions": [
            .create, .create, .createOnce, .read, .look, .update, .append, .extend, .extendOnce, .extendAgain, .rotate,
            .rotateOnce,
            .end, .endAll, .endOthers, .logInAgain,
        ],
        "limits": [.check, .charge, .chargeUnnamed, .checkUnnamed, .refund, .refundUnnamed, .reset], "idempotency": [.request],
        "low-level calls": [.increment],
    ]

    @Test(.enabled(if: rounds > 0), arguments: faults, services.keys.sorted())
    func theInvariantsHoldForEachService(_ fault: Fault, _ service: String) async throws {
        for round in 0..<Self.rounds {
            try await play(fault, Self.services[service] ?? [], seed: UInt64(round), operations: 150)
        }
    }

    /// What there is in the story of a play about the sessions that a violation names.
    private static func tell(_ story: [String], of violation: Ledger.Violation) {
        let ids = violation.description.split(separator: " ").filter { (try? SessionID(String($0))) != nil }
        for line in story where ids.contains(where: { line.contains($0) }) { print(line) }
    }

    private func play(
        _ fault: Fault, _ actions: [Workload.Action], seed: UInt64, operations: Int, restarts: Bool = false,
        isDurable: Bool? = nil
    ) async throws {
        var random = RandomSource(seed: seed)
        let isDurable = isDurable ?? restarts
        let stage = try await FaultStage.start(fault, isDurable: isDurable, patience: Self.patience)
        let story = Locked<[String]>([])
        stage.ledger.withLock { $0.trace = { line in story.withLock { $0.append(line) } } }
        do {
            try await stage.prepare()
            await stage.work(operations / 2, actions, &random)
            try await stage.see()
            try await fault.begin(stage)
            await stage.work(operations, actions, &random)
            switch fault.strikes {
            case .cutsOff(let numbers):
                try await stage.workAlone(numbers)
                guard restarts, let first = numbers.first else { break }
                try await stage.restart(first)
                if isDurable {
                    try await stage.workAlone([first])
                } else {
                    // It has not seen the session of its own that work alone begins with.
                    try await stage.outageIsDeclared(by: first)
                }
                await stage.work(operations / 2, actions, &random)
            case .fails(let numbers, as: let codes): try await stage.hasStruck(numbers, as: codes)
            case .shows(let isThere): try await isThere(stage)
            }
            try await fault.end(stage)
            await stage.work(operations / 2, actions, &random)
            try await fault.aftermath(stage)
            // Once all is handed over nothing is excused any more by who was cut off from whom.
            try await stage.quiet()
            try await stage.countEachOther()
            await stage.work(operations / 4, actions, &random)
            try await stage.workTogether()
            try await stage.examine()
        } catch {
            await stage.stop()
            throw error
        }
        let (violations, lateness) = stage.ledger.withLock { ($0.violations, $0.greatestLateness) }
        #expect(violations.isEmpty, "seed \(seed): \(violations.prefix(5))")
        if let first = violations.first { Self.tell(story.withLock { $0 }, of: first) }
        if Self.rounds > 0 { print("\(fault.testDescription), seed \(seed): at most \(lateness) after a deadline") }
        await stage.stop()
    }
}
