import HoldfastTesting
import Testing

@testable import HoldfastStore

/// A call in a task of its own, and how it has ended.
private final class Caller: Sendable {
    private let outcome = Locked<Result<Void, StoreError>?>(nil)
    private let task = Locked<Task<Void, Never>?>(nil)

    /// - Parameter deadline: on the clock of the test.
    init(deadline: Duration? = nil, _ call: @escaping @Sendable () async throws(StoreError) -> Void) {
        let task = Task {
            do throws(StoreError) {
                try await CallContext(deadline: deadline).run(call)
                outcome.withLock { $0 = .success(()) }
            } catch {
                outcome.withLock { $0 = .failure(error) }
            }
        }
        self.task.withLock { $0 = task }
    }

    var hasEnded: Bool { outcome.withLock { $0 != nil } }
    var error: StoreError? {
        guard case .failure(let error) = outcome.withLock({ $0 }) else { return nil }
        return error
    }

    func cancel() { task.withLock { $0 }?.cancel() }
}

/// A disk that takes its time: nobody waits for it beyond a deadline or a cancellation, and what was begun goes on.
@Suite struct StallTests {
    enum End: CaseIterable, Sendable { case deadline, cancellation }

    private let f = Counter()
    private var time: ManualTime { f.time }

    /// Lets a caller wait until it has to leave.
    private func leave(_ end: End, _ caller: Caller) async throws {
        switch end {
        case .deadline:
            try await eventually("the caller waits") { time.sleeperCount > 0 }
            #expect(!caller.hasEnded)
            time.advance(by: .milliseconds(500))
        case .cancellation: caller.cancel()
        }
        try await eventually("the caller is told") { caller.hasEnded }
        #expect(caller.error?.code == (end == .deadline ? .deadlineExceeded : .cancelled))
        #expect(caller.error?.effect == .unknown)
    }

    @Test(arguments: End.allCases) func aWriterLeavesAndItsChangeIsKept(_ end: End) async throws {
        let disk = SimulatedFolder()
        let store = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always), time: time)
        disk.stall()
        let caller = Caller(deadline: time.uptime + .milliseconds(500)) { () throws(StoreError) in
            _ = try await store(.set(Key(raw: "k"), "v"))
        }
        defer { disk.goOn() }
        try await eventually("it is done in memory") { store.contents.items.count == 1 }
        try await leave(end, caller)
        disk.goOn()
        try await store.sync()
        let again = try await EmbeddedStore.open(in: disk.afterPowerFailure(seed: 1))
        #expect(try await again(.get(Key(raw: "k"))) == "v")
        for store in [store, again] { try await store.close() }
    }

    /// Who has left has not made room: those who come later wait before they change anything, so that memory is bounded.
    @Test func writersWaitForRoomBeforeTheyWrite() async throws {
        let disk = SimulatedFolder()
        let store = try await EmbeddedStore.open(
            in: disk, journal: JournalConfiguration(sync: .everysec, maximumPending: 1000), time: time)
        disk.stall()
        defer { disk.goOn() }
        _ = try await store(.set(Key(raw: "first"), "v"))
        try await eventually("the disk is given something") { store.journalStatus?.pendingBytes == 0 }
        let written = Locked(0)
        let writer = Caller { () throws(StoreError) in
            for number in 0..<500 {
                _ = try await store(.set(Key(raw: Bytes("\(number)")), "v"))
                written.withLock { $0 += 1 }
            }
        }
        try await eventually("there is no room") { (store.journalStatus?.pendingBytes ?? 0) > 1000 }
        let (count, pending) = (written.withLock { $0 }, store.journalStatus?.pendingBytes ?? 0)
        #expect(count < 200 && pending < 1100)
        let late = Caller(deadline: time.uptime + .milliseconds(500)) { () throws(StoreError) in
            _ = try await store(.set(Key(raw: "late"), "v"))
        }
        try await eventually("the caller waits") { time.sleeperCount > 0 }
        time.advance(by: .milliseconds(500))
        try await eventually("the caller is told") { late.hasEnded }
        #expect(late.error == StoreError(.deadlineExceeded))
        #expect(try await store(.get(Key(raw: "late"))) == nil, "reads do not wait")
        #expect(store.journalStatus?.pendingBytes == pending)
        disk.goOn()
        try await eventually("all is written") { writer.hasEnded }
        #expect(writer.error == nil && written.withLock { $0 } == 500)
        try await store.close()
    }

    /// What was decided here is told to the server, also where nobody waits any more to hear that it will be.
    @Test(arguments: End.allCases) func whatIsKeptForTheServerIsKeptWithoutItsCaller(_ end: End) async throws {
        let disk = SimulatedFolder()
        let folder = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always), time: time)
        let outbox = f.outbox(keptIn: folder)
        disk.stall()
        defer { disk.goOn() }
        let caller = Caller(deadline: time.uptime + .milliseconds(500)) { () throws(StoreError) in
            try await outbox.add(Counter.item("0"))
        }
        try await eventually("it is done in memory") { folder.contents.items.count == 1 }
        try await leave(end, caller)
        #expect(outbox.isEmpty, "it may not be on the disk")
        disk.goOn()
        try await eventually("it is kept") { !outbox.isEmpty }
        let successor = f.outbox(keptIn: try await EmbeddedStore.open(in: disk.afterPowerFailure(seed: 1)))
        try await successor.load(into: EmbeddedStore(time: time))
        #expect(successor.entries().map(\.arguments) == [["0"]])
        try await outbox.replay(on: f.server)
        #expect(try await f.list() == ["0"])
        try await outbox.settleFolder()
        #expect(try await folder(.hlen(Outbox.entriesKey)) == 0)
        try await folder.close()
    }

    /// A folder that hangs while it is to be told what it missed: the server is watched all the same, and what waits goes there.
    @Test func theServerIsWatchedWhileTheFolderHangs() async throws {
        let calls = Locked(0)
        let (held, release) = AsyncStream<Void>.makeStream()
        let kept = InterceptedStore(EmbeddedStore(time: time)) { _ throws(StoreError) in
            let call = calls.withLock { calls in
                calls += 1
                return calls
            }
            switch call {
            case 1: break
            case 2, 3: throw StoreError(.storageFailed, effect: .unknown)
            default: for await _ in held {}
            }
        }
        let outbox = f.outbox(keptIn: kept)
        let failover = Failover(server: f.server, local: EmbeddedStore(time: time), outbox: outbox, time: time)
        try await outbox.add(Counter.item("0"))
        await #expect(throws: StoreError.self) { try await outbox.add(Counter.item("1")) }
        #expect(outbox.owesItsFolder && calls.withLock { $0 } == 3)
        let watch = Task { await failover.run() }
        func probes() -> Int { failover.statistics.probes }
        try await eventually("it is watched, and what waits is handed over") {
            if time.sleeperCount > 0 { time.advance(by: .milliseconds(100)) }
            return probes() > 3 && outbox.isEmpty
        }
        #expect(calls.withLock { $0 } == 4 && outbox.owesItsFolder, "the folder hangs")
        release.finish()
        try await eventually("the folder is told") { !outbox.owesItsFolder }
        watch.cancel()
        await watch.value
    }

    /// What is decided about a dead letter goes on without its caller too.
    @Test(arguments: End.allCases) func serialWorkGoesOnWithoutItsCallers(_ end: End) async throws {
        let work = SerialWork(time: time)
        let (held, release) = AsyncStream<Void>.makeStream()
        let done = Locked<[Int]>([])
        let first = Caller { () throws(StoreError) in
            try await work.perform { () throws(StoreError) in
                for await _ in held {}
                done.withLock { $0.append(1) }
            }
        }
        try await eventually("it has begun") { work.count == 1 }
        let second = Caller(deadline: time.uptime + .milliseconds(500)) { () throws(StoreError) in
            try await work.perform { () throws(StoreError) in done.withLock { $0.append(2) } }
        }
        try await eventually("it is given") { work.count == 2 }
        try await leave(end, second)
        release.finish()
        try await eventually("both are done") { work.count == 0 }
        #expect(done.withLock { $0 } == [1, 2] && first.error == nil)
    }
}
