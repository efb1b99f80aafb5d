import Foundation
import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// One of 1,000 concurrent callers gives up at random, again and again: cancelled, or out of time while the server holds its breath.
///
/// Ordinarily a hundred times; `HOLDFAST_SOAK_SECONDS=60 swift test --filter AbandonedCallLoadTests` goes on for a minute.
@Suite struct AbandonedCallLoadTests {
    private static let callers = 1000

    @Test func whoGivesUpDisturbsNobody() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)).patient)
        let connection = try await store(.raw("CLIENT", "ID"))
        let load = EchoLoad(store)
        let callers = (0..<Self.callers).map { number in Task { await load.call(number) } }
        try await eventually("they are at it") { load.answered > Self.callers }

        let seconds = ProcessInfo.processInfo.environment["HOLDFAST_SOAK_SECONDS"].flatMap(Double.init)
        let end = seconds.map { ContinuousClock.now + .seconds($0) }
        var (hunts, timeouts) = (0, 0)
        while end.map({ ContinuousClock.now < $0 }) ?? (hunts < 100) {
            hunts += 1
            let isPaused = hunts % 10 == 0
            if isPaused { server.pause() }
            load.cancel(Int.random(in: 0..<Self.callers))
            if isPaused {
                let error = await outOfTime(store)
                #expect(error?.code == .deadlineExceeded)
                timeouts += error == nil ? 0 : 1
                server.resume()
            }
            try await Task.sleep(for: .microseconds(Int.random(in: 0...2000)))
        }

        load.stop()
        for caller in callers { await caller.value }
        #expect(load.faults.isEmpty, "\(load.faults.prefix(10))")
        #expect(timeouts == hunts / 10)
        #expect(load.cancelled > 0 && load.answered > Self.callers)
        #expect(try await store(.raw("CLIENT", "ID")) == connection, "the same connection")
        try await eventually("every late reply has been dropped") { store.outstanding == 0 }
        if seconds != nil {
            print("answered \(load.answered), cancelled \(load.cancelled), out of time \(timeouts), faults \(load.faults.count)")
        }
        await store.shutdown()
    }

    /// A call while the server does not answer, with little time.
    private func outOfTime(_ store: RedisStore) async -> StoreError? {
        let context = CallContext(deadline: SystemTime().uptime + .microseconds(Int.random(in: 1...5000)))
        do throws(StoreError) {
            try await context.run { () async throws(StoreError) in _ = try await store(.raw("ECHO", "late")) }
            return nil
        } catch {
            return error
        }
    }
}

/// Callers that have words of their own sent back.
private final class EchoLoad: Sendable {
    private struct State {
        /// The call that each caller waits for.
        var calls: [Int: Task<Reply, any Error>] = [:]
        /// Whose present call was cancelled.
        var victims: Set<Int> = []
        var (answered, cancelled) = (0, 0)
        var faults: [String] = []
        var isStopped = false
    }

    private let store: RedisStore
    private let state = Locked(State())

    init(_ store: RedisStore) { self.store = store }

    var answered: Int { state.withLock { $0.answered } }
    var cancelled: Int { state.withLock { $0.cancelled } }
    var faults: [String] { state.withLock { $0.faults } }

    func stop() { state.withLock { $0.isStopped = true } }

    /// Cancels the call that a caller waits for, if any.
    func cancel(_ number: Int) {
        let call = state.withLock { state -> Task<Reply, any Error>? in
            guard let call = state.calls[number] else { return nil }
            state.victims.insert(number)
            return call
        }
        call?.cancel()
    }

    func call(_ number: Int) async {
        var round = 0
        while !state.withLock({ $0.isStopped }) {
            let word = Bytes("\(number)-\(round)")
            let call = Task { [store] in try await store(.raw("ECHO", word)) }
            state.withLock { $0.calls[number] = call }
            let result = await call.result
            state.withLock { state in
                state.calls[number] = nil
                let wasVictim = state.victims.remove(number) != nil
                switch result {
                case .success(let reply):
                    state.answered += 1
                    if reply.bytes != word { state.faults.append("\(word) was answered \(reply)") }
                case .failure(let error):
                    if wasVictim, (error as? StoreError)?.code == .cancelled {
                        state.cancelled += 1
                    } else {
                        state.faults.append("\(word) failed: \(error)")
                    }
                }
            }
            round += 1
        }
    }
}
