import HoldfastStore

/// What one feature of one instance did: counts for the whole demonstration, latencies of the last moment.
final class OutageMeter: Sendable {
    struct Reading: Sendable {
        var decider = ""
        var calls = 0
        var local = 0
        var refused = 0
        var errors: [String: Int] = [:]
        /// Of the calls since the reading before; nil where there were none.
        var median: Duration?
        var worst: Duration?
    }

    private struct State {
        var reading = Reading()
        var spans: [Duration] = []
    }

    private let state = Locked(State())

    /// Measures one call.
    ///
    /// - Parameter whenRefused: told why, where it was.
    /// - Returns: its value; nil where it was refused.
    func measure<Value: Sendable>(
        whenRefused: (StoreError) -> Void = { _ in }, _ call: () async throws(StoreError) -> (Value, Decider?)
    ) async -> Value? {
        let start = ContinuousClock.now
        do throws(StoreError) {
            let (value, decider) = try await call()
            note(ContinuousClock.now - start, decider.map { $0.isLocal ? "here" : "server" }, isLocal: decider?.isLocal)
            return value
        } catch {
            let span = ContinuousClock.now - start
            state.withLock { state in
                state.reading.calls += 1
                state.reading.refused += 1
                state.reading.decider = "refused"
                state.reading.errors[error.code.name, default: 0] += 1
                state.spans.append(span)
            }
            whenRefused(error)
            return nil
        }
    }

    private func note(_ span: Duration, _ decider: String?, isLocal: Bool?) {
        state.withLock { state in
            state.reading.calls += 1
            if isLocal == true { state.reading.local += 1 }
            if let decider { state.reading.decider = decider }
            state.spans.append(span)
        }
    }

    /// What is known, and the latencies since the last time this was asked.
    func read() -> Reading {
        state.withLock { state in
            let spans = state.spans.sorted()
            if !spans.isEmpty { (state.reading.median, state.reading.worst) = (spans[spans.count / 2], spans.last) }
            state.spans.removeAll(keepingCapacity: true)
            return state.reading
        }
    }

    /// What was done, without a look at the latencies.
    var totals: Reading { state.withLock(\.reading) }
}
