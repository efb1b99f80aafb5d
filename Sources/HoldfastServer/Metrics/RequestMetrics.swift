import HoldfastStore

/// Counts requests by route, method and status, and their latencies by route.
final class RequestMetrics: Sendable {
    /// Upper bounds in seconds: from an answer out of this process's memory to a client's usual patience.
    static let bounds: [Double] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    private struct Series: Hashable {
        let route: String
        let method: String
        let status: Int
    }

    private struct Histogram {
        var counts = [Int](repeating: 0, count: RequestMetrics.bounds.count + 1)
        var sum = 0.0
        var count = 0
    }

    private struct State {
        var requests: [Series: Int] = [:]
        var latencies: [String: Histogram] = [:]
        var inFlight = 0
    }

    private let state = Locked(State())

    init() {}

    func began() { state.withLock { $0.inFlight += 1 } }

    /// - Parameter route: the route's name or a word for none; never the path, which holds keys.
    func ended(route: String, method: String, status: Int, after span: Duration) {
        let seconds = span.inSeconds
        let bucket = Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count
        state.withLock { state in
            state.inFlight -= 1
            state.requests[Series(route: route, method: method, status: status), default: 0] += 1
            state.latencies[route, default: Histogram()].counts[bucket] += 1
            state.latencies[route]?.sum += seconds
            state.latencies[route]?.count += 1
        }
    }

    var families: [MetricFamily] {
        let (requests, latencies, inFlight) = state.withLock { ($0.requests, $0.latencies, $0.inFlight) }
        let counts = requests.sorted {
            ($0.key.route, $0.key.method, $0.key.status) < ($1.key.route, $1.key.method, $1.key.status)
        }
        .map { series, count in
            MetricFamily.Sample(
                labels: [("route", series.route), ("method", series.method), ("status", series.status.description)],
                value: Double(count))
        }
        return [
            MetricFamily("holdfast_http_requests_total", .counter, "Requests by route, method and status.", counts),
            MetricFamily(
                "holdfast_http_request_duration_seconds", .histogram, "Time from the request's head to its answer.",
                latencies.sorted { $0.key < $1.key }.flatMap { Self.samples(route: $0.key, $0.value) }),
            .gauge("holdfast_http_requests_in_flight", "Requests being answered.", Double(inFlight)),
        ]
    }

    private static func samples(route: String, _ histogram: Histogram) -> [MetricFamily.Sample] {
        var samples: [MetricFamily.Sample] = []
        var total = 0
        for (bound, count) in zip(bounds + [.infinity], histogram.counts) {
            total += count
            let text = bound.isInfinite ? "+Inf" : bound.description
            samples.append(.init(suffix: "_bucket", labels: [("route", route), ("le", text)], value: Double(total)))
        }
        samples.append(.init(suffix: "_sum", labels: [("route", route)], value: histogram.sum))
        samples.append(.init(suffix: "_count", labels: [("route", route)], value: Double(histogram.count)))
        return samples
    }
}
