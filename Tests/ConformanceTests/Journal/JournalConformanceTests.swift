import Foundation
import HoldfastRedis
import HoldfastStore
import TestServers
import Testing

@testable import HoldfastTesting

/// The data folder is Redis's own: what Holdfast writes Redis reads, and the other way round.
@Suite struct JournalConformanceTests {
    /// A day ahead of the machine's clock, so that nothing expires on the server while it is compared.
    private static let tomorrow = Timestamp(milliseconds: SystemTime().now.milliseconds + 86_400_000)

    @Test func redisReadsWhatHoldfastWrites() async throws {
        let work = try WorkFolder()
        defer { work.remove() }
        let time = ManualTime(now: Self.tomorrow)
        let store = try await EmbeddedStore.open(work.path, time: time)
        try await Self.play(seed: 1, on: store) { _ in true }
        store.rewriteJournal()
        try await Self.play(seed: 2, on: store) { _ in true }
        try await eventually("the rewrite is done") { store.journalStatus?.rewrites == 1 }
        try await store.close()
        let keys = try await Self.keys(of: store)
        let ours = try await KeyState.read(keys, from: store, removingEndedBy: Timestamp(milliseconds: -1))
        #expect(ours.count > 10)

        // Redis's own checker accepts all of it.
        let check = try await work.run("redis-check-aof appendonlydir/appendonly.aof.manifest")
        #expect(check.status == 0 && check.output.contains("All AOF files and manifest are valid"), "\(check.output)")

        // Piped into a running server.
        let server = try await RedisProcess.start()
        defer { server.stop() }
        for file in try work.files(".base.aof") + work.files(".incr.aof") {
            let pipe = try await work.run("redis-cli -s \(server.socketPath) --pipe < appendonlydir/\(file)")
            #expect(pipe.status == 0 && pipe.output.contains("errors: 0"), "\(pipe.output)")
        }
        try await Self.expect(server, toHold: ours, "piped")

        // And put in the place of its own.
        var options = RedisProcess.Options()
        options.configuration = ["appendonly yes", "aof-use-rdb-preamble no"]
        let reader = try await RedisProcess.start(options)
        defer { reader.stop() }
        reader.kill()
        try FileManager.default.removeItem(atPath: reader.folder + "/appendonlydir")
        try FileManager.default.copyItem(atPath: work.path + "/appendonlydir", toPath: reader.folder + "/appendonlydir")
        try await reader.restart()
        try await Self.expect(reader, toHold: ours, "loaded")
    }

    @Test func holdfastReadsWhatRedisWrites() async throws {
        var options = RedisProcess.Options()
        options.configuration = ["appendonly yes", "aof-use-rdb-preamble no", "aof-timestamp-enabled yes", "appendfsync always"]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)))
        try await Self.play(seed: 3, on: store) { !CommandTraits.dependsOnTime($0) }
        _ = try await store.execute(.raw(["BGREWRITEAOF"]))
        try await eventually("the rewrite is done") {
            let info = (try? await store(.info())) ?? ""
            return info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
        }
        try await Self.play(seed: 4, on: store) { !CommandTraits.dependsOnTime($0) }
        for command in ["SET soon v EX 9999", "SADD gone a b c", "SPOP gone 2", "SETEX later 99999 v", "INCRBYFLOAT f 0.1"] {
            _ = try await store.execute(.raw(command.split(separator: " ").map { Bytes(String($0)) }))
        }
        let keys = try await Self.keys(of: store)
        let theirs = try await KeyState.read(keys, from: store, removingEndedBy: Timestamp(milliseconds: -1))
        #expect(theirs.count > 10)
        await store.shutdown()
        server.kill()

        let work = try WorkFolder()
        defer { work.remove() }
        try FileManager.default.copyItem(atPath: server.folder + "/appendonlydir", toPath: work.path + "/appendonlydir")
        let ours = try await EmbeddedStore.open(work.path)
        #expect(try await KeyState.read(Self.keys(of: ours), from: ours, removingEndedBy: Timestamp(milliseconds: -1)) == theirs)
        try await ours.close()
    }

    @Test func aPreambleIsRefusedWithWhatToDo() async throws {
        var options = RedisProcess.Options()
        options.configuration = ["appendonly yes"]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        server.kill()
        let error = await #expect(throws: StoreError.self) { try await EmbeddedStore.open(server.folder) }
        #expect(error?.code == .dataUnreadable)
        #expect(error?.message.contains("aof-use-rdb-preamble no") == true && error?.message.contains("BGREWRITEAOF") == true)
    }

    @Test func aFolderHasOneOwnerAndPrivateModes() async throws {
        let work = try WorkFolder()
        defer { work.remove() }
        let path = work.path + "/deep/er"
        let store = try await EmbeddedStore.open(path)
        let error = await #expect(throws: StoreError.self) { try await EmbeddedStore.open(path) }
        #expect(error?.code == .folderInUse)
        #expect(error?.message.contains("process \(getpid())") == true)
        _ = try await store(.set(Key(raw: "k"), "v"))
        try await store.close()
        for file in try FileManager.default.subpathsOfDirectory(atPath: work.path) {
            let found = try FileManager.default.attributesOfItem(atPath: work.path + "/" + file)
            let isFolder = found[.type] as? FileAttributeType == .typeDirectory
            #expect(found[.posixPermissions] as? Int == (isFolder ? 0o700 : 0o600), "\(file)")
        }
        let again = try await EmbeddedStore.open(path)
        #expect(try await again(.get(Key(raw: "k"))) == "v")
        try await again.close()
    }

    // MARK: - Parts

    private static func play(seed: UInt64, on store: any Store, _ isWanted: ([Bytes]) -> Bool) async throws {
        let names = Namespace(prefix: "p:")
        for step in ProgramGenerator().program(seed: seed, length: 800, names: names, start: tomorrow) {
            switch step {
            case .command(let command) where isWanted(command): _ = try await store.execute(.raw(command))
            case .transaction(let commands) where commands.allSatisfy(isWanted):
                _ = try? await store.execute(Batch(.transaction, commands.map(Operation.raw)))
            default: break
            }
        }
    }

    private static func keys(of store: any Store) async throws -> [Key] {
        var keys: Set<Key> = []
        var cursor = Bytes("0")
        repeat {
            let page = try await store.execute(.raw(["SCAN", cursor, "COUNT", "1000"]))
            cursor = page.elements?.first?.bytes ?? "0"
            keys.formUnion((page.elements?.last?.list ?? []).map(Key.init(raw:)))
        } while cursor != "0"
        return keys.sorted { $0.bytes < $1.bytes }
    }

    private static func expect(_ server: RedisProcess, toHold ours: [Key: KeyState], _ comment: Comment) async throws {
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)))
        let keys = try await keys(of: store)
        let theirs = try await KeyState.read(keys, from: store, removingEndedBy: Timestamp(milliseconds: -1))
        #expect(theirs == ours, comment)
        await store.shutdown()
    }
}

/// A private folder for a test, and commands that run in it.
struct WorkFolder {
    let path = NSTemporaryDirectory() + "holdfast-journal-\(UInt64.random(in: .min ... .max))"

    init() throws {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }

    /// The journal's files of one kind, in order.
    func files(_ suffix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path + "/appendonlydir").filter { $0.hasSuffix(suffix) }
            .sorted { $0.count == $1.count ? $0 < $1 : $0.count < $1.count }
    }

    func run(_ command: String) async throws -> (status: Int32, output: String) {
        let output = path + "/output"
        try? FileManager.default.removeItem(atPath: output)
        let child = try ChildProcess(
            ["/bin/sh", "-c", "cd '\(path)' && \(command); echo \"status $?\""], standardOutput: output, standardError: output)
        defer { child.signal(SIGKILL) }
        try await eventually("'\(command)' ends") { !child.isRunning }
        let text = try String(contentsOfFile: output, encoding: .utf8)
        let status = text.split(separator: "\n").last?.split(separator: " ").last.flatMap { Int32($0) } ?? -1
        return (status, text)
    }
}
