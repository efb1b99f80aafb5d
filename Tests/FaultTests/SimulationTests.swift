import Foundation
import TestServers
import Testing

/// Several processes and one server on a manual clock, in random schedules: the same ones each time. More of them: `scripts/simulate`.
@Suite struct SimulationTests {
    @Test func theInvariantsHoldInEverySchedule() async throws {
        let (status, said) = try await simulate("--schedules", "250")
        #expect(status == 0, "\(said.prefix(2000))")
    }

    /// By itself, again, and behind others: what one schedule leaves does not reach the next.
    @Test func everySeedReplaysInEveryDetail() async throws {
        let batch = try await simulate("--from", "1", "--schedules", "24", "--trace").said
        for seed in stride(from: 4, through: 24, by: 4) {
            let first = Self.story(of: seed, in: try await simulate("--seed", "\(seed)", "--trace").said)
            let second = Self.story(of: seed, in: try await simulate("--seed", "\(seed)", "--trace").said)
            #expect(first.count > 100, "seed \(seed): \(first)")
            for (other, name) in [(second, "again"), (Self.story(of: seed, in: batch), "behind others")] {
                let difference = zip(first, other).first { $0.0 != $0.1 }.map { "\($0.0), and \(name): \($0.1)" }
                #expect(difference == nil, "seed \(seed)")
                #expect(other.count == first.count, "seed \(seed) \(name)")
            }
        }
    }

    /// What is told of one schedule.
    private static func story(of seed: Int, in said: String) -> [Substring] {
        let lines = said.split(separator: "\n")
        guard let start = lines.firstIndex(of: "seed \(seed)") else { return [] }
        return lines[(start + 1)...].prefix { !$0.hasPrefix("seed ") && !$0.contains(" schedules, ") }
    }

    private func simulate(_ arguments: String...) async throws -> (status: Int32, said: String) {
        let folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().path
        let output = FileManager.default.temporaryDirectory.path + "/outage-simulator-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: output) }
        // Else the order of dictionaries, and with it the schedule, would differ from run to run.
        let child = try ChildProcess(
            ["env", "SWIFT_DETERMINISTIC_HASHING=1", folder + "/outage-simulator"] + arguments,
            standardOutput: output, standardError: output)
        defer { child.signal(SIGKILL) }
        try await eventually(within: .seconds(600), "the simulation ends") { !child.isRunning }
        return (child.wait(), (try? String(contentsOfFile: output, encoding: .utf8)) ?? "")
    }
}
