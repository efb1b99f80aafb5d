import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// Whoever reads a user's index removes entries without a session, while another process brings the session of one.
@Suite struct SessionIndexTests {
    private let fleet = SessionFleet()

    enum Reader: CaseIterable {
        case list, count, cleanup

        func read(_ sessions: Sessions) async throws {
            switch self {
            case .list: _ = try await sessions.list(userID: "u")
            case .count: _ = try await sessions.count(userID: "u")
            case .cleanup: _ = try await sessions.cleanup()
            }
        }
    }

    /// Made by a process that is cut off, whose hand-over has come to the index and not to the session yet.
    private func halfBrought(by maker: SessionProcess) async throws -> SessionID {
        await maker.cut()
        let id = try await maker.sessions.create(userID: "u").id
        let half = FaultyStore(fleet.server)
        half.fail(call: 2, with: StoreError(.connectionLost))
        #expect(await code { try await maker.failover.outbox.replay(on: half) } == .connectionLost)
        #expect(try await fleet.server(.zcard(maker.sessions.keys.index(of: "u"))) == 1)
        return id
    }

    /// It comes between the reader's question and its removal, and finds its entry there still. Behind the removal, a revocation finds none.
    @Test(arguments: Reader.allCases, [false, true])
    func whatComesBesideAReaderIsAmongItsUsers(_ reader: Reader, isRevoked: Bool) async throws {
        let (maker, reading, other) = (fleet.process(), fleet.process(), fleet.process())
        let id = try await halfBrought(by: maker)
        let (server, time) = (fleet.server, fleet.time)
        reading.remote.hook(before: "ZREM") {
            try await maker.failover.outbox.replay(on: server)
            #expect(maker.failover.outbox.isEmpty)
            guard isRevoked else { return }
            reading.remote.hook(after: "ZREM") { () async throws in
                time.advance(by: .seconds(1))
                #expect(try await other.sessions.revokeAll(userID: "u").value == 0)
            }
        }
        try await reader.read(reading.sessions)
        await maker.mend()
        #expect(try await other.sessions.list(userID: "u").sessions.map(\.id) == (isRevoked ? [] : [id]))
        #expect(try await other.sessions.revokeAll(userID: "u").value == (isRevoked ? 0 : 1))
        for process in [maker, reading, other] { #expect(try await process.sessions.get(id).value == nil) }
    }
}
