import Foundation
import TestServers
import Testing

/// Several processes and one server on a manual clock, in random schedules: the same ones each time. More of them: `scripts/simulate`.
@Suite struct SimulationTests {
    @Test func theInvariantsHoldInEverySchedule() async throws {
        let folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().path
        let output = FileManager.default.temporaryDirectory.path + "/outage-simulator-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: output) }
        // Else the order of dictionaries, and with it the schedule, would differ from run to run.
        let child = try ChildProcess(
            ["env", "SWIFT_DETERMINISTIC_HASHING=1", folder + "/outage-simulator", "--schedules", "250"],
            standardOutput: output, standardError: output)
        defer { child.signal(SIGKILL) }
        try await eventually(within: .seconds(600), "the simulation ends") { !child.isRunning }
        let said = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
        #expect(child.wait() == 0, "\(said.prefix(2000))")
    }
}
