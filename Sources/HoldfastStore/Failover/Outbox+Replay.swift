extension Outbox {
    /// How many entries are under way at once.
    static let window = 512

    /// Carries out on the server all that waits when this is called. What is added meanwhile is for the next, so that a busy process does
    /// not keep one for ever.
    ///
    /// One task at a time is at it, which is nobody's: callers wait for it, and it goes on when they do not. So callers whose
    /// deadlines are shorter than what has to be done (a pattern invalidation scans the server's keys) do not begin it again and again.
    ///
    /// - Parameter patience: how long a caller waits at most that has no earlier deadline; nil for as long as it takes.
    /// - Throws: the failure of the server: what was not carried out stays. An entry that the server answers with an error of another kind
    ///   becomes a dead letter, and the others go on. ``ErrorCode/deadlineExceeded`` or ``ErrorCode/cancelled`` for the caller's sake, and
    ///   ``ErrorCode/timeout`` when its patience ends.
    public func replay(on server: any Store, patience: Duration? = nil) async throws(StoreError) {
        let end = patience.map { time.uptime + $0 }
        while !isEmpty {
            let (turn, failure) = await waitForTurn(on: server, until: end)
            if Task.isCancelled { throw StoreError(.cancelled) }
            switch turn {
            case .mine:
                if let failure { throw failure }
                return
            case .others:
                // Whoever asked the server now would wait for the same failure again.
                if let failure, failure.isServerFailure || failure.isRefusal { throw failure }
            case .unfinished:
                if let deadline = CallContext.current?.deadline, time.uptime >= deadline { throw StoreError(.deadlineExceeded) }
                throw StoreError(.timeout, "What was decided here is still being handed over to the server")
            }
        }
    }

    private func replayAll(on server: any Store) async throws(StoreError) {
        settleFolderSoon()
        let end = state.withLock { $0.next }
        var start: Int64 = 0
        while case let lanes = lanes(in: start..<end), let last = lanes.joined().map(\.number).max() {
            start = last + 1
            let outcomes = await withTaskGroup(of: [Outcome].self) { group in
                for lane in lanes { group.addTask { await self.carryOut(lane, on: server) } }
                return await group.reduce(into: []) { $0 += $1 }
            }
            try settle(outcomes)
        }
        state.withLock { if $0.entries.isEmpty { $0.epoch += 1 } }
    }

    // MARK: - One window

    private enum Outcome: Sendable {
        case done(OutboxEntry)
        case dead(DeadLetter)
        case failed(StoreError)
    }

    /// The next entries among these, those of one subject, and those that have a key in common, together and in order.
    private func lanes(in numbers: Range<Int64>) -> [[OutboxEntry]] {
        state.withLock { state in
            while state.first < state.next, state.entries[state.first] == nil { state.first += 1 }
            var lanes = OutboxLanes()
            var entries: [(OutboxEntry, lane: Int)] = []
            var number = max(state.first, numbers.lowerBound)
            while number < numbers.upperBound, entries.count < Self.window {
                if let waiting = state.entries[number], waiting.isKept {
                    state.entries[number]?.isTried = true
                    let entry = waiting.entry
                    entries.append((entry, lanes.enter([entry.subject] + entry.keys.map(\.bytes))))
                }
                number += 1
            }
            var found = [[OutboxEntry]](repeating: [], count: lanes.count)
            for (entry, lane) in entries { found[lanes.whole(of: lane)].append(entry) }
            return found.filter { !$0.isEmpty }
        }
    }

    private func carryOut(_ lane: [OutboxEntry], on server: any Store) async -> [Outcome] {
        var outcomes: [Outcome] = []
        for entry in lane {
            do throws(StoreError) {
                guard try await carryOut(entry, on: server) else { break }
                outcomes.append(.done(entry))
            } catch {
                guard error.isWorthRepeating else {
                    outcomes.append(
                        .dead(DeadLetter(entry: entry, code: error.code.name, reason: error.message, died: time.now)))
                    continue
                }
                outcomes.append(.failed(error))
                break
            }
        }
        return outcomes
    }

    /// - Returns: false where it must wait for something in this process (``register(before:_:)``).
    private func carryOut(_ entry: OutboxEntry, on server: any Store) async throws(StoreError) -> Bool {
        let (action, preparations) = state.withLock { ($0.actions[entry.action], $0.preparations[entry.action] ?? []) }
        guard let action else {
            throw StoreError(.unsupportedFormat, "This version does not know the action \(entry.action)")
        }
        // Markers of its first send may be gone: whether it has happened cannot be told any more.
        guard action.endures || entry.age(by: time) <= configuration.longestOutage else {
            throw StoreError(.tooOld, "It waited longer than \(configuration.longestOutage)")
        }
        for prepare in preparations {
            guard try await prepare(server) else { return false }
        }
        try await action.carryOut(entry, server)
        return true
    }

    /// Takes note of what became of a window's entries; throws what stopped one of its lanes.
    private func settle(_ outcomes: [Outcome]) throws(StoreError) {
        var (settled, letters): ([OutboxEntry], [DeadLetter]) = ([], [])
        var failure: StoreError?
        for outcome in outcomes {
            switch outcome {
            case .done(let entry): settled.append(entry)
            case .dead(let letter): letters.append(letter)
            case .failed(let error): failure = failure ?? error
            }
        }
        forget(settled, letters)
        // Nobody waits for the folder, which may be slow or fail: after a restart before it has learnt of this, it is carried out once more.
        settleFolderSoon()
        for letter in letters { observer(letter) }
        if let failure { throw failure }
    }

    /// An entry whose place a later one has taken meanwhile stays, and its successor will be carried out.
    private func forget(_ settled: [OutboxEntry], _ letters: [DeadLetter]) {
        state.withLock { state in
            for entry in settled + letters.map(\.entry) {
                guard let waiting = state.entries[entry.number], waiting.entry == entry else { continue }
                remove(waiting, &state)
                owe(&state, entry: entry.number)
            }
            state.handedOver += settled.count
            for letter in letters {
                bury(letter, &state)
                owe(&state, letter: letter.entry.number)
            }
        }
    }

    // MARK: - One at a time

    /// What a caller has waited for: the task that it began, one that was under way, or neither to its end.
    private enum Turn: Sendable { case mine, others, unfinished }

    /// Until the end of the task that carries everything out, which is begun where none is under way; or the caller's deadline or patience
    /// ends, or it is cancelled. Answers how the task failed.
    private func waitForTurn(on server: any Store, until end: Duration?) async -> (Turn, StoreError?) {
        let ends = [end, CallContext.current?.deadline].compactMap(\.self)
        return await withTaskGroup(of: (Turn, StoreError?).self) { group in
            group.addTask { await self.turn(on: server) }
            if let span = ends.min().map({ $0 - time.uptime }) {
                group.addTask {
                    try? await self.time.sleep(for: span)
                    return (.unfinished, nil)
                }
            }
            defer { group.cancelAll() }
            return await group.next() ?? (.unfinished, nil)
        }
    }

    private func turn(on server: any Store) async -> (Turn, StoreError?) {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        var isMine = false
        let failure = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<StoreError?, Never>) in
                let isOver = state.withLock { state in
                    if Task.isCancelled { return true }
                    state.waiters[id] = continuation
                    isMine = !state.isReplaying
                    state.isReplaying = true
                    return false
                }
                if isOver { return continuation.resume(returning: nil) }
                // Without the caller's deadline, and not cancelled with it.
                if isMine { Task.detached { await self.takeTurn(on: server) } }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(returning: nil)
        }
        return (isMine ? .mine : .others, failure)
    }

    private func takeTurn(on server: any Store) async {
        do throws(StoreError) {
            try await replayAll(on: server)
            endTurn(nil)
        } catch {
            endTurn(error)
        }
    }

    private func endTurn(_ failure: StoreError?) {
        let waiters = state.withLock { state in
            state.isReplaying = false
            defer { state.waiters = [:] }
            return state.waiters.values.map(\.self)
        }
        for waiter in waiters { waiter.resume(returning: failure) }
    }
}

/// Which entries must not be carried out side by side: those that have a name in common, be it with one another or by way of others.
private struct OutboxLanes {
    private var places: [Bytes: Int] = [:]
    /// Of each lane the one that it has become a part of, or itself.
    private var wholes: [Int] = []

    var count: Int { wholes.count }

    /// A lane for what bears these names, in which all are that were found to bear one of them.
    mutating func enter(_ names: [Bytes]) -> Int {
        var lane = wholes.count
        wholes.append(lane)
        for name in names {
            let known = places[name].map { whole(of: $0) } ?? lane
            // Where they are the same it stays its own whole.
            wholes[lane] = known
            lane = known
            places[name] = lane
        }
        return lane
    }

    func whole(of lane: Int) -> Int {
        var lane = lane
        while wholes[lane] != lane { lane = wholes[lane] }
        return lane
    }
}

extension StoreError {
    /// Whether the same entry may succeed later without anybody's doing: the server failed, refused this process as a whole, or there
    /// was no time. A permission that is missing for a single command is a mistake about the entry.
    fileprivate var isWorthRepeating: Bool {
        if code == .permissionMissing { return false }
        return isOutage || isRefusal || [.deadlineExceeded, .cancelled, .overloaded, .shuttingDown].contains(code)
    }
}
