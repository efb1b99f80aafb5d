import ClientLoads
import Foundation
import Holdfast
import HoldfastRedis
import HoldfastStore

/// What failover costs while the server is there, how fast a decision is while it is away, how long it takes to notice and to return,
/// and how fast what was decided meanwhile is handed over.
enum OutageBenchmark: Benchmark {
    static let name = "outage"

    static func run(_ options: Options) async throws -> [Row] {
        var rows = try await FailoverBenchmark.run(options) + DirectBenchmark.run(options)
        rows += try await decisions(options)
        rows += try await HandOverBenchmark.run(options)
        rows += try await sides(options)
        return rows
    }

    // MARK: - While it is away

    private static func decisions(_ options: Options) async throws -> [Row] {
        let outage = try await DecisionLoad.Outage()
        let count = options.count(20_000)
        let check = try await median(count, options) { try await outage.call(.limitCheck) }
        let read = try await median(count, options) { try await outage.call(.sessionRead) }
        return [
            check.row("limit check while it is away, median"), read.row("session seen before, read while it is away, median"),
        ]
    }

    /// The median of the single calls of each round.
    private static func median(_ count: Int, _ options: Options, _ call: () async throws -> Void) async throws -> Meter {
        var meter = Meter()
        let time = SystemTime()
        for _ in 0..<options.rounds {
            var spans: [Double] = []
            spans.reserveCapacity(count)
            for _ in 0..<count {
                let start = time.uptime
                try await call()
                spans.append((time.uptime - start).inSeconds * 1e9)
            }
            meter.note(latencies: spans)
        }
        return meter
    }

    // MARK: - Changing sides

    /// A Redis that is killed, and one that hangs, under ten callers.
    private static func sides(_ options: Options) async throws -> [Row] {
        let server = try OutageServer()
        defer { server.end() }
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)))
        // Without the memory of a flapping server, which would have to answer for longer each time.
        var configuration = Failover.Configuration()
        configuration.thresholds.calm = .milliseconds(1)
        let failover = Failover(server: store, local: EmbeddedStore(), configuration: configuration)
        let limits = RateLimiter(failover)
        var (killed, hung, returned) = (Meter(), Meter(), Meter())
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await failover.run() }
            for caller in 0..<10 {
                group.addTask {
                    let rule = RateLimit("bench", .fixedWindow, limit: 1_000_000_000, per: .seconds(3600))
                    while !Task.isCancelled {
                        _ = try? await limits.check([rule], for: .user("\(caller)"))
                        try? await Task.sleep(for: .milliseconds(1))
                    }
                }
            }
            for _ in 0..<options.rounds {
                if !server.isRunning { try await server.start() }
                while (try? await store(.ping)) == nil { try await Task.sleep(for: .milliseconds(1)) }
                try await wait { failover.decider == .server }
                killed.note(nanoseconds: try await span(until: { failover.decider.isLocal }) { server.kill() })
                returned.note(
                    nanoseconds: try await span(until: { failover.decider == .server }) { try await server.start() })
            }
            hung.note(nanoseconds: try await span(until: { failover.decider.isLocal }) { server.pause() })
            server.kill()
            group.cancelAll()
        }
        await store.shutdown()
        return [
            killed.row("time to notice: Redis killed, ten callers"), hung.row("time to notice: Redis hangs, ten callers"),
            returned.row("time to return after the kill, start of Redis included"),
        ]
    }

    private static func span(until holds: () -> Bool, _ act: () async throws -> Void) async throws -> Double {
        let start = SystemTime().uptime
        try await act()
        try await wait(until: holds)
        return (SystemTime().uptime - start).inSeconds * 1e9
    }

    private static func wait(until holds: () -> Bool) async throws {
        while !holds() { try await Task.sleep(for: .microseconds(200)) }
    }
}

/// One call through failover while the server is there. ``DirectBenchmark`` is what to take off.
enum FailoverBenchmark: Benchmark {
    static let name = FailoverLoad.through.rawValue

    static func run(_ options: Options) async throws -> [Row] {
        [try await FailoverLoad.through.row("a call through failover while the server is there", options)]
    }
}

/// The same call without failover.
enum DirectBenchmark: Benchmark {
    static let name = FailoverLoad.without.rawValue

    static func run(_ options: Options) async throws -> [Row] {
        [try await FailoverLoad.without.row("the same call without failover", options)]
    }
}

extension FailoverLoad {
    fileprivate func row(_ name: String, _ options: Options) async throws -> Row {
        let count = options.count(200_000)
        var meter = Meter()
        for _ in 0..<(options.onlyCount == nil ? options.rounds : 1) {
            try await meter.round(operations: count) { try await run(count) }
        }
        return meter.row(name)
    }
}

private func send(_ signal: Int32, to process: Process) { kill(process.processIdentifier, signal) }

/// A Redis that is killed and stopped in its tracks.
private final class OutageServer: Sendable {
    let folder = FileManager.default.temporaryDirectory.appending(path: "holdfast-outage-\(UInt32.random(in: .min ... .max))")
    var socketPath: String { folder.appending(path: "redis.sock").path }
    private let process = Locked<Process?>(nil)

    init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }

    func start() async throws {
        let redis = Process()
        redis.executableURL = URL(filePath: "/usr/bin/env")
        redis.arguments = [
            "redis-server", "--port", "0", "--unixsocket", socketPath, "--save", "", "--appendonly", "no", "--dir", folder.path,
        ]
        redis.standardOutput = FileHandle.nullDevice
        try redis.run()
        process.withLock { $0 = redis }
    }

    var isRunning: Bool { process.withLock { $0?.isRunning ?? false } }

    func pause() { _ = process.withLock { $0 }.map { send(SIGSTOP, to: $0) } }

    func kill() {
        guard let redis = process.withLock({ $0 }) else { return }
        send(SIGKILL, to: redis)
        redis.waitUntilExit()
    }

    func end() {
        kill()
        try? FileManager.default.removeItem(at: folder)
    }
}
