import HoldfastStore

/// Counts open connections, and what was refused on them before it was a request.
final class ConnectionMetrics: Sendable {
    private struct State {
        var open = 0
        var refusals: [Refusal.Reason: Int] = [:]
    }

    private let state = Locked(State())

    init() {}

    /// - Returns: how many are open now, this one included.
    func opened() -> Int {
        state.withLock { state in
            state.open += 1
            return state.open
        }
    }

    func closed() { state.withLock { $0.open -= 1 } }

    func refused(_ reason: Refusal.Reason) { state.withLock { $0.refusals[reason, default: 0] += 1 } }

    var families: [MetricFamily] {
        let (open, refusals) = state.withLock { ($0.open, $0.refusals) }
        return [
            .gauge("holdfast_http_connections", "Open connections.", Double(open)),
            MetricFamily(
                "holdfast_http_refusals_total", .counter, "What came over connections and could not be taken as a request.",
                Refusal.Reason.allCases.map { reason in
                    MetricFamily.Sample(labels: [("reason", reason.rawValue)], value: Double(refusals[reason] ?? 0))
                }),
        ]
    }
}
