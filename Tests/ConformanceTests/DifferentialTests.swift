import Foundation
import HoldfastRedis
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

/// Random programs of commands and procedures on the embedded store and on a real Redis; see ``DifferentialRunner``.
///
/// A program is 200 steps made from one seed. To play one again that a failure names:
///
///     HOLDFAST_SEED=4711 HOLDFAST_OPERATIONS=200 swift test --filter DifferentialTests
///
/// and to look further than CI does: `HOLDFAST_SEED=<any> HOLDFAST_OPERATIONS=1000000`.
@Suite struct DifferentialTests {
    static let programLength = 200

    @Test func embeddedStoreAndRedisAgreeOverRESP3() async throws {
        try await play(.resp3, operations: Self.setting("HOLDFAST_OPERATIONS") ?? 30_000)
    }

    @Test func embeddedStoreAndRedisAgreeOverRESP2() async throws {
        try await play(.resp2, operations: Self.setting("HOLDFAST_OPERATIONS") ?? 10_000)
    }

    @Test func everyProcedureHasAGenerator() {
        let procedures = ProcedureRegistry.procedures.map(\.identifier)
        let generators = ProcedureRegistry.generators.map(\.script.identifier)
        #expect(Set(procedures).subtracting(generators) == [], "procedures without a generator")
        #expect(Set(generators).subtracting(procedures) == [], "generators of procedures that are not registered")
        #expect(Set(procedures).count == procedures.count, "two procedures of one name and version")
    }

    @Test func everyServiceHasRegisteredItsProcedures() throws {
        let registry = try SourceTree.text(of: "Sources/Holdfast/Operations/ServiceCommands.swift")
        let declaration = /\b(?:enum|extension|struct) (\w+)/
        for file in try SourceTree.files(under: "Sources/Holdfast") {
            let text = try SourceTree.text(of: file)
            guard text.contains(/(?:= |return |-> )Script\b|\bScript\(\s*"/) else { continue }
            let names = text.matches(of: declaration).map { String($0.1) }
            #expect(names.contains { registry.contains("\($0).all") }, "\(file) makes procedures that the registry does not list")
        }
    }

    /// What says nothing about a key space, or is played by the runner itself.
    static let excluded: Set<String> = ["TIME", "INFO", "FLUSHDB"]

    @Test func everyCommandOfTheTableHasAGenerator() {
        #expect(Set(ProgramGenerator.commandsWithoutGenerator).subtracting(Self.excluded) == [])
    }

    // MARK: - Playing

    private func play(_ version: RedisConfiguration.ProtocolVersion, operations: Int) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let programs = max(1, operations / Self.programLength)
        let seed = UInt64(Self.setting("HOLDFAST_SEED") ?? 1)
        let lanes = 2
        try await withThrowingTaskGroup { group in
            for lane in 0..<lanes {
                group.addTask {
                    // Each lane has a database of its own, because a program counts on being alone.
                    var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath), database: lane)
                    configuration.protocolVersion = version
                    let store = try RedisStore(configuration)
                    let runner = DifferentialRunner(reference: store, isRESP2: version == .resp2)
                    for index in stride(from: lane, to: programs, by: lanes) {
                        try await Self.play(seed &+ UInt64(index), runner)
                    }
                    await store.shutdown()
                }
            }
            try await group.waitForAll()
        }
    }

    private static func play(_ seed: UInt64, _ runner: DifferentialRunner) async throws {
        let program = ProgramGenerator(procedures: ProcedureRegistry.generators)
            .program(seed: seed, length: programLength, names: Namespace(prefix: "d:"), start: DifferentialRunner.start)
        guard let mismatch = try await runner.play(program) else { return }
        let shrunk = try await runner.shrink(mismatch)
        Issue.record("HOLDFAST_SEED=\(seed) HOLDFAST_OPERATIONS=\(programLength)\n\(shrunk)")
    }

    private static func setting(_ name: String) -> Int? { ProcessInfo.processInfo.environment[name].flatMap { Int($0) } }
}
