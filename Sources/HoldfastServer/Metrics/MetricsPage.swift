import Holdfast
import HoldfastRedis
import HoldfastStore

/// Everything that `/metrics` shows, gathered when it is asked for.
struct MetricsPage: Sendable {
    static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

    let requests: RequestMetrics
    let connections: ConnectionMetrics
    let state: AgentState
    /// Of this server's own callers; nil where they are not limited.
    let callers: RateLimiter?
    let version: String

    var families: [MetricFamily] {
        [
            MetricFamily(
                "holdfast_build_info", .gauge, "The version that runs.",
                [MetricFamily.Sample(labels: [("version", version)], value: 1)])
        ] + requests.families + connections.families + store + client + outbox + callerCharges + cache + embedded + journal
    }

    private var store: [MetricFamily] {
        let failover = state.failover
        let mode =
            switch failover.status {
            case .embedded: "embedded"
            case .server: "server"
            case .local: "local"
            case .refused: "refused"
            }
        let samples = ["embedded", "server", "local", "refused"].map {
            MetricFamily.Sample(labels: [("mode", $0)], value: $0 == mode ? 1 : 0)
        }
        let away = failover.localSince.map { max(0, (failover.time.now - $0).inSeconds) } ?? 0
        let counts = failover.statistics
        return [
            MetricFamily(
                "holdfast_store_mode", .gauge,
                "1 for who decides now: server, local (it is away), embedded, or nobody, for it refuses us (refused).", samples),
            .gauge("holdfast_store_away_seconds", "For how long the configured server has been away; 0 while it is there.", away),
            .counter("holdfast_store_outages_total", "Times that the configured server went away.", counts.outages),
            .counter("holdfast_store_returns_total", "Times that it came back.", counts.returns),
            .counter("holdfast_store_refusals_total", "Times that it began to refuse us.", counts.refusals),
            .counter(
                "holdfast_store_failures_total", "Calls and pings that the breaker counted as its failures.", counts.failures),
            .counter(
                "holdfast_store_slow_calls_total", "Calls above CIRCUIT_BREAKER_SLOW_CALL_THRESHOLD.", counts.slowCalls),
            MetricFamily(
                "holdfast_store_probes_total", .counter, "Questions to the server whether it is there.",
                [
                    MetricFamily.Sample(labels: [("result", "ok")], value: Double(counts.probes - counts.failedProbes)),
                    MetricFamily.Sample(labels: [("result", "failed")], value: Double(counts.failedProbes)),
                ]),
        ]
    }

    /// What became of the calls to a Redis; nothing where there is none.
    private var client: [MetricFamily] {
        guard let statistics = (state.failover.server as? RedisStore)?.statistics else { return [] }
        return [
            .counter("holdfast_redis_calls_total", "Commands and batches, each attempt counted.", statistics.calls),
            .gauge("holdfast_redis_outstanding", "Calls that were sent and have no reply yet.", Double(statistics.outstanding)),
            MetricFamily(
                "holdfast_redis_abandoned_total", .counter, "Calls that nobody waits for any more, or that were refused.",
                [("cancelled", statistics.cancelled), ("timeout", statistics.timedOut), ("overloaded", statistics.overloaded)]
                    .map { MetricFamily.Sample(labels: [("reason", $0)], value: Double($1)) }),
            .counter("holdfast_redis_connections_total", "Shared connections that were made.", statistics.connected),
            .counter("holdfast_redis_failed_attempts_total", "Attempts to connect that failed.", statistics.failedAttempts),
            .counter("holdfast_redis_lost_connections_total", "Shared connections that ended by themselves.", statistics.lost),
        ]
    }

    /// What waits for the server, and who else shares it; nothing where there is none.
    private var outbox: [MetricFamily] {
        guard state.failover.server != nil else { return [] }
        let status = state.failover.outbox.status
        let charges = state.limits.backlog
        return [
            .gauge("holdfast_outbox_entries", "Decisions that wait for the server.", Double(status.backlog)),
            .gauge(
                "holdfast_outbox_oldest_seconds", "For how long the oldest of them has waited; 0 for none.",
                status.age(at: state.failover.time.now).inSeconds),
            .gauge("holdfast_outbox_bytes", "About what entries and dead letters take.", Double(status.bytes)),
            .gauge(
                "holdfast_outbox_dead_letters", "What the server refused, until somebody decides.", Double(status.deadLetters)),
            .gauge("holdfast_outbox_durable", "1 where it outlives the process.", status.isDurable ? 1 : 0),
            .counter("holdfast_outbox_handed_over_total", "Decisions that the server has carried out.", status.handedOver),
            .counter("holdfast_outbox_refused_total", "Decisions that were refused because it was full.", status.refused),
            .gauge(
                "holdfast_rate_limits_pending_keys", "Rules' states whose local consumption the server has not been charged yet.",
                Double(charges.keys)),
            .gauge("holdfast_rate_limits_pending_units", "What they consumed.", Double(charges.units)),
            .gauge(
                "holdfast_rate_limits_oldest_seconds", "For how long the oldest of them has waited; 0 for none.",
                charges.age(at: state.failover.time.now).inSeconds),
            .counter(
                "holdfast_rate_limits_handed_over_total", "Units of them that the server has been charged.", charges.handedOver),
            .counter(
                "holdfast_rate_limits_lost_total", "Of those, given up: the server refused them while the outbox was full.",
                charges.lost),
            .gauge("holdfast_instances", "Processes that share the limits, as last counted.", Double(state.instances.count)),
        ]
    }

    /// What this server's own callers consumed while the server was away; nothing where they are not limited.
    private var callerCharges: [MetricFamily] {
        guard state.failover.server != nil, let charges = callers?.backlog else { return [] }
        return [
            .gauge(
                "holdfast_caller_limits_pending_keys",
                "As holdfast_rate_limits_pending_keys, of the limits of this server's own callers.", Double(charges.keys)),
            .gauge("holdfast_caller_limits_pending_units", "What they consumed.", Double(charges.units)),
            .gauge(
                "holdfast_caller_limits_oldest_seconds", "For how long the oldest of them has waited; 0 for none.",
                charges.age(at: state.failover.time.now).inSeconds),
            .counter(
                "holdfast_caller_limits_handed_over_total", "Units of them that the server has been charged.", charges.handedOver),
            .counter(
                "holdfast_caller_limits_lost_total", "Of those, given up: the server refused them while the outbox was full.",
                charges.lost),
        ]
    }

    private var cache: [MetricFamily] {
        let statistics = state.cache.statistics
        let total = statistics.total
        func lookups(_ result: String, _ count: Int) -> MetricFamily.Sample {
            MetricFamily.Sample(labels: [("result", result)], value: Double(count))
        }
        return [
            MetricFamily(
                "holdfast_cache_lookups_total", .counter, "Look-ups by what answered them.",
                [
                    lookups("near", total.nearHits), lookups("store", total.storeHits), lookups("stale", total.staleHits),
                    lookups("miss", total.misses),
                ]),
            .counter("holdfast_cache_writes_total", "Values written by callers.", total.writes),
            .counter("holdfast_cache_fills_total", "Values computed by factories and kept.", total.fills),
            .counter("holdfast_cache_removals_total", "Entries removed by key, pattern, category or workspace.", total.removals),
            .gauge("holdfast_cache_near_entries", "Values in this process's near cache.", Double(statistics.nearEntries)),
            .gauge("holdfast_cache_near_bytes", "About how many bytes they take.", Double(statistics.nearBytes)),
            MetricFamily(
                "holdfast_cache_near_coherence", .gauge,
                "1 for how the near cache knows that its values are the server's: it is told of changes, by time alone, or about to be told again.",
                [(NearCoherence.tracked, "tracked"), (.timed, "timed"), (.interrupted, "interrupted")].map { state, name in
                    MetricFamily.Sample(labels: [("state", name)], value: self.state.cache.nearCoherence == state ? 1 : 0)
                }),
            .gauge(
                "holdfast_cache_near_bound_seconds", "For how long at most another process's change may go unseen there.",
                state.cache.configuration.near.ttl.inSeconds),
        ]
    }

    /// Of the append-only file; nothing where entries are kept in memory only.
    private var journal: [MetricFamily] {
        guard let status = (state.failover.local as? EmbeddedStore)?.journalStatus else { return [] }
        return [
            .counter("holdfast_aof_appended_bytes_total", "Bytes of changes appended.", status.appendedBytes),
            .gauge("holdfast_aof_pending_bytes", "Bytes of changes that wait to be written.", Double(status.pendingBytes)),
            .gauge("holdfast_aof_size_bytes", "What the files hold.", Double(status.fileBytes)),
            .counter("holdfast_aof_syncs_total", "Times that the disk confirmed.", status.syncs),
            .gauge("holdfast_aof_failing", "1 while the disk fails and writes are refused.", status.failure == nil ? 0 : 1),
            .counter("holdfast_aof_rewrites_total", "Rewrites that were finished.", status.rewrites),
            .gauge("holdfast_aof_rewriting", "1 while one is under way.", status.isRewriting ? 1 : 0),
            .gauge("holdfast_aof_last_rewrite_failed", "1 where the last one failed.", status.lastRewriteFailure == nil ? 0 : 1),
        ]
    }

    private var embedded: [MetricFamily] {
        guard let store = state.failover.local as? EmbeddedStore else { return [] }
        let statistics = store.statistics
        return [
            .gauge("holdfast_embedded_keys", "Keys of the store in this process.", Double(statistics.keys)),
            .gauge("holdfast_embedded_used_bytes", "Accounted bytes of the store in this process.", Double(statistics.usedBytes)),
            .gauge("holdfast_embedded_maximum_bytes", "Its limit; 0 for none.", Double(statistics.maximumBytes)),
            .counter("holdfast_embedded_expired_keys_total", "Keys that ended by their expiry.", statistics.expired),
            .counter("holdfast_embedded_evicted_keys_total", "Keys that gave way at the memory limit.", statistics.evicted),
        ]
    }
}
