import HoldfastStore
import NIOPosix
import Synchronization

/// One server, or the primary that sentinels name: the shared connections, and what is sent once more.
final class ServerLink: Sendable {
    let connector: Connector
    private let first: Connection
    private let others: [Connection]
    private let turn = Atomic<Int>(0)
    /// Connections that one caller at a time has for himself.
    let pool: ConnectionPool
    /// Who finds the primary, where sentinels name it.
    private let follower: SentinelFollower?
    private let retries: Bool

    init(_ connector: Connector, follower: SentinelFollower? = nil) {
        self.connector = connector
        first = Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next())
        others = (1..<max(1, connector.configuration.sharedConnections)).map { _ in
            Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next())
        }
        pool = ConnectionPool(connector)
        self.follower = follower
        retries = connector.configuration.retriesOnTimeout
    }

    /// The connection for the next call, for all its attempts: the one of this event loop, where it has one, otherwise each in its turn.
    var connection: Connection { others.isEmpty ? first : next() }

    var connections: [Connection] { [first] + others }

    private func next() -> Connection {
        let connections = connections
        if MultiThreadedEventLoopGroup.currentEventLoop != nil, let own = connections.first(where: \.isOnItsLoop) { return own }
        return connections[Int(UInt(bitPattern: turn.add(1, ordering: .relaxed).newValue) % UInt(connections.count))]
    }

    /// What tasks that prefer the connection's event loop run on.
    var executor: EventLoopExecutor { first.executor }

    /// Leaves the server for another; see ``Connection/renew(isGraceful:)``.
    func renew(isGraceful: Bool) {
        for connection in connections { connection.renew(isGraceful: isGraceful) }
        pool.renew(isGraceful: isGraceful)
    }

    func retryNow() { for connection in connections { connection.retryNow() } }

    /// Whether sentinels say which server it is.
    var isFollowing: Bool { follower != nil }

    func close(finishingWithin grace: Duration = .zero) async {
        follower?.close()
        pool.close()
        await withTaskGroup { group in
            for connection in connections { group.addTask { await connection.close(finishingWithin: grace) } }
        }
    }

    func closeWithoutWaiting() {
        follower?.close()
        pool.close()
        for connection in connections { connection.closeWithoutWaiting() }
    }

    /// - Parameter history: of the call that this is a part of; what happens here is added.
    func send(
        isIdempotent: Bool, _ history: inout AttemptHistory, _ encode: (inout CommandWriter) -> Void
    ) async -> Result<Reply, StoreError> {
        let connection = connection
        return await again(await connection.one(encode), on: connection, isIdempotent: isIdempotent, &history, encode)
    }

    /// Sends a command once more where its first result asks for that: what a demoted primary refused, what was provably not sent, and
    /// what is idempotent.
    ///
    /// - Parameter connection: the one that the first attempt went over. Another one would not wait for it: what the network has kept of the
    ///   first could come after the second, and after calls that were made when that one had its answer.
    func again(
        _ first: Result<Reply, StoreError>, on connection: Connection, isIdempotent: @autoclosure () -> Bool,
        _ encode: (inout CommandWriter) -> Void
    ) async -> Result<Reply, StoreError> {
        var history = AttemptHistory()
        return await again(first, on: connection, isIdempotent: isIdempotent(), &history, encode)
    }

    private func again(
        _ first: Result<Reply, StoreError>, on connection: Connection, isIdempotent: @autoclosure () -> Bool,
        _ history: inout AttemptHistory, _ encode: (inout CommandWriter) -> Void
    ) async -> Result<Reply, StoreError> {
        switch first {
        case .success(let reply):
            guard isDemoted(by: reply) else { return history.end(with: first) }
            follower?.demoted()
        case .failure(let error):
            guard repeats(error, isIdempotent: isIdempotent()) else { return history.end(with: first) }
            history.add(error)
        }
        return history.end(with: await connection.one(encode))
    }

    /// What a demoted primary refused is sent once more, in order, together with what was read behind the first refusal: it saw the old
    /// values.
    func pipeline(_ operations: [Operation]) async throws(StoreError) -> [Reply] {
        let connection = connection
        var history = AttemptHistory()
        var replies = try await sendAll(operations, over: connection, &history).get()
        if follower != nil, let first = replies.indices.first(where: { isRefusal(replies[$0], of: operations[$0]) }) {
            let again = (first..<replies.count).filter { isRefusal(replies[$0], of: operations[$0]) || operations[$0].isRead }
            follower?.demoted()
            switch await sendAll(again.map { operations[$0] }, over: connection, &history) {
            case .success(let later):
                for (place, reply) in zip(again, later) { replies[place] = reply }
            case .failure(let error):
                // That it was refused once is not the truth any more where it may have happened since.
                if error.effect == .unknown { throw error }
            }
        }
        if let error = history.end(with: replies) { throw error }
        return replies
    }

    func transaction(_ operations: [Operation]) async throws(StoreError) -> [Reply] {
        let connection = connection
        var history = AttemptHistory()
        var replies = try await sendTransaction(operations, over: connection, &history).get()
        // Refused while it was queued, it has done nothing.
        if let refusal = TransactionReplies.refusal(replies), isDemoted(by: .error(refusal)) {
            follower?.demoted()
            replies = try await sendTransaction(operations, over: connection, &history).get()
        }
        if let refusal = TransactionReplies.refusal(replies), let error = history.end(with: refusal) { throw error }
        return try TransactionReplies.results(replies, count: operations.count)
    }

    /// Whether the reply says that the primary is none any more. Where no sentinels could tell of another it is the caller's to know.
    func isDemoted(by reply: Reply) -> Bool {
        guard follower != nil, case .error(let error) = reply else { return false }
        return error.prefix == "READONLY"
    }

    /// Whether the server has refused an operation because it is no primary any more. A script may answer that itself, after its work: it is
    /// not taken at its word, and the sentinels are asked in the background.
    func isRefusal(_ reply: Reply, of operation: Operation) -> Bool {
        guard isDemoted(by: reply) else { return false }
        guard operation.runsScript else { return true }
        follower?.suspect()
        return false
    }

    private func sendAll(
        _ operations: [Operation], over connection: Connection, _ history: inout AttemptHistory
    ) async -> Result<[Reply], StoreError> {
        await sendMany(operations.count, over: connection, isIdempotent: operations.areIdempotent, &history) { writer in
            // By index: going over the operations themselves would copy each.
            for index in operations.indices { operations[index].write(to: &writer) }
        }
    }

    private func sendTransaction(
        _ operations: [Operation], over connection: Connection, _ history: inout AttemptHistory
    ) async -> Result<[Reply], StoreError> {
        await sendMany(operations.count + 2, over: connection, isIdempotent: operations.areIdempotent, &history) { writer in
            writer.command(["MULTI"])
            for operation in operations { operation.write(to: &writer) }
            writer.command(["EXEC"])
        }
    }

    /// What the answers mean after what happened before is for the caller to say.
    private func sendMany(
        _ count: Int, over connection: Connection, isIdempotent: @autoclosure () -> Bool, _ history: inout AttemptHistory,
        _ encode: (inout CommandWriter) -> Void
    ) async -> Result<[Reply], StoreError> {
        var result = await connection.many(count, encode)
        if case .failure(let error) = result, repeats(error, isIdempotent: isIdempotent()) {
            history.add(error)
            result = await connection.many(count, encode)
        }
        guard case .failure(let error) = result else { return result }
        return .failure(history.end(with: error))
    }

    /// Whether a call that failed so may be sent once more.
    private func repeats(_ error: StoreError, isIdempotent: @autoclosure () -> Bool) -> Bool {
        if error.code == .timeout { follower?.suspect() }
        guard retries else { return false }
        switch error.code {
        case .connectionLost: return error.effect == .none || isIdempotent()
        // Unsent within its whole time: another wait is not better.
        case .timeout: return error.effect == .unknown && isIdempotent()
        default: return false
        }
    }
}
