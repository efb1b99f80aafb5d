import HTTPTypes
import Holdfast
import HoldfastStore

/// What describes the server itself: its API document and its metrics.
struct SystemRoutes: Sendable {
    let metrics: MetricsPage
    /// Made from all routes, these included; therefore set after them.
    let document: Locked<JSONValue>

    var routes: [Route] {
        [
            Route(
                .get, "/openapi.json", "getOpenAPI", "This document.", group: "System", access: .role(.reader),
                outcomes: [.ok(.object([], isOpen: true), "OpenAPI 3.1.")]
            ) { [document] (_) throws(StoreError) in .json(document.withLock { $0 }) },
            Route(
                .get, "/metrics", "getMetrics", "Counters, gauges and latencies for Prometheus.", group: "System",
                access: .role(.reader),
                outcomes: [
                    Route.Outcome(
                        status: 200, note: "Prometheus's text format.", schema: .string, mediaType: MetricsPage.mediaType)
                ]
            ) { [metrics] (_) throws(StoreError) in
                Answer(body: .text(MetricFamily.text(metrics.families), mediaType: MetricsPage.mediaType))
            },
        ]
    }
}
