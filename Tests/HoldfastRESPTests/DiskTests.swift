import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

/// What clients see of the disk under the store: no reply waits for it, but nobody writes what it does not take.
@Suite struct DiskTests {
    private static let misconf = "MISCONF Errors writing to the AOF file: No space left on device\r\n"

    /// A store over a disk that a test can fill and stall.
    private static func open(_ disk: SimulatedFolder, maximumPending: Int = 64 << 20) async throws -> EmbeddedStore {
        try await EmbeddedStore.open(
            in: disk,
            journal: JournalConfiguration(
                sync: .everysec, retryInterval: .milliseconds(10), maximumPending: maximumPending))
    }

    @Test func aFullDiskRefusesWritesAndAnswersReads() async throws {
        let disk = SimulatedFolder()
        let store = try await Self.open(disk)
        try await ServedStore.with(store) { served in
            let (client, queuing) = (try served.connect(), try served.connect())
            #expect(try client("SET", "k", "v") == "+OK\r\n")
            try await store.sync()
            _ = try queuing("MULTI")
            #expect(try queuing("SET", "k", "queued") == "+QUEUED\r\n")
            disk.fail(after: 0, .full)
            #expect(try client("SET", "last", "v") == "+OK\r\n")
            try await eventually("the disk is seen to fail") { store.journalStatus?.failure != nil }
            let pending = store.journalStatus?.pendingBytes
            for command in [["SET", "k", "w"], ["DEL", "k"], ["FLUSHALL"], ["HSET", "h", "f", "v"]] {
                client.send(command.map { Bytes($0) })
                #expect(try client.reply().map { String(decoding: $0, as: UTF8.self) } == "-" + Self.misconf, "\(command)")
            }
            #expect(try client("GET", "k") == "$1\r\nv\r\n")
            #expect(try client("SET", "k") == "-ERR wrong number of arguments for 'set' command\r\n")
            // What was queued before is refused as a whole, what is queued now at once.
            #expect(try queuing("EXEC") == "-EXECABORT Transaction discarded because of: " + Self.misconf)
            _ = try queuing("MULTI")
            #expect(try queuing("SET", "k", "w") == "-" + Self.misconf)
            #expect(try queuing("EXEC") == "-EXECABORT Transaction discarded because of previous errors.\r\n")
            _ = try queuing("MULTI")
            #expect(try queuing("GET", "k") == "+QUEUED\r\n")
            #expect(try queuing("EXEC") == "*1\r\n$1\r\nv\r\n")
            #expect(store.journalStatus?.pendingBytes == pending)
            disk.heal()
            try await eventually("writes are accepted") { try client("SET", "k", "w") == "+OK\r\n" }
        }
        try await store.close()
    }

    /// A pipeline of writes, also in a transaction, stops where the disk cannot follow, loses nothing, and goes on.
    @Test(arguments: [false, true]) func aDiskThatHangsStopsItsWriters(_ isTransaction: Bool) async throws {
        let disk = SimulatedFolder()
        let store = try await Self.open(disk, maximumPending: 1000)
        disk.stall()
        defer { disk.goOn() }
        _ = try await store(.set(Key(raw: "first"), "v"))
        try await eventually("the disk is given something") { store.journalStatus?.pendingBytes == 0 }
        try await ServedStore.with(store) { served in
            let (writer, reader) = (try served.connect(), try served.connect())
            var pipeline = CommandWriter()
            for number in 0..<500 {
                if isTransaction { pipeline.command(["MULTI"]) }
                pipeline.command(["RPUSH", "list", Bytes("\(number)")])
                if isTransaction { pipeline.command(["EXEC"]) }
            }
            writer.send(pipeline.buffer)
            try await eventually("there is no room") { (store.journalStatus?.pendingBytes ?? 0) > 1000 }
            #expect(try reader("GET", "first") == "$1\r\nv\r\n")
            let count = try await store(.llen(Key(raw: "list")))
            let late = try served.connect()
            late.send(["SET", "late", "v"])
            #expect(try reader("EXISTS", "late") == ":0\r\n")
            #expect(try await store(.llen(Key(raw: "list"))) == count && count < 100)
            #expect((store.journalStatus?.pendingBytes ?? 0) < 1200)
            disk.goOn()
            for number in 1...500 {
                let replies = isTransaction ? ["+OK\r\n", "+QUEUED\r\n", "*1\r\n:\(number)\r\n"] : [":\(number)\r\n"]
                for reply in replies { #expect(try await writer.eventualReply() == Array(reply.utf8)) }
            }
            #expect(try await late.eventualReply() == Array("+OK\r\n".utf8))
        }
        try await store.close()
        let again = try await Self.open(disk.afterPowerFailure(seed: 1))
        #expect(try await again(.lrange(Key(raw: "list"), 0, -1)) == (0..<500).map { Bytes("\($0)") })
        try await again.close()
    }

    /// Its end comes while a client waits: nobody answers it, and the server ends.
    @Test func aServerWhoseDiskHangsEnds() async throws {
        let disk = SimulatedFolder()
        let store = try await Self.open(disk, maximumPending: 0)
        disk.stall()
        _ = try await store(.set(Key(raw: "first"), "v"))
        try await eventually("the disk is given something") { store.journalStatus?.pendingBytes == 0 }
        try await ServedStore.with(store) { served in
            let client = try served.connect()
            client.send(["SET", "k", "v"])
            client.send(["SET", "k", "w"])
            #expect(try client.reply() == Array("+OK\r\n".utf8))
        }
        disk.goOn()
        try await store.close()
        #expect(try await store(.get(Key(raw: "k"))) == "v")
    }
}
