// Looking at the server: while it is up, so that an idle process notices too; and while it is away, until it is back.

extension Failover {
    /// Asks the server once whether it is there; before anything is served, so that a process without its server begins locally.
    ///
    /// - Returns: the refusal, where the server refused us; the process is then not ready.
    @discardableResult
    public func start() async -> StoreError? {
        if case .failure? = await probe() { note(.startFailed(at: moment)) }
        return refusal
    }

    /// Watches the server until cancelled. One of these runs in a process.
    public func run() async {
        guard server != nil else { return }
        defer { announcements.finish() }
        var pause = configuration.probeBackoff.lowerBound
        while !Task.isCancelled {
            let isUp = localSince == nil
            if isUp { pause = configuration.probeBackoff.lowerBound }
            guard (try? await time.sleep(for: isUp ? configuration.checkInterval : jittered(pause))) != nil else { return }
            // One probe at a time, whoever else runs.
            guard takeTurn() else { continue }
            defer { state.withLock { $0.isAsking = false } }
            outbox.settleFolderSoon()
            if localSince == nil {
                await check()
            } else if await !tryToReturn() {
                pause = min(pause * 2, configuration.probeBackoff.upperBound)
            }
        }
    }

    private func takeTurn() -> Bool {
        state.withLock { state in
            defer { state.isAsking = true }
            return !state.isAsking
        }
    }

    /// A look at the server while it is up.
    private func check() async {
        guard await ping() else { return }
        // Once, so that it is known when the server goes away what it must do to be back.
        if state.withLock({ $0.writes.isUnknown }) { try? await ask(proveWrites) }
        beginToHandOverRest()
    }

    /// A ping while up counts like any other call; whether it was answered.
    private func ping() async -> Bool {
        let generation = state.withLock { $0.health.generation }
        switch await probe() {
        case .success?:
            note(.succeeded(generation: generation))
            return true
        case .failure(let error)?: note(.pingFailed(generation: generation, at: moment), error)
        case nil: break
        }
        return false
    }

    /// Asks the server now, and not at the next look, because a caller has waited in vain: for its deadline says nothing of the server, and the
    /// ping's own time does. Nobody waits for that. One question at a time, whoever else asks, and not more often than the shortest pause
    /// between probes.
    package func askAtOnce() {
        if server == nil { return }
        let now = time.uptime
        let isDue = state.withLock { state in
            guard state.health.localSince == nil, !state.isAsking,
                state.askedAtOnce.map({ now - $0 >= configuration.probeBackoff.lowerBound }) ?? true
            else { return false }
            (state.isAsking, state.askedAtOnce) = (true, now)
            return true
        }
        guard isDue else { return }
        Task.detached {
            _ = await self.ping()
            self.state.withLock { $0.isAsking = false }
        }
    }

    /// Hands over what was left here, where no call has come since. What fails is kept, and tried after the next ping. Pings do not wait
    /// for it.
    private func beginToHandOverRest() {
        guard let server, rest.count == 0 else { return }
        rest.begin {
            if !self.outbox.isEmpty { try? await self.outbox.replay(on: server) }
            for hook in self.state.withLock({ $0.answerHooks }) { try? await hook(server) }
        }
    }

    /// Hands over what waits here, for the end of a process: what single failures have left since the last call or ping. Nothing where the
    /// server is known to be away. Also from a task that was cancelled.
    ///
    /// Call it when no more calls come, before the server's store is closed. What is left then is in the outbox's folder for the next
    /// start, or, where it has none, ends with the process.
    ///
    /// - Parameter limit: how long this may take at most. A server that fails meanwhile is asked again.
    /// - Returns: whether the server has taken everything.
    @discardableResult
    public func handOver(within limit: Duration = .seconds(2)) async -> Bool {
        guard let server else { return true }
        return await Task {
            let end = time.uptime + limit
            while localSince == nil, time.uptime < end {
                do throws(StoreError) {
                    try await CallContext(actor: "holdfast.hand-over", deadline: end).run { () async throws(StoreError) in
                        try await outbox.replay(on: server, patience: limit)
                        for hook in state.withLock({ $0.answerHooks }) { try await hook(server) }
                    }
                    return outbox.isEmpty
                } catch {
                    guard error.isServerFailure else { return false }
                    try? await time.sleep(for: .milliseconds(50))
                }
            }
            return false
        }.value
    }

    /// Asks a server that is down until it fails to answer or is trusted, and then hands over; whether it is up again.
    private func tryToReturn() async -> Bool {
        guard let server else { return false }
        note(.probeBegan)
        while case .probing = health.state {
            guard case .success? = await probe() else {
                note(.probeFailed)
                return false
            }
            note(.probeSucceeded(at: moment))
            let pause = min(health.pauseBeforeProbe(at: moment), configuration.checkInterval)
            if pause > .zero, (try? await time.sleep(for: pause)) == nil {
                note(.probeFailed)
                return false
            }
        }
        do throws(StoreError) {
            // What is accepted while this runs, by a busy process, goes with the first call to the server.
            try await outbox.replay(on: server)
            for hook in state.withLock({ $0.hooks }) { try await hook(server) }
        } catch {
            note(.returnFailed)
            return false
        }
        for hook in state.withLock({ $0.certainHooks }) { await hook() }
        note(.returned(at: moment))
        for hook in state.withLock({ $0.returnedHooks }) { hook() }
        return true
    }

    /// Whether the server answers; nil where it refused us or the task was cancelled, which says nothing about its health.
    private func probe() async -> Result<Void, StoreError>? {
        state.withLock { $0.statistics.probes += 1 }
        do throws(StoreError) {
            try await ask { (server) throws(StoreError) in
                try await server(.ping)
                if state.withLock({ $0.health.localSince != nil && $0.writes.isRequired }) { try await proveWrites(server) }
            }
            change { $0.refusal = nil }
            return .success(())
        } catch {
            // Whoever was cancelled has learnt nothing.
            if error.code == .cancelled { return nil }
            if error.isRefusal {
                change { $0.refusal = error }
                return nil
            }
            guard error.isServerFailure || error.code == .deadlineExceeded else { return .success(()) }
            state.withLock { $0.statistics.failedProbes += 1 }
            return .failure(error)
        }
    }

    /// Asks the server, within the time that a probe may take.
    private func ask(
        _ question: @Sendable (_ server: any Store) async throws(StoreError) -> Void
    ) async throws(StoreError) {
        guard let server else { return }
        let deadline = time.uptime + min(configuration.probeTimeout, configuration.slowCall ?? configuration.probeTimeout)
        try await CallContext(actor: "holdfast.probe", deadline: deadline).run { () async throws(StoreError) in
            try await question(server)
        }
    }

    /// What else than a failure is answered says that the server is there: that our user may not run scripts, or that there are none.
    private func proveWrites(_ server: any Store) async throws(StoreError) {
        let question = Procedure(FailoverProcedures.writes, keys: [], arguments: []) { $0.integer }
        do throws(StoreError) {
            _ = try await server.run(question)
            state.withLock { $0.writes.note(answer: nil) }
        } catch {
            state.withLock { $0.writes.note(answer: error) }
            if error.code == .permissionMissing { return }
            guard !error.isServerFailure, !error.isRefusal, ![.deadlineExceeded, .cancelled].contains(error.code) else {
                throw error
            }
        }
    }

    /// Between half of it and all of it, so that a fleet does not probe in step.
    private func jittered(_ span: Duration) -> Duration { span * (0.5 + Double(random() >> 11) / Double(1 << 54)) }
}
