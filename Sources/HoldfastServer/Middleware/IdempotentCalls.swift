import Crypto
import HTTPTypes
import Holdfast
import HoldfastStore

/// `Idempotency-Key` on POSTs: the first answer is kept and given again.
///
/// Kept are answers that stay true: success, and refusals for the request's own sake. An answer that passes by itself (a rate limit, an
/// outage before any effect) is not, so the same key may be tried again. An answer after which the effect is unknown is kept: trying
/// again would risk a second effect, which is what the caller asked to exclude.
struct IdempotentCalls: Sendable {
    let service: Idempotency

    func answer(_ call: Call, key: String, target: String) async throws(StoreError) -> Answer {
        let service = call.context.tenant.map(service.scoped(to:)) ?? service
        let content = Self.content(call, target: target)
        switch try await service.begin(key: key, of: call.context.actor ?? "", content: content) {
        case .answered(let bytes): return try Self.restore(bytes)
        case .begun(let attempt): return try await run(call, attempt, service)
        }
    }

    private func run(
        _ call: Call, _ attempt: Idempotency.Attempt, _ service: Idempotency
    ) async throws(StoreError) -> Answer {
        let answer: Answer
        do throws(StoreError) {
            answer = try await call.route.handler(call)
        } catch {
            // The caller must learn of this error, whatever becomes of the record: it ends by itself with its lease.
            if error.effect == .unknown {
                await Self.settle(service, attempt, with: Self.keep(Problem(error).answer(requestID: call.requestID)))
            } else {
                await Self.settle(service, attempt, with: nil)
            }
            throw error
        }
        if Self.isLasting(answer.status) {
            // The effect has happened; when the record cannot be kept, a late repetition is a new request, as without a key.
            await Self.settle(service, attempt, with: Self.keep(answer))
        } else {
            await Self.settle(service, attempt, with: nil)
        }
        return answer
    }

    /// Keeps the answer, or gives the key free where there is none, in a task of its own: a request that was cancelled after its effect
    /// must not lose the record of it.
    private static func settle(_ service: Idempotency, _ attempt: Idempotency.Attempt, with answer: Bytes?) async {
        await Task {
            if let answer {
                _ = try? await service.complete(attempt, with: answer)
            } else {
                _ = try? await service.release(attempt)
            }
        }.value
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
