import HTTPTypes
import Holdfast
import HoldfastStore

/// Cache entries for programs in any language: JSON values under a workspace and a key.
struct CacheEntryRoutes: Sendable {
    let state: AgentState

    private static let path: RoutePath = "/api/v1/cache/entries/{workspace}/{key}"
    private static let names: [Route.Parameter] = [
        .path("workspace", .string(1...255), "A group of entries within the tenant, such as `default`."),
        .path("key", .string(1...1024), "The entry's name, percent-encoded."),
    ]
    private static let tagged: [(name: String, note: String)] = [("ETag", "The value's version: another one after each write.")]
    private static let ifAbsent = Route.Parameter.header(
        "If-None-Match", .oneOf(["*"]), "`*`: only when there is no value, else 412.")
    static let workspace = Schema.string(1...255).described("A group of entries within the tenant; `default` if not given.")
    static let ttl = Schema.number(0...31_622_400).described(
        "How long the value is kept. 0 keeps nothing; the server's default if not given.")

    var routes: [Route] {
        [
            Route(
                .get, Self.path, "getCacheEntry", "The value of a key.", group: "Cache entries", access: .role(.reader),
                parameters: Self.names + [
                    .query("ttl", .boolean, "Whether to tell `ttl_seconds` too, for one more round trip."), .ifNoneMatch,
                ],
                outcomes: [
                    .ok(Self.entrySchema, "The value.", headers: Self.tagged), .notModified,
                    .problem(.notFound, "There is no value, or it has ended."),
                    .problem(.decodingFailed, "The entry holds something that is no JSON."),
                ], handler: get),
            Route(
                .put, Self.path, "putCacheEntry", "Keeps a value, replacing what was there.", group: "Cache entries",
                access: .role(.operator), parameters: Self.names + [.ifMatch, Self.ifAbsent],
                body: .object([.required("value", .any), .optional("ttl_seconds", Self.ttl)]),
                outcomes: [
                    .ok(Self.storedSchema, "Kept, unless the TTL is 0.", headers: Self.tagged), .problem(.tooLarge),
                    .problem(.preconditionFailed),
                ], handler: put),
            Route(
                .delete, Self.path, "deleteCacheEntry", "Removes an entry.", group: "Cache entries", access: .role(.operator),
                parameters: Self.names + [.ifMatch],
                outcomes: [.ok(Self.deletedSchema, "It is gone."), .problem(.preconditionFailed)], handler: delete),
            Route(
                .post, "/api/v1/cache/batch/get", "getCacheEntries", "The values of several keys, in one round trip.",
                group: "Cache entries", access: .role(.reader),
                body: .object([
                    .optional("workspace", Self.workspace), .required("keys", .array(of: .string(1...1024), 1...1000)),
                ]),
                outcomes: [
                    .ok(
                        .object([
                            .required("entries", .map(of: .any)), .required("missing", .array(of: .string)),
                            .required("decided_by", Decider.schema),
                        ]),
                        "The values by key, and the keys without one."), .problem(.decodingFailed),
                ], handler: getMany),
            Route(
                .post, "/api/v1/cache/batch/set", "putCacheEntries", "Keeps several values, in one round trip.",
                group: "Cache entries", access: .role(.operator),
                body: .object([
                    .optional("workspace", Self.workspace), .required("entries", .map(of: .any, maximum: 1000)),
                    .optional("ttl_seconds", Self.ttl),
                ]), outcomes: [.ok(Self.storedSchema, "Kept.")], handler: setMany),
        ]
    }

    // MARK: - Handlers

    private func get(_ call: Call) async throws(StoreError) -> Answer {
        let (cache, key) = try target(call)
        let cached: Cached<Versioned<JSONValue>> = try await cache.getVersioned(key)
        guard case .hit(let found, let source) = cached else {
            return call.problem(StoreError(.notFound, "There is no such cache entry", field: "key"), by: cached.by)
        }
        var ttl: Duration?
        if call.flag("ttl") { ttl = try await cache.ttl(key).value }
        let age: Duration? = if case .stale(let age, _) = source { age } else { nil }
        let json = JSONValue.object([
            ("workspace", .string(cache.workspace)), ("key", .string(key)), ("value", found.value),
            ("ttl_seconds", ttl.map { JSONValue($0.inSeconds) }), ("decided_by", .string(source.by.word)),
            ("stale_age_seconds", age.map { JSONValue($0.inSeconds) }),
        ])
        return call.answer(json, tag: EntityTag(found.version.description), by: source.by)
    }

    private func put(_ call: Call) async throws(StoreError) -> Answer {
        let (cache, key) = try target(call)
        let write = try await cache.set(
            key, call.body["value"] ?? .null, ttl: call.body.seconds("ttl_seconds"), if: try Self.condition(call))
        let tag: HTTPFields = write.version.map { [.eTag: EntityTag($0.description).text] } ?? [:]
        return .json(["stored": write.isKept ? 1 : 0, "decided_by": .string(write.by.word)], headers: tag)
    }

    /// What `If-Match` and `If-None-Match: *` ask for.
    private static func condition(_ call: Call) throws(StoreError) -> CacheCondition? {
        let isAbsenceMeant = call.optionalString("If-None-Match") != nil
        guard let tag = call.optionalString("If-Match") else { return isAbsenceMeant ? .absent : nil }
        guard !isAbsenceMeant else { throw .invalid("If-None-Match", "It cannot hold together with If-Match") }
        if tag == "*" { return .present }
        guard let version = EntityTag.opaque(in: tag).flatMap(CacheVersion.init) else {
            throw StoreError(.preconditionFailed, "If-Match names no version of this resource", field: "If-Match")
        }
        return .version(version)
    }

    private func delete(_ call: Call) async throws(StoreError) -> Answer {
        let (cache, key) = try target(call)
        let decided = try await cache.delete(key, if: try Self.condition(call))
        return .json(["deleted": .bool(decided.value), "decided_by": .string(decided.by.word)])
    }

    private func getMany(_ call: Call) async throws(StoreError) -> Answer {
        let keys = call.body["keys"]?.array?.compactMap(\.string) ?? []
        let cache = try state.cache(for: call, workspace: call.body["workspace"]?.string)
        var entries: [String: JSONValue] = [:]
        var missing: [JSONValue] = []
        let all = try await cache.getMany(keys, as: JSONValue.self)
        for (key, found) in zip(keys, all) {
            if let value = found.value { entries[key] = value } else { missing.append(.string(key)) }
        }
        let decider = all.map(\.by).first(where: \.isLocal) ?? .server
        return .json(["entries": .object(entries), "missing": .array(missing), "decided_by": .string(decider.word)])
    }

    private func setMany(_ call: Call) async throws(StoreError) -> Answer {
        let entries = call.body["entries"]?.object ?? [:]
        let cache = try state.cache(for: call, workspace: call.body["workspace"]?.string)
        let kept = try await cache.setMany(entries, ttl: call.body.seconds("ttl_seconds"))
        return .json(["stored": JSONValue(kept.value), "decided_by": .string(kept.by.word)])
    }

    private func target(_ call: Call) throws(StoreError) -> (Cache, key: String) {
        (try state.cache(for: call, workspace: call.string("workspace")), call.string("key"))
    }

    // MARK: - Schemas

    private static let entrySchema = Schema.object([
        .required("workspace", .string), .required("key", .string), .required("value", .any), .optional("ttl_seconds", .number),
        .required("decided_by", Decider.schema),
        .optional(
            "stale_age_seconds",
            Schema.number.described("Only while the server is away: for how long the value has not been known to be its own.")),
    ]).named("CacheEntry")
    static let storedSchema = Schema.object([
        .required("stored", Schema.integer.described("How many entries are kept: none where `ttl_seconds` is 0.")),
        .required("decided_by", Decider.schema),
    ]).named("Stored")
    static let deletedSchema = Schema.object([
        .required("deleted", Schema.boolean.described("Whether there was one.")), .required("decided_by", Decider.schema),
    ]).named("Deleted")
}

extension AgentState {
    /// The call's tenant's cache.
    func cache(for call: Call, workspace: String? = nil) throws(StoreError) -> Cache {
        let cache = call.context.tenant.map(cache.scoped(to:)) ?? cache
        return try cache.workspace(workspace ?? Cache.defaultWorkspace)
    }
}

extension JSONValue {
    /// A member that is a number of seconds, to the millisecond.
    func seconds(_ name: String) -> Duration? {
        self[name]?.double.map { .milliseconds(Int64(($0 * 1000).rounded())) }
    }
}
