import HoldfastStore

extension Cluster {
    /// One operation, wherever its keys lie.
    func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        try await execute(operation, as: ClusterRoute(operation))
    }

    func execute(_ operation: Operation, as route: ClusterRoute) async throws(StoreError) -> Reply {
        switch route {
        case .one(let slot, let isRead):
            let errand = Errand(
                slot: slot, isRead: isRead, isIdempotent: operation.isIdempotent, runsScript: operation.runsScript)
            return try await send(errand) { operation.write(to: &$0) }.get()
        case .all(let gathering): return try await sendToAll(operation, gathering)
        case .split(let parts, let gathering):
            return try gathering.answer(try await pipeline(parts), isRead: gathering.isRead(operation))
        case .scan: return try await scan(operation)
        case .ping: return try await ping(operation)
        case .publish:
            return try await send(Errand(isIdempotent: false, target: .node(try await home()))) { operation.write(to: &$0) }.get()
        case .unknown: return try await execute(operation, as: ClusterRoute(operation, keys: try await keys(of: operation)))
        case .crossSlot: throw Self.crossSlot(operation.name)
        }
    }

    static func crossSlot(_ operation: String) -> StoreError {
        StoreError(
            .crossSlot, "The keys lie in different slots; nothing was sent. Keys that share what stands in {braces} share a slot",
            operation: operation)
    }

    /// One command to one node.
    func send(_ errand: Errand, _ encode: (inout CommandWriter) -> Void) async -> Result<Reply, StoreError> {
        await travel(errand, refusal: \.refusal) { link, asks in await link.connection.one(asking: asks, encode) }
    }

    /// A script with its keys, which share a slot.
    ///
    /// - Parameter history: of the call that this is a part of; what happens here is added.
    func evaluate(
        _ script: Script, _ keys: [Key], _ history: inout AttemptHistory, _ encode: @Sendable (inout CommandWriter) -> Void
    ) async throws(StoreError) -> Reply {
        let slots = Set(keys.map { ClusterSlot.of($0) })
        guard slots.count < 2 else { throw Self.crossSlot(script.identifier) }
        let errand = Errand(slot: slots.first, isIdempotent: script.isIdempotent)
        return try await travel(errand, &history, refusal: \.refusal) { link, asks in
            await link.connection.one(asking: asks, encode)
        }.get()
    }

    // MARK: - Several nodes

    private func sendToAll(_ operation: Operation, _ gathering: Gathering) async throws(StoreError) -> Reply {
        let isRead = gathering.isRead(operation)
        let replies = try await toEveryPrimary(1, isIdempotent: operation.isIdempotent, isRead: isRead) {
            operation.write(to: &$0)
        }
        return try gathering.answer(replies.map { $0[0] }, isRead: isRead)
    }

    /// The same commands to every primary at once; the answers in the order of their lowest slots.
    ///
    /// - Throws: the failure of one, of effect `unknown` where it is no read and another may have done it.
    func toEveryPrimary(
        _ count: Int, isIdempotent: Bool = true, isRead: Bool = true, _ encode: @escaping @Sendable (inout CommandWriter) -> Void
    ) async throws(StoreError) -> [[Reply]] {
        if !hasMap() { try await refresh().get() }
        let map = map
        let results = await withTaskGroup(of: (Int, Result<[Reply], StoreError>).self) { group in
            for (place, (slot, shard)) in map.lowestSlots.enumerated() {
                // Another node may have taken the slots over when this one cannot be reached.
                let errand = Errand(slot: slot, isIdempotent: isIdempotent, target: .node(map.shards[shard].primary))
                group.addTask {
                    let result = await self.travel(errand, refusal: { (replies: [Reply]) in replies.first?.refusal }) { link, _ in
                        await link.connection.many(count, encode)
                    }
                    return (place, result)
                }
            }
            var results: [(Int, Result<[Reply], StoreError>)] = []
            for await result in group { results.append(result) }
            return results.sorted { $0.0 < $1.0 }
        }
        do throws(StoreError) {
            var replies: [[Reply]] = []
            for (_, result) in results { replies.append(try result.get()) }
            return replies
        } catch {
            let isDone = results.contains { _, result in
                switch result {
                case .success(let replies): replies.contains { $0.refusal == nil }
                case .failure(let error): error.effect == .unknown
                }
            }
            throw isDone && !isRead ? error.withUnknownEffect() : error
        }
    }

    /// PING, answered as the cluster is: a node that is there while the cluster is down would say nothing worth knowing.
    private func ping(_ operation: Operation) async throws(StoreError) -> Reply {
        let replies = try await travel(Errand(isIdempotent: true), refusal: { (_: [Reply]) in nil }) { link, _ in
            await link.connection.many(2) { writer in
                operation.write(to: &writer)
                writer.command(["CLUSTER", "INFO"])
            }
        }.get()
        return ClusterInfo(replies[1]).isDown ? .error(ReplyError("CLUSTERDOWN The cluster is down")) : replies[0]
    }

    // MARK: - SCAN

    /// One page of one node; see ``ClusterCursor``.
    private func scan(_ operation: Operation) async throws(StoreError) -> Reply {
        let arguments = operation.arguments
        guard arguments.count > 1, let given = arguments[1].string.flatMap({ UInt64($0) }) else {
            return .error(ReplyError("ERR invalid cursor"))
        }
        if !hasMap() { try await refresh().get() }
        let map = map
        guard let place = ClusterCursor(given).place(map) else { return Self.page(.none, .array([])) }
        let (reply, node) = try await travel(
            Errand(slot: place.slot, isIdempotent: true), refusal: { (answer: (Reply, Node)) in answer.0.refusal }
        ) { link, _ in
            var page = arguments
            page[1] = Bytes(place.inner(at: link.node).description)
            return await link.connection.one { $0.command(page) }.map { ($0, link.node) }
        }.get()
        guard case .array(let parts) = reply, parts.count == 2, let inner = parts[0].bytes?.string.flatMap({ UInt64($0) }) else {
            return reply
        }
        guard inner <= ClusterCursor.largestInner else {
            throw StoreError(.unexpectedReply, "A node's cursor is larger than 40 bits", effect: .unknown, operation: "SCAN")
        }
        return Self.page(ClusterCursor(behind: place, map, now: self.map, asked: node, inner: inner), parts[1])
    }

    private static func page(_ cursor: ClusterCursor, _ keys: Reply) -> Reply {
        .array([.bytes(Bytes(cursor.value.description)), keys])
    }

    // MARK: - Commands that only the server knows

    func keys(of operation: Operation) async throws(StoreError) -> [Key] {
        let name = operation.name
        let rule: CommandKeyRules.Rule
        if let known = keyRules.rule(of: name) {
            rule = known
        } else {
            let reply = try await send(Errand(isIdempotent: true)) { $0.command(["COMMAND", "INFO", Bytes(name)]) }.get()
            if case .error(let error) = reply { throw StoreError(error, operation: "COMMAND INFO") }
            rule = CommandKeyRules.Rule(reply)
            keyRules.learn(rule, of: name)
        }
        guard rule == .movable else { return rule.keys(in: operation.arguments) }
        let question = ["COMMAND", "GETKEYS"] + operation.arguments
        let reply = try await send(Errand(isIdempotent: true)) { $0.command(question) }.get()
        // "The command has no key arguments", or a wrong call: the server that gets it will say so.
        return reply.list?.map(Key.init(raw:)) ?? []
    }
}

extension Reply {
    /// The error line, where it is one.
    var refusal: ReplyError? {
        if case .error(let error) = self { error } else { nil }
    }
}
