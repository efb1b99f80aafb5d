import HTTPTypes
import Holdfast
import HoldfastStore

/// Rate limits for programs in any language.
struct LimitRoutes: Sendable {
    let state: AgentState

    var routes: [Route] {
        [
            Route(
                .post, "/api/v1/limits/check", "checkLimit",
                "Decides whether something may happen now, and charges it where it may.",
                group: "Rate limits", access: .role(.operator), body: LimitRequest.schema,
                outcomes: [
                    .ok(LimitAnswer.decisionSchema, "Allowed, and charged.", headers: LimitAnswer.headerNotes),
                    Route.Outcome(
                        status: 429, note: "Denied; nothing was charged.", schema: LimitAnswer.denialSchema,
                        mediaType: Problem.mediaType, headers: [("Retry-After", "Seconds.")] + LimitAnswer.headerNotes),
                ], handler: check),
            Route(
                .post, "/api/v1/limits/peek", "peekLimit", "What a check would decide, without charging.", group: "Rate limits",
                access: .role(.reader), body: LimitRequest.schema,
                outcomes: [.ok(LimitAnswer.decisionSchema, "The decision.", headers: LimitAnswer.headerNotes)], handler: peek),
            Route(
                .post, "/api/v1/limits/record", "recordLimit",
                "Charges without deciding, for costs that are known only afterwards.", group: "Rate limits",
                access: .role(.operator), body: LimitRequest.schema,
                outcomes: [.ok(LimitAnswer.decisionSchema, "The state afterwards.", headers: LimitAnswer.headerNotes)],
                handler: record),
            Route(
                .post, "/api/v1/limits/refund", "refundLimit", "Gives back what was charged for something that did not happen.",
                group: "Rate limits", access: .role(.operator), body: LimitRequest.schema,
                outcomes: [.ok(LimitAnswer.decisionSchema, "The state afterwards.", headers: LimitAnswer.headerNotes)],
                handler: refund),
            Route(
                .post, "/api/v1/limits/reset", "resetLimit", "Forgets what was consumed.", group: "Rate limits",
                access: .role(.operator), body: LimitRequest.schema, outcomes: [.noContent("Forgotten.")], handler: reset),
        ]
    }

    private func limiter(_ call: Call) -> RateLimiter { call.context.tenant.map(state.limits.scoped(to:)) ?? state.limits }

    private func check(_ call: Call) async throws(StoreError) -> Answer {
        let limiter = limiter(call)
        let request = try LimitRequest(call.body)
        let decision: RateLimitDecision
        if let rules = request.rules {
            decision = try await limiter.check(rules, for: request.subject, cost: request.cost, once: call.operation)
        } else {
            decision = try await limiter.check(
                request.subject, endpoint: request.endpoint, tier: request.tier, cost: request.cost, once: call.operation)
        }
        return LimitAnswer.answer(decision, requestID: call.requestID)
    }

    private func peek(_ call: Call) async throws(StoreError) -> Answer {
        let limiter = limiter(call)
        return LimitAnswer.state(try await limiter.peek(try LimitRequest(call.body).charges(limiter)))
    }

    private func record(_ call: Call) async throws(StoreError) -> Answer {
        let limiter = limiter(call)
        return LimitAnswer.state(try await limiter.record(try LimitRequest(call.body).charges(limiter), once: call.operation))
    }

    private func refund(_ call: Call) async throws(StoreError) -> Answer {
        let limiter = limiter(call)
        return LimitAnswer.state(try await limiter.refund(try LimitRequest(call.body).charges(limiter), once: call.operation))
    }

    private func reset(_ call: Call) async throws(StoreError) -> Answer {
        let limiter = limiter(call)
        try await limiter.reset(try LimitRequest(call.body).charges(limiter))
        return .noContent
    }
}

/// The body of all limit calls: for whom, how much, and by which rules.
struct LimitRequest {
    let subject: RateLimitSubject
    let cost: Int
    let endpoint: String?
    let tier: RateLimitTier
    /// Nil for the server's configured plan.
    let rules: [RateLimit]?

    static let schema = Schema.object([
        .required(
            "subject",
            .object(RateLimitSubject.Kind.allCases.map { .optional($0.rawValue, .string(1...512)) })
                .described("Whose consumption is counted: one identifier, or several together.", example: ["user": "ann"])),
        .optional("cost", .integer(0...Int64(RateLimit.maximumLimit)).described("What it weighs; 1 if not given.")),
        .optional("endpoint", .string(1...512).described("For the plan's overrides.")),
        .optional("tier", .oneOf(RateLimitTier.all.map(\.name)).described("By how much the plan's limits are multiplied.")),
        .optional("rules", .array(of: ruleSchema, 1...16).described("In place of the server's plan; all must have room.")),
    ]).named("RateLimitRequest")

    private static let ruleSchema = Schema.object([
        .required("name", .string(1...64, format: .word)),
        .required("algorithm", .oneOf(RateLimit.Algorithm.allCases.map(\.rawValue))),
        .required("limit", .integer(1...Int64(RateLimit.maximumLimit))),
        .required("window_seconds", .number(0.001...34_560_000)),
        .optional("burst", .integer(1...Int64(RateLimit.maximumLimit)).described("The bucket's capacity; `limit` if not given.")),
    ]).named("RateLimitRule")

    init(_ body: JSONValue) throws(StoreError) {
        var parts: [RateLimitSubject] = []
        for kind in RateLimitSubject.Kind.allCases {
            if let id = body["subject"]?[kind.rawValue]?.string { parts.append(RateLimitSubject(kind, id)) }
        }
        guard let first = parts.first else { throw .invalid("subject", "It must name someone or something") }
        subject = parts.dropFirst().reduce(first) { $0.and($1) }
        cost = body["cost"]?.integer.map { Int($0) } ?? 1
        endpoint = body["endpoint"]?.string
        tier = body["tier"]?.string.flatMap(RateLimitTier.named) ?? .free
        rules = body["rules"]?.array?.compactMap(Self.rule)
    }

    private static func rule(_ json: JSONValue) -> RateLimit? {
        guard let name = json["name"]?.string, let limit = json["limit"]?.integer, let window = json["window_seconds"]?.double,
            let algorithm = json["algorithm"]?.string.flatMap(RateLimit.Algorithm.init(rawValue:))
        else { return nil }
        return RateLimit(
            name, algorithm, limit: Int(limit), per: .milliseconds(Int64((window * 1000).rounded())),
            burst: json["burst"]?.integer.map { Int($0) })
    }

    func charges(_ limiter: RateLimiter) -> [RateLimitCharge] {
        rules.map { $0.map { RateLimitCharge($0, for: subject, cost: cost) } }
            ?? limiter.configuration.plan.charges(for: subject, endpoint: endpoint, tier: tier, cost: cost)
    }
}
