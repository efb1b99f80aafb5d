import HoldfastStore

/// What is known about a call before it is sent.
struct Errand {
    /// Nil where any node does.
    var slot: Int?
    /// Whether a replica may answer it.
    var isRead = false
    var isIdempotent: Bool
    /// Whether the answer is a script's of the caller's (``HoldfastStore/Operation/runsScript``).
    var runsScript = false
    /// Where to go first.
    var target = Journey.Target.owner
}

extension Cluster {
    /// Sends something to the node that serves its slot, and on to where that one says (see ``Journey``).
    ///
    /// - Parameters:
    ///   - refusal: the error line of an answer by which the whole was refused.
    ///   - trip: one attempt. Told to ask, it puts ASKING in front.
    func travel<Output: Sendable>(
        _ errand: Errand, refusal: (Output) -> ReplyError?,
        _ trip: (_ link: Link, _ asks: Bool) async -> Result<Output, StoreError>
    ) async -> Result<Output, StoreError> {
        var history = AttemptHistory()
        return await travel(errand, &history, refusal: refusal, trip)
    }

    /// - Parameter history: of the call that this is a part of; what happens on the way is added.
    func travel<Output: Sendable>(
        _ errand: Errand, _ history: inout AttemptHistory, refusal: (Output) -> ReplyError?,
        _ trip: (_ link: Link, _ asks: Bool) async -> Result<Output, StoreError>
    ) async -> Result<Output, StoreError> {
        var journey = journey(isIdempotent: errand.isIdempotent, after: history)
        defer { history = journey.history }
        var target = errand.target
        if !hasMap(), case .failure(let error) = await refresh() { return .failure(journey.end(with: error)) }
        while true {
            guard !Task.isCancelled else { return .failure(journey.end(with: StoreError(.cancelled))) }
            var result: Result<Output, StoreError>
            let step: Journey.Step
            if let link = link(to: target, slot: errand.slot, isRead: errand.isRead) {
                result = await trip(link, target.asks)
                switch result {
                case .success(let output):
                    guard let error = refusal(output) else { return result }
                    if let known = journey.end(with: error) { result = .failure(known) }
                    guard
                        let redirection = await redirection(
                            error, errand.slot, runsScript: errand.runsScript, from: target, at: link.node)
                    else { return result }
                    if redirection == .wait { avoid(link) }
                    step = next(&journey, after: redirection)
                case .failure(let error):
                    if error.isServerFailure { avoid(link) }
                    step = next(&journey, after: error)
                }
            } else {
                result = .failure(Self.unserved(errand.slot))
                step = next(&journey, after: .wait)
            }
            guard case .go(let next, let pause, let refresh) = step else { return result.mapError(journey.end) }
            if let obstacle = await prepare(pause, refresh) {
                // That no node can be asked says less than what the last one said.
                return obstacle.isOutage ? result.mapError(journey.end) : .failure(journey.end(with: obstacle))
            }
            target = next
        }
    }

    /// Where an error line sends a call. That of a script, which may have done its work and answer anything, is only followed to where the
    /// slot table of the node that answered leads, or to a node that this one knows: never to an address that it names by itself. Nor from a node
    /// that was only asked: a script that sends itself round would be carried out again and again.
    func redirection(
        _ error: ReplyError, _ slot: Int?, runsScript: Bool, from target: Journey.Target, at node: Node
    ) async -> Redirection? {
        guard let redirection = Redirection(error, host: node.host) else { return nil }
        guard runsScript else { return redirection }
        guard redirection != .wait, !target.asks, case .success(let map) = await slots(of: node) else { return nil }
        if case .ask(let next) = redirection {
            // A new node has no slots before its first has arrived, and the table is of slots.
            if map.nodes.contains(next) { return redirection }
            return await members(by: node).contains(next) ? redirection : nil
        }
        guard let slot, let shard = map.shard(ofSlot: slot), map.shards[shard].primary != node else { return nil }
        return .moved(slot: slot, map.shards[shard].primary)
    }

    func journey(isIdempotent: Bool, after history: AttemptHistory = AttemptHistory()) -> Journey {
        var deadline = Uptime.nanoseconds &+ UInt64(configuration.commandTimeout.clampedNanoseconds)
        if let callers = Uptime.callersDeadline { deadline = min(deadline, callers) }
        return Journey(deadline: deadline, isIdempotent: isIdempotent, retries: configuration.retriesOnTimeout, after: history)
    }

    func next(_ journey: inout Journey, after redirection: Redirection) -> Journey.Step {
        if case .moved(let slot, let node) = redirection { move(slot: slot, to: node) }
        if redirection != .wait { isSentElsewhere() }
        return journey.next(after: redirection, now: Uptime.nanoseconds)
    }

    func next(_ journey: inout Journey, after error: StoreError) -> Journey.Step {
        // Also where this call ends: perhaps another node has taken the silent one's slots over.
        if error.code == .timeout { refreshLater() }
        return journey.next(after: error, now: Uptime.nanoseconds)
    }

    /// Does what has to be done before the next attempt.
    ///
    /// - Returns: why there is none: the caller has gone, or no node can be asked.
    func prepare(_ pause: Duration, _ refresh: Journey.Refresh) async -> StoreError? {
        if pause > .zero, (try? await Task.sleep(for: pause)) == nil { return StoreError(.cancelled) }
        switch refresh {
        case .none: return nil
        case .later:
            refreshLater()
            return nil
        case .first:
            guard case .failure(let error) = await self.refresh() else { return nil }
            return error
        }
    }

    static func unserved(_ slot: Int?) -> StoreError {
        StoreError(
            .serverBusy, slot.map { "No node of the cluster serves slot \($0)" } ?? "No node of the cluster serves anything")
    }
}

extension Journey.Target {
    var asks: Bool {
        if case .asking = self { true } else { false }
    }
}

extension Connection {
    /// One command, after ASKING where the slot is on its way to this node.
    func one(asking: Bool, _ encode: (inout CommandWriter) -> Void) async -> Result<Reply, StoreError> {
        guard asking else { return await one(encode) }
        return await many(1, asking: true, encode).map { $0[0] }
    }

    /// Several commands, after ASKING where the slot is on its way to this node.
    func many(_ count: Int, asking: Bool, _ encode: (inout CommandWriter) -> Void) async -> Result<[Reply], StoreError> {
        guard asking else { return await many(count, encode) }
        return await many(count + 1) { writer in
            writer.command(["ASKING"])
            encode(&writer)
        }.map { Array($0.dropFirst()) }
    }
}
