import HTTPTypes
import Holdfast
import HoldfastStore

/// What administrators did, for administrators.
struct AuditRoutes: Sendable {
    let log: AuditLog

    var routes: [Route] {
        [
            Route(
                .get, "/api/v1/audit", "listAuditEntries",
                "The last administrative acts of this process, and cache access where HOLDFAST_AUDIT_CACHE is on; the latest first. An "
                    + "admin key of a tenant sees that tenant's.",
                group: "System", access: .role(.admin), parameters: [.limit, .cursor],
                outcomes: [
                    .ok(
                        .object([
                            .required("entries", .array(of: Self.entry)), .required("next_cursor", Schema.string.orNull),
                        ]), "A page.")
                ], handler: list)
        ]
    }

    private func list(_ call: Call) async throws(StoreError) -> Answer {
        let cursor = Cursor(call, parameters: [])
        var start: Int64?
        if let text = call.optionalString("cursor") {
            start = Int64(try cursor.decode(text))
        }
        let limit = Int(call.integer("limit", default: 100))
        let entries = log.entries(before: start, tenant: call.context.tenant, limit: limit)
        let next = entries.count == limit ? entries.last.map { cursor.encode($0.number.description) } : nil
        return .json(["entries": .array(entries.map(Self.json)), "next_cursor": next.map { .string($0) } ?? .null])
    }

    private static func json(_ entry: AuditLog.Entry) -> JSONValue {
        .object([
            ("number", JSONValue(entry.number)), ("time", JSONValue(entry.time)), ("actor", .string(entry.actor)),
            ("role", entry.role.map { .string($0.rawValue) }), ("tenant", entry.tenant.map { .string($0) }),
            ("act", .string(entry.act)), ("target", .string(entry.target)), ("outcome", .string(entry.outcome.rawValue)),
            ("status", JSONValue(entry.status)), ("request_id", .string(entry.requestID)),
        ])
    }

    private static let entry = Schema.object([
        .required("number", .integer), .required("time", .dateTime),
        .required("actor", Schema.string.described("The API key's name.")), .optional("role", .string),
        .optional("tenant", .string),
        .required("act", Schema.string.described("The operation's name in this document, or such as `upstash.flushdb`.")),
        .required("target", Schema.string.described("What it was done to, with session ids masked.")),
        .required("outcome", .oneOf(AuditLog.Outcome.allCases.map(\.rawValue))), .required("status", .integer),
        .required("request_id", .string),
    ]).named("AuditEntry")
}
