import HTTPTypes
import Holdfast
import HoldfastStore

/// The OpenAPI 3.1 document of a list of routes.
struct OpenAPIDocument {
    let routes: [Route]
    let version: String

    var json: JSONValue {
        .object([
            ("openapi", "3.1.0"),
            (
                "info",
                [
                    "title": "Holdfast", "version": .string(version),
                    "summary": "The state layer for agent backends: caches, sessions and rate limits.",
                    "description": """
                    Not described here: `/upstash`, which speaks Upstash's REST protocol (commands as paths or as JSON arrays) for the \
                    SDKs written for it, with the same API keys.
                    """,
                    "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
                ]
            ),
            ("servers", [["url": "/"]]),
            ("security", [["bearer": []], ["apiKey": []]]),
            ("paths", paths),
            (
                "components",
                .object([
                    ("schemas", schemas),
                    (
                        "securitySchemes",
                        [
                            "bearer": ["type": "http", "scheme": "bearer"],
                            "apiKey": ["type": "apiKey", "in": "header", "name": "X-API-Key"],
                        ]
                    ),
                ])
            ),
        ])
    }

    private var paths: JSONValue {
        var paths: [String: JSONValue] = [:]
        for route in routes {
            var item = paths[route.path.description]?.object ?? [:]
            item[route.method.rawValue.lowercased()] = operation(route)
            paths[route.path.description] = .object(item)
        }
        return .object(paths)
    }

    private func operation(_ route: Route) -> JSONValue {
        .object([
            ("operationId", .string(route.name)), ("summary", .string(route.summary)), ("tags", [.string(route.group)]),
            ("description", .string(Self.accessNote(route.access))),
            ("security", route.access == .open ? [] : nil),
            ("parameters", route.allParameters.isEmpty ? nil : .array(route.allParameters.map(Self.parameter))),
            ("requestBody", route.body.map { Self.body($0, isRequired: !route.isBodyOptional) }),
            ("responses", Self.responses(route)),
        ])
    }

    private static func accessNote(_ access: Route.Access) -> String {
        switch access {
        case .open: "Needs no API key."
        case .role(let role): "Needs an API key of role \(role.rawValue)\(role == .admin ? "" : " or higher")."
        }
    }

    private static func parameter(_ parameter: Route.Parameter) -> JSONValue {
        [
            "name": .string(parameter.name), "in": .string(parameter.place.rawValue), "required": .bool(parameter.isRequired),
            "description": .string(parameter.note), "schema": parameter.schema.json,
        ]
    }

    private static func body(_ schema: Schema, isRequired: Bool) -> JSONValue {
        ["required": .bool(isRequired), "content": ["application/json": ["schema": schema.json]]]
    }

    private static func responses(_ route: Route) -> JSONValue {
        var responses: [String: JSONValue] = [:]
        for outcome in route.outcomes { responses[outcome.status.description] = response(outcome) }
        for outcome in route.commonProblems where responses[outcome.status.description] == nil {
            responses[outcome.status.description] = response(outcome)
        }
        return .object(responses)
    }

    private static func response(_ outcome: Route.Outcome) -> JSONValue {
        let headers = outcome.headers.map { header -> (String, JSONValue?) in
            (header.name, ["description": .string(header.note), "schema": ["type": "string"]])
        }
        return .object([
            ("description", .string(outcome.note)), ("headers", headers.isEmpty ? nil : .object(headers)),
            ("content", outcome.schema.map { .object([outcome.mediaType: ["schema": $0.json]]) }),
        ])
    }

    private var schemas: JSONValue {
        var found: [String: Schema] = [:]
        for route in routes {
            for parameter in route.allParameters { parameter.schema.collectNamed(into: &found) }
            route.body?.collectNamed(into: &found)
            for outcome in route.outcomes + route.commonProblems { outcome.schema?.collectNamed(into: &found) }
        }
        return .object(found.mapValues(\.json))
    }
}

extension Route {
    /// What any request of this shape can be answered with, besides the route's own outcomes.
    var commonProblems: [Outcome] {
        var codes: [ErrorCode] = [.internalError, .unavailable, .deadlineExceeded, .unexpectedReply]
        if access != .open { codes += [.unauthenticated, .forbidden] }
        if !allParameters.isEmpty || body != nil { codes.append(.invalidArgument) }
        if body != nil { codes += [.tooLarge, .unsupportedMediaType] }
        if takesIdempotencyKey, access != .open { codes += [.idempotencyMismatch, .inProgress] }
        var outcomes = codes.map { Outcome.problem($0) }
        outcomes.append(
            Outcome(status: 414, note: "The URL is too long.", schema: Problem.schema, mediaType: Problem.mediaType))
        if access != .open {
            outcomes.append(
                Outcome(
                    status: 429, note: "The caller calls too often, where this server limits its callers.",
                    schema: LimitAnswer.denialSchema, mediaType: Problem.mediaType,
                    headers: [("Retry-After", "Seconds.")] + LimitAnswer.headerNotes))
        }
        return outcomes.sorted { $0.status < $1.status }
    }
}
