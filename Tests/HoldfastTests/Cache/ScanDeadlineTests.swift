import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// What goes over a whole store in pages ends at its caller's deadline, also where that store lies in this process and looks at no clock.
@Suite struct ScanDeadlineTests {
    private let time = ManualTime()
    private let entries: EmbeddedStore
    /// Each page of a scan takes 50 ms.
    private let store: InterceptedStore

    init() {
        let time = time
        entries = EmbeddedStore(time: time)
        store = InterceptedStore(entries) { call in
            if case .operation(.keys(.scan)) = call { time.advance(by: .milliseconds(50)) }
        }
    }

    private static let count = 3000

    private func fill(_ cache: Cache) async throws {
        for start in stride(from: 0, to: Self.count, by: 500) {
            try await cache.setMany(Dictionary(uniqueKeysWithValues: (start..<start + 500).map { ("\($0)", $0) }))
        }
    }

    private func failure(
        within span: Duration, _ body: () async throws(StoreError) -> some Sendable
    ) async -> StoreError? {
        do throws(StoreError) {
            _ = try await CallContext(deadline: time.uptime + span).run(body)
            return nil
        } catch { return error }
    }

    enum Way: CaseIterable {
        case invalidate, clear

        func callAsFunction(_ cache: Cache) async throws(StoreError) -> Decided<Int> {
            switch self {
            case .invalidate: try await cache.invalidate("*")
            case .clear: try await cache.clear()
            }
        }
    }

    @Test(arguments: Way.allCases) func anInvalidationHereEndsAtItsDeadline(_ way: Way) async throws {
        let line = FaultyStore(EmbeddedStore(time: time))
        let failover = Failover(
            server: line, local: store, configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
        let cache = Cache(failover: failover)
        line.fail(with: StoreError(.connectionFailed))
        await failover.start()
        try await fill(cache)
        let (start, waiting) = (time.uptime, failover.outbox.status.backlog)
        // Late already: nothing is begun.
        var error = await failure(within: .zero) { () throws(StoreError) in try await way(cache) }
        #expect(error?.code == .deadlineExceeded && error?.effect == StoreError.Effect.none)
        #expect(time.uptime == start && failover.outbox.status.backlog == waiting && entries.statistics.keys == Self.count)
        // The first pages are of the leases. It waits for the server all the same.
        error = await failure(within: .milliseconds(200)) { () throws(StoreError) in try await way(cache) }
        #expect(error?.code == .deadlineExceeded && error?.effect == .unknown)
        #expect(time.uptime == start + .milliseconds(200) && entries.statistics.keys == Self.count)
        let decided = try await way(cache)
        #expect(decided.by.isLocal && decided.value == Self.count && entries.statistics.keys == 0)
    }

    /// At each page in turn, until it passes untouched.
    @Test func theEffectIsUnknownOnceSomethingIsRemoved() async throws {
        let cache = Cache(failover: Failover(local: store, time: time))
        var (span, effects) = (Duration.zero, [StoreError.Effect]())
        while true {
            if entries.statistics.keys < Self.count { try await fill(cache) }
            let start = time.uptime
            let error = await failure(within: span) { () throws(StoreError) in try await cache.invalidate("*") }
            guard let error else { break }
            #expect(error.code == .deadlineExceeded && time.uptime == start + span)
            #expect(error.effect == (entries.statistics.keys == Self.count ? StoreError.Effect.none : .unknown))
            effects.append(error.effect)
            span += .milliseconds(50)
        }
        #expect(Set(effects) == [.none, .unknown] && entries.statistics.keys == 0)
    }

    /// The server counts as away when its answer comes, so that what was filled here since must go too, and there is no time for that.
    @Test func whatMustGoHereTooIsNotTakenForDone() async throws {
        let found = Locked<Failover?>(nil)
        let server = InterceptedStore(EmbeddedStore(time: time)) { call in
            guard case .operation(.keys(.scan)) = call, let failover = found.withLock({ $0 }) else { return }
            _ = try? await failover.perform(.fail) { (_, _) async throws(StoreError) in throw StoreError(.connectionFailed) }
        }
        let failover = Failover(
            server: server, local: store, configuration: .init(thresholds: .init(failures: 1, successes: 1)), time: time)
        let cache = Cache(failover: failover)
        found.withLock { $0 = failover }
        let error = await failure(within: .milliseconds(50)) { () throws(StoreError) in try await cache.invalidate("*") }
        #expect(failover.localSince != nil)
        #expect(error?.code == .deadlineExceeded && error?.effect == .unknown)
    }

    @Test func aLogoutOfAllAndACleanUpEndAtTheirDeadlines() async throws {
        let time = time
        let slow = InterceptedStore(entries) { call in
            if case .operation(.sortedSets) = call { time.advance(by: .milliseconds(50)) }
        }
        let sessions = Sessions(failover: Failover(local: slow, time: time))
        for _ in 0..<700 { _ = try await sessions.create(userID: "u") }
        let start = time.uptime
        var error = await failure(within: .milliseconds(150)) { () throws(StoreError) in
            try await sessions.revokeAll(userID: "u")
        }
        #expect(error?.code == .deadlineExceeded && error?.effect == .unknown)
        #expect((.milliseconds(150)...(.milliseconds(200))).contains(time.uptime - start))
        error = await failure(within: .milliseconds(50)) { () throws(StoreError) in try await sessions.count(userID: "u") }
        #expect(error?.code == .deadlineExceeded && error?.effect == StoreError.Effect.none)
        error = await failure(within: .zero) { () throws(StoreError) in try await sessions.cleanup() }
        #expect(error?.code == .deadlineExceeded && error?.effect == StoreError.Effect.none)
    }
}
