import HTTPTypes
import Holdfast
import HoldfastStore

/// What the cache management routes answer.
enum CacheAnswer {
    // MARK: - Status (Agent Spy's shape)

    static func status(_ state: AgentState) async -> Answer {
        let health = Health(failover: state.failover, namespace: state.namespace)
        let server = health.server
        let isConnected = server == .connected
        // Where nothing of a feature is decided by anybody there is no backend.
        func backend(decidesHere: Bool) -> JSONValue {
            switch server {
            case .disabled: "memory"
            case .connected: "redis"
            case .disconnected: decidesHere ? "memory" : "none"
            case .refused: "none"
            }
        }
        let found = isConnected ? await serverStatistics(state) : nil
        return .json([
            "redis_status": [
                "status": .string(server.word), "version": found?.version.map { .string($0) } ?? .null,
                "memory_used": found?.text("used_memory_human").map { .string($0) } ?? .null,
                "connected_clients": found?.connectedClients.map { JSONValue($0) } ?? .null,
            ],
            "cache_service_status": [
                "redis_available": .bool(isConnected),
                "active_backend": backend(decidesHere: state.cache.configuration.outage == .local),
                "memory_cache_size": JSONValue(state.cache.statistics.nearEntries),
            ],
            "rate_limit_status": [
                "redis_available": .bool(isConnected),
                "active_backend": backend(decidesHere: state.limits.configuration.outage == .local),
            ],
        ])
    }

    private static func serverStatistics(_ state: AgentState) async -> StoreStatistics? {
        let decided = try? await state.failover.perform(.fail) { (store, _) async throws(StoreError) in try await store(.info()) }
        return decided.map { StoreStatistics(info: $0.value) }
    }

    private static let backend = Schema.object([
        .required("redis_available", .boolean),
        .required(
            "active_backend",
            Schema.oneOf(["redis", "memory", "none"]).described(
                "Who decides: the configured server, or this process. Nobody (`none`) while the server refuses us, or is away and this "
                    + "feature is not to be decided here (CACHE_OUTAGE, RATE_LIMIT_OUTAGE).")),
        .optional("memory_cache_size", Schema.integer.described("Values in the near cache of this process.")),
    ]).named("BackendStatus")

    static let statusSchema = Schema.object([
        .required(
            "redis_status",
            .object([
                .required("status", .oneOf(["disabled", "connected", "disconnected", "refused"])),
                .required("version", Schema.string.orNull), .required("memory_used", Schema.string.orNull),
                .required("connected_clients", Schema.integer.orNull),
            ])),
        .required("cache_service_status", backend), .required("rate_limit_status", backend),
    ]).named("CacheStatus")

    // MARK: - Health (EpiSPY's shape)

    static func health(_ state: AgentState) async throws(StoreError) -> Answer {
        let health = Health(failover: state.failover, namespace: state.namespace)
        let start = state.failover.time.uptime
        let policy: OutagePolicy = state.cache.configuration.outage == .closed ? .fail : .local
        let decided = try await state.failover.perform(policy) { (store, _) async throws(StoreError) in try await store(.ping) }
        let milliseconds = ((state.failover.time.uptime - start).inSeconds * 1_000_000).rounded() / 1000
        return .json([
            "status": .string(health.status.rawValue), "latency_ms": JSONValue(milliseconds),
            "redis": .string(health.server.word), "decided_by": .string(decided.by.word),
        ])
    }

    static let healthSchema = Schema.object([
        .required("status", .oneOf(Health.Status.allCases.map(\.rawValue))), .required("latency_ms", .number),
        .required("redis", .oneOf(["disabled", "connected", "disconnected", "refused"])),
        .required("decided_by", Decider.schema),
    ]).named("CacheHealth")

    // MARK: - Statistics

    static func statistics(_ cache: Cache) -> Answer {
        let found = cache.statistics
        var members = counters(found.total)
        members.append(("near_entries", JSONValue(found.nearEntries)))
        members.append(("near_bytes", JSONValue(found.nearBytes)))
        members.append(("near_evictions", JSONValue(found.nearEvictions)))
        var categories = found.categories.mapValues { JSONValue.object(counters($0)) }
        for category in cache.configuration.categories where categories[category.name] == nil {
            categories[category.name] = .object(counters(nil))
        }
        members.append(("categories", .object(categories)))
        return .json(.object(members))
    }

    private static func counters(_ counters: CacheCounters?) -> [(String, JSONValue?)] {
        [
            ("hits", JSONValue(counters?.hits ?? 0)), ("misses", JSONValue(counters?.misses ?? 0)),
            ("hit_rate", counters?.hitRate.map { JSONValue($0) } ?? .null), ("near_hits", JSONValue(counters?.nearHits ?? 0)),
            ("stale_hits", JSONValue(counters?.staleHits ?? 0)), ("writes", JSONValue(counters?.writes ?? 0)),
            ("fills", JSONValue(counters?.fills ?? 0)), ("removals", JSONValue(counters?.removals ?? 0)),
        ]
    }

    private static let counterMembers: [Schema.Member] = [
        .required("hits", .integer), .required("misses", .integer),
        .required("hit_rate", Schema.number(0...1).orNull.described("Null before the first look-up.")),
        .required("near_hits", Schema.integer.described("Of the hits, those that this process's near cache answered.")),
        .required("stale_hits", .integer), .required("writes", .integer), .required("fills", .integer),
        .required("removals", .integer),
    ]

    static let statisticsSchema = Schema.object(
        counterMembers + [
            .required("near_entries", .integer), .required("near_bytes", .integer), .required("near_evictions", .integer),
            .required("categories", .map(of: Schema.object(counterMembers).named("CacheCounters"))),
        ]
    ).named("CacheStatistics")

    // MARK: - Keys, clearing, warming

    static let keysSchema = Schema.object([
        .required("keys", .array(of: .string)), .required("count", .integer),
        .required("next_cursor", Schema.string.orNull.described("Null where this was the last page.")),
        .required("decided_by", Decider.schema),
    ]).named("CacheKeys")

    static func cleared(_ decided: Decided<Int>) -> Answer {
        .json(["cleared": JSONValue(decided.value), "decided_by": .string(decided.by.word)])
    }

    static let clearedSchema = Schema.object([
        .required("cleared", Schema.integer.described("How many entries were removed.")), .required("decided_by", Decider.schema),
    ]).named("Cleared")

    static func warmed(_ report: Cache.WarmReport) -> Answer { warmed(report.warmed, failed: report.failed, by: report.by) }

    static func warmed(_ keys: [String], failed: [String], by decider: Decider) -> Answer {
        .json([
            "warmed": .array(keys.map { .string($0) }), "failed": .array(failed.map { .string($0) }),
            "decided_by": .string(decider.word),
        ])
    }

    static let warmedSchema = Schema.object([
        .required("warmed", .array(of: .string)), .required("failed", .array(of: .string)),
        .required("decided_by", Decider.schema),
    ]).named("Warmed")
}
