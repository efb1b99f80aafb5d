import Crypto
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
                    .ok(Self.entrySchema, "The value.", headers: [("ETag", "Changes with the value.")]), .notModified,
                    .problem(.notFound, "There is no value, or it has ended."),
                    .problem(.decodingFailed, "The entry holds something that is no JSON."),
                ], handler: get),
            Route(
                .put, Self.path, "putCacheEntry", "Keeps a value, replacing what was there.", group: "Cache entries",
                access: .role(.operator), parameters: Self.names,
                body: .object([.required("value", .any), .optional("ttl_seconds", Self.ttl)]),
                outcomes: [.ok(Self.storedSchema, "Kept."), .problem(.tooLarge)], handler: put),
            Route(
                .delete, Self.path, "deleteCacheEntry", "Removes an entry.", group: "Cache entries", access: .role(.operator),
                parameters: Self.names, outcomes: [.ok(Self.deletedSchema, "It is gone.")], handler: delete),
            Route(
                .post, "/api/v1/cache/batch/get", "getCacheEntries", "The values of several keys, in one round trip.",
                group: "Cache entries", access: .role(.reader),
                body: .object([
                    .optional("workspace", Self.workspace), .required("keys", .array(of: .string(1...1024), 1...1000)),
                ]),
                outcomes: [
                    .ok(
                        .object([.required("entries", .map(of: .any)), .required("missing", .array(of: .string))]),
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
        guard let value = try await cache.get(key, as: JSONValue.self).value else {
            throw StoreError(.notFound, "There is no such cache entry", field: "key")
        }
        var ttl: Duration?
        if call.flag("ttl") { ttl = try await cache.ttl(key) }
        let json = JSONValue.object([
            ("workspace", .string(cache.workspace)), ("key", .string(key)), ("value", value),
            ("ttl_seconds", ttl.map { JSONValue($0.inSeconds) }),
        ])
        return call.answer(json, tag: Self.tag(value))
    }

    /// By the value itself: the same on every instance, near copy or not.
    private static func tag(_ value: JSONValue) -> EntityTag {
        EntityTag(Base64URL.encode(Array(SHA256.hash(data: Array(value.answerBytes)).prefix(15))))
    }

    private func put(_ call: Call) async throws(StoreError) -> Answer {
        let (cache, key) = try target(call)
        let by = try await cache.set(key, call.body["value"] ?? .null, ttl: call.body.seconds("ttl_seconds"))
        return .json(["stored": 1, "decided_by": .string(by.word)])
    }

    private func delete(_ call: Call) async throws(StoreError) -> Answer {
        let (cache, key) = try target(call)
        let decided = try await cache.delete(key)
        return .json(["deleted": .bool(decided.value), "decided_by": .string(decided.by.word)])
    }

    private func getMany(_ call: Call) async throws(StoreError) -> Answer {
        let keys = call.body["keys"]?.array?.compactMap(\.string) ?? []
        let cache = try state.cache(for: call, workspace: call.body["workspace"]?.string)
        var entries: [String: JSONValue] = [:]
        var missing: [JSONValue] = []
        for (key, found) in zip(keys, try await cache.getMany(keys, as: JSONValue.self)) {
            if let value = found.value { entries[key] = value } else { missing.append(.string(key)) }
        }
        return .json(["entries": .object(entries), "missing": .array(missing)])
    }

    private func setMany(_ call: Call) async throws(StoreError) -> Answer {
        let entries = call.body["entries"]?.object ?? [:]
        let cache = try state.cache(for: call, workspace: call.body["workspace"]?.string)
        let by = try await cache.setMany(entries, ttl: call.body.seconds("ttl_seconds"))
        return .json(["stored": JSONValue(entries.count), "decided_by": .string(by.word)])
    }

    private func target(_ call: Call) throws(StoreError) -> (Cache, key: String) {
        (try state.cache(for: call, workspace: call.string("workspace")), call.string("key"))
    }

    // MARK: - Schemas

    private static let entrySchema = Schema.object([
        .required("workspace", .string), .required("key", .string), .required("value", .any), .optional("ttl_seconds", .number),
    ]).named("CacheEntry")
    static let storedSchema = Schema.object([
        .required("stored", Schema.integer.described("How many entries.")), .required("decided_by", Decider.schema),
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
