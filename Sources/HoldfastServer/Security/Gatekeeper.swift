import HTTPTypes
import Holdfast
import HoldfastStore

/// Decides who a request is from and whether its route is theirs to call.
struct Gatekeeper: Sendable {
    let keys: APIKeyRing
    let time: any TimeSource

    /// The context of the call.
    ///
    /// - Parameter arrival: when the request arrived, on ``TimeSource/uptime``; the caller's timeout counts from there.
    /// - Throws: ``ErrorCode/unauthenticated`` without a valid key, ``ErrorCode/forbidden`` where its role or tenant does not reach,
    ///   ``ErrorCode/deadlineExceeded`` where the caller's time is up already.
    func admit(_ route: Route, _ headers: HTTPFields, requestID: String, arrival: Duration) throws(StoreError) -> CallContext {
        if case .role(let needed) = route.access {
            return try admit(
                needed, secret: RequestHeaders.secret(headers), headers, requestID: requestID, arrival: arrival)
        }
        var context = CallContext(requestID: requestID, traceHeaders: RequestHeaders.trace(headers))
        // Open routes tell more to those who have a key.
        let key = RequestHeaders.secret(headers).flatMap(keys.key(for:))
        context.actor = key?.name
        context.role = key?.role
        return context
    }

    /// The context of a call that needs a key of this role or a higher one, presented in whatever way.
    func admit(
        _ needed: CallContext.Role, secret: String?, _ headers: HTTPFields, requestID: String, arrival: Duration
    ) throws(StoreError) -> CallContext {
        var context = CallContext(requestID: requestID, traceHeaders: RequestHeaders.trace(headers))
        guard let secret else {
            throw StoreError(.unauthenticated, "Send an API key as Authorization: Bearer … or X-API-Key")
        }
        guard let key = keys.key(for: secret) else { throw StoreError(.unauthenticated, "This API key is not known here") }
        guard key.role >= needed else {
            throw StoreError(.forbidden, "This needs the role \(needed.rawValue), and the API key's is \(key.role.rawValue)")
        }
        context.actor = key.name
        context.role = key.role
        context.tenant = try tenant(of: key, headers)
        context.deadline = try deadline(headers, arrival: arrival)
        return context
    }

    private func tenant(of key: APIKey, _ headers: HTTPFields) throws(StoreError) -> String? {
        guard let wanted = headers[.tenant], wanted != key.tenant else { return key.tenant }
        guard key.role == .admin, key.tenant == nil else {
            throw StoreError(.forbidden, "This API key may not act for another tenant than its own", field: "X-Tenant")
        }
        try TenantName.schema.check(.string(wanted), at: "X-Tenant")
        return wanted
    }

    private func deadline(_ headers: HTTPFields, arrival: Duration) throws(StoreError) -> Duration? {
        guard let text = headers[.requestTimeout] else { return nil }
        guard let span = Duration(span: text) else { throw .invalid("Request-Timeout", TextFormat.span.hint) }
        let deadline = arrival + span
        guard time.uptime < deadline else { throw StoreError(.deadlineExceeded, field: "Request-Timeout") }
        return deadline
    }
}
