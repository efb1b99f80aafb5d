import Holdfast
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

/// What an operation with a name promises, on every kind of store.
@Suite struct OnceConformanceTests {
    private func state(_ backend: Backend) async throws -> AgentState {
        AgentState(failover: Failover(local: try await backend.store()), namespace: backend.namespace())
    }

    /// Runs the same work eight times at once, then once more, and answers the different results.
    private func repeated<Result: Hashable & Sendable>(
        _ work: @escaping @Sendable (OperationID) async throws -> Result
    ) async throws -> Set<Result> {
        let operation = OperationID.random()
        var results = try await withThrowingTaskGroup(of: Result.self) { group in
            for _ in 0..<8 { group.addTask { try await work(operation) } }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        results.insert(try await work(operation))
        return results
    }

    @Test(arguments: Backend.available)
    func sessionsAreCreatedChangedAndRotatedOnce(_ backend: Backend) async throws {
        let sessions = try await state(backend).sessions
        let ids = try await repeated { try await sessions.create(userID: "u", kind: .conversation, once: $0).id }
        let id = try #require(ids.first)
        #expect(ids.count == 1)
        #expect(try await sessions.count(userID: "u").value == 1)
        _ = try await repeated {
            try await sessions.append([NewSessionMessage(role: "user", content: "hi")], to: id, once: $0).messages.count
        }
        _ = try await repeated { try await sessions.extend(id, by: .seconds(7000), once: $0).version }
        let changed = try #require(try await sessions.get(id).value)
        #expect(changed.messages.count == 1 && changed.version == 3)
        let rotated = try await repeated { try await sessions.rotate(id, once: $0).id }
        #expect(rotated.count == 1 && rotated != ids)
        #expect(try await sessions.get(id).value == nil)
        let listed = try await sessions.list(userID: "u").sessions
        #expect(listed.map(\.id) == Array(rotated) && listed.first?.messages.count == 1)
    }

    @Test(arguments: Backend.available)
    func aSessionThatWasEndedIsNotBroughtBackByARepetition(_ backend: Backend) async throws {
        let sessions = try await state(backend).sessions
        let operation = OperationID.random()
        let id = try await sessions.create(userID: "u", once: operation).id
        try await sessions.delete(id)
        let error = await #expect(throws: StoreError.self) { try await sessions.create(userID: "u", once: operation) }
        #expect(error?.code == .conflict)
        let other = try await sessions.create(userID: "u").id
        let rotation = OperationID.random()
        let rotated = try await sessions.rotate(other, once: rotation).id
        try await sessions.delete(rotated)
        let gone = await #expect(throws: StoreError.self) { try await sessions.rotate(other, once: rotation) }
        #expect(gone?.code == .notFound)
        #expect(try await sessions.count(userID: "u").value == 0)
    }

    @Test(arguments: Backend.available, RateLimit.Algorithm.allCases)
    func aCallIsChargedOnce(_ backend: Backend, _ algorithm: RateLimit.Algorithm) async throws {
        let limits = try await state(backend).limits
        // So long a window that nothing comes back while the test runs.
        let rules = [
            RateLimit("a", algorithm, limit: 10, per: .seconds(34_000_000)),
            RateLimit("b", .fixedWindow, limit: 1000, per: .seconds(34_000_000)),
        ]
        let charges = rules.map { RateLimitCharge($0, for: .user("u"), cost: 3) }
        func used() async throws -> [Int] { try await limits.peek(charges).rules.map(\.used) }
        let decisions = try await repeated { try await limits.check(charges, once: $0).remaining }
        #expect(decisions == [7])
        #expect(try await used() == [3, 3])
        _ = try await repeated { try await limits.record(charges, once: $0).remaining }
        #expect(try await used() == [6, 6])
        _ = try await repeated { try await limits.refund(charges, once: $0).remaining }
        #expect(try await used() == [3, 3])
        // A denial leaves nothing behind: the same operation is decided anew.
        let operation = OperationID.random()
        let large = rules.map { RateLimitCharge($0, for: .user("u"), cost: 8) }
        #expect(try await !limits.check(large, once: operation).isAllowed)
        try await limits.reset(charges)
        #expect(try await limits.check(large, once: operation).isAllowed)
        #expect(try await limits.check(large, once: operation).isAllowed)
        #expect(try await used() == [8, 8])
    }
}
