import HoldfastStore
import NIOCore

extension Connection: ConnectionReceiver {
    func received(_ items: inout [RESPItem]) -> StoreError? {
        var answers: [Queue.Answer] = []
        answers.reserveCapacity(items.count)
        let (failure, left) = state.withLock { state -> (StoreError?, (any NIOCore.Channel)?) in
            state.queue.receivedSomething()
            for index in items.indices {
                guard case .reply(let reply) = items[index].take() else { continue }
                do throws(StoreError) {
                    if let answer = try state.queue.receive(reply) { answers.append(answer) }
                } catch {
                    return (error, nil)
                }
            }
            state.servesSeveral = answers.count > 1
            return (nil, state.queue.hasLeft ? state.line?.channel : nil)
        }
        for answer in answers {
            switch answer {
            case .one(.one(let continuation), let reply): continuation.resume(returning: .success(reply))
            case .many(.many(let continuation), let replies): continuation.resume(returning: .success(replies))
            case .one(.nobody, _): break
            case .one(let waiter, _), .many(let waiter, _): waiter.fail(StoreError(.internalError, effect: .unknown))
            }
        }
        if let left { left.close(promise: nil) }
        return failure
    }

    func writabilityChanged(to isWritable: Bool) {
        state.withLock { $0.queue.isWritable = isWritable }
        if isWritable { drain() }
    }

    func closed(_ channel: any NIOCore.Channel, _ error: StoreError, _ identity: ServerSideIdentity?) {
        tellLoss()
        let (abandoned, reconnects) = state.withLock { state -> ([Queue.Abandoned], Bool) in
            // One that came too late was never used.
            guard state.line?.channel === channel else { return ([], false) }
            state.line = nil
            state.statistics.lost += 1
            if state.queue.sentCount > 0 { state.predecessor = identity }
            guard !isExclusive else { return (state.queue.close(Self.exclusiveLoss), false) }
            let abandoned = state.queue.disconnected()
            guard case .connecting = state.queue.phase else { return (abandoned, false) }
            return (abandoned, true)
        }
        if reconnects { connect() }
        for gone in abandoned {
            gone.waiter.fail(
                gone.effect == .none
                    ? StoreError(.connectionLost, "The connection was lost before the command was sent", effect: .none)
                    : StoreError(error.code, error.message, effect: .unknown))
        }
    }

    /// Its state (watched keys, an open transaction) went with it, so it is not made again behind the caller's back.
    static let exclusiveLoss = StoreError(.connectionLost, "The connection for exclusive use was lost", effect: .none)
}
