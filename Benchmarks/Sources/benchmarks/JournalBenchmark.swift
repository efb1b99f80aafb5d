import Foundation
import HoldfastStore

/// The append-only file: writes in this process, and loading at the start, beside a redis-server on the same disk with the same
/// settings and the same data.
enum JournalBenchmark: Benchmark {
    static let name = "journal"

    private static let keys = 100_000
    private static let value = Bytes([UInt8](repeating: 7, count: 32))

    static func run(_ options: Options) async throws -> [Row] {
        let folder = NSTemporaryDirectory() + "holdfast-bench-\(getpid())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var rows: [Row] = []
        for (sync, count, tasks, pipeline) in [(JournalConfiguration.Sync.everysec, 400_000, 50, 50), (.always, 20_000, 50, 1)] {
            rows += try await writes(sync, options.count(count), tasks: tasks, pipeline: pipeline, folder, options)
        }
        rows += try await load(folder, options)
        rows += try await pause(folder, options)
        return rows
    }

    // MARK: - Writing

    private static func writes(
        _ sync: JournalConfiguration.Sync, _ count: Int, tasks: Int, pipeline: Int, _ folder: String, _ options: Options
    ) async throws -> [Row] {
        let server = try AppendingRedis(folder: "\(folder)/redis-\(sync.rawValue)", sync: sync.rawValue)
        defer { server.stop() }
        let store = try await EmbeddedStore.open("\(folder)/holdfast-\(sync.rawValue)", journal: JournalConfiguration(sync: sync))
        var (ours, one, theirs) = (Meter(), Meter(), Meter())
        for _ in 0..<options.rounds {
            try await ours.round(operations: count) { try await set(count, tasks: tasks, store) }
            if sync != .always { try await one.round(operations: count) { try await set(count, tasks: 1, store) } }
            theirs.note(
                perSecond: try server.setsPerSecond(count, keys: keys, clients: pipeline > 1 ? 1 : tasks, pipeline: pipeline))
        }
        try await store.close()
        let peer = pipeline > 1 ? "redis-benchmark SET -c 1 -P \(pipeline)" : "redis-benchmark SET -c \(tasks)"
        var rows = [theirs.row("redis-server, \(sync.rawValue)")]
        rows.append(ours.row("SET, \(sync.rawValue), \(tasks) tasks", against: (peer, theirs)))
        if sync != .always { rows.append(one.row("SET, \(sync.rawValue), 1 task", against: (peer, theirs))) }
        return rows
    }

    private static func set(_ count: Int, tasks: Int, _ store: EmbeddedStore) async throws {
        try await withThrowingTaskGroup { group in
            for task in 0..<tasks {
                group.addTask {
                    var random = RandomSource(seed: UInt64(task))
                    for _ in 0..<(count / tasks) {
                        let number = Int.random(in: 0..<keys, using: &random)
                        try await store(.set(Key(raw: Bytes("key:\(number)")), value))
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    // MARK: - Loading

    /// Both load the files that the server has written.
    private static func load(_ folder: String, _ options: Options) async throws -> [Row] {
        let count = options.count(1_000_000)
        let server = try AppendingRedis(folder: folder + "/redis-load", sync: "no")
        _ = try server.setsPerSecond(count, keys: count, clients: 1, pipeline: 100)
        var (ours, theirs) = (Meter(), Meter())
        for _ in 0..<min(3, options.rounds) {
            theirs.note(perSecond: Double(count) / (try server.restart()))
            server.stop()
            try await ours.round(operations: count) {
                let store = try await EmbeddedStore.open(server.folder)
                try await store.close()
            }
        }
        return [
            theirs.row("redis-server, commands loaded"),
            ours.row("commands loaded", against: ("redis-server", theirs)),
        ]
    }

    // MARK: - Rewriting

    /// The longest that one of many SETs takes, without a rewrite and during one; `ops/s` is how many of those a second there would
    /// be.
    private static func pause(_ folder: String, _ options: Options) async throws -> [Row] {
        let store = try await EmbeddedStore.open(folder + "/pause")
        let count = options.count(500_000)
        for number in 0..<count { try await store(.set(Key(raw: Bytes("key:\(number)")), value)) }
        let quiet = try await longestSet(store, count) { $0 < 1000 }
        store.rewriteJournal()
        let busy = try await longestSet(store, count) { _ in store.journalStatus?.rewrites == 0 }
        try await store.close()
        return [
            quiet.row("longest SET without a rewrite"),
            busy.row("longest SET in a rewrite of \(count) keys", against: ("without", quiet)),
        ]
    }

    private static func longestSet(_ store: EmbeddedStore, _ keys: Int, while goesOn: (Int) -> Bool) async throws -> Meter {
        var random = RandomSource(seed: 1)
        var longest = Duration.zero
        var round = 0
        while goesOn(round) {
            round += 1
            for _ in 0..<100 {
                let key = Key(raw: Bytes("key:\(Int.random(in: 0..<keys, using: &random))"))
                let start = SystemTime().uptime
                try await store(.set(key, value))
                longest = max(longest, SystemTime().uptime - start)
            }
        }
        var meter = Meter()
        meter.note(perSecond: 1 / longest.inSeconds)
        return meter
    }
}

/// A redis-server of our own with an append-only file.
private final class AppendingRedis {
    let folder: String
    private let sync: String
    private var process: Process?
    private var socket: String { folder + "/redis.sock" }

    init(folder: String, sync: String) throws {
        self.folder = folder
        self.sync = sync
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try start()
    }

    deinit { stop() }

    private func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "yes", "--appendfsync", sync,
            "--aof-use-rdb-preamble", "no", "--auto-aof-rewrite-percentage", "0", "--dir", folder, "--logfile", folder + "/log",
        ]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        self.process = process
        for _ in 0..<12_000 {
            if let log = try? String(contentsOfFile: folder + "/log", encoding: .utf8), log.contains("ready to accept") { return }
            usleep(5000)
        }
        throw RedisPeer.Missing(description: "redis-server did not come up")
    }

    func stop() {
        // SIGTERM may be blocked in what this process starts; what the server has answered is in its file.
        if let process { kill(process.processIdentifier, SIGKILL) }
        process?.waitUntilExit()
        process = nil
    }

    /// Starts it again; the seconds that it says it took to load its files.
    func restart() throws -> Double {
        stop()
        try? FileManager.default.removeItem(atPath: folder + "/log")
        try start()
        let log = try String(contentsOfFile: folder + "/log", encoding: .utf8)
        guard let line = log.split(separator: "\n").first(where: { $0.contains("DB loaded from append only file") }),
            let seconds = line.split(separator: " ").dropLast().last.flatMap({ Double($0) })
        else { throw RedisPeer.Missing(description: "redis-server did not say how long it took to load:\n\(log)") }
        return seconds
    }

    func setsPerSecond(_ count: Int, keys: Int, clients: Int, pipeline: Int) throws -> Double {
        try RedisPeer.perSecond(
            "SET",
            [
                "-s", socket, "-c", "\(clients)", "-P", "\(pipeline)", "-d", "32", "-n", "\(count)", "-r", "\(keys)", "-t", "set",
            ])
    }
}
