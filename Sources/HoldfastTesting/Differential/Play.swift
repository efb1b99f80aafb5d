import HoldfastStore

/// One program being played; see ``DifferentialRunner``.
struct Play {
    let subject: any Store
    let reference: any Store
    let time: ManualTime
    let isRESP2: Bool
    /// Every key that the program has named so far.
    private var named: Set<Key> = []

    init(subject: any Store, reference: any Store, time: ManualTime, isRESP2: Bool) {
        self.subject = subject
        self.reference = reference
        self.time = time
        self.isRESP2 = isRESP2
    }

    /// Carries out one step on both stores; what they disagree on, or nil.
    mutating func perform(_ step: Step) async throws -> String? {
        let keys = Array(Set(step.keys)).sorted { $0.bytes < $1.bytes }
        named.formUnion(keys)
        switch step {
        case .advance(let span):
            time.advance(by: span)
            return try await compareEverything()
        case .command(let command):
            let name = command[0].lossyString.uppercased()
            if CommandTraits.isRandom(name) { return try await performRandom(command, keys) }
            let fault = CommandTraits.isScan(name) ? try await compareScans(command) : try await compareReplies(command)
            if let fault { return fault }
        case .transaction(let commands):
            if let fault = try await compareTransaction(commands) { return fault }
        case .procedure(let script, let keys, let arguments, let isUnordered):
            let ours = try await run(script, keys, arguments, on: subject)
            let theirs = try await run(script, keys, arguments, on: reference)
            let order: CommandTraits.Order = isUnordered ? .elements : .exact
            if let fault = difference(ReplyForm.plain(ours), ReplyForm.plain(theirs), order) { return fault }
        }
        return try await compareStates(keys)
    }

    func compareEverything() async throws -> String? {
        try await compareStates(named.sorted { $0.bytes < $1.bytes })
    }

    private func compareStates(_ keys: [Key]) async throws -> String? {
        let ours = try await KeyState.read(keys, from: subject, removingEndedBy: Timestamp(milliseconds: -1))
        let theirs = try await KeyState.read(keys, from: reference, removingEndedBy: time.now)
        for key in keys where ours[key] != theirs[key] {
            let (left, right) = (ours[key]?.shown ?? "absent", theirs[key]?.shown ?? "absent")
            return "key \(key):\n  subject:   \(left)\n  reference: \(right)"
        }
        return nil
    }

    private func difference(_ ours: Reply, _ theirs: Reply, _ order: CommandTraits.Order = .exact) -> String? {
        guard !ReplyForm.agree(ours, theirs, order: order, isRESP2: isRESP2) else { return nil }
        return "reply:\n  subject:   \(ours.shown)\n  reference: \(theirs.shown)"
    }

    // MARK: - Commands

    private func compareReplies(_ command: [Bytes]) async throws -> String? {
        let form = ServerForm(command, now: time.now)
        let ours = try await subject.execute(.raw(command))
        let theirs = form.reading(try await reference.execute(.raw(form.arguments)))
        return difference(ours, theirs, command)
    }

    private func difference(_ ours: Reply, _ theirs: Reply, _ command: [Bytes]) -> String? {
        let name = command[0].lossyString.uppercased()
        if CommandTraits.judgesInAnotherOrder(name), case .error(let error) = ours, error.prefix == "ERR" {
            if case .error = theirs { return nil }
            if theirs.isEmpty { return nil }
        }
        return difference(ours, theirs, CommandTraits.order(name))
    }

    private func compareTransaction(_ commands: [[Bytes]]) async throws -> String? {
        let batch = Batch(.transaction, commands.map(Operation.raw))
        let ours = try await replies(batch, subject)
        let theirs = try await replies(batch, reference)
        guard ours.count == theirs.count else { return difference(.array(ours), .array(theirs)) }
        for (command, pair) in zip(commands, zip(ours, theirs)) {
            if let fault = difference(pair.0, pair.1, command) { return "\(Step.line(command))\n\(fault)" }
        }
        return nil
    }

    /// The replies, or the error with which the whole transaction was refused.
    private func replies(_ batch: Batch, _ store: any Store) async throws -> [Reply] {
        do throws(StoreError) {
            return try await store.execute(batch)
        } catch {
            guard !error.isServerFailure, error.code != .unexpectedReply else { throw error }
            return [.error(ReplyError(error.message))]
        }
    }

    private func run(_ script: Script, _ keys: [Key], _ arguments: [Bytes], on store: any Store) async throws -> Reply {
        do throws(StoreError) {
            return try await store.run(Procedure(script, keys: keys, arguments: arguments, now: time.now) { $0 })
        } catch {
            guard !error.isServerFailure else { throw error }
            return .error(ReplyError("\(error.code): \(ReplyForm.withoutScript(error.message))"))
        }
    }

    // MARK: - Chance

    private func performRandom(_ command: [Bytes], _ keys: [Key]) async throws -> String? {
        let before = try await KeyState.read(keys, from: subject, removingEndedBy: Timestamp(milliseconds: -1))
        let ours = try await subject.execute(.raw(command))
        let theirs = try await reference.execute(.raw(command))
        if let fault = RandomReply(command: command, before: keys.first.flatMap { before[$0] }, isRESP2: isRESP2)
            .fault(ours, theirs)
        {
            return "\(fault):\n  subject:   \(ours.shown)\n  reference: \(theirs.shown)"
        }
        return try await copyToReference(keys, before: before)
    }

    /// Gives the server the subject's outcome. Before that, what was taken there must be as much as was taken here.
    private func copyToReference(_ keys: [Key], before: [Key: KeyState]) async throws -> String? {
        let ours = try await KeyState.read(keys, from: subject, removingEndedBy: Timestamp(milliseconds: -1))
        let theirs = try await KeyState.read(keys, from: reference, removingEndedBy: time.now)
        for key in keys {
            let (left, right) = (ours[key], theirs[key])
            guard left?.content.count == right?.content.count, left?.expiry == right?.expiry else {
                let states = "  subject:   \(left?.shown ?? "absent")\n  reference: \(right?.shown ?? "absent")"
                return "key \(key) after a random removal:\n" + states
            }
            guard left != right, let left else { continue }
            _ = try await reference.execute(Batch(.pipeline, [.keys(.del([key]))] + left.restoring(key)))
        }
        return try await compareStates(keys)
    }

    // MARK: - Scans

    private func compareScans(_ command: [Bytes]) async throws -> String? {
        let place = command[0].lossyString.uppercased() == "SCAN" ? 1 : 2
        guard command.indices.contains(place) else { return try await compareReplies(command) }
        guard command[place] == "0" else {
            // Where another cursor leads is each store's own affair.
            return nil
        }
        let ours = try await scan(command, place, subject)
        let theirs = try await scan(command, place, reference)
        return difference(ours, theirs, command)
    }

    /// All elements of a scan from its beginning to its end, each once.
    private func scan(_ command: [Bytes], _ place: Int, _ store: any Store) async throws -> Reply {
        var command = command
        let hasPairs = ["HSCAN", "ZSCAN"].contains(command[0].lossyString.uppercased())
        var elements: Set<[Bytes]> = []
        for _ in 0..<100_000 {
            let reply = try await store.execute(.raw(command))
            guard let page = reply.elements, page.count == 2, let cursor = page[0].bytes else { return reply }
            let leaves = ReplyForm.leaves(page[1])
            let step = hasPairs ? 2 : 1
            for index in stride(from: 0, to: leaves.count, by: step) {
                elements.insert(Array(leaves[index..<min(index + step, leaves.count)]))
            }
            if cursor == "0" { return .set(elements.map { .array($0.map(Reply.bytes)) }.sorted { $0.shown < $1.shown }) }
            command[place] = cursor
        }
        return .error(ReplyError("the scan did not end"))
    }
}
