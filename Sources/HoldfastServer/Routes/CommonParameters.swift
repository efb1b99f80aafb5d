import HTTPTypes
import Holdfast
import HoldfastStore

// Headers that every route with a key understands, declared once.

extension Route {
    /// The declared parameters and those that every route with a key has.
    var allParameters: [Parameter] {
        guard access != .open else { return parameters }
        var all = parameters + [.tenant, .requestTimeout]
        if takesIdempotencyKey { all.append(.idempotencyKey) }
        return all
    }

    /// POSTs may be repeated safely with an `Idempotency-Key`. The other methods are idempotent by nature: with them the header is
    /// accepted and changes nothing.
    var takesIdempotencyKey: Bool { method == .post }
}

extension Route.Parameter {
    static let tenant = header(
        "X-Tenant", TenantName.schema, "The tenant to act for. Only an admin key without a tenant may name another than its own.")
    static let requestTimeout = header(
        "Request-Timeout", .string(1...20, format: .span).described("Such as 5, 2.5s, 500ms or 1m.", example: "2.5s"),
        "How long the caller waits, from the request's arrival. What cannot be done by then is answered 504, and not begun any more."
    )
    static let idempotencyKey = header(
        "Idempotency-Key", .string(1...200, format: .visible),
        "Makes a repetition safe: a request with the same key and content gets the first one's answer, for 24 hours, and has no second "
            + "effect. Another content with the same key is 422, and 409 while the first is still running.")
    static let ifMatch = header(
        "If-Match", .string(1...400), "Only when the current version has this entity tag, else 412. `*`: only when it exists.")
    static let ifNoneMatch = header(
        "If-None-Match", .string(1...400), "304 when the current version has this entity tag.")
    static let limit = query("limit", .integer(1...1000), "At most so many on a page (100 if not given).")
    static let cursor = query(
        "cursor", .string(1...2000), "Where the page begins: `next_cursor` of the page before, with the same other parameters.")
}
