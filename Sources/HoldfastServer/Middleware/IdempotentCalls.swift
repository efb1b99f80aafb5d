import Crypto
import HTTPTypes
import Holdfast
import HoldfastStore

/// `Idempotency-Key` on POSTs: one effect, and the first answer is kept and given again.
///
/// Kept are answers that stay true: success, and refusals for the request's own sake. An answer that passes by itself (a rate limit, an
/// outage before any effect) is not, so the same key may be tried again. After an answer that leaves the effect unknown, and after the
/// process that was to answer has died, the same request is done again as the same operation (``Call/operation``): it finds its effect
/// where that was had, and has it where it was not.
struct IdempotentCalls: Sendable {
    let service: Idempotency

    func answer(_ call: Call, key: String, target: String) async throws(StoreError) -> Answer {
        let service = call.context.tenant.map(service.scoped(to:)) ?? service
        let content = Self.content(call, target: target)
        let beginning = try await service.begin(key: key, of: call.context.actor ?? "", content: content)
        switch beginning.value {
        case .answered(let bytes):
            var answer = try Self.restore(bytes)
            answer.headers[.decidedBy] = beginning.by.word
            return answer
        case .begun(let attempt):
            var call = call
            call.operation = attempt.operation
            return try await run(call, attempt, service)
        }
    }

    private func run(
        _ call: Call, _ attempt: Idempotency.Attempt, _ service: Idempotency
    ) async throws(StoreError) -> Answer {
        let answer: Answer
        do throws(StoreError) {
            answer = try await call.route.handler(call)
        } catch {
            // The caller must learn of this error, whatever becomes of the record: it is free again with its lease.
            await Self.settle { () async throws(StoreError) in
                if error.effect == .unknown { try await service.suspend(attempt) } else { try await service.release(attempt) }
            }
            throw error
        }
        await Self.settle { () async throws(StoreError) in
            if Self.isLasting(answer.status) {
                try await service.complete(attempt, with: Self.keep(answer))
            } else {
                try await service.release(attempt)
            }
        }
        return answer
    }

    /// What is left to do once the answer is known, in a task of its own: a request that was cancelled after its effect must not lose
    /// the record of it. Where it fails, a repetition finds the effect by the operation's name.
    private static func settle(_ body: @escaping @Sendable () async throws(StoreError) -> Void) async {
        await Task { _ = try? await body() }.value
    }

    private static func isLasting(_ status: HTTPResponse.Status) -> Bool {
        status.kind == .successful || (status.kind == .clientError && status != .tooManyRequests && status != .conflict)
    }

    /// A digest over everything that makes the request what it is.
    private static func content(_ call: Call, target: String) -> Bytes {
        var hash = SHA256()
        hash.update(data: Array("\(call.route.method.rawValue) \(target)\n".utf8))
        hash.update(data: Array(call.body.answerBytes))
        hash.update(data: Array("\n\(call.optionalString("If-Match") ?? "")".utf8))
        return Bytes(Array(hash.finalize()))
    }

    // MARK: - The kept form

    private static func keep(_ answer: Answer) -> Bytes {
        let headers = answer.headers.map { JSONValue.array([.string($0.name.rawName), .string($0.value)]) }
        let body = answer.content.map {
            JSONValue.array([.string($0.mediaType), .string(String(decoding: $0.bytes, as: UTF8.self))])
        }
        return JSONValue.object([("status", JSONValue(answer.status.code)), ("headers", .array(headers)), ("body", body)])
            .answerBytes
    }

    private static func restore(_ bytes: Bytes) throws(StoreError) -> Answer {
        guard let kept = JSONValue(json: bytes), let status = kept["status"]?.integer, let headers = kept["headers"]?.array else {
            throw StoreError(.unsupportedFormat, "The kept answer cannot be read", field: "Idempotency-Key")
        }
        var answer = Answer(HTTPResponse.Status(code: Int(status)))
        for header in headers {
            guard let pair = header.array, pair.count == 2, let name = pair[0].string.flatMap({ HTTPField.Name($0) }) else {
                continue
            }
            answer.headers[name] = pair[1].string
        }
        if let body = kept["body"]?.array, body.count == 2, let mediaType = body[0].string, let text = body[1].string {
            answer.body = .text(text, mediaType: mediaType)
        }
        answer.headers[.idempotencyReplayed] = "true"
        return answer
    }
}
