import HoldfastStore

extension Cluster {
    /// A transaction, whose keys share a slot.
    func transaction(_ operations: [Operation]) async throws(StoreError) -> [Reply] {
        var slots = Set<Int>()
        for operation in operations {
            switch ClusterRoute(operation) {
            case .one(let slot, _): slots.formUnion(slot.map { [$0] } ?? [])
            case .unknown: slots.formUnion(try await keys(of: operation).map { ClusterSlot.of($0) })
            case .split(let parts, _): slots.formUnion(parts.flatMap(\.keys).map { ClusterSlot.of($0) })
            case .crossSlot: throw Self.crossSlot(operation.name)
            case .ping, .publish: break
            case .all, .scan:
                throw StoreError(
                    .invalidArgument, "\(operation.name) concerns every node: it cannot be part of a cluster's transaction",
                    operation: operation.name, field: "command")
            }
        }
        guard slots.count < 2 else { throw Self.crossSlot("transaction") }
        let errand = Errand(slot: slots.first, isIdempotent: operations.areIdempotent)
        let replies = try await travel(errand, refusal: TransactionReplies.refusal) { link, asks in
            // ASKING holds until EXEC.
            await link.connection.many(operations.count + 2, asking: asks) { writer in
                writer.command(["MULTI"])
                for operation in operations { operation.write(to: &writer) }
                writer.command(["EXEC"])
            }
        }.get()
        return try TransactionReplies.results(replies, count: operations.count)
    }

    /// Operations for many nodes: one trip to each node, all at once; the answers in the order of the operations.
    ///
    /// Those for one key are carried out in order, and those for one slot unless it is being moved: one of several keys that are here and
    /// there (TRYAGAIN), and one of a key that is there already (ASK), come after those that stand behind it. What concerns every node is
    /// done after what stands in front of it and before what stands behind.
    ///
    /// - Throws: ``ErrorCode/crossSlot`` before anything is sent, where the keys are known without asking a server.
    func pipeline(_ operations: [Operation]) async throws(StoreError) -> [Reply] {
        for operation in operations {
            if case .crossSlot = ClusterRoute(operation) { throw Self.crossSlot(operation.name) }
        }
        var replies = [Reply](repeating: .null, count: operations.count)
        var done = 0
        do throws(StoreError) {
            try await pipeline(operations, into: &replies, &done)
        } catch {
            throw done > 0 ? error.withUnknownEffect() : error
        }
        return replies
    }

    /// - Parameter done: how many operations, from the first, have their answers.
    private func pipeline(
        _ operations: [Operation], into replies: inout [Reply], _ done: inout Int
    ) async throws(StoreError) {
        var together: [PipelineItem] = []
        let repeatable = operations.repeatable
        for (place, operation) in operations.enumerated() {
            let route = ClusterRoute(operation)
            var item = PipelineItem(place: place, operation: operation, journey: journey(isIdempotent: repeatable[place]))
            switch route {
            case .one(let slot, let isRead):
                (item.slot, item.isRead) = (slot, isRead)
                together.append(item)
                continue
            case .publish:
                item.target = .node(try await home())
                together.append(item)
                continue
            default: break
            }
            try await send(together, into: &replies)
            together = []
            done = place
            replies[place] = try await execute(operation, as: route)
            done += 1
        }
        try await send(together, into: &replies)
    }

    /// Round after round, until every item has its answer.
    private func send(_ items: [PipelineItem], into replies: inout [Reply]) async throws(StoreError) {
        guard !items.isEmpty else { return }
        if !hasMap() { try await refresh().get() }
        var pending = items
        // Of any of them, so far.
        var mayHaveHappened = false
        while true {
            guard !Task.isCancelled else { throw StoreError(.cancelled, effect: mayHaveHappened ? .unknown : .none) }
            var (again, pause, refresh) = ([PipelineItem](), Duration.zero, Journey.Refresh.none)
            var failure: StoreError?
            for (link, group, result) in await round(pending) {
                if let link, case .failure(let error) = result, error.isServerFailure { avoid(link) }
                for (place, var item) in group.enumerated() {
                    let step: Journey.Step
                    switch result {
                    case .success(let answers):
                        replies[item.place] = answers[place]
                        guard let error = answers[place].refusal, let node = link?.node else {
                            if !item.isRead { mayHaveHappened = true }
                            continue
                        }
                        guard
                            let redirection = await redirection(
                                error, item.slot, runsScript: item.operation.runsScript, from: item.target, at: node)
                        else {
                            if item.operation.runsScript { mayHaveHappened = true }
                            failure = failure ?? item.journey.end(with: error)
                            continue
                        }
                        step = next(&item.journey, after: redirection)
                        if case .end = step { failure = failure ?? item.journey.end(with: error) }
                    case .failure(let error):
                        if error.effect == .unknown { mayHaveHappened = true }
                        step = link == nil ? next(&item.journey, after: .wait) : next(&item.journey, after: error)
                        if case .end = step { failure = failure ?? item.journey.end(with: error) }
                    }
                    guard case .go(let target, let after, let asks) = step else { continue }
                    item.target = target
                    again.append(item)
                    (pause, refresh) = (max(pause, after), max(refresh, asks))
                }
            }
            if let failure { throw mayHaveHappened ? failure.withUnknownEffect() : failure }
            guard !again.isEmpty else { return }
            if let obstacle = await prepare(pause, refresh) { throw mayHaveHappened ? obstacle.withUnknownEffect() : obstacle }
            pending = again.sorted { $0.place < $1.place }
        }
    }

    private typealias Round = [(link: Link?, items: [PipelineItem], result: Result<[Reply], StoreError>)]

    /// One trip to each node that is concerned.
    private func round(_ items: [PipelineItem]) async -> Round {
        var groups: [ObjectIdentifier: (link: Link, items: [PipelineItem])] = [:]
        var lost: [PipelineItem] = []
        for item in items {
            guard let link = link(to: item.target, slot: item.slot, isRead: item.isRead) else {
                lost.append(item)
                continue
            }
            groups[ObjectIdentifier(link.connection), default: (link, [])].items.append(item)
        }
        var round: Round = lost.map { (nil, [$0], .failure(Self.unserved($0.slot))) }
        if groups.count == 1, let (link, items) = groups.values.first {
            round.append((link, items, await Self.trip(link, items)))
            return round
        }
        return await withTaskGroup(of: (Link, [PipelineItem], Result<[Reply], StoreError>).self) { tasks in
            for (link, items) in groups.values { tasks.addTask { (link, items, await Self.trip(link, items)) } }
            for await (link, items, result) in tasks { round.append((link, items, result)) }
            return round
        }
    }

    private static func trip(_ link: Link, _ items: [PipelineItem]) async -> Result<[Reply], StoreError> {
        let asking = items.count(where: \.target.asks)
        let result = await link.connection.many(items.count + asking) { writer in
            for item in items {
                if item.target.asks { writer.command(["ASKING"]) }
                item.operation.write(to: &writer)
            }
        }
        guard asking > 0 else { return result }
        return result.map { replies in
            var place = -1
            return items.map { item in
                place += item.target.asks ? 2 : 1
                return replies[place]
            }
        }
    }
}

/// One operation of a pipeline on its way.
private struct PipelineItem: Sendable {
    let place: Int
    let operation: Operation
    var slot: Int?
    var isRead = false
    var journey: Journey
    var target = Journey.Target.owner
}
