import HTTPTypes
public import Holdfast
import HoldfastStore
public import Hummingbird

/// Admits as many requests as a ``Holdfast/RateLimiter`` does, and answers the others 429.
///
///     let addresses = ClientAddress(proxies: ["10.0.0.0/8"])
///     router.add(middleware: RateLimitMiddleware(state.limits) { request, context in
///         addresses.address(peer: context.peer, request.headers).map { .ip($0) }
///     })
///
/// One round trip a request, by the limiter's plan; the request's path, as it was sent and without its query, is the endpoint for the
/// plan's overrides. Every response says where its caller stands (`X-RateLimit-*`, `RateLimit`, `RateLimit-Policy`), those of errors
/// that are thrown further down included; a 429 also when to come back, in problem details (RFC 9457).
///
/// **Outages.** The limiter decides what happens while the server is away (``Holdfast/RateLimiter/OutageBehavior``). An error of the
/// limiter, such as a refused password, is thrown on: a limit that cannot be decided admits nobody.
public struct RateLimitMiddleware<Context: RequestContext>: RouterMiddleware {
    /// Whose request it is; nil for one that is not limited.
    public typealias Subject = @Sendable (Request, Context) async throws -> RateLimitSubject?

    private let limiter: RateLimiter
    private let tier: @Sendable (Request, Context) -> RateLimitTier
    private let subject: Subject

    /// - Parameters:
    ///   - limiter: with the plan that applies.
    ///   - tier: by how much the plan's limits are multiplied for this request.
    ///   - subject: whose consumption is counted. Do not take it from a header that anybody can set; see ``ClientAddress``.
    public init(
        _ limiter: RateLimiter, tier: @escaping @Sendable (Request, Context) -> RateLimitTier = { _, _ in .free },
        subject: @escaping Subject
    ) {
        self.limiter = limiter
        self.tier = tier
        self.subject = subject
    }

    public func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard let subject = try await subject(request, context) else { return try await next(request, context) }
        let decision = try await limiter.check(subject, endpoint: request.uri.path, tier: tier(request, context))
        let fields = HTTPFields(decision)
        guard decision.isAllowed else { return Self.denial(fields) }
        do {
            var response = try await next(request, context)
            response.headers.append(contentsOf: fields)
            return response
        } catch let error as any HTTPResponseError {
            throw ErrorWithFields(error: error, fields: fields)
        }
    }

    private static func denial(_ fields: HTTPFields) -> Response {
        let code = ErrorCode.rateLimited
        let problem: JSONValue = [
            "type": .string(code.problemType), "title": .string(code.title), "status": 429, "code": .string(code.name),
        ]
        var fields = fields
        fields[.contentType] = "application/problem+json"
        let body = ByteBuffer(bytes: Array(problem.encoded() ?? "{}"))
        return Response(status: .tooManyRequests, headers: fields, body: ResponseBody(byteBuffer: body))
    }
}

/// An error's own response, with more header fields.
private struct ErrorWithFields: HTTPResponseError {
    let error: any HTTPResponseError
    let fields: HTTPFields

    var status: HTTPResponse.Status { error.status }

    func response(from request: Request, context: some RequestContext) throws -> Response {
        var response = try error.response(from: request, context: context)
        response.headers.append(contentsOf: fields)
        return response
    }
}
