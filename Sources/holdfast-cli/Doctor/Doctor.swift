import ArgumentParser
import Foundation
import Holdfast
import HoldfastServer
import HoldfastStore

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check the connection settings one by one.",
        discussion: """
            Says in one line each what is right, or what is wrong and what to change. Talks to the configured Redis itself, so no \
            server of ours needs to run. Ends with 1 where something is wrong.
            """
    )

    @Flag(help: "Print JSON for programs.")
    var json = false

    func run() async throws {
        let loaded = try await Invocation.load()
        var findings = Self.settings(loaded)
        if loaded.configuration.refusals.isEmpty {
            findings += await Self.store(loaded.configuration)
        }
        findings += Self.folders(loaded.configuration)
        show(findings)
        let failures = findings.count { $0.state == .wrong }
        if failures > 0 { throw CommandFailure(.negative, failures == 1 ? "1 check failed" : "\(failures) checks failed") }
    }

    private static func store(_ configuration: HoldfastConfiguration) async -> [Finding] {
        let redis = configuration.redis
        guard redis.isEnabled else { return [embedded(configuration)] }
        return await server(redis) + [.right("Outbox", configuration.placeOfOutbox ?? "")]
    }

    private static func server(_ redis: HoldfastConfiguration.Redis) async -> [Finding] {
        guard let rest = redis.upstashConfiguration else { return await RedisExamination(redis).findings() }
        return await UpstashExamination(configuration: rest, prefix: redis.keyPrefix).findings()
    }

    private static func settings(_ loaded: LoadedConfiguration) -> [Finding] {
        let set = loaded.values.count { $0.source != .default }
        return [.right("Settings", "\(set) of \(loaded.values.count) are set, all acceptable")]
            + loaded.warnings.map { .doubtful("Settings", $0) } + loaded.configuration.refusals.map { .wrong("Settings", $0) }
    }

    private static func embedded(_ configuration: HoldfastConfiguration) -> Finding {
        .right("Store", "\(configuration.storeDescription); REDIS_URL or REDIS_HOST would name a Redis")
    }

    private static func folders(_ configuration: HoldfastConfiguration) -> [Finding] {
        var findings: [Finding] = []
        if let folder = configuration.server.dataFolder {
            let parent = URL(filePath: folder).deletingLastPathComponent().path
            let place = FileManager.default.fileExists(atPath: folder) ? folder : parent
            findings.append(
                FileManager.default.isWritableFile(atPath: place)
                    ? .right("Data folder", "\(folder) can be written")
                    : .wrong("Data folder", "\(folder) cannot be written: HOLDFAST_DATA must name a folder of this user"))
        }
        let file = APIKeyFile(folder: configuration.server.keyFolder(environment: ProcessInfo.processInfo.environment))
        guard configuration.server.apiKeys.isEmpty else { return findings }
        do {
            let secret = try file.read()
            findings.append(
                secret == nil
                    ? .right("API key", "none yet; `holdfast serve` makes one in \(file.path)")
                    : .right("API key", "\(file.path), readable by its user alone"))
        } catch { findings.append(.wrong("API key", "\(file.path): \(error.message)")) }
        return findings
    }

    private func show(_ findings: [Finding]) {
        if json {
            let rows = findings.map { finding -> JSONValue in
                ["check": .string(finding.check), "state": .string(finding.state.rawValue), "message": .string(finding.message)]
            }
            return Terminal.say(json: ["findings": .array(rows), "ok": .bool(!findings.contains { $0.state == .wrong })])
        }
        var table = Table()
        for finding in findings { table.add(finding.state.mark, finding.check, finding.message) }
        Terminal.say(table.text)
    }
}

/// What one check found.
struct Finding: Sendable {
    enum State: String, Sendable {
        case right = "ok"
        case doubtful = "warning"
        case wrong = "failed"

        var mark: String { rawValue }
    }

    let check: String
    let state: State
    let message: String

    static func right(_ check: String, _ message: String) -> Finding { Finding(check: check, state: .right, message: message) }
    static func doubtful(_ check: String, _ message: String) -> Finding {
        Finding(check: check, state: .doubtful, message: message)
    }
    static func wrong(_ check: String, _ message: String) -> Finding { Finding(check: check, state: .wrong, message: message) }
}
