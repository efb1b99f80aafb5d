import HTTPTypes
import Holdfast
import HoldfastStore

/// Sessions for programs in any language.
struct SessionRoutes: Sendable {
    let state: AgentState

    private static let one: RoutePath = "/api/v1/sessions/{id}"
    private static let ofUser: RoutePath = "/api/v1/users/{user_id}/sessions"
    static let id = Route.Parameter.path("id", .string(36...45, format: .identifier), "The session's id.")
    private static let userID = Route.Parameter.path("user_id", .string(1...512), "The user.")
    private static let data = Schema.map(of: .any, maximum: 256).described("The session's fields.")
    private static let changed: [(name: String, note: String)] = [("ETag", "The session's version.")]
    private static let ttl = Schema.number(0.001...31_622_400).described("How long it stays without being used.")
    static let damaged = Route.Outcome.problem(
        .unsupportedFormat, "Something that cannot be read as a session lies in its place; DELETE removes it.")
    private static let missing = Route.Outcome.problem(.notFound, "There is no such session.")

    var routes: [Route] { [create, get, update, delete, extend, rotate, append, list, revoke] }

    private func sessions(_ call: Call) -> Sessions { call.context.tenant.map(state.sessions.scoped(to:)) ?? state.sessions }

    private func route(
        _ method: HTTPRequest.Method, _ path: RoutePath, _ name: String, _ summary: String,
        _ role: CallContext.Role = .operator, parameters: [Route.Parameter] = [], body: Schema? = nil, optionalBody: Bool = false,
        outcomes: [Route.Outcome], handler: @escaping Route.Handler
    ) -> Route {
        Route(
            method, path, name, summary, group: "Sessions", access: .role(role), parameters: parameters, body: body,
            isBodyOptional: optionalBody, outcomes: outcomes, handler: handler)
    }

    // MARK: - One session

    private var create: Route {
        route(
            .post, "/api/v1/sessions", "createSession", "Creates a session.",
            body: .object([
                .required("user_id", .string(1...512)), .optional("workspace_id", .string(1...512)),
                .optional("kind", .oneOf(Session.Kind.allCases.map(\.rawValue))), .optional("data", Self.data),
                .optional("ttl_seconds", Self.ttl),
                .optional("absolute_ttl_seconds", Self.ttl.described("How long it stays at most, however much it is used.")),
                .optional("client_address", .string(0...1024)), .optional("user_agent", .string(0...1024)),
            ]),
            outcomes: [
                .created(
                    SessionAnswer.schema, "The session.",
                    headers: Self.changed + [("Location", "Where it is.")]), .problem(.tooLarge),
            ]
        ) { (call) async throws(StoreError) in
            let session = try await sessions(call).create(
                userID: call.body["user_id"]?.string ?? "", workspaceID: call.body["workspace_id"]?.string,
                kind: call.body["kind"]?.string.flatMap(Session.Kind.init(rawValue:)) ?? .user,
                data: call.body["data"]?.object ?? [:], ttl: call.body.seconds("ttl_seconds"),
                absoluteTTL: call.body.seconds("absolute_ttl_seconds"), clientAddress: call.body["client_address"]?.string,
                userAgent: call.body["user_agent"]?.string, once: call.operation)
            var answer = Self.answer(session, call, .created)
            answer.headers[.location] = "/api/v1/sessions/\(session.id.text)"
            return answer
        }
    }

    private var get: Route {
        route(
            .get, Self.one, "getSession", "A session, which then stays for another idle time unless a reader asks.",
            .reader,
            parameters: [
                Self.id, .query("touch", .boolean, "false to look without letting it stay longer, as readers always do."),
                .ifNoneMatch,
            ],
            outcomes: [
                .ok(SessionAnswer.schema, "The session.", headers: Self.changed), .notModified, Self.missing, Self.damaged,
            ]
        ) { (call) async throws(StoreError) in
            let mayTouch = call.context.role != .reader
            let touch = call.parameters["touch"]?.bool ?? mayTouch
            guard mayTouch || !touch else {
                throw StoreError(.forbidden, "Letting a session stay longer needs the role operator", field: "touch")
            }
            return Self.answer(try await sessions(call).get(try call.sessionID(), touch: touch), call)
        }
    }

    private var update: Route {
        route(
            .patch, Self.one, "updateSession", "Sets and removes fields, all or nothing; other fields are left as they are.",
            parameters: [Self.id, .ifMatch],
            body: .object([
                .optional("set", Self.data), .optional("remove", .array(of: .string(1...256), 0...256)),
                .optional(
                    "expect",
                    Self.data.described("Only when these fields have these values now, else 409. Null: when there is none.")),
            ]),
            outcomes: [
                .ok(SessionAnswer.schema, "The session after the change.", headers: Self.changed), Self.missing,
                .problem(.conflict, "A field has another value than expected."), .problem(.preconditionFailed),
                .problem(.tooLarge),
            ]
        ) { (call) async throws(StoreError) in
            var expectation = SessionExpectation(version: try call.expectedVersion())
            for (name, value) in call.body["expect"]?.object ?? [:] {
                expectation.fields[name] = .some(value.isNull ? nil : value)
            }
            let session = try await sessions(call).update(
                try call.sessionID(), set: call.body["set"]?.object ?? [:],
                remove: Set(call.body["remove"]?.array?.compactMap(\.string) ?? []), expecting: expectation)
            return Self.answer(session, call)
        }
    }

    private var delete: Route {
        route(
            .delete, Self.one, "deleteSession", "Ends a session.", parameters: [Self.id, .ifMatch],
            outcomes: [
                .noContent("It has ended.", headers: [Route.Outcome.decidedBy]), Self.missing, .problem(.preconditionFailed),
            ]
        ) { (call) async throws(StoreError) in
            let ended = try await sessions(call).delete(try call.sessionID(), ifVersion: try call.expectedVersion())
            return ended.value ? Answer(.noContent, headers: [.decidedBy: ended.by.word]) : call.problem(Self.gone, by: ended.by)
        }
    }

    private var extend: Route {
        route(
            .post, "/api/v1/sessions/{id}/extend", "extendSession", "Lets a session stay at least this long from now on.",
            parameters: [Self.id],
            body: .object([.optional("ttl_seconds", Self.ttl.described("The session's idle time if not given."))]),
            optionalBody: true,
            outcomes: [.ok(SessionAnswer.schema, "The session after the change.", headers: Self.changed), Self.missing]
        ) { (call) async throws(StoreError) in
            Self.answer(
                try await sessions(call).extend(try call.sessionID(), by: call.body.seconds("ttl_seconds"), once: call.operation),
                call)
        }
    }

    private var rotate: Route {
        route(
            .post, "/api/v1/sessions/{id}/rotate", "rotateSession", "Gives a session another id; the old one ends.",
            parameters: [Self.id],
            outcomes: [
                .ok(SessionAnswer.schema, "The session under its new id.", headers: Self.changed), Self.missing,
                .problem(.conflict),
            ]
        ) { (call) async throws(StoreError) in
            Self.answer(try await sessions(call).rotate(try call.sessionID(), once: call.operation), call)
        }
    }

    private var append: Route {
        route(
            .post, "/api/v1/sessions/{id}/messages", "appendSessionMessages",
            "Appends messages to a conversation, which keeps the last ones.", parameters: [Self.id],
            body: .object([
                .required(
                    "messages",
                    .array(
                        of: .object([
                            .required("role", .string(1...64)), .required("content", .any),
                            .optional("metadata", .map(of: .any, maximum: 64)),
                        ]), 1...100))
            ]),
            outcomes: [
                .ok(SessionAnswer.schema, "The session after the change.", headers: Self.changed), Self.missing,
                .problem(.tooLarge),
            ]
        ) { (call) async throws(StoreError) in
            let messages = (call.body["messages"]?.array ?? []).map {
                NewSessionMessage(
                    role: $0["role"]?.string ?? "", content: $0["content"] ?? .null, metadata: $0["metadata"]?.object ?? [:])
            }
            return Self.answer(try await sessions(call).append(messages, to: try call.sessionID(), once: call.operation), call)
        }
    }

    // MARK: - A user's sessions

    private var list: Route {
        route(
            .get, Self.ofUser, "listUserSessions", "A user's live sessions, with their ids masked.", .reader,
            parameters: [
                Self.userID, .query("limit", .integer(1...200), "At most so many on a page (50 if not given)."), .cursor,
            ],
            outcomes: [
                .ok(
                    .object([
                        .required("sessions", .array(of: SessionAnswer.listedSchema)),
                        .required(
                            "damaged",
                            Schema.array(of: .string).described(
                                "The masked ids of entries that cannot be read as sessions; revoking all removes them too.")),
                        .required("next_cursor", Schema.string.orNull), .required("decided_by", Decider.schema),
                    ]), "A page.")
            ]
        ) { (call) async throws(StoreError) in
            let user = call.string("user_id")
            let cursor = Cursor(call, parameters: [user])
            let start = try call.optionalString("cursor").map { (text) throws(StoreError) in try cursor.decode(text) }
            let page = try await sessions(call).list(
                userID: user, limit: Int(call.integer("limit", default: 50)), cursor: start)
            return .json([
                "sessions": .array(page.sessions.map(SessionAnswer.listed)),
                "damaged": .array(page.damaged.map { .string($0.masked) }),
                "next_cursor": page.cursor.map { .string(cursor.encode($0)) } ?? .null, "decided_by": .string(page.by.word),
            ])
        }
    }

    private var revoke: Route {
        route(
            .delete, Self.ofUser, "revokeUserSessions", "Ends all sessions of a user.",
            parameters: [
                Self.userID,
                .header(
                    "X-Keep-Session", .string(36...45, format: .identifier),
                    "The id of one session that stays; one that is not the user's keeps none."),
            ],
            outcomes: [
                .ok(
                    .object([
                        .required(
                            "revoked",
                            Schema.integer.described(
                                "How many were ended; while the server is away how many of those that this process knows.")),
                        .required("decided_by", Decider.schema),
                    ]), "They have ended.")
            ]
        ) { (call) async throws(StoreError) in
            let kept = try call.optionalString("X-Keep-Session").map { (text) throws(StoreError) in try SessionID(text) }
            let ended = try await sessions(call).revokeAll(userID: call.string("user_id"), keeping: kept)
            return .json(["revoked": JSONValue(ended.value), "decided_by": .string(ended.by.word)])
        }
    }

    static func answer(_ session: Session, _ call: Call, _ status: HTTPResponse.Status = .ok) -> Answer {
        call.answer(SessionAnswer.json(session), tag: EntityTag(version: session.version), by: session.by, status)
    }

    /// What was read, or that there is none.
    static func answer(_ found: Decided<Session?>, _ call: Call) -> Answer {
        found.value.map { answer($0, call) } ?? call.problem(gone, by: found.by)
    }

    static var gone: StoreError { StoreError(.notFound, "There is no such session", field: "id") }
}

extension Call {
    func sessionID() throws(StoreError) -> SessionID { try SessionID(string("id")) }
}

/// A session as JSON.
enum SessionAnswer {
    static func json(_ session: Session) -> JSONValue {
        var members = common(session)
        members.append(("id", .string(session.id.text)))
        members.append(("data", .object(session.data)))
        members.append(("messages", session.kind == .conversation ? .array(session.messages.map(json)) : nil))
        return .object(members)
    }

    /// For lists: the id masked, and without what callers keep in it.
    static func listed(_ session: Session) -> JSONValue {
        .object(common(session) + [("masked_id", .string(session.id.masked))])
    }

    private static func common(_ session: Session) -> [(String, JSONValue?)] {
        [
            ("user_id", .string(session.userID)), ("workspace_id", session.workspaceID.map { .string($0) }),
            ("kind", .string(session.kind.rawValue)), ("created_at", JSONValue(session.created)),
            ("last_accessed_at", JSONValue(session.lastAccessed)), ("expires_at", JSONValue(session.expires)),
            ("ends_at", JSONValue(session.ends)), ("idle_ttl_seconds", JSONValue(session.idleTTL.inSeconds)),
            ("version", JSONValue(session.version)), ("client_address", session.clientAddress.map { .string($0) }),
            ("user_agent", session.userAgent.map { .string($0) }),
            ("decided_by", .string(session.by.word)), ("stale_age_seconds", session.staleAge.map { JSONValue($0.inSeconds) }),
        ]
    }

    private static func json(_ message: Session.Message) -> JSONValue {
        [
            "number": JSONValue(message.number), "role": .string(message.role), "content": message.content,
            "metadata": .object(message.metadata), "sent_at": JSONValue(message.sent),
        ]
    }

    private static let members: [Schema.Member] = [
        .required("user_id", .string), .optional("workspace_id", .string),
        .required("kind", .oneOf(Session.Kind.allCases.map(\.rawValue))), .required("created_at", .dateTime),
        .required("last_accessed_at", .dateTime),
        .required("expires_at", Schema.dateTime.described("When it ends unless it is used again.")),
        .required("ends_at", Schema.dateTime.described("When it ends in any case.")),
        .required("idle_ttl_seconds", .number), .required("version", .integer), .optional("client_address", .string),
        .optional("user_agent", .string), .required("decided_by", Decider.schema),
        .optional(
            "stale_age_seconds",
            Schema.number.described("Only while the server is away: how long ago it was asked for this session.")),
    ]

    static let schema = Schema.object(
        [.required("id", .string(36...45, format: .identifier)), .required("data", .map(of: .any))] + members + [
            .optional(
                "messages",
                .array(
                    of: .object([
                        .required("number", .integer), .required("role", .string), .required("content", .any),
                        .required("metadata", .map(of: .any)), .required("sent_at", .dateTime),
                    ]).named("SessionMessage")))
        ]
    ).named("Session")

    static let listedSchema = Schema.object([.required("masked_id", .string)] + members).named("ListedSession")
}
