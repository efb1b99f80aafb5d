import HTTPTypes
import Holdfast
import HoldfastHummingbird
import HoldfastStore
import Hummingbird
import Logging
import NIOCore

/// Answers every request: finds its route, lets its caller in, reads what it carries, calls the handler, and shapes the answer.
///
/// Order matters. Path and method first (404, 405), then the key (401, 403), then the input (400, 413, 415): who may not call learns
/// nothing about what would have been valid. Whatever goes wrong becomes problem details here and nowhere else.
struct APIResponder: HTTPResponder {
    typealias Context = ConnectionContext

    struct Limits: Sendable {
        /// Longer ones are answered 414.
        var urlBytes = 8192
        /// Larger ones are answered 413.
        var bodyBytes = 8 * 1024 * 1024
    }

    let table: RouteTable
    let gatekeeper: Gatekeeper
    let idempotency: IdempotentCalls?
    /// Nil where callers are not limited.
    let callers: CallerLimits?
    let metrics: RequestMetrics
    let audit: AuditLog
    let permissions: PermissionLog
    /// Another protocol, with paths and errors of its own.
    let upstash: UpstashEndpoint
    let limits: Limits
    let time: any TimeSource
    let logger: Logger

    func respond(to request: Request, context: ConnectionContext) async throws -> Response {
        let arrival = time.uptime
        let requestID = RequestHeaders.requestID(request.headers)
        metrics.began()
        if UpstashTarget.owns(request.uri.string) {
            return try await respondAsUpstash(to: request, context, requestID: requestID, arrival: arrival)
        }
        var routeName = "none"
        let answer: Answer
        do {
            let (route, path) = try find(request)
            routeName = route.name
            answer = try await limited(route, request, peer: context.peer, requestID: requestID, arrival: arrival) { call in
                try await audited(route, path, call, requestID) {
                    try await self.answer(route, call, path: path, request, context, requestID: requestID)
                }
            }
        } catch let problem as ProblemError {
            permissions.note(problem.value.error)
            answer = problem.value.answer(requestID: requestID)
        } catch let error as StoreError {
            permissions.note(error)
            answer = Problem(error).answer(requestID: requestID)
        } catch {
            // The connection broke, or what came over it was no HTTP: Hummingbird answers or closes.
            metrics.ended(route: routeName, method: request.method.label, status: 0, after: time.uptime - arrival)
            throw error
        }
        record(request, routeName, answer.status, since: arrival, requestID)
        return response(answer, to: request, requestID: requestID)
    }

    private func respondAsUpstash(
        to request: Request, _ context: ConnectionContext, requestID: String, arrival: Duration
    ) async throws -> Response {
        do {
            var (response, route) = try await upstash.respond(to: request, context, requestID: requestID, arrival: arrival)
            response.headers[.requestID] = requestID
            response.headers[.contentTypeOptions] = "nosniff"
            response.headers[.cacheControl] = "no-store"
            record(request, route, response.status, since: arrival, requestID)
            return request.method == .head ? Response(status: response.status, headers: response.headers) : response
        } catch {
            metrics.ended(route: "upstash", method: request.method.label, status: 0, after: time.uptime - arrival)
            throw error
        }
    }

    private func record(
        _ request: Request, _ route: String, _ status: HTTPResponse.Status, since arrival: Duration, _ requestID: String
    ) {
        let span = time.uptime - arrival
        metrics.ended(route: route, method: request.method.label, status: status.code, after: span)
        log(request, route, status, span, requestID)
    }

    // MARK: - The way of a request

    private func find(_ request: Request) throws -> (Route, path: [String: String?]) {
        let target = request.uri.string
        guard target.utf8.count <= limits.urlBytes else {
            throw ProblemError(
                Problem(
                    StoreError(.tooLarge, "The URL has more than \(limits.urlBytes) bytes", field: "url"), status: .uriTooLong))
        }
        switch table.match(request.method, target.prefix { $0 != "?" && $0 != "#" }) {
        case .found(let route, let path): return (route, path)
        case .unknown: throw StoreError(.notFound, "There is no such route")
        case .wrongMethod(let allowed):
            let list = allowed.map(\.rawValue).joined(separator: ", ")
            throw ProblemError(
                Problem(StoreError(.methodNotAllowed, "This route knows \(list)", field: "method"), headers: [.allow: list]))
        }
    }

    /// Lets the caller in, within its limits. A call without a valid key counts against its address: guessing keys has a price too.
    private func limited(
        _ route: Route, _ request: Request, peer: String?, requestID: String, arrival: Duration,
        _ body: (CallContext) async throws -> Answer
    ) async throws -> Answer {
        let admission: Result<CallContext, StoreError>
        do throws(StoreError) {
            admission = .success(try gatekeeper.admit(route, request.headers, requestID: requestID, arrival: arrival))
        } catch {
            admission = .failure(error)
        }
        // Health checks are never refused for coming often.
        guard let callers, route.access != .open else { return try await body(try admission.get()) }
        let decision = try await callers.check(
            try? admission.get(), peer: peer, request.headers, endpoint: route.path.description)
        guard decision.isAllowed else { return LimitAnswer.answer(decision, requestID: requestID) }
        var answer = try await body(try admission.get())
        // The limit routes tell of the limits that were asked for, not of the caller's own.
        for field in HTTPFields(decision) where answer.headers[field.name] == nil { answer.headers.append(field) }
        return answer
    }

    private func answer(
        _ route: Route, _ context: CallContext, path: [String: String?], _ request: Request, _ connection: ConnectionContext,
        requestID: String
    ) async throws -> Answer {
        let reader = RequestReader(route: route)
        let query = request.uri.string.split(separator: "?", maxSplits: 1).dropFirst().first?.prefix { $0 != "#" }
        let parameters = try reader.parameters(path: path, query: query, headers: request.headers)
        let bytes = route.body == nil ? ByteBuffer() : try await body(of: request, connection)
        let body = try reader.body(bytes.readableBytesView, mediaType: request.headers[.contentType])
        let call = Call(
            route: route, context: context, parameters: parameters, body: body, headers: request.headers, requestID: requestID)
        return try await context.run { () async throws(StoreError) in
            guard let idempotency, let key = call.optionalString("Idempotency-Key") else { return try await route.handler(call) }
            return try await idempotency.answer(call, key: key, target: request.uri.string)
        }
    }

    /// Records what was done, or tried, by those who were let in.
    private func audited(
        _ route: Route, _ path: [String: String?], _ context: CallContext, _ requestID: String,
        _ body: () async throws -> Answer
    ) async throws -> Answer {
        guard let kind = route.audited, kind == .administrative || audit.includesCache else { return try await body() }
        func record(_ status: Int) {
            audit.record(context, act: route.name, target: AuditTarget.text(path), status: status, requestID: requestID)
        }
        do {
            let answer = try await body()
            record(answer.status.code)
            return answer
        } catch {
            record(((error as? StoreError).map { Problem($0).status } ?? .internalServerError).code)
            throw error
        }
    }

    private func body(of request: Request, _ connection: ConnectionContext) async throws -> ByteBuffer {
        let tooLarge = StoreError(.tooLarge, "The body has more than \(limits.bodyBytes) bytes", field: "body")
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limits.bodyBytes { throw tooLarge }
        if request.headers[.expect] != nil { connection.willReadBody() }
        do {
            return try await request.body.collect(upTo: limits.bodyBytes)
        } catch is NIOTooManyBytesError {
            throw tooLarge
        }
    }

    // MARK: - The answer

    private func response(_ answer: Answer, to request: Request, requestID: String) -> Response {
        var headers = answer.headers
        headers[.requestID] = requestID
        headers[.contentTypeOptions] = "nosniff"
        // State is never for shared caches; with a tag, a client may keep a copy and ask whether it still holds.
        headers[.cacheControl] = headers[.eTag] == nil ? "no-store" : "private, no-cache"
        guard let (bytes, mediaType) = answer.content else {
            var response = Response(status: answer.status, headers: headers)
            // RFC 9110 §8.6: no length with 204, and none that would lie with 304.
            if answer.status == .noContent || answer.status == .notModified { response.headers[.contentLength] = nil }
            return response
        }
        headers[.contentType] = mediaType
        headers[.contentLength] = bytes.count.description
        guard request.method != .head else { return Response(status: answer.status, headers: headers) }
        return Response(status: answer.status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    /// One line for each request, with the route's name in the path's place: paths hold keys and session ids.
    private func log(
        _ request: Request, _ route: String, _ status: HTTPResponse.Status, _ span: Duration, _ requestID: String
    ) {
        let level: Logger.Level = status.code == 500 ? .error : .debug
        logger.log(
            level: level, "request answered",
            metadata: [
                "http.route": "\(route)", "http.method": "\(request.method.label)", "http.status": "\(status.code)",
                "duration_ms": "\(span.milliseconds)", "request.id": "\(requestID)",
            ])
    }
}

/// A problem whose status or headers its error does not tell.
struct ProblemError: Error {
    let value: Problem
    init(_ value: Problem) { self.value = value }
}

extension HTTPRequest.Method {
    /// The method for logs and metrics; methods that nobody declares share one word, so that a client cannot fill the metrics.
    var label: String {
        switch self {
        case .get, .head, .post, .put, .patch, .delete, .options: rawValue
        default: "OTHER"
        }
    }
}
