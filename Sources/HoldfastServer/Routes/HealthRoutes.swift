import HTTPTypes
import Holdfast
import HoldfastStore

/// The health family: little for anybody, details for those with a key.
struct HealthRoutes: Sendable {
    let state: AgentState
    /// Of this server's own callers; nil where they are not limited.
    let callers: RateLimiter?
    let version: String

    private var health: Health { Health(failover: state.failover, namespace: state.namespace) }

    var routes: [Route] {
        [
            Route(
                .get, "/health", "getHealth", "Whether this process can do its work, and how its dependencies are.",
                group: "Health",
                access: .open, outcomes: Self.outcomes(Self.summarySchema), handler: summary),
            Route(
                .get, "/health/live", "getLiveness", "Whether this process runs.", group: "Health", access: .open,
                outcomes: [.ok(Self.wordSchema(["alive"]), "It runs.")]
            ) { (_) throws(StoreError) in .json(["status": "alive"]) },
            Route(
                .get, "/health/ready", "getReadiness", "Whether this process may be given requests.", group: "Health",
                access: .open, outcomes: Self.outcomes(Self.wordSchema(["ready", "degraded", "not_ready"])), handler: readiness),
            Route(
                .get, "/status", "getStatus", "Whether the server runs; for health checks of containers.", group: "Health",
                access: .open, outcomes: Self.outcomes(Self.wordSchema(["running", "degraded", "unhealthy"])), handler: status),
            Route(
                .get, "/api/v1/health/detailed", "getDetailedHealth",
                "Probes the store: writes and reads a canary, publishes and receives, and compares its figures with their thresholds.",
                group: "Health", access: .role(.reader), outcomes: Self.outcomes(Self.detailedSchema), handler: detailed),
        ]
    }

    private static func outcomes(_ schema: Schema) -> [Route.Outcome] {
        [
            .ok(schema, "Healthy, or degraded: the configured server is away and this process decides."),
            Route.Outcome(status: 503, note: "Unhealthy.", schema: schema),
        ]
    }

    // MARK: - Handlers

    private func summary(_ call: Call) async throws(StoreError) -> Answer {
        .json(
            [
                "status": .string(health.status.rawValue),
                "dependencies": ["database": "not_applicable", "redis": .string(health.server.word)],
            ], health.status.code)
    }

    private func readiness(_ call: Call) async throws(StoreError) -> Answer {
        let word =
            switch health.status {
            case .healthy: "ready"
            case .degraded: "degraded"
            case .unhealthy: "not_ready"
            }
        return .json(["status": .string(word)], health.status.code)
    }

    private func status(_ call: Call) async throws(StoreError) -> Answer {
        let status = health.status
        return .json(["status": .string(status == .healthy ? "running" : status.rawValue)], status.code)
    }

    private func detailed(_ call: Call) async throws(StoreError) -> Answer {
        let report = await health.report()
        return .json(
            .object([
                ("status", .string(report.status.rawValue)), ("version", .string(version)),
                ("timestamp", JSONValue(state.failover.time.now)),
                ("dependencies", ["database": "not_applicable", "redis": .string(report.server.word)]),
                ("features", features(report)), ("checks", .array(report.checks.map(Self.json))),
                ("statistics", Self.statistics(report)), ("outbox", outbox), ("instances", instances),
                ("aof", report.journal.map(Self.aof)),
            ]), report.status.code)
    }

    /// How each feature is served now. All follow the one server, but for sessions that are kept in this process in any case.
    private func features(_ report: HealthReport) -> JSONValue {
        .object([
            ("cache", mode(report, state.cache.configuration.outage.rawValue, backlog: state.cache.pendingChanges)),
            ("rate_limits", mode(report, of: state.limits)), ("caller_limits", callers.map { mode(report, of: $0) }),
            ("sessions", sessionMode(report)),
        ])
    }

    private func sessionMode(_ report: HealthReport) -> JSONValue {
        let sessions = state.sessions
        if sessions.configuration.storage == .memory { return Self.embedded }
        return mode(report, sessions.configuration.outage.rawValue, backlog: sessions.pendingChanges)
    }

    private static let embedded: JSONValue = ["mode": "embedded"]

    /// - Parameter outage: what the feature does while the server is away.
    private func mode(
        _ report: HealthReport, _ outage: String, backlog: Int, charges: RateLimiter.Backlog? = nil
    ) -> JSONValue {
        guard state.failover.server != nil else { return Self.embedded }
        var (mode, since) = ("server", JSONValue?.none)
        switch report.server {
        case .disabled, .connected: break
        case .disconnected(let moment): (mode, since) = (outage, JSONValue(moment))
        case .refused: mode = "refused"
        }
        return .object([
            ("mode", .string(mode)), ("outage", .string(outage)), ("since", since), ("backlog", JSONValue(backlog)),
            ("backlog_units", charges.map { JSONValue($0.units) }),
            ("backlog_oldest", charges?.oldest.map { JSONValue($0) }),
            ("handed_over_units", charges.map { JSONValue($0.handedOver) }),
        ])
    }

    /// With what was admitted here and is not charged to the server yet.
    private func mode(_ report: HealthReport, of limits: RateLimiter) -> JSONValue {
        let waiting = limits.backlog
        return mode(report, limits.configuration.outage.rawValue, backlog: waiting.keys, charges: waiting)
    }

    /// Nothing without a server: there is nobody to keep anything for, nor to share with.
    private var outbox: JSONValue? {
        guard state.failover.server != nil else { return nil }
        return OutboxAnswer.json(state.failover.outbox.status, at: state.failover.time.now)
    }

    private var instances: JSONValue? {
        guard state.failover.server != nil else { return nil }
        return ["count": JSONValue(state.instances.count), "source": .string(state.instances.source.rawValue)]
    }

    private static func aof(_ journal: JournalStatus) -> JSONValue {
        .object([
            ("status", journal.failure == nil ? "ok" : "failing"), ("error", journal.failure.map { .string("\($0)") }),
            ("appendfsync", .string(journal.sync.rawValue)), ("size_bytes", JSONValue(journal.fileBytes)),
            ("base_bytes", JSONValue(journal.baseBytes)), ("appended_bytes", JSONValue(journal.appendedBytes)),
            ("pending_bytes", JSONValue(journal.pendingBytes)), ("last_fsync", journal.lastSync.map { JSONValue($0) }),
            ("rewrite_in_progress", .bool(journal.isRewriting)), ("rewrites", JSONValue(journal.rewrites)),
            ("last_rewrite", journal.lastRewrite.map { JSONValue($0) }),
            ("last_rewrite_status", journal.lastRewriteFailure == nil ? "ok" : "failed"),
            ("loaded_commands", JSONValue(journal.load.commands)), ("cut_bytes", JSONValue(journal.load.cut?.bytes ?? 0)),
        ])
    }

    private static func json(_ check: HealthCheck) -> JSONValue {
        .object([
            ("name", .string(check.name)), ("status", .string(check.level.rawValue)),
            ("value", check.value.map { JSONValue($0) }),
            ("unit", .string(check.unit)), ("warning", check.thresholds.map { JSONValue($0.warning) }),
            ("critical", check.thresholds.map { JSONValue($0.critical) }), ("message", check.message.map { .string($0) }),
        ])
    }

    /// Under the names that the reference systems' dashboards read.
    private static func statistics(_ report: HealthReport) -> JSONValue {
        let found = report.statistics
        let keys = report.totalKeys.map { JSONValue($0) }
        let memory = found?.usedMemory.map { JSONValue($0) }
        return .object([
            ("redis_connected", .bool(report.server == .connected)), ("redis_version", found?.version.map { .string($0) }),
            ("total_keys", keys), ("keys_count", keys), ("used_memory", memory), ("memory_used", memory),
            ("connected_clients", found?.connectedClients.map { JSONValue($0) }),
            ("ops_per_second", found?.operationsPerSecond.map { JSONValue($0) }),
        ])
    }

    // MARK: - Schemas

    private static let healthWord = Schema.oneOf(Health.Status.allCases.map(\.rawValue))
    private static let dependencies = Schema.object([
        .required("database", .oneOf(["not_applicable"])),
        .required("redis", .oneOf(["disabled", "connected", "disconnected", "refused"])),
    ])
    private static let summarySchema = Schema.object([
        .required("status", healthWord), .required("dependencies", dependencies),
    ]).named("Health")

    private static func wordSchema(_ words: [String]) -> Schema { .object([.required("status", .oneOf(words))]) }

    private static let feature = Schema.object([
        .required(
            "mode",
            Schema.oneOf(["server", "embedded", "refused"] + behaviors).described(
                "Who decides now: the configured server, or this process where none is configured (`embedded`). While the server is away "
                    + "what `outage` says; while it refuses our credentials or configuration nobody (`refused`).")),
        .optional(
            "outage",
            Schema.oneOf(behaviors).described(
                "What becomes of calls while the server is away: decided in this process (`local`), refused or denied (`closed`), "
                    + "admitted (`open`).")),
        .optional("since", Schema.dateTime.described("Since when the server is away.")),
        .optional("backlog", Schema.integer(atLeast: 0).described("How much of it waits for the server.")),
        .optional("backlog_units", Schema.integer(atLeast: 0).described("What the keys that wait have consumed.")),
        .optional("backlog_oldest", Schema.dateTime.described("Since when the key waits that waits longest.")),
        .optional(
            "handed_over_units", Schema.integer(atLeast: 0).described("What the server has been charged of it since the start.")),
    ]).named("FeatureMode")
    private static let behaviors = RateLimiter.OutageBehavior.allCases.map(\.rawValue)

    private static let aofSchema = Schema.object([
        .required("status", .oneOf(["ok", "failing"])), .optional("error", .string),
        .required("appendfsync", .oneOf(JournalConfiguration.Sync.allCases.map(\.rawValue))),
        .required("size_bytes", .integer(atLeast: 0)), .required("base_bytes", .integer(atLeast: 0)),
        .required("appended_bytes", .integer(atLeast: 0)), .required("pending_bytes", .integer(atLeast: 0)),
        .optional("last_fsync", .dateTime), .required("rewrite_in_progress", .boolean),
        .required("rewrites", .integer(atLeast: 0)), .optional("last_rewrite", .dateTime),
        .required("last_rewrite_status", .oneOf(["ok", "failed"])), .required("loaded_commands", .integer(atLeast: 0)),
        .required("cut_bytes", .integer(atLeast: 0)),
    ]).named("AppendOnlyFile")

    private static let detailedSchema = Schema.object([
        .required("status", healthWord), .required("version", .string), .required("timestamp", .dateTime),
        .required("dependencies", dependencies),
        .required(
            "features",
            Schema.map(of: feature).described(
                "`cache`, `rate_limits`, `sessions`, and `caller_limits` where this server limits its own callers.")),
        .required(
            "checks",
            .array(
                of: .object([
                    .required("name", .string), .required("status", .oneOf(["ok", "warning", "critical"])),
                    .optional("value", .number), .required("unit", .string), .optional("warning", .number),
                    .optional("critical", .number), .optional("message", .string),
                ]).named("HealthCheck"))),
        .required(
            "statistics",
            .object([
                .required("redis_connected", .boolean), .optional("redis_version", .string), .optional("total_keys", .integer),
                .optional("keys_count", .integer), .optional("used_memory", .integer), .optional("memory_used", .integer),
                .optional("connected_clients", .integer), .optional("ops_per_second", .integer),
            ])),
        .optional("outbox", OutboxAnswer.statusSchema),
        .optional(
            "instances",
            Schema.object([
                .required("count", .integer(atLeast: 1)),
                .required(
                    "source",
                    Schema.oneOf(Instances.Source.allCases.map(\.rawValue)).described(
                        "Whether HOLDFAST_INSTANCES says so, they were counted by their leases, an earlier process of this data folder had counted "
                            + "them, or nobody has been asked yet.")),
            ]).described("How many processes share the limits while the server is away.")),
        .optional("aof", aofSchema),
    ]).named("DetailedHealth")
}

extension Health.Status {
    /// Degraded is 200: the process serves, and taking it out of rotation would only take away what works.
    fileprivate var code: HTTPResponse.Status { self == .unhealthy ? .serviceUnavailable : .ok }
}
