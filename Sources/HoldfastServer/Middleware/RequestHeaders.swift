import Crypto
import HTTPTypes
import HoldfastStore

extension HTTPField.Name {
    static let requestID = known("X-Request-ID")
    static let apiKey = known("X-API-Key")
    static let tenant = known("X-Tenant")
    static let requestTimeout = known("Request-Timeout")
    static let idempotencyKey = known("Idempotency-Key")
    /// Who decided, of answers whose body cannot say it.
    static let decidedBy = known("X-Decided-By")
    static let idempotencyReplayed = known("Idempotency-Replayed")
    static let traceparent = known("traceparent")
    static let tracestate = known("tracestate")
    static let contentTypeOptions = known("X-Content-Type-Options")

    /// A name of this program's own source, which is valid.
    static func known(_ name: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is no header name") }
        return name
    }
}

/// The headers that say who asks, on whose trace, and how a request is called in logs.
enum RequestHeaders {
    /// The caller's own identifier where it sends a sensible one, else a new one.
    static func requestID(_ headers: HTTPFields) -> String {
        if let given = headers[.requestID], given.utf8.count <= 128, TextFormat.word.accepts(given) { return given }
        var generator = SystemRandomNumberGenerator()
        let number = generator.next()
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The secret in `Authorization: Bearer …` or `X-API-Key`.
    static func secret(_ headers: HTTPFields) -> String? {
        if let authorization = headers[.authorization] {
            let parts = authorization.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
            return String(parts[1].drop { $0 == " " })
        }
        return headers[.apiKey]
    }

    /// The W3C trace context to pass on: nothing where `traceparent` is malformed, as its specification asks.
    static func trace(_ headers: HTTPFields) -> [String: String] {
        guard let parent = headers[.traceparent], isTraceparent(parent) else { return [:] }
        var trace = ["traceparent": parent]
        if let state = headers[.tracestate], state.utf8.count <= 512 { trace["tracestate"] = state }
        return trace
    }

    /// `version-traceid-parentid-flags`, lower-case hexadecimal, neither identifier all zeros, version not `ff`.
    static func isTraceparent(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[0].utf8.count == 2, parts[1].utf8.count == 32, parts[2].utf8.count == 16,
            parts[3].utf8.count == 2, parts[0] != "ff", parts[0] != "00" || parts.count == 4
        else { return false }
        let areHex = parts.prefix(4).allSatisfy { part in
            part.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
        }
        return areHex && parts[1].contains { $0 != "0" } && parts[2].contains { $0 != "0" }
    }
}
