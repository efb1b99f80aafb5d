import HoldfastTesting
import Testing

@testable import HoldfastStore

/// A folder whose calls hang until the test lets them go on.
private final class HangingFolder: Sendable {
    private struct State {
        var hangs = false
        var calls = 0
        var held: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Locked(State())
    let inner: EmbeddedStore

    init(_ time: ManualTime) { inner = EmbeddedStore(time: time) }

    var store: InterceptedStore {
        InterceptedStore(inner) { _ in
            await withCheckedContinuation { continuation in
                let goesOn = self.state.withLock { state in
                    state.calls += 1
                    if state.hangs { state.held.append(continuation) }
                    return !state.hangs
                }
                if goesOn { continuation.resume() }
            }
        }
    }

    /// How many calls have come since it hangs.
    var calls: Int { state.withLock { $0.calls } }

    func hang() {
        state.withLock {
            $0.hangs = true
            $0.calls = 0
        }
    }

    func goOn() {
        let held = state.withLock { state in
            defer { state.held = [] }
            state.hangs = false
            return state.held
        }
        for call in held { call.resume() }
    }
}

/// What a folder that hangs costs, and what callers are told of whom it keeps waiting.
@Suite struct OutboxWritingTests {
    private let f = Counter()
    private let folder: HangingFolder

    init() { folder = HangingFolder(f.time) }

    private func item(_ text: String, named name: Bytes = "k") -> Outbox.Item {
        Outbox.Item("test.set@1", keys: [Key(raw: name)], arguments: [Bytes(text)], named: name)
    }

    /// A caller whose deadline has come: what it has begun goes on without it.
    private func leaving<Output: Sendable>(
        _ call: @Sendable () async throws(StoreError) -> Output
    ) async -> StoreError? {
        do throws(StoreError) {
            _ = try await CallContext(deadline: f.time.uptime).run(call)
            return nil
        } catch {
            return error
        }
    }

    private func found() async throws -> [OutboxEntry] {
        let outbox = f.outbox(keptIn: folder.inner)
        try await outbox.load(into: EmbeddedStore(time: f.time))
        return outbox.entries()
    }

    /// However often an entry is changed while the folder hangs, one state of it is on its way there, and then its last.
    @Test func manyChangesOfOneEntryAreTwoWrites() async throws {
        let outbox = f.outbox(keptIn: folder.store)
        folder.hang()
        for number in 0..<1000 {
            #expect(await leaving { () throws(StoreError) in try await outbox.add(item("\(number)")) }?.code == .deadlineExceeded)
            if number == 0 { try await eventually("it is being written") { folder.calls > 0 } }
        }
        #expect(outbox.isEmpty && outbox.status.bytes < 1000)
        folder.goOn()
        try await eventually("it is kept as it is") { (try? await found().map(\.arguments)) == [["999"]] }
        #expect(outbox.entries().map(\.arguments) == [["999"]])
        #expect(folder.calls == 2)
        try await outbox.replay(on: f.server)
        #expect(try await f.truth(.get(Key(raw: "k"))) == "999")
    }

    /// Each caller waits for a write that holds its own state.
    @Test func whoComesDuringAWriteWaitsForTheNext() async throws {
        let outbox = f.outbox(keptIn: folder.store)
        let told = Locked<[String]>([])
        func add(_ text: String) -> Task<Void, any Error> {
            Task {
                try await outbox.add(item(text))
                #expect(try await found().map(\.arguments) != [["1"]] || text == "1")
                told.withLock { $0.append(text) }
            }
        }
        folder.hang()
        let first = add("1")
        try await eventually("it is being written") { folder.calls == 1 }
        let later = [add("2"), add("3")]
        try await eventually("its place is taken") { outbox.state.withLock { $0.revision } == 3 }
        #expect(told.withLock { $0.isEmpty } && folder.calls == 1)
        folder.goOn()
        for caller in [first] + later { try await caller.value }
        #expect(folder.calls == 2 && told.withLock { $0.count } == 3)
        #expect(try await found().map(\.arguments) == outbox.entries().map(\.arguments))
    }

    /// What is taken back while it is written needs its room until that has ended.
    @Test func whatIsTakenBackFromAHangingFolderCounts() async throws {
        let outbox = f.outbox(keptIn: folder.store, .init(maximumEntries: 3))
        folder.hang()
        var codes: [ErrorCode?] = []
        for number in 0..<10 {
            let name = Bytes("\(number)")
            codes.append(await leaving { () throws(StoreError) in try await outbox.add(item("v", named: name)) }?.code)
            _ = await leaving { () throws(StoreError) in try await outbox.withdraw(named: name) { _ in true } }
        }
        #expect(codes == Array(repeating: .deadlineExceeded, count: 3) + Array(repeating: .outboxFull, count: 7))
        folder.goOn()
        try await eventually("there is room") { (try? outbox.checkRoom()) != nil && !outbox.owesItsFolder }
        #expect(try await found().isEmpty && outbox.isEmpty)
        for number in 0..<3 { try await outbox.add(item("v", named: Bytes("\(number)"))) }
        #expect(outbox.status.backlog == 3)
    }

    /// However many wait until the folder is told, one at a time tells it and one is to do so next.
    @Test func manyWhoTellTheFolderAreTwoRuns() async throws {
        let outbox = f.outbox(keptIn: folder.store)
        for number in 0..<200 { try await outbox.add(item("v", named: Bytes("\(number)"))) }
        folder.hang()
        for number in 0..<200 {
            let name = Bytes("\(number)")
            #expect(
                await leaving { () throws(StoreError) in try await outbox.withdraw(named: name) { _ in true } }?.code
                    == .deadlineExceeded)
        }
        try await eventually("it is being told") { folder.calls > 0 }
        let last = Task { try await outbox.settleFolder() }
        folder.goOn()
        try await last.value
        #expect(try await found().isEmpty && !outbox.owesItsFolder)
        #expect(folder.calls <= 2)
    }
}

@Suite struct SharedRunsTests {
    @Test func allWhoAskDuringARunShareTheNext() {
        var runs = SharedRuns()
        let promises = (0..<1000).map { _ in Promise<Void>() }
        var begun = promises[..<1].map { runs.ask($0) } + [runs.begin()]
        begun += promises[1...].map { runs.ask($0) }
        #expect(begun == [true, true] + Array(repeating: false, count: 999), "one begins, and the others wait")
        for promise in promises[500...] { runs.leave(promise) }
        let (first, follows, second, more) = (runs.end().count, runs.begin(), runs.end().count, runs.begin())
        #expect(first == 1 && follows && second == 499 && !more)
        let asked = runs.ask(nil)
        #expect(asked, "somebody has to begin again")
    }

    /// Whoever has left is not waited for, and what it has asked for is done.
    @Test func whatWasAskedForIsDoneWithoutWhoAsked() {
        var runs = SharedRuns()
        let promise = Promise<Void>()
        _ = runs.ask(promise)
        runs.leave(promise)
        let (isRun, told, more) = (runs.begin(), runs.end().count, runs.begin())
        #expect(isRun && told == 0 && !more)
    }
}
