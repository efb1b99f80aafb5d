import HoldfastStore
import NIOPosix

/// All the sentinels that are known: those of the configuration and those that these have named.
final class Sentinels: Sendable {
    typealias Node = RedisConfiguration.Node

    private struct State {
        /// Those of the configuration first, which stay.
        var nodes: [Node]
        /// Whose turn it is in ``next()``.
        var turn = 0
    }

    /// What strangers say is not believed without end: who was named first, and is not any more, makes room.
    private static let limit = 64

    let name: String
    /// How to reach one of them: the endpoint is left out of account.
    let configuration: RedisConfiguration
    private let configured: Int
    private let state: Locked<State>

    init(_ sentinel: RedisConfiguration.Sentinel, of configuration: RedisConfiguration) {
        name = sentinel.primary
        var configuration = configuration
        configuration.username = sentinel.username
        configuration.password = sentinel.password
        // Those are the primary's.
        configuration.credentials = nil
        configuration.database = 0
        if !sentinel.usesTLS { configuration.tls = nil }
        self.configuration = configuration
        configured = sentinel.nodes.count
        state = Locked(State(nodes: sentinel.nodes))
    }

    var known: [Node] { state.withLock { $0.nodes } }

    /// One sentinel after the other, for who needs any of them.
    func next() -> Node {
        state.withLock { state in
            state.turn = (state.turn + 1) % state.nodes.count
            return state.nodes[state.turn]
        }
    }

    /// Asks all at once where the primary is.
    ///
    /// - Throws: with effect none: ``ErrorCode/connectionFailed`` where none could be asked, ``ErrorCode/serverRefused`` where none
    ///   lets us in or knows the name.
    func primary() async throws(StoreError) -> Node {
        let inquiry = await Inquiry<SentinelAnswer>.of(known, epoch: \.epoch) { await self.ask($0) }
        if let best = inquiry.best { return best.answer.primary }
        guard let failure = inquiry.failure else { throw StoreError(.connectionFailed, "No sentinel answered in time") }
        // Nothing of the caller's was sent.
        let code: ErrorCode = failure.code == .serverRefused ? .serverRefused : .connectionFailed
        throw StoreError(code, "No sentinel knows the primary; one says: \(failure.message)")
    }

    func learn(_ nodes: [Node]) {
        state.withLock { state in
            for node in nodes where !state.nodes.contains(node) {
                if state.nodes.count >= Self.limit {
                    guard let old = state.nodes.indices.dropFirst(configured).first(where: { !nodes.contains(state.nodes[$0]) })
                    else {
                        return
                    }
                    state.nodes.remove(at: old)
                }
                state.nodes.append(node)
            }
        }
    }

    /// Over a connection of its own, which is short: one that was kept might be dead when it is needed.
    private func ask(_ node: Node) async -> Result<SentinelAnswer, StoreError> {
        do throws(StoreError) {
            let connector = try Connector(configuration, to: .fixed(ServerAddress(node)))
            let connection = Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next())
            defer { connection.closeWithoutWaiting() }
            let questions = SentinelAnswer.questions(about: name)
            let replies = await connection.many(questions.count) { writer in
                for question in questions { writer.command(question) }
            }
            let answer = try SentinelAnswer(try replies.get(), name: name)
            learn(answer.sentinels)
            return .success(answer)
        } catch {
            return .failure(error)
        }
    }
}
