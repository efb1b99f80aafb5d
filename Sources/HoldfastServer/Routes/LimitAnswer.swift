import HTTPTypes
import Holdfast
import HoldfastHummingbird
import HoldfastStore

/// A rate limit decision over HTTP: body and headers, for the limit routes and for the middleware.
enum LimitAnswer {
    /// 200, or 429 as problem details that carry the decision's members too.
    static func answer(_ decision: RateLimitDecision, requestID: String) -> Answer {
        guard !decision.isAllowed else { return state(decision) }
        let problem = Problem(StoreError(.rateLimited, message(decision)), headers: HTTPFields(decision))
        var answer = problem.answer(requestID: requestID)
        let members = (problem.json(requestID: requestID).object ?? [:]).merging(json(decision).object ?? [:]) { own, _ in own }
        answer.body = .json(.object(members), mediaType: Problem.mediaType)
        return answer
    }

    /// 200 with where things stand, whatever was decided.
    static func state(_ decision: RateLimitDecision) -> Answer { .json(json(decision), headers: HTTPFields(decision)) }

    private static func message(_ decision: RateLimitDecision) -> String {
        switch decision.reason {
        case .costAboveLimit: "The cost is above the limit: it can never be allowed"
        case .blocked: "The subject is blocked"
        case .storeAway: "Limits cannot be decided while the server is away"
        default: "The limit \(decision.decisive?.rule.name ?? "") is exhausted"
        }
    }

    // MARK: - Headers

    static let headerNotes: [(name: String, note: String)] = [
        ("X-RateLimit-Limit", "What the deciding rule admits at once."), ("X-RateLimit-Remaining", "What is left of it."),
        ("X-RateLimit-Reset", "When it is whole again, in Unix seconds."),
        ("RateLimit", "Each rule's remaining quota (r) and seconds until it is whole, or until the call has a chance (t)."),
        ("RateLimit-Policy", "Each rule's quota (q) and the seconds in which it comes back (w)."),
    ]

    // MARK: - Body

    static func json(_ decision: RateLimitDecision) -> JSONValue {
        .object([
            ("allowed", .bool(decision.isAllowed)), ("reason", .string(decision.reason.rawValue)),
            ("rule", decision.decisive.map { .string($0.rule.name) }), ("limit", decision.limit.map { JSONValue($0) }),
            ("remaining", decision.remaining.map { JSONValue($0) }), ("reset_at", decision.resetsAt.map { JSONValue($0) }),
            ("reset_after_seconds", decision.resetAfter.map { JSONValue($0.inSeconds) }),
            ("retry_after_seconds", decision.retryAfter.map { JSONValue($0.inSeconds) }),
            ("decided_by", .string(decision.by.word)), ("rules", .array(decision.rules.map(json))),
        ])
    }

    private static func json(_ state: RateLimitState) -> JSONValue {
        .object([
            ("name", .string(state.rule.name)), ("algorithm", .string(state.rule.algorithm.rawValue)),
            ("window_seconds", JSONValue(state.rule.window.inSeconds)), ("limit", JSONValue(state.limit)),
            ("used", JSONValue(state.used)), ("remaining", JSONValue(state.remaining)), ("has_room", .bool(state.hasRoom)),
            ("reset_after_seconds", JSONValue(state.resetAfter.inSeconds)),
            ("retry_after_seconds", state.retryAfter.map { JSONValue($0.inSeconds) }),
        ])
    }

    private static let members: [Schema.Member] = [
        .required("allowed", .boolean),
        .required(
            "reason",
            .oneOf([
                "within-limits", "limit-exceeded", "cost-above-limit", "bypassed", "blocked", "disabled", "store-away",
            ])),
        .optional("rule", Schema.string.described("The rule that matters most: what the members below speak of.")),
        .optional("limit", .integer), .optional("remaining", .integer), .optional("reset_at", .dateTime),
        .optional("reset_after_seconds", .number), .optional("retry_after_seconds", .number),
        .required("decided_by", Decider.schema),
        .required(
            "rules",
            .array(
                of: .object([
                    .required("name", .string), .required("algorithm", .string), .required("window_seconds", .number),
                    .required("limit", .integer), .required("used", .integer), .required("remaining", .integer),
                    .required("has_room", .boolean), .required("reset_after_seconds", .number),
                    .optional("retry_after_seconds", .number),
                ]).named("RateLimitState"))),
    ]

    static let decisionSchema = Schema.object(members).named("RateLimitDecision")
    static let denialSchema = Schema.object(Problem.members.filter { $0.name != "decided_by" } + members).named("RateLimitDenial")
}

extension Decider {
    /// `server`, or `local` where this process decided because the server is away.
    var word: String { isLocal ? "local" : "server" }

    static let schema = Schema.oneOf(["server", "local"]).described(
        "`server`: the configured store. `local`: this process, because the server is away.")
}
