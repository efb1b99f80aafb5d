import HTTPTypes
import Holdfast
import HoldfastStore

/// What was decided here while the server was away: what waits for it, and what it refused.
///
/// An entry is shown by its number and action. What it is about is not shown: among the keys are session ids. The outbox is this
/// process's and all its tenants', so a key of one tenant does not get in.
struct OutboxRoutes: Sendable {
    let state: AgentState

    private var outbox: Outbox { state.failover.outbox }
    private static let number = Route.Parameter.path(
        "number", .integer(1...9_007_199_254_740_991), "The dead letter's number.")
    private static let missing = Route.Outcome.problem(.notFound, "There is no such dead letter.")

    var routes: [Route] {
        [
            Route(
                .get, "/api/v1/outbox", "getOutbox",
                "What waits in this process for the configured server, in the order in which it was accepted.", group: "Outbox",
                access: .role(.reader), parameters: [.limit, .cursor],
                outcomes: [
                    .ok(
                        .object([
                            .required("status", OutboxAnswer.statusSchema),
                            .required("entries", .array(of: OutboxAnswer.entrySchema)),
                            .required("next_cursor", Schema.string.orNull),
                        ]), "The status and a page of entries.")
                ], handler: list),
            Route(
                .get, "/api/v1/outbox/dead", "listDeadLetters",
                "What the server answered with an error when it was handed over, until somebody decides about it.",
                group: "Outbox", access: .role(.admin), parameters: [.limit, .cursor],
                outcomes: [
                    .ok(
                        .object([
                            .required("dead_letters", .array(of: OutboxAnswer.letterSchema)),
                            .required("next_cursor", Schema.string.orNull),
                        ]), "A page.")
                ], handler: listDead),
            Route(
                .post, "/api/v1/outbox/dead/{number}/retry", "retryDeadLetter",
                "Lets a dead letter wait for the server again, behind all that waits; once its cause is mended.", group: "Outbox",
                access: .role(.admin), parameters: [Self.number],
                outcomes: [.noContent("It waits."), Self.missing], handler: retry),
            Route(
                .delete, "/api/v1/outbox/dead/{number}", "dropDeadLetter",
                "Forgets a dead letter: what it stands for will not happen.", group: "Outbox", access: .role(.admin),
                parameters: [Self.number], outcomes: [.noContent("It is forgotten."), Self.missing], handler: drop),
        ]
    }

    // MARK: - Handlers

    private func list(_ call: Call) async throws(StoreError) -> Answer {
        try Self.checkTenant(call)
        let (entries, next) = try Self.page(call, number: \.number) { outbox.entries(after: $0, limit: $1) }
        return .json([
            "status": OutboxAnswer.json(outbox.status, at: state.failover.time.now),
            "entries": .array(entries.map(OutboxAnswer.json)), "next_cursor": next,
        ])
    }

    private func listDead(_ call: Call) async throws(StoreError) -> Answer {
        try Self.checkTenant(call)
        let (letters, next) = try Self.page(call, number: \.entry.number) { outbox.deadLetters(after: $0, limit: $1) }
        return .json(["dead_letters": .array(letters.map(OutboxAnswer.json)), "next_cursor": next])
    }

    private func retry(_ call: Call) async throws(StoreError) -> Answer {
        try Self.checkTenant(call)
        guard try await outbox.retry(call.integer("number")) else { throw Self.gone }
        return .noContent
    }

    private func drop(_ call: Call) async throws(StoreError) -> Answer {
        try Self.checkTenant(call)
        guard try await outbox.drop(call.integer("number")) else { throw Self.gone }
        return .noContent
    }

    private static func page<Element>(
        _ call: Call, number: KeyPath<Element, Int64>, _ find: (_ after: Int64, _ limit: Int) -> [Element]
    ) throws(StoreError) -> ([Element], next: JSONValue) {
        let cursor = Cursor(call, parameters: [])
        var start: Int64 = 0
        if let text = call.optionalString("cursor") { start = Int64(try cursor.decode(text)) ?? 0 }
        let limit = Int(call.integer("limit", default: 100))
        let found = find(start, limit)
        guard found.count == limit, let last = found.last else { return (found, .null) }
        return (found, .string(cursor.encode(last[keyPath: number].description)))
    }

    private static func checkTenant(_ call: Call) throws(StoreError) {
        guard call.context.tenant == nil else {
            throw StoreError(.forbidden, "The outbox is of all tenants: it needs an API key without one", field: "X-Tenant")
        }
    }

    private static var gone: StoreError { StoreError(.notFound, "There is no such dead letter", field: "number") }
}

/// The outbox as JSON.
enum OutboxAnswer {
    static func json(_ status: Outbox.Status, at now: Timestamp) -> JSONValue {
        .object([
            ("backlog", JSONValue(status.backlog)), ("oldest", status.oldest.map { JSONValue($0) }),
            ("oldest_seconds", JSONValue(status.age(at: now).inSeconds)), ("bytes", JSONValue(status.bytes)),
            ("dead_letters", JSONValue(status.deadLetters)), ("handed_over", JSONValue(status.handedOver)),
            ("refused", JSONValue(status.refused)), ("replaying", .bool(status.isReplaying)),
            ("durable", .bool(status.isDurable)),
        ])
    }

    static func json(_ entry: OutboxEntry) -> JSONValue { .object(members(entry)) }

    static func json(_ letter: DeadLetter) -> JSONValue {
        .object(
            members(letter.entry) + [
                ("died", JSONValue(letter.died)), ("code", .string(letter.code)),
                ("reason", .string(AuditTarget.maskedWhole(letter.reason))),
            ])
    }

    private static func members(_ entry: OutboxEntry) -> [(String, JSONValue?)] {
        [
            ("number", JSONValue(entry.number)), ("action", .string(entry.action)), ("accepted", JSONValue(entry.accepted)),
        ]
    }

    // MARK: - Schemas

    static let statusSchema = Schema.object([
        .required("backlog", Schema.integer(atLeast: 0).described("How many decisions wait.")),
        .optional("oldest", Schema.dateTime.described("When the one was accepted that waits longest.")),
        .required("oldest_seconds", Schema.number.described("For how long it has waited; 0 where none waits.")),
        .required("bytes", Schema.integer(atLeast: 0).described("About what entries and dead letters take.")),
        .required("dead_letters", .integer(atLeast: 0)),
        .required("handed_over", Schema.integer(atLeast: 0).described("How many the server has carried out since the start.")),
        .required("refused", Schema.integer(atLeast: 0).described("How many were refused since the start, because it was full.")),
        .required("replaying", Schema.boolean.described("Whether they are being handed over now.")),
        .required("durable", Schema.boolean.described("Whether they outlive the process.")),
    ]).named("OutboxStatus")

    private static let entryMembers: [Schema.Member] = [
        .required("number", .integer(atLeast: 1)),
        .required("action", Schema.string.described("What it does, with the version of that.", example: "session.merge@2")),
        .required("accepted", .dateTime),
    ]
    static let entrySchema = Schema.object(entryMembers).named("OutboxEntry")
    static let letterSchema = Schema.object(
        entryMembers + [
            .required("died", .dateTime), .required("code", Schema.string.described("The code of the server's error.")),
            .required("reason", .string),
        ]
    ).named("DeadLetter")
}
