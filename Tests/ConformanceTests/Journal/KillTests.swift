import Foundation
import HoldfastStore
import TestServers
import Testing

/// A process that writes to a data folder is killed at random, again and again; its folder must be in order each time.
///
/// CI kills it twelve times. More: `HOLDFAST_KILL_ROUNDS=200 swift test --filter KillTests`.
@Suite struct KillTests {
    static let rounds = ProcessInfo.processInfo.environment["HOLDFAST_KILL_ROUNDS"].flatMap { Int($0) } ?? 12

    @Test(arguments: JournalConfiguration.Sync.allCases)
    func aKilledProcessLeavesAFolderInOrder(_ sync: JournalConfiguration.Sync) async throws {
        let work = try WorkFolder()
        defer { work.remove() }
        let rounds = max(1, Self.rounds / JournalConfiguration.Sync.allCases.count)
        var kept = 0
        for round in 0..<rounds {
            let output = work.path + "/acknowledged-\(round)"
            let child = try ChildProcess(
                [Self.program, work.path + "/data", sync.rawValue, "\(round)"], standardOutput: output,
                standardError: work.path + "/errors")
            try await eventually("writes are acknowledged") { !child.isRunning || !Self.lines(output).isEmpty }
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...150)))
            child.signal(SIGKILL)
            child.wait()
            let errors = (try? String(contentsOfFile: work.path + "/errors", encoding: .utf8)) ?? ""
            try #require(errors.isEmpty, "\(errors)")
            kept += try await check(work.path + "/data", acknowledged: Self.lines(output), sync, round)
            try FileManager.default.removeItem(atPath: output)
        }
        // What the process had handed to the system outlives it, synced or not.
        #expect(kept > 0)
    }

    /// - Returns: how many transactions the folder holds.
    private func check(
        _ folder: String, acknowledged: [String], _ sync: JournalConfiguration.Sync, _ round: Int
    ) async throws -> Int {
        let store = try await EmbeddedStore.open(folder)
        var kept: [String: Set<String>] = ["a": [], "b": []]
        for key in try await store.execute(.raw(["SCAN", "0", "COUNT", "100000000"])).elements?.last?.list ?? [] {
            let parts = key.lossyString.split(separator: ":").map(String.init)
            kept[parts[0], default: []].insert(parts[1])
        }
        let ids = kept["a", default: []]
        #expect(kept["b"] == ids, "round \(round): a part of a transaction")
        if sync == .always {
            #expect(Set(acknowledged).subtracting(ids).sorted() == [], "round \(round): acknowledged and missing")
        }
        // What one task wrote is there up to some number, without a gap.
        let numbers = Dictionary(grouping: ids.map { $0.split(separator: ".") }, by: { $0[1] }).mapValues {
            $0.compactMap { Int($0[2]) }
        }
        for (task, numbers) in numbers { #expect(numbers.count == (numbers.max() ?? -1) + 1, "round \(round), task \(task)") }
        _ = try await store.execute(.raw(["FLUSHDB"]))
        try await store.close()
        return ids.count
    }

    private static func lines(_ path: String) -> [String] {
        ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n").map(String.init)
    }

    /// It lies beside the test bundle, in the same build folder.
    private static let program =
        URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().path + "/journal-writer"
}
