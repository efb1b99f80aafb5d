import HTTPTypes
import Holdfast
import HoldfastHummingbird
import HoldfastStore
import Hummingbird
import Logging
import NIOCore

/// Upstash's REST protocol under `/upstash`, over whatever store the server runs on, so that what was written for Upstash runs here.
///
/// Commands are carried out by the configured store or not at all: while its server is away they fail (503), and are never decided
/// locally, because nobody could merge what raw commands wrote. The protocol is Upstash's own and open in its paths, so it is no part of `/openapi.json`, which says so.
struct UpstashEndpoint: Sendable {
    /// Upstash's own limit, and its error when it is exceeded.
    static let maximumBodyBytes = 10 * 1024 * 1024

    let state: AgentState
    let gatekeeper: Gatekeeper
    let callers: CallerLimits?
    let maximumURLBytes: Int
    let audit: AuditLog
    let scripts = ScriptNames()
    let logger: Logger

    /// An answer, and the name under which it is counted.
    func respond(
        to request: Request, _ connection: ConnectionContext, requestID: String, arrival: Duration
    ) async throws -> (Response, route: String) {
        do {
            guard [.get, .head, .post, .put].contains(request.method) else {
                return (refusal("ERR method not allowed", .methodNotAllowed, [.allow: "GET, HEAD, POST, PUT"]), "upstash")
            }
            guard request.uri.string.utf8.count <= maximumURLBytes else {
                return (refusal("ERR the URL has more than \(maximumURLBytes) bytes", .uriTooLong), "upstash")
            }
            guard let target = UpstashTarget(request.uri.string) else {
                return (refusal("ERR failed to parse the request: the URL is not well encoded"), "upstash")
            }
            return try await answer(target, request, connection, requestID: requestID, arrival: arrival)
        } catch let error as ReplyError {
            return (refusal(error.line), "upstash")
        } catch let error as StoreError {
            return (refusal(error), "upstash")
        }
    }

    // MARK: - The way of a request

    private func answer(
        _ target: UpstashTarget, _ request: Request, _ connection: ConnectionContext, requestID: String, arrival: Duration
    ) async throws -> (Response, route: String) {
        let secret = RequestHeaders.secret(request.headers) ?? target.token
        let admission: Result<CallContext, StoreError>
        do throws(StoreError) {
            admission = .success(
                try gatekeeper.admit(.reader, secret: secret, request.headers, requestID: requestID, arrival: arrival))
        } catch {
            admission = .failure(error)
        }
        if let callers {
            let decision = try await callers.check(
                try? admission.get(), peer: connection.peer, request.headers, endpoint: "/upstash")
            guard decision.isAllowed else {
                return (refusal("ERR max requests limit exceeded", .tooManyRequests, HTTPFields(decision)), "upstash")
            }
        }
        let context = try admission.get()
        let format = try UpstashFormat(request.headers)
        let caller = caller(context, connection)
        if let stream = try target.stream(request.method) {
            return (try await respond(stream, caller, format, to: request), "upstash.stream")
        }
        let asked = try target.request(request.method, body: try await body(of: request, connection))
        return try await context.run { () async throws(StoreError) in
            let record = { (arguments: [Bytes], status: HTTPResponse.Status) in
                guard let act = UpstashAct.name(arguments) else { return }
                audit.record(context, act: act, target: "", status: status.code, requestID: requestID)
            }
            do throws(StoreError) { return try await carryOut(asked, caller, format, request.headers, record) } catch {
                for arguments in asked.commands { record(arguments, error.code.status) }
                throw error
            }
        }
    }

    /// Subscribes to the configured store; while it is away there is nobody to subscribe to.
    private func respond(
        _ stream: UpstashTarget.Stream, _ caller: UpstashCaller, _ format: UpstashFormat, to request: Request
    ) async throws -> Response {
        let verb: UpstashStream.Verb
        switch stream.verb {
        case "monitor":
            throw ReplyError("ERR MONITOR is not available here: it would show the commands of every caller of the store")
        case "psubscribe": verb = .patterns
        default: verb = .channels
        }
        let failover = state.failover
        let events = UpstashStream(verb: verb, names: stream.names, caller: caller, isEncoded: format == .base64)
        return try await events.response(to: request, on: failover.server ?? failover.local, time: failover.time)
    }

    private func caller(_ context: CallContext, _ connection: ConnectionContext) -> UpstashCaller {
        UpstashCaller(
            context.tenant.map(state.namespace.scoped(to:)) ?? state.namespace, role: context.role ?? .reader,
            isServed: state.failover.server != nil, scripts: scripts, hasLeft: { await connection.hasLeft() })
    }

    private func body(of request: Request, _ connection: ConnectionContext) async throws -> [UInt8] {
        func tooLarge(_ actual: String) -> ReplyError {
            ReplyError("ERR max request size exceeded. Limit: \(Self.maximumBodyBytes) bytes, Actual: \(actual) bytes")
        }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > Self.maximumBodyBytes {
            throw tooLarge(length.description)
        }
        if request.headers[.expect] != nil { connection.willReadBody() }
        do {
            return Array(try await request.body.collect(upTo: Self.maximumBodyBytes).readableBytesView)
        } catch is NIOTooManyBytesError {
            throw tooLarge("more")
        }
    }

    private func carryOut(
        _ asked: UpstashRequest, _ caller: UpstashCaller, _ format: UpstashFormat, _ headers: HTTPFields,
        _ record: ([Bytes], HTTPResponse.Status) -> Void
    ) async throws(StoreError) -> (Response, route: String) {
        switch asked {
        case .command(let arguments):
            let reply = try await perform { store throws(StoreError) in try await caller.reply(to: arguments, on: store) }
            let status = Self.status(reply)
            record(arguments, status)
            return (response(status, format.body(reply), format.mediaType, headers), "upstash.command")
        case .pipeline(let commands):
            let replies = try await perform { store throws(StoreError) in try await caller.replies(to: commands, on: store) }
            for (arguments, reply) in zip(commands, replies) { record(arguments, Self.status(reply)) }
            return (response(.ok, format.body(replies), format.mediaType, headers), "upstash.pipeline")
        case .transaction(let commands):
            let format = format == .resp2 ? .json : format
            let replies = try await perform { store throws(StoreError) in try await caller.transaction(of: commands, on: store) }
            for (arguments, reply) in zip(commands, replies) { record(arguments, Self.status(reply)) }
            return (response(.ok, format.body(replies), format.mediaType, headers), "upstash.transaction")
        }
    }

    private static func status(_ reply: Reply) -> HTTPResponse.Status {
        if case .error = reply { .badRequest } else { .ok }
    }

    private func perform<Output: Sendable>(
        _ body: (any Store) async throws(StoreError) -> Output
    ) async throws(StoreError) -> Output {
        try await state.failover.perform(.fail) { store, _ async throws(StoreError) in try await body(store) }.value
    }

    // MARK: - Answers

    private func response(
        _ status: HTTPResponse.Status, _ body: [UInt8], _ mediaType: String, _ headers: HTTPFields
    ) -> Response {
        // One store behind this endpoint: whoever writes through it reads what it wrote, so any token holds.
        let token = headers[.upstashSyncToken].flatMap { $0.isEmpty || $0.utf8.count > 256 ? nil : $0 } ?? "holdfast"
        return Response(
            status: status,
            headers: [.contentType: mediaType, .contentLength: body.count.description, .upstashSyncToken: token],
            body: .init(byteBuffer: ByteBuffer(bytes: body)))
    }

    private func refusal(_ line: String, _ status: HTTPResponse.Status = .badRequest, _ extra: HTTPFields = [:]) -> Response {
        var response = response(status, Array(UpstashFormat.failure(line).answerBytes), "application/json", [:])
        for field in extra { response.headers[field.name] = field.value }
        return response
    }

    /// The protocol knows 400, 401 and 405. What is the server's state and not the caller's mistake is a 5xx besides, so that clients
    /// and proxies see that it passes; and what may have been carried out in part, for a 400 says that nothing was.
    private func refusal(_ error: StoreError) -> Response {
        switch error.code {
        case .unauthenticated: return refusal("WRONGPASS invalid or missing auth token", .unauthorized)
        case .forbidden: return refusal("NOPERM \(error.message)")
        default: break
        }
        let extra: HTTPFields = error.code.retryAfterSeconds.map { [.retryAfter: $0.description] } ?? [:]
        let status = error.code.status
        if status.kind == .serverError { return refusal(error.upstashLine, status, extra) }
        return refusal(error.upstashLine, error.effect == .unknown ? .serviceUnavailable : .badRequest, extra)
    }
}

extension StoreError {
    /// As the protocol tells an error: a line that begins with its kind.
    var upstashLine: String {
        var line = code.isSpelledByServer ? message : "ERR \(publicMessage)"
        // On a cluster that is known before a server is asked.
        if code == .crossSlot, !line.hasPrefix("CROSSSLOT ") { line = "CROSSSLOT \(line)" }
        return effect == .unknown ? line + " (it may have been carried out)" : line
    }
}

extension ErrorCode {
    /// Whether the message of such an error begins with the server's own error line.
    fileprivate var isSpelledByServer: Bool {
        switch self {
        case .commandFailed, .unknownCommand, .wrongType, .crossSlot, .serverLoading, .serverReadOnly, .serverBusy, .outOfMemory,
            .permissionMissing:
            true
        default: false
        }
    }
}

extension HTTPField.Name {
    static let upstashEncoding = known("Upstash-Encoding")
    static let upstashResponseFormat = known("Upstash-Response-Format")
    static let upstashSyncToken = known("Upstash-Sync-Token")
}
