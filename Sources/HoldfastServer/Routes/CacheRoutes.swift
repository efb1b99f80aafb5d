import HTTPTypes
import Holdfast
import HoldfastStore

/// The cache management of Agent Spy and EpiSPY, at their paths and in their shapes where they give one.
struct CacheRoutes: Sendable {
    let state: AgentState

    private static let group = "Cache management"
    private static let workspace = Route.Parameter.query(
        "workspace", .string(1...255), "The workspace (`default` if not given).")
    private static let type = Route.Parameter.path(
        "type", .string(1...64), "The category, such as `outbreak_data`; see `categories` in the statistics.")
    private static let pattern = Schema.string(1...1024).described(
        "Redis's globs: `*`, `?`, `[a-z]`, `\\x`.", example: "users:*")

    var routes: [Route] { reading + clearing + warming }

    private static func route(
        _ method: HTTPRequest.Method, _ path: RoutePath, _ name: String, _ summary: String, _ role: CallContext.Role,
        parameters: [Route.Parameter] = [], body: Schema? = nil, outcomes: [Route.Outcome], handler: @escaping Route.Handler
    ) -> Route {
        Route(
            method, path, name, summary, group: group, access: .role(role), parameters: parameters, body: body,
            isBodyOptional: true, outcomes: outcomes, handler: handler)
    }

    // MARK: - Reading

    private var reading: [Route] {
        [
            Self.route(
                .get, "/api/v1/cache/status", "getCacheStatus", "What the cache and the limits run on.", .reader,
                outcomes: [.ok(CacheAnswer.statusSchema, "The state.")]
            ) { (_) async throws(StoreError) in await CacheAnswer.status(state) },
            Self.route(
                .get, "/api/v1/cache/health", "getCacheHealth", "Whether the store answers, and how fast.", .reader,
                outcomes: [.ok(CacheAnswer.healthSchema, "It answers, or this process decides while the server is away.")]
            ) { (_) async throws(StoreError) in try await CacheAnswer.health(state) },
            Self.route(
                .get, "/api/v1/cache/stats", "getCacheStatistics",
                "Hits, misses and writes of this process's cache since it began, all tenants together.", .reader,
                outcomes: [.ok(CacheAnswer.statisticsSchema, "The counts.")]
            ) { (_) async throws(StoreError) in CacheAnswer.statistics(state.cache) },
            Self.route(
                .get, "/api/v1/cache/keys", "listCacheKeys", "The keys that match a pattern, page by page.", .reader,
                parameters: [
                    .query("pattern", Self.pattern, "Which keys (`*` if not given)."), Self.workspace, .limit, .cursor,
                ],
                outcomes: [.ok(CacheAnswer.keysSchema, "A page of at most `limit` keys; it may be empty and not the last.")],
                handler: listKeys),
        ]
    }

    private func listKeys(_ call: Call) async throws(StoreError) -> Answer {
        let cache = try state.cache(for: call, workspace: call.optionalString("workspace"))
        let pattern = call.string("pattern", default: "*")
        let cursor = Cursor(call, parameters: [cache.workspace, pattern])
        let start = try call.optionalString("cursor").map { (text) throws(StoreError) in try cursor.decode(text) }
        let page = try await cache.keys(
            matching: pattern, cursor: start, limit: Int(call.integer("limit", default: 100)))
        return .json([
            "keys": .array(page.value.keys.map { .string($0) }), "count": JSONValue(page.value.keys.count),
            "next_cursor": page.value.cursor.map { .string(cursor.encode($0)) } ?? .null,
            "decided_by": .string(page.by.word),
        ])
    }

    // MARK: - Clearing

    private var clearing: [Route] {
        [
            Self.route(
                .post, "/api/v1/cache/clear", "clearCache", "Removes all entries of a workspace.", .admin,
                parameters: [Self.workspace], outcomes: [.ok(CacheAnswer.clearedSchema, "They are gone.")]
            ) { (call) async throws(StoreError) in
                CacheAnswer.cleared(
                    try await state.cache(for: call, workspace: call.optionalString("workspace")).clear())
            },
            Self.route(
                .post, "/api/v1/cache/clear/pattern", "clearCachePattern", "Removes the entries that match a pattern.", .operator,
                parameters: [.query("pattern", Self.pattern, "Which keys.", required: true), Self.workspace],
                outcomes: [.ok(CacheAnswer.clearedSchema, "They are gone.")]
            ) { (call) async throws(StoreError) in
                CacheAnswer.cleared(
                    try await state.cache(for: call, workspace: call.optionalString("workspace"))
                        .invalidate(call.string("pattern")))
            },
            Self.route(
                .delete, "/api/v1/cache/keys/{key}", "deleteCacheKey", "Removes one entry.", .operator,
                parameters: [.path("key", .string(1...1024), "The entry's name, percent-encoded."), Self.workspace],
                outcomes: [.ok(CacheEntryRoutes.deletedSchema, "It is gone.")]
            ) { (call) async throws(StoreError) in
                let cache = try state.cache(for: call, workspace: call.optionalString("workspace"))
                let decided = try await cache.delete(call.string("key"))
                return .json(["deleted": .bool(decided.value), "decided_by": .string(decided.by.word)])
            },
            Self.route(
                .delete, "/api/v1/cache/invalidate/{type}", "invalidateCacheCategory", "Removes all entries of a category.",
                .operator, parameters: [Self.type, Self.workspace],
                outcomes: [
                    .ok(CacheAnswer.clearedSchema, "They are gone."), .problem(.notFound, "There is no such category."),
                ]
            ) { (call) async throws(StoreError) in
                let cache = try state.cache(for: call, workspace: call.optionalString("workspace"))
                return CacheAnswer.cleared(try await Self.category(call.string("type"), of: cache).clear())
            },
            Self.route(
                .post, "/api/v1/cache/dashboard/clear", "clearDashboard", "Removes the dashboard's cached statistics.", .operator,
                parameters: [Self.workspace], outcomes: [.ok(CacheAnswer.clearedSchema, "They are gone.")]
            ) { (call) async throws(StoreError) in
                let cache = try state.cache(for: call, workspace: call.optionalString("workspace"))
                return CacheAnswer.cleared(try await Self.category(Self.dashboard.name, of: cache).clear())
            },
        ]
    }

    // MARK: - Warming

    private static let warmBody = Schema.object([
        .optional(
            "entries",
            .map(of: .any, maximum: 1000).described("Values by key, to be kept; without them the registered factories compute.")),
        .optional("ttl_seconds", CacheEntryRoutes.ttl),
    ])
    private static let warmOutcomes: [Route.Outcome] = [
        .ok(CacheAnswer.warmedSchema, "What was computed or kept, and what failed."),
        .problem(.notFound, "There is no such category, or nothing is registered to compute its entries."),
    ]

    private var warming: [Route] {
        [
            Self.route(
                .post, "/api/v1/cache/warm/{type}", "warmCacheCategory", "Fills a category ahead of its readers.", .operator,
                parameters: [Self.type, Self.workspace], body: Self.warmBody, outcomes: Self.warmOutcomes
            ) { (call) async throws(StoreError) in try await warm(call.string("type"), call) },
            Self.route(
                .post, "/api/v1/cache/dashboard/warm", "warmDashboard",
                "Fills the dashboard's statistics ahead of their readers.",
                .operator, parameters: [Self.workspace], body: Self.warmBody, outcomes: Self.warmOutcomes
            ) { (call) async throws(StoreError) in try await warm(Self.dashboard.name, call) },
        ]
    }

    private func warm(_ name: String, _ call: Call) async throws(StoreError) -> Answer {
        let cache = try Self.category(name, of: try state.cache(for: call, workspace: call.optionalString("workspace")))
        guard let entries = call.body["entries"]?.object else { return CacheAnswer.warmed(try await cache.warm(name)) }
        let kept = try await cache.warm(with: entries, ttl: call.body.seconds("ttl_seconds"))
        return CacheAnswer.warmed(kept.value > 0 ? entries.keys.sorted() : [], failed: [], by: kept.by)
    }

    /// Dashboard statistics are a category too; it is there also where it is not configured.
    private static let dashboard = CacheCategory("dashboard", ttl: .seconds(300))

    private static func category(_ name: String, of cache: Cache) throws(StoreError) -> Cache {
        do throws(StoreError) {
            return try cache.category(named: name)
        } catch {
            guard error.code == .notFound, name == dashboard.name else {
                throw StoreError(error.code, error.message, field: "type")
            }
            return try cache.category(dashboard)
        }
    }
}
