import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// Processes on one server, each with a line of its own that can be cut.
struct SessionFleet {
    let time = ManualTime()
    let server: EmbeddedStore

    init() { server = EmbeddedStore(time: time) }

    func process(outbox: Outbox? = nil, time: ManualTime? = nil) -> SessionProcess {
        SessionProcess(time: time ?? self.time, server: server, outbox: outbox)
    }
}

struct SessionProcess {
    let time: ManualTime
    /// The server behind the line, and the store in this process.
    let remote: HookedStore
    let local: HookedStore
    let line: FaultyStore
    let failover: Failover
    let sessions: Sessions

    init(time: ManualTime, server: EmbeddedStore, outbox: Outbox?) {
        self.time = time
        remote = HookedStore(server)
        local = HookedStore(EmbeddedStore(time: time))
        line = FaultyStore(remote)
        failover = Failover(
            server: line, local: local, outbox: outbox,
            configuration: .init(thresholds: .init(failures: 2, successes: 1)), time: time)
        sessions = Sessions(
            failover: failover, configuration: .init(idleTTL: .seconds(600), absoluteTTL: .seconds(86_400), touchInterval: .zero))
    }

    /// The server's next call fails once.
    func missOnce() { line.fail(call: line.calls + 1, with: StoreError(.connectionLost)) }

    func cut() async {
        line.fail(with: StoreError(.connectionFailed))
        await failover.start()
        #expect(failover.localSince != nil)
    }

    func mend() async {
        line.recover()
        let failover = failover
        let watch = Task { await failover.run() }
        #expect(await time.advanceUntil(by: .milliseconds(100)) { failover.localSince == nil })
        watch.cancel()
        await watch.value
        #expect(failover.outbox.isEmpty && failover.outbox.status.deadLetters == 0)
    }
}

func failure(_ body: () async throws -> some Any) async -> StoreError? {
    do {
        _ = try await body()
        return nil
    } catch { return error as? StoreError }
}

func code(_ body: () async throws -> some Any) async -> ErrorCode? { await failure(body)?.code }

/// As a careful caller does: again, while the outcome may be either.
@discardableResult
func carefully<Output>(_ body: () async throws -> Output) async throws -> Output {
    for _ in 0..<3 {
        do { return try await body() } catch let error as StoreError {
            guard error.isOutage || error.effect == .unknown else { throw error }
        }
    }
    return try await body()
}
